"""The instructions that the hot paths take, against the baseline in git."""

import platform
import sys

from . import install
from .core import ROOT, Missing
from .judges import verdicts

SECONDS = 1800  # it builds what `build` has built, unless that was left out


def instructions(report):
    if platform.machine() != "x86_64":
        raise Missing("an x86-64 machine, which the baseline is of")
    install.cargo()
    install.debian("valgrind", "valgrind")
    code, output = report.command([sys.executable, ROOT / "benches/count"], seconds=SECONDS)
    verdicts(report, "instructions", code, output)
