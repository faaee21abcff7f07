"""Our programs as a person meets them: flags, busy ports, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from .core import ROOT, Missing
from .server import Server, program

SECONDS = 30
# An HTTP/2 preface with empty SETTINGS: enough to be a connection.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


def command_line(report):
    _flags(report)
    _busy_port(report)
    _greeting(report)
    _top(report)
    for number in (signal.SIGINT, signal.SIGTERM):
        _signal(report, number)
    _second_signal(report)
    for refusal in ("EPERM", "ENOSYS"):
        _without_io_uring(report, refusal)


def _run(report, words, environment=None, prefix=()):
    report.log.write(f"$ {' '.join(words)}\n")
    done = subprocess.run([*prefix, str(program(words[0])), *words[1:]], cwd=ROOT, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=SECONDS)
    report.log.write(done.stdout + done.stderr)
    return done


def _is_refused(report, words, code, text, environment=None, prefix=()):
    done = _run(report, words, environment, prefix)
    lines = done.stderr.strip().splitlines()
    good = done.returncode == code and len(lines) == 1 and re.search(text, lines[0]) and not done.stdout
    report.check(f"`{' '.join(words)}` is refused in one line with exit code {code}", good, f"exit code {done.returncode}: {done.stdout}{done.stderr}")


def _flags(report):
    for words, text in [
        (["serve", "--nonsense"], "--nonsense"),
        (["serve", "--workers", "none"], "none"),
        (["serve", "--workers", "0"], "must be a worker"),
        (["serve", "--backend", "kqueue"], "kqueue"),
        (["serve", "--address", "localhost"], "localhost"),
        (["serve", "--grace", "-1"], "-1"),
        (["bench"], "<TARGET>"),
        ([], "no command"),
    ]:
        _is_refused(report, ["corelane", *words], 2, text)
    _is_refused(report, ["corelane", "serve", "--address", "127.0.0.1:0"], 1, "CORELANE_BACKEND", {"CORELANE_BACKEND": "kqueue"})
    _is_refused(report, ["bench-peer", "serve"], 2, "usage")
    for words, text in [(["--help"], "serve"), (["serve", "--help"], "--workers"), (["--version"], "corelane")]:
        done = _run(report, ["corelane", *words])
        report.check(f"`corelane {' '.join(words)}` helps", done.returncode == 0 and text in done.stdout and not done.stderr, done.stderr)


def _busy_port(report):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _is_refused(report, ["corelane", "serve", "--address", f"127.0.0.1:{port}"], 1, f"127.0.0.1:{port} is in use")
        _is_refused(report, ["interop-server", "--port", str(port)], 1, "in use")
    # Our own servers share ports between their workers, and still not with one another.
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0") as server:
        _is_refused(report, ["corelane", "serve", "--address", server.address], 1, "in use")


def _greeting(report):
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0", "--workers", 1, backend="epoll") as server:
        _until(lambda: "memory per worker" in server.output)
        for line in (r"listening on 127\.0\.0\.1:\d+$", "backend: epoll$", "workers: 1$", r"memory per worker: at most .*MiB$"):
            report.check(f"serve prints a line like {line!r}", re.search(f"^{line}", server.output, re.M), server.output)


def _top(report):
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0", "--workers", 2, "--admin", "127.0.0.1:0") as server:
        _until(lambda: "memory per worker" in server.output)
        found = re.search(r"^admin port at (127\.0\.0\.1:\d+)$", server.output, re.M)
        report.check("serve prints where its admin port is", found, server.output)
        if not found:
            return
        admin = found[1]
        with _connection(server.port):
            done = _run(report, ["corelane", "top", admin, "--once", "--interval", "0.2"])
            rows = [line.split()[0] for line in done.stdout.splitlines() if re.match(r" *(0|1|all) ", line)]
            good = done.returncode == 0 and rows == ["0", "1", "all"] * 2 and f" at {admin}, " in done.stdout and "\x1b" not in done.stdout
            report.check("`corelane top --once` prints a row for each worker and one for all, as plain text", good, done.stdout + done.stderr)
            done = _run(report, ["corelane", "top", admin, "--json", "--profile", "--interval", "3.5"])
            view = json.loads(done.stdout or "{}")
            good = view.get("profile") == "on" and view["total"]["connections"] == 1 and view["total"]["time"]["waiting"] > 0
            report.check("`corelane top --json --profile` tells where the time of an idle server goes", good, done.stdout + done.stderr)
        done = _run(report, ["corelane", "top", admin, "--json", "--interval", "0.1"])
        report.check("the profile is off again afterwards", '"profile": "off"' in done.stdout, done.stdout + done.stderr)
        _is_refused(report, ["corelane", "top", server.address], 1, "is not the admin port of a corelane server")
        _is_refused(report, ["corelane", "serve", "--address", "127.0.0.1:0", "--admin", admin], 1, f"admin port cannot be opened at {admin}")
    _is_refused(report, ["corelane", "top", admin], 1, "no answer from")
    _is_refused(report, ["corelane", "top", "localhost"], 2, "is not an admin address")


def _without_io_uring(report, refusal):
    """Where the kernel refuses io_uring, epoll is taken unasked, and whoever insists is told why not."""
    prefix = [sys.executable, str(ROOT / "tests/python/without_io_uring.py"), refusal]
    if subprocess.run([*prefix, "/bin/true"], stderr=report.log).returncode == 125:
        raise Missing("seccomp filters (the kernel or the container forbids them)")
    serve = [str(program("corelane")), "serve", "--address", "127.0.0.1:0"]
    with Server(report, f"corelane without io_uring ({refusal})", words=[*prefix, *serve]) as server:
        _until(lambda: "memory per worker" in server.output)
        report.check(f"a server that {refusal} keeps from io_uring takes epoll", re.search(r"^backend: epoll$", server.output, re.M), server.output)
        protos = ["--import-path", str(ROOT / "proto"), "--proto", str(ROOT / "proto/example/v1/users.proto")]
        call = ["corelane", "call", "--plaintext", *protos, server.address, "example.v1.UserService/BatchGetUsers", "--data", '{"ids": [7]}']
        done = _run(report, call, prefix=prefix)
        report.check("and answers a client that is kept from it, too", done.returncode == 0 and '"7"' in done.stdout, done.stdout + done.stderr)
    _is_refused(report, ["corelane", *serve[1:], "--backend", "uring"], 1, "io_uring", prefix=prefix)


def _until(condition):
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def _connection(port):
    """A connection that the server has answered."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    connection.sendall(PREFACE)
    connection.recv(1)
    return connection


def _signal(report, number):
    name = signal.Signals(number).name
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0") as server, _connection(server.port):
        server.process.send_signal(number)
        try:
            code = server.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        server.ended = True
        report.check(f"{name} ends an idle server in order, its connection included", code == 0, f"exit code {code}: {server.output[-500:]}")
        report.check(f"{name} is followed by a last word", _until(lambda: "ended in order" in server.output), server.output[-500:])


def _second_signal(report):
    """A call that never ends holds the server up, until the second signal."""
    head = b"\x83\x86"  # POST, http
    for field, value in ((b":path", b"/example.v1.UserService/Chat"), (b":authority", b"x"), (b"content-type", b"application/grpc"), (b"te", b"trailers")):
        head += b"\0" + bytes([len(field)]) + field + bytes([len(value)]) + value  # a literal without indexing
    frame = len(head).to_bytes(3, "big") + b"\x01\x04" + b"\0\0\0\x01" + head
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0", "--grace", "600") as server, _connection(server.port) as connection:
        connection.sendall(frame + b"\0\0\x08\x06\0\0\0\0\0" + b"judgment")
        answer = b""
        while b"judgment" not in answer:
            answer += connection.recv(4096)
        server.process.send_signal(signal.SIGTERM)
        report.check("a server with a call in flight waits for it", _until(lambda: "shutting down" in server.output) and server.process.poll() is None,
                     server.output[-500:])
        server.process.send_signal(signal.SIGTERM)
        try:
            code = server.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        server.ended = True
        report.check("a second SIGTERM cuts the call off", code == 0, f"exit code {code}: {server.output[-500:]}")
