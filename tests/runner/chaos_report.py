"""Judges a chaos run by what its client reported, what its servers wrote down and what was done to them.

It reads nothing and starts nothing, so that made-up runs can be put before it (chaos_selftest).
"""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
WINDOW = 100 * MILLISECOND
WARM_UP = SECOND  # the first connections and the first pages
RECOVERY = 2 * SECOND
PROOF_WINDOWS, PROOF_NORMAL_MIN = 5, 4  # so many right after the time of recovery, and so many of them must be normal
NORMAL_FACTOR = 3  # of the median of the undisturbed windows
FLOOR = 20 * MILLISECOND  # five processes on two cores: what the scheduler takes is not the client's fault
NOISY_SHARE = 0.02  # of the undisturbed windows
TOTAL_SHARE = 0.01
# Between our clock before the signal and the moment at which it has struck.
SLACK = 20 * MILLISECOND
OK = 0


@dataclass(frozen=True)
class Call:
    """One line of the client's report; times are nanoseconds since the Unix epoch."""

    id: int
    start_ns: int  # when it was due, whether or not it could begin then
    end_ns: int
    code: int
    attempts: int
    endpoint: str  # of its last attempt; empty if there was none


@dataclass(frozen=True)
class Fault:
    kind: str  # kill, stop, drain
    endpoint: str
    at_ns: int


@dataclass
class Verdict:
    checks: list = field(default_factory=list)  # (name, good, why)
    figures: list = field(default_factory=list)  # lines for people

    def check(self, name, good, why=""):
        self.checks.append((name, bool(good), why))


def judge(calls, journals, faults, wanted):
    """`journals`: for each server, the ids in the order in which it executed them. `wanted`: how many calls were to be made."""
    verdict = Verdict()
    _totals(verdict, calls, wanted)
    _executions(verdict, calls, journals)
    _failures(verdict, calls, faults)
    _latencies(verdict, calls, faults)
    return verdict


def _totals(verdict, calls, wanted):
    twice = [call for call, count in Counter(call.id for call in calls).items() if count > 1]
    verdict.check("every call is reported once", not twice, f"several lines for {_some(twice)}")
    verdict.check("the client keeps its rate", abs(len(calls) - wanted) <= wanted * TOTAL_SHARE, f"{len(calls)} calls instead of {wanted}")
    codes = Counter(call.code for call in calls)
    tries = Counter(call.attempts for call in calls)
    verdict.figures.append(f"calls: {len(calls)}, by code {dict(sorted(codes.items()))}, by attempts {dict(sorted(tries.items()))}")


def _executions(verdict, calls, journals):
    executed = Counter(call for journal in journals for call in journal)
    twice = [call for call, count in executed.items() if count > 1]
    verdict.check("no call is executed twice", not twice, f"{len(twice)} are: {_some(twice)}")
    invented = [call.id for call in calls if call.code == OK and not executed[call.id]]
    verdict.check("every call that succeeded was executed", not invented, f"{len(invented)} were not: {_some(invented)}")
    unknown = set(executed) - {call.id for call in calls}
    verdict.check("every call that was executed is reported", not unknown, f"{len(unknown)} are not: {_some(sorted(unknown))}")
    verdict.figures.append(f"executed: {sum(executed.values())}, by server {[len(journal) for journal in journals]}")


def _failures(verdict, calls, faults):
    failed = [call for call in calls if call.code != OK]
    kills = [fault for fault in faults if fault.kind == "kill"]
    unexplained = [call for call in failed if not any(_was_in_flight(call, kill) for kill in kills)]
    verdict.check("only calls in flight at a kill fail", not unexplained,
                  f"{len(unexplained)} of {len(failed)} were not: " + ", ".join(map(_described(faults), unexplained[:10])))
    for number, fault in enumerate(faults):
        until = faults[number + 1].at_ns if number + 1 < len(faults) else fault.at_ns + 2 * RECOVERY
        in_flight = sum(call.endpoint == fault.endpoint and call.start_ns <= fault.at_ns <= call.end_ns for call in calls)
        lost = sum(fault.at_ns - SLACK <= call.end_ns < until - SLACK for call in failed)
        verdict.figures.append(f"{fault.kind} of {fault.endpoint}: {in_flight} calls in flight there, {lost} failed until the next fault")


def _was_in_flight(call, kill):
    return call.endpoint == kill.endpoint and call.start_ns <= kill.at_ns + SLACK and call.end_ns >= kill.at_ns - SLACK


def _described(faults):
    def describe(call):
        where = "before any fault"
        for fault in faults:
            if fault.at_ns <= call.end_ns:
                where = f"{_ms(call.end_ns - fault.at_ns)} after the {fault.kind} of {fault.endpoint}"
        return f"{call.id} on {call.endpoint or 'no endpoint'} with code {call.code}, {where}"
    return describe


def _latencies(verdict, calls, faults):
    if not calls:
        return
    begin = min(call.start_ns for call in calls) + WARM_UP
    windows = percentiles(calls, begin)
    starts = [begin + number * WINDOW for number in range(len(windows))]
    undisturbed = [number for number, start in enumerate(starts)
                   if not any(fault.at_ns - WINDOW < start < fault.at_ns + RECOVERY for fault in faults)]
    if not undisturbed:
        verdict.check("there are undisturbed windows", False, f"none of {len(windows)}")
        return
    usual = median(windows[number] for number in undisturbed)
    limit = max(NORMAL_FACTOR * usual, FLOOR)
    verdict.figures.append(f"p99 of the undisturbed windows: median {_ms(usual)}; normal up to {_ms(limit)}")
    noisy = [number for number in undisturbed if windows[number] > limit]
    verdict.check("undisturbed windows are normal", len(noisy) <= NOISY_SHARE * len(undisturbed),
                  f"{len(noisy)} of {len(undisturbed)} are not, first {_ms((starts[noisy[0]] - begin) if noisy else 0)} after the warm-up")
    for fault in faults:
        _recovery(verdict, fault, list(zip(starts, windows)), limit)


def _recovery(verdict, fault, windows, limit):
    within = [(start, p99) for start, p99 in windows if fault.at_ns - WINDOW < start < fault.at_ns + RECOVERY]
    slow = [start for start, p99 in within if p99 > limit]
    proof = [p99 for start, p99 in windows if start >= fault.at_ns + RECOVERY][:PROOF_WINDOWS]
    good = sum(p99 <= limit for p99 in proof) >= PROOF_NORMAL_MIN
    name = f"p99 is normal {RECOVERY // SECOND} s after the {fault.kind} of {fault.endpoint}"
    verdict.check(name, good, f"the windows thereafter: {', '.join(map(_ms, proof)) or 'none'}")
    took = slow[-1] + WINDOW - fault.at_ns if slow else 0
    worst = max((p99 for _, p99 in within), default=0)
    verdict.figures.append(f"{fault.kind} of {fault.endpoint}: {len(slow)} slow windows, normal after {_ms(took)}, worst p99 {_ms(worst)}")


def percentiles(calls, begin):
    """The p99 of every window from `begin` on, by the times at which calls were due. A window without calls is infinitely slow."""
    late = [call for call in calls if call.start_ns >= begin]
    if not late:
        return []
    # The last window is not full.
    windows = [[] for _ in range((max(call.start_ns for call in late) - begin) // WINDOW)]
    for call in late:
        number = (call.start_ns - begin) // WINDOW
        if number < len(windows):
            windows[number].append(call.end_ns - call.start_ns)
    return [_p99(latencies) for latencies in windows]


def _p99(latencies):
    if not latencies:
        return float("inf")
    latencies.sort()
    return latencies[-(len(latencies) // 100) - 1]  # the nearest rank


def _ms(nanoseconds):
    return f"{nanoseconds / MILLISECOND:.1f} ms"


def _some(things):
    return ", ".join(map(str, list(things)[:10])) + (" ..." if len(things) > 10 else "")
