"""Stages, their results and the summary. Knows nothing of what the stages do."""

import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
JUDGES = TARGET / "judges"
LOGS = JUDGES / "logs"
BACKENDS = ("uring", "epoll")
SHOWN_LINES = 40


class Missing(Exception):
    """A toolchain is not there and cannot be installed: the stage is left out."""


class Failed(Exception):
    """A stage could not come to its checks."""


@dataclass
class Stage:
    name: str
    what: str
    body: Callable[["Report"], None]


@dataclass
class Report:
    """What one stage found. Its log receives all output."""

    stage: str
    passed: int = 0
    failed: int = 0
    left_out: str = ""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_path = LOGS / f"{self.stage}.log"
        self.log = self.log_path.open("w", buffering=1)

    def check(self, name, good, why=""):
        """Counts one check."""
        self.count(int(bool(good)), int(not good), f"{name}: {why}" if why else name)
        self.log.write(f"[{'pass' if good else 'FAIL'}] {name} {'' if good else why}\n")

    def count(self, passed, failed, what):
        """Counts many checks of which the judge tells only the sums."""
        self.passed += passed
        self.failed += failed
        if failed:
            self.failures.append(what)

    def command(self, words, *, seconds=600, environment=None, cwd=ROOT, input_text=None):
        """Runs a command into the log; returns its exit code and output. A command that hangs is killed with what it started."""
        words = [str(word) for word in words]
        self.log.write(f"$ {' '.join(words)}\n")
        process = subprocess.Popen(
            words, cwd=cwd, env=os.environ | (environment or {}), text=True, errors="replace", start_new_session=True,
            stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            output, _ = process.communicate(input_text, timeout=seconds)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
            output += f"\nno end after {seconds} s\n"
            code = 124
        self.log.write(output if output.endswith("\n") or not output else output + "\n")
        return code, output

    def succeeds(self, name, words, **options):
        """One check: the command exits with 0. Its last lines are shown where it does not."""
        code, output = self.command(words, **options)
        self.check(name, code == 0, f"exit code {code}\n{tail(output)}")
        return code == 0


def tail(text, lines=SHOWN_LINES):
    return "\n".join(text.strip().splitlines()[-lines:])


def run_stage(stage):
    print(f"---- {stage.name}: {stage.what}", flush=True)
    report = Report(stage.name)
    begin = time.monotonic()
    try:
        stage.body(report)
    except Missing as missing:
        report.left_out = str(missing)
        if os.environ.get("CI") == "true":
            report.count(0, 1, f"left out: {missing}")
    except Failed as failed:
        report.count(0, 1, str(failed))
    except Exception:  # a fault of this runner must not hide the other stages' results
        report.count(0, 1, traceback.format_exc())
    if not report.passed and not report.failed and not report.left_out:
        report.count(0, 1, "the stage checked nothing")
    report.seconds = time.monotonic() - begin
    report.log.close()
    for failure in report.failures:
        print(f"FAILED {stage.name}: {failure}", flush=True)
    print(f"     {report.passed} passed, {report.failed} failed in {report.seconds:.0f} s", flush=True)
    return report


def run(stages):
    """Runs the stages in order, prints the table, returns the exit code."""
    reports = [run_stage(stage) for stage in stages]
    print(f"\n{'stage':<14} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for report in reports:
        note = f"  left out: {report.left_out}" if report.left_out else ""
        print(f"{report.stage:<14} {report.passed:>7} {report.failed:>7} {report.seconds:>8.1f}{note}")
    passed, failed = sum(report.passed for report in reports), sum(report.failed for report in reports)
    print(f"{'all':<14} {passed:>7} {failed:>7} {sum(report.seconds for report in reports):>8.1f}")
    sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1
