"""Load generators, pinned to their cores: h2load for unary calls, the peers' own for everything else."""

import functools
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass

from . import install
from .machine import Failed, tail

CALLS_SECONDS_MAX = 60
PATH = "/bench.v1.Bench/Unary"


def message(request_size, response_size):
    """A length-prefixed bench.v1.Request."""
    body = b""
    if request_size:
        body += b"\x0a" + varint(request_size) + bytes(request_size)
    if response_size:
        body += b"\x10" + varint(response_size)
    return b"\0" + len(body).to_bytes(4, "big") + body


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


@dataclass
class Done:
    """What a load generator says, and what it cost itself."""

    calls: int
    calls_per_s: float
    latency_us: dict  # quantile to microseconds, where it was asked for
    cpu_us: float = 0.0


def h2load(port, cores, shape, calls=None, rate=None, seconds=None, threads=1):
    """Unary calls: so many as fast as they are answered, or at a rate for so many seconds with their latencies."""
    program = install.debian("h2load", "nghttp2-client")
    with tempfile.TemporaryDirectory(prefix="corelane-") as folder:
        body, log = f"{folder}/body", f"{folder}/log"
        with open(body, "wb") as file:
            file.write(message(shape.request, shape.response))
        words = ["taskset", "-c", cores, program, f"-t{threads}", f"-c{shape.connections}", f"-m{shape.streams}", "-w25", "-W28", "-d", body,
                 "-H", "te: trailers", "-H", "content-type: application/grpc"]
        if rate:
            words += [f"--duration={seconds}", f"--rps={rate / shape.connections:g}", "--log-file", log]
        else:
            words.append(f"-n{calls}")
        out = _run([*words, f"http://127.0.0.1:{port}{PATH}"])
        speed = re.search(r"finished in .*?, ([0-9.]+) req/s", out)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
        if not speed or not counts or int(counts[1]) == 0 or any(int(counts[bad]) for bad in (2, 3, 4)):
            raise Failed(f"h2load: not every call succeeded: {tail(out, 8)}")
        latency_us = _quantiles(log) if rate else {}
    return Done(int(counts[1]), float(speed[1]), latency_us)


def _quantiles(log):
    """From h2load's log: start, status and duration in microseconds of each call."""
    with open(log) as lines:
        took = sorted(int(line.split("\t")[2]) for line in lines)
    return {q: took[int((len(took) - 1) * q)] for q in (0.5, 0.99, 0.999)}


def own(words, cores):
    """A load generator of ours or a peer's, whose last line is JSON."""
    process = subprocess.Popen(["taskset", "-c", cores, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
    # wait4 gives the CPU time and knows no time limit, so one that hangs is killed from aside.
    watchdog = threading.Timer(CALLS_SECONDS_MAX, process.kill)
    watchdog.start()
    out = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        hung = f" (killed after {CALLS_SECONDS_MAX} s)" if process.returncode == -signal.SIGKILL else ""
        raise Failed(f"{' '.join(map(str, words))}: exit code {process.returncode}{hung}: {tail(out, 4)}")
    try:
        said = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"{' '.join(map(str, words))}: the last line is no JSON: {tail(out, 4)}") from None
    latency_us = {0.5: said["p50_us"], 0.99: said["p99_us"], 0.999: said["p999_us"]}
    return Done(said["calls"], said["calls_per_s"], latency_us, (usage.ru_utime + usage.ru_stime) * 1e6)


def said(words):
    """What a program prints as JSON."""
    out = _run([str(word) for word in words])
    try:
        return json.loads(out[out.index("{"):out.rindex("}") + 1])
    except ValueError:
        raise Failed(f"{' '.join(map(str, words))}: no JSON: {tail(out, 4)}") from None


@functools.cache
def usage(program):
    """What a program says when it is called without arguments."""
    done = subprocess.run([str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=10)
    return done.stdout + done.stderr


def _run(words):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=CALLS_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failed(f"{words[3]}: no end after {CALLS_SECONDS_MAX} s: {' '.join(words)}") from None
    return done.stdout + done.stderr
