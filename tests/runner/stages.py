"""The stages, in the order in which they run: cheap and local ones first, the foreign judges after them."""

from . import build, clients, judges, programs
from .core import Stage

ALL = [
    Stage("format", "rustfmt", build.formatting),
    Stage("clippy", "clippy on all targets, warnings denied", build.clippy),
    Stage("cargo", "every test of the workspace, doctests included", build.cargo_test),
    Stage("loom", "the lock-free types under loom", build.loom),
    Stage("build", "the programs, in release", build.programs),
    Stage("h2spec", "h2spec --strict, both backends", judges.h2spec),
    Stage("interop", "grpc-go's interop client, every case that needs no cloud, both backends", judges.interop),
    Stage("compression", "the compression cases by C-core (grpcio), both backends", judges.compression),
    Stage("conformance", "connectconformance in server mode: gRPC, HTTP/2, proto, every compression", judges.conformance),
    Stage("hpack", "our HPACK corpus against Python's hpack", judges.hpack),
    Stage("grpcurl", "grpcurl calls every method of the example server", clients.grpcurl),
    Stage("grpcio", "Python's grpcio calls every method of the example server", clients.grpcio),
    Stage("h2load", "h2load calls the bench peer, both backends", clients.h2load),
    Stage("programs", "flags, ports and signals of our programs", programs.command_line),
]
