"""Who takes part: how each peer is built, started and tuned."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Callable

from . import install
from .machine import LOGS, PEERS, ROOT, TARGET, Failed, tail

FOLDER = ROOT / "benches/peers"
BUILD_SECONDS = 3600
KINDS = ("unary", "download", "upload", "chat")
GO_PACKAGE = "corelane/benches/peers/grpc-go"


@dataclass(frozen=True)
class Peer:
    name: str
    tuning: str
    build: Callable[[], None]
    program: str  # below TARGET
    kinds: tuple = KINDS

    @property
    def path(self):
        return TARGET / self.program

    def serve(self, port, response_size=16, workers=1):
        """The words that start its server on 127.0.0.1."""
        words = [str(self.path), "serve", str(port)]
        if self.name == "floor":
            return [*words, str(response_size)]
        return words if workers == 1 else [*words, str(workers)]


def _run(name, words, cwd, environment=None):
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"build-{name}.log"
    words = [str(word) for word in words]
    with log.open("a") as out:
        out.write(f"$ {' '.join(words)}\n")
        out.flush()
        try:
            done = subprocess.run(words, cwd=cwd, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(words)}: no end after {BUILD_SECONDS} s; see {log}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)} in {cwd}: exit code {done.returncode}\n{tail(log.read_text(errors='replace'))}")


def _cargo():
    return install.toolchain("cargo", "https://rustup.rs")


def _build_ours():
    _run("corelane", [_cargo(), "build", "--release", "--locked", "-p", "corelane-benches", "--bin", "bench-peer"], ROOT)


def _build_tools():
    _run("corelane-bench", [_cargo(), "build", "--release", "--locked", "-p", "corelane-tools"], ROOT)


def _build_cargo_peer(package):
    environment = {"CARGO_TARGET_DIR": str(PEERS)}
    if package == "peer-pajamax":
        environment["PROTOC"] = install.debian("protoc", "protobuf-compiler")
    _run(package, [_cargo(), "build", "--release", "--locked", "-p", package], FOLDER, environment)


def _build_go():
    """Generates and builds below TARGET, so that the folder in the repository holds what was written by hand."""
    go = install.toolchain("go", "https://go.dev/dl, 1.26 or later")
    protoc = install.debian("protoc", "protobuf-compiler")
    work, tools = PEERS / "grpc-go", PEERS / "grpc-go/tools"
    tools.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum", "main.go"):
        shutil.copyfile(FOLDER / "grpc-go" / name, work / name)
    _run("grpc-go", [go, "install", "tool"], work, {"GOBIN": str(tools), "GOWORK": "off", "CGO_ENABLED": "0"})
    options = f"module={GO_PACKAGE},Mbench/v1/bench.proto={GO_PACKAGE}/benchpb"
    _run("grpc-go", [protoc, "-I", ROOT / "proto", f"--plugin={tools}/protoc-gen-go", f"--plugin={tools}/protoc-gen-go-grpc",
                     "--go_out=.", f"--go_opt={options}", "--go-grpc_out=.", f"--go-grpc_opt={options}", "bench/v1/bench.proto"], work)
    _run("grpc-go", [go, "build", "-mod=readonly", "-trimpath", "-o", "peer-grpc-go", "."], work, {"GOWORK": "off", "CGO_ENABLED": "0"})


def _build_cpp():
    install.debian("make", "make")
    install.debian("c++", "g++")
    install.debian("protoc", "protobuf-compiler")
    install.debian("grpc_cpp_plugin", "protobuf-compiler-grpc")
    install.library("grpc++", "libgrpc++-dev")
    install.library("jemalloc", "libjemalloc-dev")
    _run("grpc-cpp", ["make", f"OUT={PEERS / 'grpc-cpp'}"], FOLDER / "grpc-cpp")


CORELANE = Peer("corelane", "release profile of this workspace (fat LTO), mimalloc, default limits, the backend it chooses itself", _build_ours,
                "release/bench-peer")
FLOOR = Peer("floor", "HTTP/2 frames with canned replies, no HPACK, no protobuf, no handler, no flow control; monoio on one ring with COOP_TASKRUN",
             lambda: _build_cargo_peer("peers-floor"), "peers/release/peer-floor", ("unary",))
RAW = Peer("raw TCP", "so many octets each way, no frames; the server as the floor's, the client blocking sockets",
           lambda: _build_cargo_peer("peers-floor"), "peers/release/peer-raw", ())
TONIC = Peer("tonic", "0.14, a current_thread runtime for each core with SO_REUSEPORT, TCP_NODELAY, mimalloc, fat LTO",
             lambda: _build_cargo_peer("peer-tonic"), "peers/release/peer-tonic")
PAJAMAX = Peer("pajamax", "0.3, a thread for each connection, mimalloc, fat LTO; no flow control, no PING or SETTINGS replies",
               lambda: _build_cargo_peer("peer-pajamax"), "peers/release/peer-pajamax", ("unary",))
GRPC_GO = Peer("grpc-go", "1.85, NumStreamWorkers, SharedWriteBuffer, 8 MiB windows, GOMAXPROCS = workers", _build_go, "peers/grpc-go/peer-grpc-go")
GRPC_CPP = Peer("gRPC C++", "Debian's libgrpc++, asynchronous interface, a completion queue for each thread, throughput target, jemalloc, -O3",
                _build_cpp, "peers/grpc-cpp/peer-grpc-cpp")
GENERATOR = Peer("corelane bench", "the load generator of this repository's tools, for row 23", _build_tools, "release/corelane", ())
ALL = (FLOOR, RAW, CORELANE, GENERATOR, PAJAMAX, GRPC_CPP, GRPC_GO, TONIC)


def build(say):
    """Builds all; returns why a peer's name is missing, for those that could not be built."""
    missing = {}
    for peer in ALL:
        say(f"building {peer.name}")
        try:
            peer.build()
        except Exception as problem:  # one that cannot be built must not keep the others from being measured
            missing[peer.name] = f"not built: {problem}"
            say(f"  {missing[peer.name]}")
    return missing


def are_there():
    """Why a peer is missing, if nothing is built now."""
    return {peer.name: f"not built: {peer.path} is not there; run without --no-build" for peer in ALL if not peer.path.exists()}
