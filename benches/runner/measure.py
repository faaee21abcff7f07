"""One measurement of each kind: a server is started, driven and ended; what comes back is a dictionary of figures.

Each is sized by its own warm-up: so many calls as take about `seconds`. A figure in microseconds is CPU time of the process under test,
user and system together, unless its name says otherwise.
"""

import contextlib
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from . import clients, peers
from .http2 import Connection
from .machine import Failed, NotMeasured, cpu_us, peak_bytes, resident_bytes
from .profile import NoRecorder, Recorder
from .server import Server

CALLS_MAX = 8_000_000
FILES = 20_000
BATCH = 64  # connections that are made at once: less than any peer's backlog
CHURN_AT_ONCE = 16
SETTLE_SECONDS = 1.0
SPIN_US = 1000
# A unary call of so many octets of payload on a warm connection: two frame heads, a header block of indices and one literal, the
# message's prefix; three frame heads, two blocks of indices.
REQUEST_OVERHEAD, RESPONSE_OVERHEAD = 50, 38


@dataclass(frozen=True)
class Shape:
    """How a load generator calls."""

    connections: int
    streams: int
    request: int = 16
    response: int = 16
    messages: int = 1


@dataclass(frozen=True)
class Bench:
    """What is common to a run."""

    server_cores: str
    client_cores: str
    seconds: float
    quick: bool
    recorder: Recorder | NoRecorder = NoRecorder()

    def server(self, peer, shape=Shape(1, 1), workers=1, extra=()):
        return Server([*peer.serve("{port}", shape.response, workers), *extra], self.server_cores)

    def sized(self, warm_up, slots):
        """How many calls take about `seconds`, after what a warm-up has shown; each slot makes some."""
        wanted = int(warm_up.calls_per_s * self.seconds)
        return max(min(wanted, CALLS_MAX), slots * 2, 10) // slots * slots


def _warm_up_calls(shape):
    slots = shape.connections * shape.streams
    work = min(20_000, 1_000 + 100 * slots) // (1 + (shape.request + shape.response) // 2048) // shape.messages
    return max(work // slots, 2) * slots


def unary(bench, peer, shape):
    """CPU time of a server for a unary call, driven by h2load."""
    slots = shape.connections * shape.streams
    with bench.server(peer, shape) as server:
        warm_up = clients.h2load(server.port, bench.client_cores, shape, calls=_warm_up_calls(shape))
        with bench.recorder.attached(server.pid):
            before = cpu_us(server.pid)
            done = clients.h2load(server.port, bench.client_cores, shape, calls=bench.sized(warm_up, slots))
            spent = cpu_us(server.pid) - before
    return {"us a call": spent / done.calls, "calls/s": done.calls_per_s}


def raw(bench, shape):
    """The same octets through bare TCP; without a path's and a frame's worth where they do not matter."""
    octets = [shape.request + REQUEST_OVERHEAD, shape.response + RESPONSE_OVERHEAD]
    slots = shape.connections * shape.streams
    with _raw_server(bench, octets) as server:
        load = lambda calls: _raw_load(bench, server, shape, calls, octets)
        warm_up = load(_warm_up_calls(shape))
        with bench.recorder.attached(server.pid):
            before = cpu_us(server.pid)
            done = load(bench.sized(warm_up, slots))
            spent = cpu_us(server.pid) - before
    return {"us a call": spent / done.calls, "calls/s": done.calls_per_s}


def _raw_server(bench, octets, extra=()):
    return Server([peers.RAW.path, "serve", "{port}", *octets, *extra], bench.server_cores)


def _raw_load(bench, server, shape, calls, octets, extra=(), prefix=()):
    words = [peers.RAW.path, "load", server.port, shape.connections, shape.streams, calls, *octets, *extra]
    return clients.own([*prefix, *words], bench.client_cores)


def load(bench, client, server, kind, shape, calls, extra=(), prefix=()):
    """Calls of any kind, by a peer's own load generator."""
    sizes = (shape.connections, shape.streams, calls, shape.request, shape.response, shape.messages)
    return clients.own([*prefix, client.path, "load", server.port, kind, *sizes, *extra], bench.client_cores)


def stream(bench, peer, kind, shape):
    """CPU time of a server for a message of a stream, driven by tonic's client."""
    slots = shape.connections * shape.streams
    with bench.server(peer, shape) as server:
        warm_up = load(bench, peers.TONIC, server, kind, shape, _warm_up_calls(shape))
        with bench.recorder.attached(server.pid):
            before = cpu_us(server.pid)
            done = load(bench, peers.TONIC, server, kind, shape, bench.sized(warm_up, slots))
            spent = cpu_us(server.pid) - before
    count = done.calls * shape.messages
    return {"us a message": spent / count, "messages/s": done.calls_per_s * shape.messages}


def client(bench, peer, shape):
    """CPU time of a client for a unary call to tonic's server. Its start is in it, and small beside so many calls."""
    slots = shape.connections * shape.streams
    with bench.server(peers.TONIC, shape) as server:
        warm_up = load(bench, peer, server, "unary", shape, _warm_up_calls(shape))
        done = load(bench, peer, server, "unary", shape, bench.sized(warm_up, slots), prefix=bench.recorder.prefix())
    return {"us a call": done.cpu_us / done.calls, "calls/s": done.calls_per_s, "p50 us": done.latency_us[0.5]}


def raw_client(bench):
    """CPU time of a blocking socket's ping-pong, a write and a read for each call."""
    shape, octets = Shape(1, 1), [16 + REQUEST_OVERHEAD, 16 + RESPONSE_OVERHEAD]
    with _raw_server(bench, octets) as server:
        warm_up = _raw_load(bench, server, shape, _warm_up_calls(shape), octets)
        done = _raw_load(bench, server, shape, bench.sized(warm_up, 1), octets, prefix=bench.recorder.prefix())
    return {"us a call": done.cpu_us / done.calls, "calls/s": done.calls_per_s, "p50 us": done.latency_us[0.5]}


def _allow_files(count):
    """Lets this process, and those that it starts, have so many connections."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if limit < count + 100:
        raise NotMeasured(f"{count} connections, and `ulimit -Hn` allows {limit} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextlib.contextmanager
def _many(port, count):
    """So many connections that have exchanged SETTINGS."""
    _allow_files(count)
    connections = []
    try:
        while len(connections) < count:
            batch = [Connection(port) for _ in range(min(BATCH, count - len(connections)))]
            connections += batch
            for connection in batch:
                connection.settle()
        yield connections
    except OSError as problem:
        raise Failed(f"connection {len(connections)} of {count}: {problem}") from problem
    finally:
        for connection in connections:
            connection.close()


def idle(bench, peer, count):
    """User memory of a connection that has exchanged SETTINGS and does nothing."""
    count = count // 10 if bench.quick else count
    with bench.server(peer) as server:
        with _many(server.port, 10):  # what the first connections bring into memory is not theirs
            pass
        time.sleep(SETTLE_SECONDS / 4)
        before = resident_bytes(server.pid)
        with _many(server.port, count):
            time.sleep(SETTLE_SECONDS)
            grown = resident_bytes(server.pid) - before
    return {"bytes a connection": grown / count, "MiB in all": grown / 2**20}


def parked(bench, peer, count, calls):
    """User memory of a connection with so many chats open, each of which has had one message each way."""
    count = max(count // 5, 1) if bench.quick else count
    with bench.server(peer) as server:
        with _many(server.port, 2) as few:
            for connection in few:
                connection.park(calls)
                connection.await_replies(calls)
        time.sleep(SETTLE_SECONDS / 4)
        before = resident_bytes(server.pid)
        with _many(server.port, count) as connections:
            for connection in connections:
                connection.park(calls)
                connection.await_replies(calls)
            time.sleep(SETTLE_SECONDS / 2)
            grown = resident_bytes(server.pid) - before
    return {"KiB a connection": grown / count / 1024, "bytes a call": grown / count / calls}


def _spin_words(spins, peer):
    if not spins:
        return ()
    if peer is peers.RAW:
        return ("--spin",)
    usage = clients.usage(peer.path)
    if "--spin" not in usage:
        raise NotMeasured(f"{peer.name}'s bench peer has no --spin")
    return ("--spin", SPIN_US)


def ping_pong(bench, server_peer, client_peer, server_spins, client_spins):
    """Latency of one call at a time on one connection."""
    shape = Shape(1, 1)
    on_server, on_client = _spin_words(server_spins, server_peer), _spin_words(client_spins, client_peer)
    octets = [16 + REQUEST_OVERHEAD, 16 + RESPONSE_OVERHEAD]
    if server_peer is peers.RAW:
        context, drive = _raw_server(bench, octets, on_server), lambda calls: _raw_load(bench, server, shape, calls, octets, on_client)
    else:
        words = [*server_peer.serve("{port}"), *(["1", *on_server] if on_server else [])]
        context = Server(words, bench.server_cores)
        drive = lambda calls: load(bench, client_peer, server, "unary", shape, calls, on_client)
    with context as server:
        warm_up = drive(_warm_up_calls(shape) // 4)
        with bench.recorder.attached(server.pid):
            done = drive(bench.sized(warm_up, 1))
    return {"p50 us": done.latency_us[0.5], "p99 us": done.latency_us[0.99], "p99.9 us": done.latency_us[0.999]}


def paced(bench, peer, shape, rate, seconds):
    """Latency under a rate that every peer can serve. h2load sends each connection's share in bursts, and so the floor has a tail, too."""
    with bench.server(peer, shape) as server:
        clients.h2load(server.port, bench.client_cores, shape, calls=5_000)
        before = cpu_us(server.pid)
        done = clients.h2load(server.port, bench.client_cores, shape, rate=rate, seconds=1 if bench.quick else seconds)
        spent = cpu_us(server.pid) - before
    q = done.latency_us
    return {"p99.9 us": q[0.999], "p99 us": q[0.99], "p50 us": q[0.5], "us a call": spent / done.calls, "calls/s": done.calls_per_s}


def crowd(bench, peer, count):
    """Latency and memory of a server of which each of many connections asks for one call a second, at times of its own."""
    count = count // 10 if bench.quick else count
    words = ["taskset", "-c", bench.client_cores, peers.GENERATOR.path, "bench", "-c", count, "-s", 1, "--workers", 1, "--rate", count,
             "--warm-up", "4s", "-z", "2s" if bench.quick else "8s", "--request-size", 16, "--response-size", 16, "--json", "--no-progress"]
    _allow_files(count)
    with bench.server(peer) as server:
        said = clients.said([*words, f"127.0.0.1:{server.port}"])
        resident = peak_bytes(server.pid)
    if said["calls"]["succeeded"] < said["calls"]["total"] or said["calls"]["not_sent"]:
        raise Failed(f"corelane bench: not every call succeeded: {said['calls']}")
    latency_us = {each["percent"]: each["ns"] / 1000 for each in said["latency_ns"]["percentiles"]}
    return {"p99 us": latency_us[99.0], "p50 us": latency_us[50.0], "peak MiB": resident / 2**20}


def churn(bench, peer):
    """CPU time of a server for a connection that lives for one call; its inverse is what one core can serve."""
    with bench.server(peer) as server:
        drive = lambda count: clients.own([peers.RAW.path, "churn", server.port, count, CHURN_AT_ONCE], bench.client_cores)
        warm_up = drive(200)
        with bench.recorder.attached(server.pid):
            before = cpu_us(server.pid)
            done = drive(min(bench.sized(warm_up, 1), 12_000))  # each leaves a port in TIME_WAIT
            spent = cpu_us(server.pid) - before
    return {"us a connection": spent / done.calls, "connections/s of one core": done.calls * 1e6 / spent, "connections/s here": done.calls_per_s}


def workers(bench, peer, shape, count, server_cores, client_cores):
    """Throughput with so many workers. Where client and server share cores it says little, and CPU time has to do."""
    threads = len(client_cores.split(","))
    with Server(peer.serve("{port}", shape.response, count), server_cores) as server:
        warm_up = clients.h2load(server.port, client_cores, shape, calls=_warm_up_calls(shape), threads=threads)
        with bench.recorder.attached(server.pid):
            before = cpu_us(server.pid)
            done = clients.h2load(server.port, client_cores, shape, calls=bench.sized(warm_up, shape.connections * shape.streams), threads=threads)
            spent = cpu_us(server.pid) - before
    return {"us of time a call": 1e6 / done.calls_per_s, "us a call": spent / done.calls, "calls/s": done.calls_per_s}


def apart(bench, peer, shape, server_cores, client_cores):
    """As `workers`, of as many processes with one worker each: they share nothing that two workers of one process could."""
    cores = server_cores.split(",")
    part = replace(shape, connections=shape.connections // len(cores))
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(cores)) as together:
        servers = [stack.enter_context(Server(peer.serve("{port}", shape.response), core)) for core in cores]
        drive = lambda calls: list(together.map(lambda server: clients.h2load(server.port, client_cores, part, calls=calls), servers))
        warm_up = drive(_warm_up_calls(part))
        before = sum(cpu_us(server.pid) for server in servers)
        done = drive(bench.sized(warm_up[0], part.connections * part.streams))
        spent = sum(cpu_us(server.pid) for server in servers) - before
    calls, calls_per_s = sum(each.calls for each in done), sum(each.calls_per_s for each in done)
    return {"us of time a call": 1e6 / calls_per_s, "us a call": spent / calls, "calls/s": calls_per_s}
