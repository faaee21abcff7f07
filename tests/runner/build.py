"""What cargo judges."""

import re

from . import install
from .core import ROOT, TARGET

CLIPPY_SECONDS = 1200
TEST_SECONDS = 1800
BUILD_SECONDS = 1800


def formatting(report):
    report.succeeds("cargo fmt --check", [install.cargo(), "fmt", "--all", "--check"])


def clippy(report):
    words = [install.cargo(), "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]
    report.succeeds("cargo clippy", words, seconds=CLIPPY_SECONDS)


def _count_tests(report, name, words, **options):
    code, output = report.command(words, **options)
    passed = failed = 0
    for found in re.finditer(r"^test result: \w+\. (\d+) passed; (\d+) failed", output, re.M):
        passed, failed = passed + int(found.group(1)), failed + int(found.group(2))
    names = re.findall(r"^(?:test (.+) \.\.\. FAILED|    (\S+) --- FAILED)$", output, re.M)
    report.count(passed, failed, f"{name}: {', '.join(filter(None, sum(names, ())))}\n{output[-6000:]}")
    if code != 0 and not failed:
        report.count(0, 1, f"{name}: exit code {code}\n{output[-6000:]}")


def cargo_test(report):
    _count_tests(report, "cargo test", [install.cargo(), "test", "--workspace", "--locked", "--no-fail-fast"], seconds=TEST_SECONDS)


def loom(report):
    # A target folder of its own: other flags would make cargo build everything twice in the common one.
    environment = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": str(TARGET / "loom")}
    for name, crate, tests in [
        ("memory", ["corelane-memory", "--features", "std"], ["loom"]),
        ("policy", ["corelane-policy"], ["loom_balance", "loom_resilience"]),
    ]:
        targets = [word for test in tests for word in ("--test", test)]
        words = [install.cargo(), "test", "--release", "--locked", "-p", *crate, *targets]
        _count_tests(report, f"loom: {name}", words, environment=environment, seconds=TEST_SECONDS)


def programs(report):
    words = [install.cargo(), "build", "--release", "--locked", "-p", "corelane-tools", "-p", "corelane-tests", "-p", "corelane-benches", "--bins"]
    report.succeeds("cargo build --release", words, seconds=BUILD_SECONDS, cwd=ROOT)
