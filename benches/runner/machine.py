"""The machine: what it is, what a process has used of it, and the folders of this repository."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Cargo runs in ROOT: a relative directory is meant from there, and an absolute one replaces it.
TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")
PEERS = TARGET / "peers"
LOGS = PEERS / "logs"
RESULTS = ROOT / "benches/results"


class Failed(Exception):
    """Something did not work; the text says what, and where it can be said, what to do."""


class NotMeasured(Exception):
    """A figure that cannot be had here; the text says why."""


def tail(text, lines=12):
    return "\n".join(text.strip().splitlines()[-lines:])


def cores():
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def cpu_us(pid):
    """CPU time of a process so far, user and system, in microseconds; threads that have ended are in it.

    The kernel's clock of the process, which is what /proc shows, without /proc's rounding to hundredths of a second.
    """
    kernel_clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    try:
        return time.clock_gettime(kernel_clock) * 1e6
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    """User memory: what of the process is in RAM."""
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid):
    """User memory at its largest so far."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid, key):
    return int(re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def _output(*words):
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _first_line(text):
    return text.splitlines()[0] if text else "?"


def description():
    """What a reader needs to know of the machine, in order."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    os_name = re.search(r'PRETTY_NAME="(.+)"', Path("/etc/os-release").read_text()) if Path("/etc/os-release").exists() else None
    changed = " with changes that are not committed" if _output("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "commit": (_output("git", "rev-parse", "--short=12", "HEAD") or "?") + changed,
        "CPU": model.group(1) if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory.group(1)) / 2**20:.1f} GiB" if memory else "?",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": os_name.group(1) if os_name else "?",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "rustc": _first_line(_output("rustc", "--version")),
        "Go": _first_line(_output("go", "version")),
        "C++": _first_line(_output("c++", "--version")),
        "gRPC C++": _output("pkg-config", "--modversion", "grpc++") or "?",
        "h2load": _first_line(_output("h2load", "--version")),
    }
