"""Plots as SVG, drawn by hand: horizontal bars with their spread, the goal as a line. PNG for where SVG is not shown.

Does not: depend on anything; a converter is only sought for the PNG.
"""

import shutil
import subprocess
from html import escape

from . import install
from .goals import number
from .machine import Failed, NotMeasured, tail

WIDTH, LEFT, RIGHT, BAR, GAP, TOP, BOTTOM = 820, 190, 120, 20, 8, 50, 30
OURS, OTHERS, FLOOR, LINE, TEXT = "#d9541e", "#8a97a6", "#c3cbd4", "#1d7a4f", "#222222"
FONT = "DejaVu Sans, Verdana, sans-serif"


def _text(x, y, words, size=12, anchor="start", weight="normal", colour=TEXT):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}" '
            f'paint-order="stroke" stroke="#ffffff" stroke-width="3">{escape(words)}</text>')


def _colour(name):
    return OURS if name.startswith("corelane") else FLOOR if name.startswith(("floor", "raw TCP")) else OTHERS


def _goal_line(goal, scale, top, bottom):
    if not goal:
        return []
    x = LEFT + goal * scale
    return [f'<path d="M{x:.1f} {top - 4}V{bottom}" stroke="{LINE}" stroke-width="1.5" stroke-dasharray="5 3"/>',
            _text(x + 4, bottom + 10, f"goal {number(goal)}", 11, colour=LINE)]


def _panel(title, unit, values, goal, top):
    """Bars for a dictionary from names to (median, least, most), best first; returns the SVG and its height."""
    ordered = sorted(values.items(), key=lambda item: item[1][0])
    most = max([high for _, _, high in values.values()] + ([goal] if goal else [])) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    out = [_text(12, top + 20, title, 14, weight="bold"), _text(WIDTH - 12, top + 20, unit, 11, "end", colour="#555555")]
    y = top + TOP - 14
    bars, words, goal_line = [], [], _goal_line(goal, scale, y, y + len(ordered) * (BAR + GAP))
    for name, (median, low, high) in ordered:
        middle = y + BAR / 2
        words.append(_text(LEFT - 8, middle + 4, name, anchor="end", weight="bold" if _colour(name) == OURS else "normal"))
        bars.append(f'<rect x="{LEFT}" y="{y}" width="{max(median * scale, 1):.1f}" height="{BAR}" rx="2" fill="{_colour(name)}"/>')
        words.append(f'<path d="M{LEFT + low * scale:.1f} {middle}H{LEFT + high * scale:.1f}" stroke="{TEXT}" stroke-width="1.2"/>')
        words.append(_text(LEFT + max(median, high) * scale + 6, middle + 4, number(median)))
        y += BAR + GAP
    # The goal's line over the bars, the words over both.
    return "\n".join([*out, *bars, *goal_line, *words]), y + BOTTOM - top


def svg(panels):
    """One picture from panels of (title, unit, values, goal or None)."""
    body, top = [], 0
    for title, unit, values, goal in panels:
        drawn, height = _panel(title, unit, values, goal, top)
        body.append(drawn)
        top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" font-family="{FONT}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>', *body, "</svg>", ""])


def png(source, target):
    """Converts with what is there, and installs librsvg's converter if nothing is."""
    if not shutil.which("rsvg-convert"):
        try:
            import cairosvg
        except ImportError:
            install.debian("rsvg-convert", "librsvg2-bin")
        else:
            cairosvg.svg2png(url=str(source), write_to=str(target), scale=2)
            return
    done = subprocess.run(["rsvg-convert", "--zoom", "2", "--output", str(target), str(source)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"rsvg-convert: {tail(done.stderr)}")


def png_or_reason(source, target):
    """None, or why there is no PNG: no reason to lose the figures."""
    try:
        png(source, target)
    except (Failed, NotMeasured) as reason:
        return str(reason)
    return None
