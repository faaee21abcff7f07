"""What is counted and not timed: allocations, instructions, system calls. Noise on the machine does not move these.

An instruction or system call of a call is the difference between two runs that differ only in how many calls they make, so that the start
of the process and of its connections falls out.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile

from . import clients, install
from .machine import ROOT, Failed, NotMeasured, tail
from .server import START_SECONDS_VALGRIND, Server

TEST = ["test", "--locked", "-p", "corelane-server", "--test", "zero_alloc"]
TEST_SECONDS = 1800
STOP_SECONDS = 60


def allocations(_bench):
    """The repository's own test, whose allocator counts on the worker's thread: it passes only if there are none."""
    cargo = install.toolchain("cargo", "https://rustup.rs")
    done = subprocess.run([cargo, *TEST], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TEST_SECONDS)
    passed = re.search(r"test result: ok\. (\d+) passed", done.stdout)
    if done.returncode == 0 and passed and int(passed[1]) > 0:
        return {"allocations a call": 0.0}
    counted = re.search(r"left: (\d+)", done.stdout + done.stderr)
    if counted:
        return {"allocations a call": float(counted[1])}
    raise Failed(f"cargo {' '.join(TEST)}: exit code {done.returncode}: {tail(done.stdout + done.stderr)}")


def instructions(bench, peer, shape):
    """User instructions of a server for a unary call, by callgrind. On epoll: valgrind does not follow a ring."""
    few, many = (1_000, 3_000) if bench.quick else (3_000, 13_000)
    counted = [_callgrind(bench, peer, shape, calls) for calls in (few, many)]
    return {"instructions a call": (counted[1] - counted[0]) / (many - few)}


def _callgrind(bench, peer, shape, calls):
    valgrind = install.debian("valgrind", "valgrind")
    environment = os.environ | {"CORELANE_BACKEND": "epoll"}
    with tempfile.TemporaryDirectory(prefix="corelane-") as folder:
        words = [valgrind, "--tool=callgrind", "--fair-sched=try", f"--callgrind-out-file={folder}/out", *peer.serve("{port}", shape.response)]
        with Server(words, bench.server_cores, environment, START_SECONDS_VALGRIND) as server:
            clients.h2load(server.port, bench.client_cores, shape, calls=calls)
            server.process.send_signal(signal.SIGTERM)
            try:
                server.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise Failed(f"valgrind did not end within {STOP_SECONDS} s of SIGTERM") from None
            output = server.output()
    collected = re.search(r"Collected\s*: (\d+)", output)
    if not collected:
        raise Failed(f"callgrind has counted nothing: {tail(output)}")
    return int(collected[1])


def system_calls(bench, peer, shape):
    """System calls of a server for a unary call: counted by the kernel's tracepoint where perf may read it, else by strace."""
    calls = 2_000 if bench.quick else 20_000
    count = _perf if _perf_works() else _strace
    with bench.server(peer, shape) as server:
        clients.h2load(server.port, bench.client_cores, shape, calls=max(500, shape.streams * 10))
        figures = [count(server.pid, lambda n=n: clients.h2load(server.port, bench.client_cores, shape, calls=n)) for n in (calls, 3 * calls)]
    return {"system calls a call": max(figures[1] - figures[0], 0) / (2 * calls)}


def _perf_works():
    if not shutil.which("perf"):
        return False
    done = subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True, text=True)
    return done.returncode == 0 and re.search(r"^\s*[\d,.]+\s+raw_syscalls:sys_enter", done.stderr, re.M) is not None


def _perf(pid, work):
    """The count over a piece of work, the process undisturbed."""
    words = ["perf", "stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", str(pid)]
    return _watched(words, work, r"^(\d+);", "perf")


def _strace(pid, work):
    """The count over a piece of work. Each system call stops the process, so that a batch here is as large as it can get."""
    words = [install.debian("strace", "strace"), "-c", "-f", "-q", "-p", str(pid)]
    return _watched(words, work, r"^100\.00\s+\S+\s+\S*\s+(\d+)\s+(?:\d+\s+)?total", "strace")


def _watched(words, work, pattern, name):
    watcher = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        watcher.wait(0.5)  # long enough to attach
        raise NotMeasured(f"{name} may not attach to a process: {tail(watcher.stderr.read(), 2)}")
    except subprocess.TimeoutExpired:
        pass
    work()
    watcher.send_signal(signal.SIGINT)
    said = watcher.communicate(timeout=STOP_SECONDS)[1]
    counted = re.search(pattern, said, re.M)
    if not counted:
        raise Failed(f"{name} has counted nothing: {tail(said)}")
    return int(counted[1])
