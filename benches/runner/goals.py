"""Goals: a limit on one figure, fixed or a multiple of somebody else's in the same run. Smaller is better everywhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`factor` times the figure of `other`, or `factor` itself where there is no other."""

    text: str
    factor: float
    other: str = ""
    of: str = "corelane"

    def verdict(self, medians):
        """One line: the limit, the figure, and whether it holds."""
        figure, other = medians.get(self.of), medians.get(self.other, 1.0 if not self.other else None)
        if figure is None or other is None:
            return f"{self.text}: not measured ({self.of if figure is None else self.other} has no figure)"
        limit = self.factor * other
        if figure <= limit:
            return f"{self.text} (at most {number(limit)}): **met** with {number(figure)}"
        return f"{self.text} (at most {number(limit)}): **missed** with {number(figure)}, {figure / limit:.2f} times the limit"

    def is_met(self, medians):
        """Whether it holds; None if it was not measured."""
        figure, other = medians.get(self.of), medians.get(self.other, 1.0 if not self.other else None)
        return None if figure is None or other is None else figure <= self.factor * other


def at_most(value, unit, of="corelane"):
    return Goal(f"{number(value)} {unit}", value, of=of)


def times(factor, other, of="corelane"):
    return Goal(f"{factor:g} x {other}", factor, other, of)


def of_class(goal, calibration, other="tonic", of="corelane"):
    """A goal in microseconds where `other` took `calibration`, on the machine that goals were set on: here it moves with `other`."""
    return Goal(f"{goal / calibration:.2f} x {other}", goal / calibration, other, of)


def part(of_it, other, of="corelane"):
    """The `of_it`-th part of the other's figure."""
    return Goal(f"1/{of_it:g} of {other}", 1 / of_it, other, of)


def number(value):
    """Three digits that matter, thousands set apart."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    digits = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2 if magnitude >= 1 else 3 if magnitude >= 0.1 else 4
    return f"{value:,.{digits}f}"
