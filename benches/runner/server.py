"""A server under test, pinned to its cores."""

import socket
import subprocess
import tempfile
import time

from .machine import Failed, tail

START_SECONDS = 20
START_SECONDS_VALGRIND = 120


class Server:
    """A process that listens on a port of the loopback; a context manager. `{port}` in its words is filled in."""

    def __init__(self, words, cores, environment=None, seconds=START_SECONDS):
        self.port = _free_port()
        self.words = ["taskset", "-c", cores, *(str(word).replace("{port}", str(self.port)) for word in words)]
        self.environment, self.seconds = environment, seconds

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.words, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        why = "does not listen" if self.process.poll() is None else f"ended with {self.process.returncode}"
        output = self.output()
        self.__exit__()
        raise Failed(f"the server {why}: {' '.join(self.words)}: {tail(output, 4)}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def output(self):
        self.log.seek(0)
        return self.log.read()

    @property
    def pid(self):
        return self.process.pid


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
