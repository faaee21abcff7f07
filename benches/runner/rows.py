"""The rows: what is measured, on whom, and what the goal is. Their numbers are fixed; results of different days are compared by them."""

from dataclasses import dataclass
from functools import partial
from typing import Callable

from . import counted, measure
from .goals import Goal, at_most, of_class, part, times
from .machine import cores
from .measure import Shape
from .peers import CORELANE, FLOOR, GENERATOR, GRPC_CPP, GRPC_GO, PAJAMAX, RAW, TONIC

GRPC = (CORELANE, GRPC_CPP, GRPC_GO, TONIC)
SERVERS = (FLOOR, CORELANE, PAJAMAX, GRPC_CPP, GRPC_GO, TONIC)
BUT_PAJAMAX = (FLOOR, CORELANE, GRPC_CPP, GRPC_GO, TONIC)
THREADS = "Without pajamax, whose thread for each connection takes hundreds of KiB: 5,000 of them would fill a small machine."
WINDOWS = "Without pajamax, which breaks the connection here: it sends past the client's windows."
ONE_FRAME = "Without pajamax, which wants each message in one DATA frame."
CONNECTIONS_IDLE, CONNECTIONS_PARKED, CALLS_PARKED, CROWD = 5_000, 50, 100, 10_000


@dataclass(frozen=True)
class Row:
    number: int
    title: str
    figure: str  # the key of the figure that the goal is about
    entrants: dict[str, Callable]  # from a name to what measures it, given the Bench
    needs: dict[str, tuple]  # from a name to the peers it needs built
    goals: tuple[Goal, ...] = ()
    beyond: tuple[Goal, ...] = ()
    note: str = ""
    once: bool = False  # counts do not vary: one round is enough
    sampled: tuple[str, ...] = (FLOOR.name, RAW.name, CORELANE.name, TONIC.name)  # by --profile, of the entrants


def _row(number, title, figure, entrants, **rest):
    """`entrants`: name, peers needed, what measures it."""
    measures = {name: body for name, _, body in entrants}
    return Row(number, title, figure, measures, {name: needed for name, needed, _ in entrants}, **rest)


def _unary(shape, servers=SERVERS, bare=False):
    entrants = [(peer.name, (peer,), partial(measure.unary, peer=peer, shape=shape)) for peer in servers]
    return [(RAW.name, (RAW,), partial(measure.raw, shape=shape)), *entrants] if bare else entrants


def _stream(kind, shape):
    return [(peer.name, (peer, TONIC), partial(measure.stream, peer=peer, kind=kind, shape=shape)) for peer in GRPC]


def _each(servers, body, **arguments):
    return [(peer.name, (peer,), partial(body, peer=peer, **arguments)) for peer in servers]


def _client(shape):
    return [(peer.name, (peer, TONIC), partial(measure.client, peer=peer, shape=shape)) for peer in (CORELANE, TONIC)]


def _ping_pong():
    def entrant(peer, client, name, *spins):
        body = partial(measure.ping_pong, server_peer=peer, client_peer=client, server_spins=spins[0], client_spins=spins[1])
        return f"{peer.name}, {name}", (peer, client), body

    spinning = [entrant(peer, peer, name, *spins) for peer in (RAW, CORELANE)
                for name, spins in (("both spin", (True, True)), ("server spins", (True, False)), ("nobody spins", (False, False)))]
    return [*spinning, entrant(GRPC_CPP, CORELANE, "nobody spins", False, False), entrant(GRPC_GO, CORELANE, "nobody spins", False, False),
            entrant(TONIC, TONIC, "nobody spins", False, False)]


def _system_calls():
    return [(f"{peer.name}, depth {depth}", (peer,), partial(counted.system_calls, peer=peer, shape=Shape(1, depth)))
            for depth in (1, 100) for peer in (FLOOR, *GRPC)]


def _workers():
    """On four cores and more each side has two of its own. With fewer they share two, and only CPU time says anything."""
    usable = [str(core) for core in cores()]
    if len(usable) < 2:
        return []
    servers, clients = (",".join(usable[:2]), ",".join(usable[2:4])) if len(usable) >= 4 else (",".join(usable[:2]),) * 2
    where = {"shape": Shape(20, 50), "server_cores": servers, "client_cores": clients}
    apart = [(f"{CORELANE.name}, 2 processes", (CORELANE,), partial(measure.apart, peer=CORELANE, **where))]
    return apart + [(f"{peer.name}, {name}", (peer,), partial(measure.workers, peer=peer, count=count, **where))
                    for peer in (CORELANE, TONIC) for count, name in ((1, "1 worker"), (2, "2 workers"))]


def _workers_goals():
    return (Goal("1.9 x one worker's throughput", 1 / 1.9, "corelane, 1 worker", "corelane, 2 workers"),) if len(cores()) >= 4 else ()


WORKERS_NOTE = "Two processes with a worker each share nothing: what two workers of one take beyond these, they cost each other. " + (
    "Two cores for the server, two others for h2load." if len(cores()) >= 4 else
    "**The goal is not measured**: it takes four cores, two for the workers and two for the client, and this machine has fewer. What is shown is "
    "with server and client on the same two cores: throughput says nothing of scaling then, and only CPU time for a call can be compared.")
UNARY_US, MESSAGE_US = "us a call", "us a message"

ALL = (
    _row(1, "unary, 16 B, 10 connections x 100 calls", UNARY_US, _unary(Shape(10, 100)),
         goals=(times(1.8, "floor"), part(11, "tonic")), beyond=(times(1, "pajamax"),)),
    _row(2, "unary, 16 B, 50 x 20", UNARY_US, _unary(Shape(50, 20)), goals=(times(1.3, "floor"), part(5, "tonic")), beyond=(times(1.1, "floor"),)),
    _row(3, "unary, 16 B, 100 x 1", UNARY_US, _unary(Shape(100, 1)), goals=(times(1.1, "floor"),), beyond=(times(1.05, "floor"),)),
    _row(4, "unary, 1 KiB both ways, 10 x 100", UNARY_US, _unary(Shape(10, 100, 1024, 1024), BUT_PAJAMAX),
         goals=(times(1.6, "floor"), part(8, "tonic")), beyond=(times(1.3, "floor"),), note=WINDOWS),
    _row(5, "unary, 16 KiB both ways, 4 x 8", UNARY_US, _unary(Shape(4, 8, 16384, 16384), BUT_PAJAMAX, bare=True),
         goals=(of_class(8.0, 12.7),), beyond=(of_class(7.2, 12.7),), note=ONE_FRAME),
    _row(6, "unary, 1 MiB both ways, 4 x 8", UNARY_US, _unary(Shape(4, 8, 1 << 20, 1 << 20), BUT_PAJAMAX, bare=True),
         goals=(of_class(400, 740),), beyond=(of_class(320, 740),), note=ONE_FRAME),
    _row(7, "download, 16 B a message, 1,000 a call, 1 x 4", MESSAGE_US, _stream("download", Shape(1, 4, 16, 16, 1000)),
         goals=(of_class(0.06, 0.17),), beyond=(of_class(0.04, 0.17),)),
    _row(8, "download, 1 KiB a message, 1,000 a call, 1 x 4", MESSAGE_US, _stream("download", Shape(1, 4, 16, 1024, 1000)),
         goals=(of_class(0.25, 0.50),), beyond=(of_class(0.20, 0.50),)),
    _row(9, "chat, 16 B a message, 1,000 a call, 1 x 4", MESSAGE_US, _stream("chat", Shape(1, 4, 16, 16, 1000)),
         goals=(of_class(0.08, 0.20),), beyond=(of_class(0.05, 0.20),)),
    _row(10, "upload, 1 KiB a message, 1,000 a call, 1 x 4", MESSAGE_US, _stream("upload", Shape(1, 4, 1024, 16, 1000)),
         goals=(of_class(0.18, 0.30),), beyond=(of_class(0.12, 0.30),)),
    _row(11, "client, unary 16 B, 1 x 100, to tonic's server", UNARY_US, _client(Shape(1, 100)),
         goals=(part(9, "tonic"),), beyond=(part(14, "tonic"),)),
    _row(12, "client, unary 16 B, 1 x 1, beside a raw socket's ping-pong", UNARY_US,
         [(RAW.name, (RAW,), measure.raw_client), *_client(Shape(1, 1))], goals=(times(1.1, "raw TCP"),),
         note="The gRPC clients call tonic's server, the raw one the raw server: the more often a client finds its answer there already, the less it "
              "sleeps, and the less its kernel spends."),
    _row(13, f"idle connection, user memory, {CONNECTIONS_IDLE:,} of them", "bytes a connection",
         _each(BUT_PAJAMAX, measure.idle, count=CONNECTIONS_IDLE), goals=(at_most(2048, "bytes"),), beyond=(at_most(1024, "bytes"),), note=THREADS, sampled=()),
    _row(14, f"{CALLS_PARKED} chats in flight on a connection, user memory, {CONNECTIONS_PARKED} connections", "KiB a connection",
         _each(GRPC, measure.parked, count=CONNECTIONS_PARKED, calls=CALLS_PARKED), goals=(at_most(16, "KiB"),), beyond=(at_most(12, "KiB"),), sampled=()),
    _row(15, "ping-pong over loopback, p50", "p50 us", _ping_pong(),
         goals=(of_class(12, 9.6, "raw TCP, both spin", "corelane, both spin"),
                of_class(24, 21, "raw TCP, server spins", "corelane, server spins")),
         sampled=tuple(f"{peer.name}, {name}" for peer in (RAW, CORELANE) for name in ("both spin", "server spins")),
         note="Wall time. Only what can spin does: a peer without such a switch is shown asleep. The profile is the server's: the polling of a "
              "server that spins is its wait for the client."),
    _row(16, "paced, 20,000 calls/s over 50 connections, p99.9", "p99.9 us",
         _each(SERVERS, measure.paced, shape=Shape(50, 100), rate=20_000, seconds=4), goals=(times(1.3, "floor"),), sampled=(),
         note="Wall time, from h2load's log."),
    _row(17, "allocations for a unary call, steady state, the engine's own", "allocations a call",
         [(CORELANE.name, (), counted.allocations)], goals=(at_most(0, "allocations"),), once=True, sampled=()),
    _row(18, "user instructions for a unary call, 1 x 100 (callgrind, whole server on epoll)", "instructions a call",
         _each((CORELANE, PAJAMAX, TONIC), counted.instructions, shape=Shape(1, 100)),
         goals=(at_most(1500, "instructions"),), beyond=(at_most(900, "instructions"),), once=True, sampled=(),
         note="All of the process's user code, its driver and allocator included, not only wire, dispatch and codec. Without those that "
              "valgrind does not run: Go, a ring, and gRPC C++, whose threads it lets starve."),
    _row(19, "system calls for a unary call", "system calls a call", _system_calls(),
         goals=(at_most(1.0, "at depth 1", "corelane, depth 1"), at_most(0.03, "at depth 100", "corelane, depth 100")), once=True),
    _row(20, "connect, one call, close", "us a connection", _each(SERVERS, measure.churn),
         goals=(Goal("0.8 x floor's connections/s", 1 / 0.8, "floor"), Goal("2 x tonic's connections/s", 1 / 2, "tonic")),
         note="CPU time; its inverse is what one core can serve, and that is what the goals compare."),
    _row(21, "TLS 1.3 on rows 1 and 3", UNARY_US, [], note="Not measured here: it belongs to the issue that brings TLS."),
    _row(22, "a second worker on a second core, unary 16 B, 20 x 50", "us of time a call" if len(cores()) >= 4 else UNARY_US, _workers(),
         goals=_workers_goals(), sampled=tuple(f"{peer.name}, {name}" for peer in (CORELANE, TONIC) for name in ("1 worker", "2 workers")), note=WORKERS_NOTE),
    _row(23, f"{CROWD:,} connections, a call a second on each, one worker, p99", "p99 us",
         [(peer.name, (peer, GENERATOR), partial(measure.crowd, peer=peer, count=CROWD)) for peer in (CORELANE, GRPC_GO, TONIC)],
         goals=(at_most(5_000, "us"),), sampled=(), note="Wall time, by `corelane bench` in an open loop. Peak memory is the whole server's, start included."),
)
