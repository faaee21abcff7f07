"""Programs of ours that a judge talks to."""

import os
import re
import signal
import subprocess
import threading

from .core import ROOT, TARGET, Failed, Missing

PROGRAMS = TARGET / "release"
START_SECONDS = 20
STOP_SECONDS = 30


def program(name):
    path = PROGRAMS / name
    if not path.exists():
        raise Failed(f"{path} is not built; run the stage `build` first")
    return path


def io_uring_is_allowed():
    """Containers often forbid io_uring; then its half of the judges cannot be run here."""
    number_of_setup = 425  # io_uring_setup(2), the same on every architecture
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(number_of_setup, 0, None)
    return ctypes.get_errno() not in (1, 38)  # EPERM, ENOSYS


class Server:
    """A server on a free port of the loopback; a context manager. Leaving it is a check too: SIGTERM must end it cleanly."""

    def __init__(self, report, name, *arguments, backend=None, ends_by="its own choice", words=None):
        self.report, self.name, self.backend = report, name, backend
        self.code_wanted = 0 if ends_by == "its own choice" else -signal.SIGTERM
        self.ended = False  # set by whoever has ended the server and checked how it took that
        self.words = list(map(str, words or [program(name), *arguments]))
        self.environment = {"CORELANE_BACKEND": backend} if backend else {}
        self.output = ""
        self.port = 0

    def __enter__(self):
        if self.backend == "uring" and not io_uring_is_allowed():
            raise Missing("io_uring (the kernel or the container forbids it)")
        environment = os.environ | self.environment
        self.report.log.write(f"$ {' '.join(self.words)} (backend {self.backend or 'auto'})\n")
        self.process = subprocess.Popen(self.words, cwd=ROOT, env=environment, text=True, errors="replace", bufsize=1,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.listening.wait(START_SECONDS) or not self.port:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not start: {self.output[-500:]}")
        return self

    def _read(self):
        for line in self.process.stdout:
            self.output += line
            self.report.log.write(f"{self.name}: {line}")
            found = re.search(r"listening on \S*:(\d+)", line)
            if found and not self.port:
                self.port = int(found.group(1))
                self.listening.set()
        self.listening.set()  # the end: whoever waits need not wait longer

    def __exit__(self, kind, _error, _trace):
        died = self.process.poll()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.reader.join(STOP_SECONDS)
        if kind is None:
            self._judge(died, code)

    def _judge(self, died, code):
        label, end = f"{self.name} on {self.backend or 'auto'}", self.output[-1500:]
        if not self.ended:
            self.report.check(f"{label} outlives its judge", died is None, f"it ended with {died}: {end}")
            self.report.check(f"{label} ends cleanly on SIGTERM", code == self.code_wanted, f"exit code {code}: {end}")
        self.report.check(f"{label} did not panic", "panicked" not in self.output, end)
        if self.backend:
            told = re.search(rf"^backend: {self.backend}$|backend={self.backend}\b", self.output, re.M)
            self.report.check(f"{label} runs on the backend it was told", told, end)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Foreign(Server):
    """A server of somebody else's for a client of ours. It must outlive its clients; how it ends is its own affair."""

    def __init__(self, report, name, words, environment=None):
        super().__init__(report, name, words=words)
        self.environment = environment or {}

    def _judge(self, died, _code):
        self.report.check(f"{self.name} outlives our client", died is None, f"it ended with {died}: {self.output[-1500:]}")
