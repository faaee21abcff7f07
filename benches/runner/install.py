"""Installs Debian packages that are missing."""

import functools
import os
import shutil
import subprocess

from .machine import Failed, NotMeasured, tail

INSTALL_SECONDS = 900


def _run(words):
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(words)}: no end after {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: exit code {done.returncode}\n{tail(done.stdout)}")


@functools.cache
def _sudo():
    """What apt-get is called through, its lists fresh; None where it cannot be used."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        return None
    _run([*sudo, "apt-get", "update", "-q"])
    return sudo


def packages(*names):
    """Installs Debian packages."""
    sudo = _sudo()
    if sudo is None:
        raise NotMeasured(f"needs {', '.join(names)}, and there is no apt-get or no right to use it; install it by hand")
    _run([*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", *names])


@functools.cache
def debian(program, package):
    """The path of a program, whose Debian package is installed if it is not there."""
    if not shutil.which(program):
        packages(package)
    found = shutil.which(program)
    if not found:
        raise Failed(f"package {package} has brought no {program}")
    return found


@functools.cache
def library(name, *names):
    """Sees to it that pkg-config knows a library; `names` are the Debian packages that bring it."""
    finder = debian("pkg-config", "pkg-config")
    if subprocess.run([finder, "--exists", name]).returncode != 0:
        packages(*names)


def toolchain(program, hint):
    """The path of a program that we do not install."""
    found = shutil.which(program)
    if not found:
        raise NotMeasured(f"needs {program}: {hint}")
    return found
