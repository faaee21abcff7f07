"""Installs what is missing, once, and says where it is. Every version is pinned."""

import functools
import hashlib
import os
import shutil
import subprocess

from .core import JUDGES, LOGS, ROOT, Failed, Missing, tail

GO_BIN = JUDGES / "bin"
VENV = JUDGES / "venv"
REQUIREMENTS = ROOT / "tests/requirements.txt"
# `go install` takes these with the versions of their own go.mod. h2spec has none, so ours pins what it is built from.
GO_TOOLS = {
    "interop-client": "google.golang.org/grpc/interop/client@v1.85.0",
    "interop-server": "google.golang.org/grpc/interop/server@v1.85.0",
    "http2-client": "google.golang.org/grpc/interop/http2@v1.85.0",
    "connectconformance": "connectrpc.com/conformance/cmd/connectconformance@v1.0.5",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
}
H2SPEC = ROOT / "tests/judges/h2spec"
INSTALL_SECONDS = 900


def _run(words, why, environment=None, cwd=ROOT):
    try:
        done = subprocess.run(words, cwd=cwd, env=os.environ | (environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"{why}: no end after {INSTALL_SECONDS} s") from None
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "install.log").open("a") as log:
        log.write(f"$ {' '.join(map(str, words))}\n{done.stdout}\n")
    if done.returncode != 0:
        raise Failed(f"{why}: exit code {done.returncode}\n{tail(done.stdout)}")


@functools.cache
def _apt_updated():
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        return None
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    _run([*sudo, "apt-get", "update", "-q"], "apt-get update", environment)
    return sudo


@functools.cache
def debian(program, package):
    """A program of a Debian package, installed if it is not there."""
    found = shutil.which(program)
    if found:
        return found
    sudo = _apt_updated()
    if sudo is None:
        raise Missing(f"{program} (no apt-get, or no right to use it)")
    _run([*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", package], f"apt-get install {package}",
         {"DEBIAN_FRONTEND": "noninteractive"})
    found = shutil.which(program)
    if not found:
        raise Failed(f"package {package} has brought no {program}")
    return found


@functools.cache
def go_tool(name):
    """A Go program: `h2spec` or one of GO_TOOLS."""
    go = shutil.which("go")
    if not go:
        raise Missing("go")
    where = GO_BIN / name
    source = GO_TOOLS.get(name) or hashlib.sha256((H2SPEC / "go.sum").read_bytes()).hexdigest()
    stamp = GO_BIN / f".{name}"
    if where.exists() and stamp.exists() and stamp.read_text() == source:
        return where
    scratch = GO_BIN / f"install-{name}"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = {"GOBIN": str(scratch), "GOWORK": "off", "CGO_ENABLED": "0"}
    if name in GO_TOOLS:
        _run([go, "install", source], f"go install {source}", environment)
    else:
        _run([go, "install", "tool"], f"go install {name}", environment, cwd=H2SPEC)
    (built,) = scratch.iterdir()
    built.replace(where)
    scratch.rmdir()
    stamp.write_text(source)
    return where


@functools.cache
def python():
    """The interpreter of an environment that holds requirements.txt."""
    interpreter = VENV / "bin/python"
    stamp = VENV / ".requirements"
    wanted = REQUIREMENTS.read_text()
    if not (interpreter.exists() and stamp.exists() and stamp.read_text() == wanted):
        system = shutil.which("python3")
        if not system:
            raise Missing("python3")
        probe = subprocess.run([system, "-c", "import venv, ensurepip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if probe.returncode != 0:
            # Debian splits these modules from python3 itself.
            sudo = _apt_updated()
            if sudo is None:
                raise Missing("python3-venv (no apt-get, or no right to use it)")
            _run([*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", "python3-venv"], "apt-get install python3-venv")
        _run([system, "-m", "venv", "--clear", str(VENV)], "python3 -m venv")
        _run([str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(REQUIREMENTS)], "pip install")
        stamp.write_text(wanted)
    return interpreter


def cargo():
    found = shutil.which("cargo")
    if not found:
        raise Missing("cargo")
    return found
