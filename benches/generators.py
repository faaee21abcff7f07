#!/usr/bin/env python3
"""Compares `corelane bench` with h2load: the same unary calls to the same server, each client on one core.

    benches/generators.py              builds in release, runs, prints a table
    benches/generators.py --calls 500000 --rounds 3

The server is `bench-peer serve`, on a core of its own. The clients take turns round by round, so that a drift of the
machine's speed falls on both; medians are printed. Calls a second contain the server's time, too: it is the bottleneck,
or client and server wait for each other, batch by batch. What one core of a client can drive is the inverse of its CPU
time a call (user and system together, its start included), so the factor between these is the figure to quote.

Does not: run in CI. h2load is in Debian's nghttp2-client.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from runner.clients import varint

ROOT = Path(__file__).resolve().parents[1]
# Cargo runs in ROOT: a relative directory is meant from there, and an absolute one replaces it.
PROGRAMS = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target") / "release"
BUILD = "cargo build --release --locked -p corelane-tools --bin corelane -p corelane-benches --bin bench-peer"
SHAPES = [(1, 100), (10, 10)]  # connections, streams on each
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """One client's figures of one round."""

    calls_per_s: float
    us_per_call: float
    server_busy: float  # the part of the time that the server used its core


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls in each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=16, help="octets of payload, each way")
    parser.add_argument("--client-core", default="0")
    parser.add_argument("--server-core", default="1")
    options = parser.parse_args()
    subprocess.run(BUILD.split(), cwd=ROOT, check=True)
    server, port = serve(options.server_core)
    try:
        with tempfile.TemporaryDirectory(prefix="corelane-") as folder:
            body = Path(folder) / "body"
            body.write_bytes(request(options.size))
            for connections, streams in SHAPES:
                clients = {"h2load": (h2load(body, port, connections, streams, options.calls), h2load_rate),
                           "corelane bench": (ours(port, connections, streams, options), our_rate)}
                compare(clients, connections, streams, options, server.pid)
    finally:
        server.kill()
        server.wait()


def serve(core):
    """Starts the server; it says where it listens."""
    words = ["taskset", "-c", core, PROGRAMS / "bench-peer", "serve", "0"]
    server = start(words)
    line = server.stdout.readline()
    port = re.search(r":(\d+) ", line)
    if port is None:
        server.kill()
        sys.exit(f"the server does not say where it listens, but {line!r}; it ended with {server.wait()}: {' '.join(map(str, words))}")
    return server, int(port.group(1))


def start(words):
    """Starts a program whose output is read here; what it says on stderr is seen."""
    try:
        return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)
    except OSError as error:
        sys.exit(f"cannot run {words[0]}: {error}")


def request(size):
    """The bench.v1.Request that `corelane bench` sends: for one reply of its own size; with gRPC's prefix."""
    message = b"\x18\x01"
    if size:  # proto3 leaves out what is empty or 0
        message = b"\x0a" + varint(size) + bytes(size) + b"\x10" + varint(size) + message
    return b"\0" + len(message).to_bytes(4, "big") + message


def h2load(body, port, connections, streams, calls):
    return ["h2load", "-t", 1, "-n", calls, "-c", connections, "-m", streams, "-d", body, "-H", "te: trailers",
            "-H", "content-type: application/grpc", f"http://127.0.0.1:{port}/bench.v1.Bench/Unary"]


def h2load_rate(output, calls):
    assert f"{calls} succeeded, 0 failed, 0 errored, 0 timeout" in output, output
    return float(re.search(r"finished in .*?, ([0-9.]+) req/s", output).group(1))


def ours(port, connections, streams, options):
    return [PROGRAMS / "corelane", "bench", f"127.0.0.1:{port}", "-n", options.calls, "-c", connections, "-s", streams, "--workers", 1,
            "--request-size", options.size, "--response-size", options.size, "--json", "--no-progress"]


def our_rate(output, calls):
    figures = json.loads(output)
    assert figures["calls"]["succeeded"] == calls, output
    return figures["calls_per_second"]


def compare(clients, connections, streams, options, server):
    print(f"\n{connections} x {streams}, {options.calls:,} calls of {options.size} octets, medians of {options.rounds}")
    for name, (words, _) in clients.items():
        print(f"  {name}: taskset -c {options.client_core} {' '.join(map(str, words))}")
    runs = {name: [] for name in clients}
    for _ in range(options.rounds):
        for name, (words, rate) in clients.items():
            runs[name].append(run(words, rate, options, server))
    medians = {name: median(of) for name, of in runs.items()}
    print(f"{'':16} {'calls/s':>10} {'CPU us/call':>12} {'server busy':>12}")
    for name, figures in medians.items():
        print(f"{name:16} {figures.calls_per_s:>10,.0f} {figures.us_per_call:>12.3f} {figures.server_busy:>12.0%}")
    theirs, own = medians.values()
    print(f"{'factor':16} {own.calls_per_s / theirs.calls_per_s:>10.2f} {theirs.us_per_call / own.us_per_call:>12.2f}", flush=True)


def run(words, rate, options, server):
    served, begin = cpu_seconds(server), time.monotonic()
    client = start(["taskset", "-c", options.client_core, *words])
    output = client.stdout.read()
    _, status, usage = os.wait4(client.pid, 0)
    client.returncode = os.waitstatus_to_exitcode(status)
    busy = (cpu_seconds(server) - served) / (time.monotonic() - begin)
    if client.returncode:
        sys.exit(f"{words[0]} ended with {client.returncode}: {output}")
    return Run(rate(output, options.calls), (usage.ru_utime + usage.ru_stime) * 1e6 / options.calls, busy)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def median(runs):
    of = lambda name: statistics.median(getattr(one, name) for one in runs)
    return Run(of("calls_per_s"), of("us_per_call"), of("server_busy"))


if __name__ == "__main__":
    main()
