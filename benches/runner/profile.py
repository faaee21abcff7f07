"""Where a process under test spends its CPU time: sampled stacks of the measured part of a row, summed by component.

`perf` samples the process's CPU clock; a sample belongs to the function it fell into, as the compiler left it: what was inlined counts for
the function around it. A component's share times the row's CPU time for a call says what the component costs a call, and so what stands
between two processes that do the same work.
"""

import contextlib
import re
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from . import install
from .machine import Failed, tail

SAMPLES_PER_S = 4_999
ATTACH_SECONDS = 0.5
STOP_SECONDS = 60
# A kernel sample belongs to the first of these that its stack has.
KERNEL = (
    ("kernel: send", r"tcp_sendmsg|sock_sendmsg|io_send|unix_stream_sendmsg"),
    ("kernel: receive", r"tcp_recvmsg|sock_recvmsg|io_recv|unix_stream_read"),
    ("kernel: connections", r"inet_csk_accept|do_accept|io_accept|tcp_close|__sock_release|inet_shutdown|__fput|tcp_v4_connect|io_connect"),
    ("kernel: memory", r"asm_exc_page_fault|exc_page_fault|do_user_addr_fault|madvise"),
    ("kernel: wait and wake", r"schedule|epoll_wait|ep_poll|io_cqring_wait|eventfd|futex|try_to_wake_up"),
    ("kernel: the rest", r""),
)
# A user sample belongs to the first of these that its function matches.
USER = (
    ("copies (memcpy and its kin)", r"^_*mem(cpy|move|set|cmp)|^__mem"),
    ("allocator", r"^_?mi_|malloc|calloc|^_*c?free|^_int_free|__rust_(de|re)?alloc|mimalloc|jemalloc|^je_|alloc::raw_vec"),
    ("protobuf", r"prost::|<bench::|bench\.v1|bench_v1|corelane_benches::proto"),
    ("HPACK", r"hpack|corelane_wire::field"),
    ("HTTP/2", r"corelane_wire|^h2::|h2::"),
    ("messages", r"corelane_call"),
    ("calls", r"corelane_server|corelane_client|corelane_policy|tonic|tower|axum|hyper|http_body|^http::"),
    ("runtime and driver", r"corelane_runtime|corelane_memory|corelane_observe|monoio|io_uring|tokio|mio::|std::|core::|alloc::"),
    ("the rest of user code", r""),
)
COMPONENTS = [name for name, _ in (*KERNEL, *USER)]


class Recorder:
    """Samples what it is told to."""

    def __init__(self):
        self.perf = install.debian("perf", "linux-perf")
        self.folder = tempfile.TemporaryDirectory(prefix="corelane-")
        self.file = Path(self.folder.name) / "samples"
        self.words = [self.perf, "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-g", "-o", str(self.file)]

    @contextlib.contextmanager
    def attached(self, pid):
        """Samples a process that runs, as long as this lasts."""
        watcher = subprocess.Popen([*self.words, "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            watcher.wait(ATTACH_SECONDS)
            raise Failed(f"perf does not attach: {tail(watcher.stderr.read(), 2)}")
        except subprocess.TimeoutExpired:
            pass
        try:
            yield
        finally:
            watcher.send_signal(signal.SIGINT)
            watcher.communicate(timeout=STOP_SECONDS)

    def prefix(self):
        """The words in front of a program that is sampled from its start."""
        return [*self.words, "--"]

    def shares(self):
        """What part of all samples each component has."""
        words = [self.perf, "script", "-i", str(self.file), "-F", "ip,sym,dso"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        counted = Counter(component(stack.splitlines()) for stack in done.stdout.split("\n\n") if stack.strip())
        if not counted:
            raise Failed(f"perf has no samples: {tail(done.stderr, 3)}")
        return {name: count / counted.total() for name, count in counted.items()}


class NoRecorder:
    """Leaves alone what is measured."""

    @contextlib.contextmanager
    def attached(self, _pid):
        yield

    def prefix(self):
        return []


def component(stack):
    """The component of a sample, from its frames, innermost first."""
    frames = [re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", frame) for frame in stack]
    frames = [(found[1], found[2]) for found in frames if found]
    if not frames:
        return USER[-1][0]
    function, where = frames[0]
    if "[kernel" in where or where.startswith("[") and "vdso" not in where:
        inside = " ".join(name for name, place in frames if place.startswith("["))
        return next(name for name, pattern in KERNEL if re.search(pattern, inside))
    return next(name for name, pattern in USER if re.search(pattern, function))


def write(found, machine, command, path):
    """`found`: rows, each with what its entrants' components cost, in the row's unit; writes a table for each row."""
    lines = [f"# Where the time of {path.stem.removesuffix('-profile')} goes", "",
             f"Written by `{command}`: `perf` samples the CPU clock of the process under test, {SAMPLES_PER_S:,} times a second, while it is measured "
             "as the row says. A figure is a component's share of the samples times the process's CPU time for a call or message (in row 15, "
             "where it never sleeps, times the latency; in row 22, on four cores and more, times the time for a call); what the compiler has inlined counts for the function around it. The sampling itself is in "
             "the sums.", "",
             "| machine | |", "|---|---|", *(f"| {key} | {value} |" for key, value in machine.items()), ""]
    for row, entrants in found:
        lines += [f"## {row.number}. {row.title}", "", "| " + " | ".join(["us", *entrants]) + " |", "|---" * (len(entrants) + 1) + "|"]
        for name in COMPONENTS:
            costs = [costs.get(name, 0) for costs in entrants.values()]
            if any(costs):
                lines.append(f"| {name} | " + " | ".join(f"{cost:.3f}" if cost else "" for cost in costs) + " |")
        sums = [sum(costs.values()) for costs in entrants.values()]
        lines += ["| **all** | " + " | ".join(f"**{cost:.3f}**" for cost in sums) + " |", ""]
    path.write_text("\n".join(lines))
