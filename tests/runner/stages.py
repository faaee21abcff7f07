"""The stages, in the order in which they run: cheap and local ones first, the foreign judges after them."""

from . import build, chaos, client, clients, instructions, judges, programs
from .core import Stage

ALL = [
    Stage("format", "rustfmt", build.formatting),
    Stage("clippy", "clippy on all targets, warnings denied", build.clippy),
    Stage("cargo", "every test of the workspace, doctests included", build.cargo_test),
    Stage("loom", "the lock-free types under loom", build.loom),
    Stage("build", "the programs, in release", build.programs),
    Stage("instructions", "what the hot paths take, against benches/instructions.json", instructions.instructions),
    Stage("h2spec", "h2spec --strict, both backends", judges.h2spec),
    Stage("interop", "grpc-go's interop client, every case that needs no cloud, both backends", judges.interop),
    Stage("compression", "the compression cases by C-core (grpcio), both backends", judges.compression),
    Stage("conformance", "connectconformance in server mode: gRPC, HTTP/2, proto, every compression", judges.conformance),
    Stage("hpack", "our HPACK corpus against Python's hpack", judges.hpack),
    Stage("grpcurl", "grpcurl calls every method of the example server", clients.grpcurl),
    Stage("grpcio", "Python's grpcio calls every method of the example server", clients.grpcio),
    Stage("h2load", "h2load calls the bench peer, both backends", clients.h2load),
    Stage("programs", "flags, ports and signals of our programs", programs.command_line),
    Stage("client-interop", "our interop client against grpc-go, the C core and ourselves, both backends", client.interop),
    Stage("client-conformance", "connectconformance in client mode: gRPC, HTTP/2, proto, every compression", client.conformance),
    Stage("negative", "the negative HTTP/2 cases, by a scripted peer that grpc-go's client has tried first", client.negative),
    Stage("client-load", "our load generator calls the bench peer in every kind of call, both backends", client.load),
    Stage("chaos", "three servers killed, stopped and drained under 2,000 calls a second, both backends", chaos.chaos),
]
