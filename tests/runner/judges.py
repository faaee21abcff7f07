"""Suites that others wrote: they judge the protocol, not our code."""

import re
import xml.etree.ElementTree as ElementTree

from . import install
from .core import BACKENDS, JUDGES, ROOT, Missing, tail
from .server import Server, io_uring_is_allowed, program

# Every case of the client's --test_case flag that needs no Google cloud, and the two soak cases that its help leaves out.
INTEROP_CASES = [
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service", "pick_first_unary",
    "orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
]
INTEROP_CLOUD_CASES = [
    "compute_engine_creds", "service_account_creds", "jwt_token_creds", "per_rpc_creds", "oauth2_auth_token",
    "google_default_credentials", "compute_engine_channel_credentials",
]
ORCA_POLICY = '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}'
LONG_LIVED = ["--soak_iterations=10", "--iteration_interval=1"]  # seconds between the calls
SOAK = ["--soak_iterations=200", "--soak_num_threads=4", "--soak_overall_timeout_seconds=120"]
H2SPEC_SECONDS_PER_CASE = 3


def backends(report):
    """The backends that this machine has; a forbidden io_uring is named, and fails under CI."""
    if io_uring_is_allowed():
        return BACKENDS
    report.left_out = "io_uring half (the kernel or the container forbids it)"
    return ("epoll",)


def h2spec(report):
    judge = install.go_tool("h2spec")
    for backend in backends(report):
        with Server(report, "interop-server", "--port", 0, backend=backend) as server:
            junit = JUDGES / f"h2spec-{backend}.xml"
            junit.unlink(missing_ok=True)
            words = [judge, "--strict", "-h", "127.0.0.1", "-p", server.port, "-o", H2SPEC_SECONDS_PER_CASE, "-j", junit]
            code, output = report.command(words, seconds=900)
            if not junit.exists():
                report.check(f"h2spec on {backend}", False, f"exit code {code}\n{tail(output)}")
                continue
            for suite in ElementTree.parse(junit).getroot().iter("testsuite"):
                for case in suite.iter("testcase"):
                    # A case that h2spec skips (there is nothing to test it on) is not a case passed.
                    bad = [part.tag for part in case if part.tag in ("failure", "error", "skipped")]
                    report.check(f"h2spec {backend} {case.get('package')} {case.get('classname')}", not bad,
                                 " ".join([*bad, *(part.text or "" for part in case)]))


def interop(report):
    judge = install.go_tool("interop-client")
    _, usage = report.command([judge, "-h"])
    offered = re.findall(r"^\s+(\w+)\s?: ", usage[usage.find("-test_case"):], re.M)
    unknown = sorted(set(offered) - set(INTEROP_CASES) - set(INTEROP_CLOUD_CASES))
    report.check("every case of the client is either run or needs a cloud", not unknown, ", ".join(unknown))
    for backend in backends(report):
        with Server(report, "interop-server", "--port", 0, backend=backend) as server:
            for case in INTEROP_CASES:
                report.succeeds(f"interop {backend} {case}", interop_words(judge, server, case), seconds=150)


def interop_words(client, server, case):
    """The command line of an interop client, ours or another, for a case."""
    words = [client, "--server_host=127.0.0.1", f"--server_port={server.port}", f"--test_case={case}"]
    if case.startswith("orca"):
        words.append(f"--service_config_json={ORCA_POLICY}")
    if case.endswith("soak"):
        words += SOAK
    if case == "long_lived_channel":
        words += LONG_LIVED
    return words


def python_checks(report, label, words, seconds=300):
    """A script of tests/python: it prints one `ok NAME` or `FAILED NAME: why` for each check."""
    verdicts(report, label, *report.command(words, seconds=seconds))


def verdicts(report, label, code, output):
    """Counts what such a script has printed."""
    checks = re.findall(r"^(ok|FAILED) (.*)$", output, re.M)
    for verdict, name in checks:
        report.check(f"{label} {name}", verdict == "ok")
    failed = any(verdict == "FAILED" for verdict, _ in checks)
    if not checks or (code != 0 and not failed):
        report.check(label, False, f"exit code {code}\n{tail(output)}")


def compression(report):
    python = install.python()
    for backend in backends(report):
        with Server(report, "interop-server", "--port", 0, backend=backend) as server:
            script = ROOT / "tests/python/interop_compression.py"
            python_checks(report, f"compression {backend}", [python, script, server.address, ROOT / "proto"])


def conformance(report):
    for backend in backends(report):
        connectconformance(report, "server", ROOT / "tests/conformance.yaml", "conformance-server", backend)


def connectconformance(report, mode, configuration, name, backend):
    """The suite in one of its modes, against the program of ours that goes with it."""
    judge = install.go_tool("connectconformance")
    words = [judge, "--mode", mode, "--conf", configuration, "--", program(name)]
    code, output = report.command(words, seconds=900, environment={"CORELANE_BACKEND": backend})
    label = f"connectconformance in {mode} mode on {backend}"
    sums = re.search(r"^(\d+) passed, (\d+) failed", output, re.M)
    if not sums:
        report.check(label, False, f"exit code {code}\n{tail(output)}")
        return
    passed, failed = int(sums.group(1)), int(sums.group(2))
    report.count(passed, failed, f"{label}: " + "\n".join(re.findall(r"^FAILED: .*", output, re.M)[:60]))
    report.check(f"{label} is content", code == 0, f"exit code {code}\n{tail(output)}")


def hpack(report):
    script = ROOT / "tests/corpus/hpack/check.py"
    if not script.exists():
        raise Missing("tests/corpus/hpack/check.py")
    report.succeeds("the HPACK corpus agrees with Python's hpack", [install.python(), script], seconds=300)
