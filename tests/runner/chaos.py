"""Real processes under real faults: three servers that are killed, stopped and drained while one client calls them.

What our programs must understand:

    chaos-server --port PORT --journal FILE
        Serves on 127.0.0.1:PORT and prints `listening on 127.0.0.1:PORT` when it does. The port may have been served by a
        process killed a moment ago. Before it executes a call, it appends the call's id in decimal and a newline to FILE,
        in one write(2) to a file opened with O_APPEND: what was written outlives a SIGKILL. FILE may have lines already.
        SIGTERM drains: GOAWAY, calls in flight finish, exit code 0.

    chaos-client --targets static:///127.0.0.1:P1,127.0.0.1:P2,127.0.0.1:P3 --rate 2000 --seconds 60 --report FILE
        Calls through one channel at a fixed rate, whatever becomes of the calls before: open loop. Ids are 0, 1, 2…, each
        sent in its request. Then it waits for what is still in flight, writes FILE and ends with 0, also if calls failed.
        FILE has one JSON object on a line for each call:
            {"id":7,"start_ns":1,"end_ns":2,"code":0,"attempts":1,"endpoint":"127.0.0.1:P1"}
        start_ns is when the call was due, end_ns when its outcome was known, both since the Unix epoch (one reading of
        SystemTime at the start, Instant from there on). code is gRPC's number. attempts counts those that got a
        connection. endpoint is that of the last attempt, "" where there was none. Deadlines must be longer than
        STOPPED_SECONDS, as calls caught by a stop are to finish, not to fail; so its channel has to notice a stopped
        server by what it owes (least_request, say, or a slow-call breaker with probes), not by closing its connection.

CORELANE_BACKEND chooses the backend of both. Who judges, and by what rules: chaos_report.
"""

import json
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import chaos_report, chaos_selftest
from .chaos_report import Call, Fault
from .core import Failed, tail
from .judges import backends
from .server import Server, program

RATE, SECONDS = 2000, 60
FIRST_FAULT_SECONDS, PERIOD_SECONDS = 5, 6
DOWN_SECONDS = 2.5  # from the kill or the drain to the next start
STOPPED_SECONDS = 3
CLIENT_SECONDS = SECONDS + 60
DRAIN_SECONDS = 30
KINDS = ("kill", "stop", "drain")
# Below the range from which the kernel takes ports for clients: whoever connects to a dead port of that range may be
# given the very same port and then meet nobody but himself.
PORTS = range(20000, 30000)


def chaos(report):
    chaos_selftest.run(report)
    for backend in backends(report):
        with tempfile.TemporaryDirectory(prefix="corelane-chaos-") as folder:
            Run(report, backend, Path(folder)).run()


def schedule(seconds):
    """(second, kind, number of the server): every kind in turn, and every kind to every server in turn."""
    last = seconds - DOWN_SECONDS - chaos_report.RECOVERY / chaos_report.SECOND
    count = int((last - FIRST_FAULT_SECONDS) // PERIOD_SECONDS) + 1
    return [(FIRST_FAULT_SECONDS + turn * PERIOD_SECONDS, KINDS[turn % 3], (turn + turn // 3) % 3) for turn in range(count)]


def free_ports(count):
    """Ports that nobody holds now."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"there are no {count} free ports from {PORTS.start} to {PORTS.stop}")


class Node:
    """One of the servers, through all of its lives."""

    def __init__(self, report, backend, port, journal):
        self.report, self.backend, self.port, self.journal = report, backend, port, journal
        self.server = None
        self.journal.touch()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.server = Server(self.report, "chaos-server", "--port", self.port, "--journal", self.journal, backend=self.backend).__enter__()

    def kill(self):
        self.server.process.kill()

    def stop(self):
        self.server.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.server.process.send_signal(signal.SIGCONT)

    def drain(self):
        self.server.process.terminate()

    def is_drained(self):
        try:
            code = self.server.process.wait(DRAIN_SECONDS)
            self.server.reader.join(DRAIN_SECONDS)  # its last words may be those that matter
        except subprocess.TimeoutExpired:
            code = None
        good = code == 0 and "panicked" not in self.server.output
        self.report.check(f"{self.endpoint} on {self.backend} drains and ends with 0", good, f"exit code {code}: {self.server.output[-1500:]}")

    def end(self):
        """Whatever has happened, no process is left."""
        if self.server and self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()

    def executed(self):
        return [int(line) for line in self.journal.read_text().splitlines()]


class Run:
    def __init__(self, report, backend, folder):
        self.report, self.backend, self.folder = report, backend, folder
        self.nodes = [Node(report, backend, port, folder / f"journal-{port}") for port in free_ports(3)]
        self.faults = []

    def run(self):
        try:
            for node in self.nodes:
                node.start()
            lines = self.call()
            for node in self.nodes:
                node.drain()
                node.is_drained()
            self.judge([Call(**json.loads(line)) for line in lines])
        finally:
            for node in self.nodes:
                node.end()

    def call(self):
        """Runs the client, and beside it the faults; gives the lines of its report."""
        path = self.folder / "report"
        words = [program("chaos-client"), "--targets", "static:///" + ",".join(node.endpoint for node in self.nodes), "--rate", RATE,
                 "--seconds", SECONDS, "--report", path]
        begin = time.monotonic()
        result = []
        client = threading.Thread(
            target=lambda: result.extend(self.report.command(words, seconds=CLIENT_SECONDS, environment={"CORELANE_BACKEND": self.backend})))
        client.start()
        try:
            self.inflict(begin)
        finally:
            client.join()
        code, output = result
        self.report.check(f"chaos-client on {self.backend} ends with 0", code == 0, f"exit code {code}\n{tail(output)}")
        if not path.exists():
            raise Failed(f"chaos-client has written no report\n{tail(output)}")
        return path.read_text().splitlines()

    def inflict(self, begin):
        for second, kind, number in schedule(SECONDS):
            node = self.nodes[number]
            _sleep_until(begin + second)
            self.report.log.write(f"{kind} of {node.endpoint}\n")
            self.faults.append(Fault(kind, node.endpoint, time.time_ns()))
            getattr(node, kind)()
            if kind == "stop":
                _sleep_until(begin + second + STOPPED_SECONDS)
                node.resume()
                continue
            _sleep_until(begin + second + DOWN_SECONDS)
            if kind == "drain":
                node.is_drained()
            else:
                node.server.process.wait()
            node.start()

    def judge(self, calls):
        journals = [node.executed() for node in self.nodes]
        verdict = chaos_report.judge(calls, journals, self.faults, RATE * SECONDS)
        for name, good, why in verdict.checks:
            self.report.check(f"chaos on {self.backend}: {name}", good, why)
        for line in verdict.figures:
            print(f"     {self.backend}: {line}", flush=True)
            self.report.log.write(f"{line}\n")


def _sleep_until(moment):
    time.sleep(max(0, moment - time.monotonic()))
