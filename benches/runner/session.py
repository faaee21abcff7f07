"""One interleaved run: every row in each round, and in each row everybody in an order drawn anew, so that a drift of the machine's speed falls on all.

Invariant: a measurement that fails is reported and ends nothing else; after two failures it is not tried again.
"""

import random
import statistics
import traceback
from dataclasses import dataclass, field

from .machine import Failed, NotMeasured

TRIES_MAX = 2


@dataclass
class Entry:
    """What came of one entrant of one row."""

    rounds: list = field(default_factory=list)  # a dictionary of figures for each
    problems: list = field(default_factory=list)
    given_up: bool = False

    def values(self, figure):
        return [one[figure] for one in self.rounds]

    def median(self, figure):
        return statistics.median(self.values(figure))


class Session:
    def __init__(self, bench, rows, rounds, missing, say):
        self.bench, self.rows, self.rounds, self.missing, self.say = bench, rows, rounds, missing, say
        self.entries = {row.number: {name: Entry() for name in row.entrants} for row in rows}

    def run(self):
        for row in self.rows:
            self._leave_out(row)
        for index in range(self.rounds):
            for row in self.rows:
                if index == 0 or not row.once:
                    self._round(row, index)

    def medians(self, row):
        """The row's figure for everybody who has one."""
        return {name: entry.median(row.figure) for name, entry in self.entries[row.number].items() if entry.rounds}

    def _leave_out(self, row):
        for name, entry in self.entries[row.number].items():
            for peer in row.needs[name]:
                if peer.name in self.missing and not entry.given_up:
                    entry.problems.append(f"{peer.name} is {self.missing[peer.name]}")
                    entry.given_up = True

    def _round(self, row, index):
        entries = self.entries[row.number]
        names = [name for name, entry in entries.items() if not entry.given_up]
        for name in random.sample(names, len(names)):
            entry, label = entries[name], f"round {index + 1}, row {row.number}, {name}"
            try:
                figures = row.entrants[name](self.bench)
                entry.rounds.append(figures)
                self.say(f"{label}: " + ", ".join(f"{value:,.4g} {key}" for key, value in figures.items()))
            except NotMeasured as reason:
                entry.problems.append(f"not measured: {reason}")
                entry.given_up = True
                self.say(f"{label}: not measured: {reason}")
            except Failed as problem:
                self._failed(entry, label, str(problem))
            except Exception:  # a fault of this runner must not cost the other rows
                self._failed(entry, label, traceback.format_exc())

    def _failed(self, entry, label, problem):
        entry.problems.append(problem)
        entry.given_up = len(entry.problems) >= TRIES_MAX
        self.say(f"{label}: FAILED: {problem}")
