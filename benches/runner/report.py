"""What a run leaves behind: DATE.md to read, DATE.json with every figure of every round, DATE/ with the plots."""

import json

from . import peers, plots
from .goals import number

REFERENCES = ("floor", "raw TCP", "tonic")
# The picture for the README: three kinds of load, so that nobody can say the best one was picked.
OVERVIEW = (1, 2, 3, 4)


def write(session, machine, command, folder, name):
    """Writes everything; returns the path of the Markdown file and what could not be drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    plot_folder = folder / name
    plot_folder.mkdir(exist_ok=True)
    drawn = _plots(session, plot_folder)
    missing_png = None
    if "overview" in drawn:
        missing_png = plots.png_or_reason(plot_folder / "overview.svg", plot_folder / "overview.png")
    (folder / f"{name}.json").write_text(json.dumps(_raw(session, machine, command), indent=1) + "\n")
    path = folder / f"{name}.md"
    path.write_text("\n".join(_markdown(session, machine, command, name, drawn)))
    return path, missing_png


def _raw(session, machine, command):
    rows = {}
    for row in session.rows:
        entries = {name: {"rounds": entry.rounds, "problems": entry.problems} for name, entry in session.entries[row.number].items()}
        goals = [goal.verdict(session.medians(row)) for goal in row.goals]
        rows[row.number] = {"title": row.title, "figure": row.figure, "entrants": entries, "goals": goals}
    return {"machine": machine, "command": command, "rounds": session.rounds, "seconds": session.bench.seconds, "rows": rows}


def _markdown(session, machine, command, name, drawn):
    lines = [f"# Results of {name}", "", f"Written by `{command}`; what the figures mean is in `benches/README.md`. Every figure of every round: `{name}.json`.", ""]
    if session.bench.quick:
        lines += ["**A quick run: it shows that everything works. Its figures are worth nothing.**", ""]
    lines += ["| machine | |", "|---|---|", *(f"| {key} | {value} |" for key, value in machine.items()), ""]
    rounds = "One round" if session.rounds == 1 else f"{session.rounds} rounds"
    lines += [f"{rounds}, about {session.bench.seconds:g} s for a measurement, server on core {session.bench.server_cores}, "
              f"client on core {session.bench.client_cores}.", ""]
    lines += ["| peer | how it is built and started |", "|---|---|"]
    lines += [f"| {peer.name} | {session.missing.get(peer.name, peer.tuning).splitlines()[0]} |" for peer in peers.ALL]
    lines += ["", "## Goals", "", *_summary(session), ""]
    if "overview" in drawn:
        lines += [f"![unary calls]({name}/overview.svg)", ""]
    for row in session.rows:
        lines += _row(session, row, f"{name}/{drawn[row.number]}" if row.number in drawn else None)
    return lines


def _summary(session):
    lines = ["| # | work | corelane | goal | | beyond | |", "|---|---|---|---|---|---|---|"]
    word = {True: "met", False: "**missed**", None: "not measured"}
    for row in session.rows:
        medians = session.medians(row)
        ours = [f"{number(value)}" for entrant, value in medians.items() if entrant.startswith("corelane")]
        texts = [", ".join(goal.text for goal in goals) for goals in (row.goals, row.beyond)]
        words = [", ".join(word[goal.is_met(medians)] for goal in goals) for goals in (row.goals, row.beyond)]
        lines.append(f"| {row.number} | {row.title}, {row.figure} | {' / '.join(ours)} | {texts[0]} | {words[0]} | {texts[1]} | {words[1]} |")
    return lines


def _row(session, row, plot):
    lines = [f"## {row.number}. {row.title}", ""]
    entries, medians = session.entries[row.number], session.medians(row)
    if row.note:
        lines += [row.note, ""]
    measured = {name: entry for name, entry in entries.items() if entry.rounds}
    if measured:
        lines += _table(row, measured, medians)
    for name, entry in entries.items():
        if entry.problems:
            lines.append(f"- {name}: {len(entry.rounds)} rounds have figures; {_one_line(entry.problems[-1])}")
    lines += [f"- Goal {goal.verdict(medians)}." for goal in row.goals]
    lines += [f"- Beyond it: {goal.verdict(medians)}." for goal in row.beyond]
    lines.append("")
    if plot:
        lines += [f"![row {row.number}]({plot})", ""]
    return lines


def _table(row, measured, medians):
    references = [name for name in REFERENCES if name in medians and len(measured) > 1]
    others = [key for key in next(iter(measured.values())).rounds[0] if key != row.figure]
    head = ["", row.figure, "min-max", *(f"x {name}" for name in references), *others]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, entry in sorted(measured.items(), key=lambda item: medians[item[0]]):
        values = entry.values(row.figure)
        ratios = [f"{medians[name] / medians[reference]:.2f}" if medians[reference] else "" for reference in references]
        spread = f"{number(min(values))}-{number(max(values))}"
        cells = [name, f"**{number(medians[name])}**", spread, *ratios, *(number(entry.median(key)) for key in others)]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _one_line(text):
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"... {words[-300:]}"


def _limit(row, medians):
    """The strictest goal that has a number here, as the plot's line."""
    limits = [goal.factor * (medians[goal.other] if goal.other else 1.0) for goal in row.goals if not goal.other or goal.other in medians]
    return min(limits) if limits and len({goal.of for goal in row.goals}) == 1 else None


def _values(session, row):
    entries = session.entries[row.number].items()
    return {name: (entry.median(row.figure), min(entry.values(row.figure)), max(entry.values(row.figure))) for name, entry in entries if entry.rounds}


def _plots(session, folder):
    """Draws; returns the file of each row that had something to draw."""
    drawn, overview = {}, []
    for row in session.rows:
        values = _values(session, row)
        if len(values) < 2:
            continue
        panel = (row.title, row.figure, values, _limit(row, session.medians(row)))
        drawn[row.number] = f"row-{row.number:02}.svg"
        (folder / drawn[row.number]).write_text(plots.svg([panel]))
        if row.number in OVERVIEW:
            overview.append((row.title, "us of CPU a call", values, None))
    if overview:
        drawn["overview"] = "overview.svg"
        (folder / "overview.svg").write_text(plots.svg(overview))
    return drawn
