"""Our client against what others wrote: servers of the interop suite, the conformance suite, a hostile peer.

What our programs must understand:

    interop-client --server_host=H --server_port=P --test_case=NAME
        the flags of the official clients, those of the soak cases, --iteration_interval and --service_config_json
        included; exit code 0 if the case holds. CORELANE_BACKEND=uring|epoll chooses the backend. The negative cases have their official names.
    conformance-client
        connectconformance's protocol on stdin and stdout; CORELANE_BACKEND likewise.
    bench-peer load PORT unary|download|upload|chat CONNECTIONS STREAMS CALLS REQUEST_SIZE RESPONSE_SIZE MESSAGES
        a closed loop; the last line is JSON with calls, calls_per_s, p50_us, p99_us and p999_us. A call that fails, or a
        reply of another size or number, ends it with another exit code than 0.
"""

import json

from . import install
from .core import ROOT, tail
from .judges import INTEROP_CASES, backends, connectconformance, interop_words, verdicts
from .server import Foreign, Server, program

CASE_SECONDS, SOAK_SECONDS = 60, 150
# Cases that grpc-go's own client lacks. Left out is `cacheable_unary`: it wants GET, and a caching proxy before the
# server; as a plain unary call it would show nothing that large_unary does not.
MORE_CASES = ["concurrent_large_unary", "long_lived_channel"]
COMPRESSION_CASES = ["client_compressed_unary", "client_compressed_streaming", "server_compressed_unary", "server_compressed_streaming"]
SERVER_COMPRESSION_CASES = ["server_compressed_unary", "server_compressed_streaming"]
# grpc-go's server gives no server_id, by which this case tells servers apart: not even grpc-go's own client passes there.
NOT_ON_GRPC_GO = {"pick_first_unary"}
# The server allows two streams on a connection. The client opens FullDuplexCall streams that ask for their
# peer_socket_address and stay open: the third must be answered, and from another connection than the first two.
SCALING_CASE, SCALING_STREAMS = "max_concurrent_streams_connection_scaling", 2
# grpc-go's client cannot judge itself in rst_during_data: it wants UNKNOWN, where its own library of this version says INTERNAL.
NEGATIVE_CASES = ["goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams", "data_frame_padding",
                  "no_df_padding_sanity_test"]
NEGATIVE_CASES_OF_GRPC_GO = ["goaway", "rst_after_header", "rst_after_data", "ping", "max_streams"]
LOAD_KINDS = ("unary", "download", "upload", "chat")
LOAD_CONNECTIONS, LOAD_STREAMS, LOAD_CALLS, LOAD_REQUEST, LOAD_RESPONSE, LOAD_MESSAGES = 2, 10, 2000, 300, 70000, 3
LOAD_FIGURES = ("calls_per_s", "p50_us", "p99_us", "p999_us")
PADDING_CASES = ["data_frame_padding", "no_df_padding_sanity_test"]


def interop(report):
    for backend in backends(report):
        with grpc_go(report) as server:
            _cases(report, "grpc-go", backend, server, [case for case in INTEROP_CASES + MORE_CASES if case not in NOT_ON_GRPC_GO])
        with c_core(report) as server:
            _cases(report, "c-core", backend, server, INTEROP_CASES + MORE_CASES + COMPRESSION_CASES)
        with c_core(report, "--compression", "deflate") as server:
            _cases(report, "c-core with deflate", backend, server, SERVER_COMPRESSION_CASES)
        with c_core(report, "--max_concurrent_streams", SCALING_STREAMS) as server:
            _cases(report, "c-core with few streams", backend, server, [SCALING_CASE, "concurrent_large_unary"])
        with Server(report, "interop-server", "--port", 0, backend=backend) as server:
            _cases(report, "corelane", backend, server, INTEROP_CASES + MORE_CASES + COMPRESSION_CASES)


def grpc_go(report):
    # It tells its port only in its log.
    return Foreign(report, "grpc-go", [install.go_tool("interop-server"), "--port=0"], {"GRPC_GO_LOG_SEVERITY_LEVEL": "info"})


def c_core(report, *flags):
    return Foreign(report, "c-core", [install.python(), ROOT / "tests/python/interop_server.py", ROOT / "proto", *flags])


def _cases(report, name, backend, server, cases):
    for case in cases:
        words = interop_words(program("interop-client"), server, case)
        seconds = SOAK_SECONDS if case.endswith("soak") else CASE_SECONDS
        report.succeeds(f"client against {name} on {backend}: {case}", words, seconds=seconds, environment={"CORELANE_BACKEND": backend})


def conformance(report):
    for backend in backends(report):
        connectconformance(report, "client", ROOT / "tests/conformance-client.yaml", "conformance-client", backend)


def negative(report):
    for case in NEGATIVE_CASES_OF_GRPC_GO + PADDING_CASES:
        _calibrate(report, case)
    for backend in backends(report):
        for case in NEGATIVE_CASES:
            with hostile(report, case) as server:
                words = interop_words(program("interop-client"), server, case)
                report.succeeds(f"client on {backend}: {case}", words, seconds=CASE_SECONDS, environment={"CORELANE_BACKEND": backend})
            _verdicts(report, f"peer of the client on {backend}: {case}:", server)


def _calibrate(report, case):
    """A peer that fails a client known to be good would prove nothing against ours."""
    with hostile(report, case) as server:
        if case in PADDING_CASES:
            words = interop_words(install.go_tool("interop-client"), server, "large_unary")
        else:
            words = interop_words(install.go_tool("http2-client"), server, case)
        report.succeeds(f"grpc-go: {case}", words, seconds=CASE_SECONDS)
    _verdicts(report, f"peer of grpc-go: {case}:", server)


def hostile(report, case):
    return Foreign(report, f"peer for {case}", [install.python(), ROOT / "tests/python/http2_peer.py", ROOT / "proto", "--test_case", case])


def _verdicts(report, label, server):
    """The peer speaks when its client has gone."""
    verdicts(report, label, server.process.returncode, server.output)


def load(report):
    """Whether the load generator works; how fast it is, is for the benchmarks to say."""
    for backend in backends(report):
        with Server(report, "bench-peer", "serve", 0, 1, backend=backend, ends_by="the signal") as server:
            for kind in LOAD_KINDS:
                _load(report, backend, server, kind)


def _load(report, backend, server, kind):
    words = [program("bench-peer"), "load", server.port, kind, LOAD_CONNECTIONS, LOAD_STREAMS, LOAD_CALLS, LOAD_REQUEST, LOAD_RESPONSE, LOAD_MESSAGES]
    code, output = report.command(words, seconds=CASE_SECONDS, environment={"CORELANE_BACKEND": backend})
    try:
        figures = json.loads(output.strip().splitlines()[-1])
        good = code == 0 and figures["calls"] == LOAD_CALLS and all(figures[name] > 0 for name in LOAD_FIGURES)
        good = good and figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"]
    except (IndexError, KeyError, TypeError, ValueError):
        good = False
    report.check(f"bench-peer load on {backend}: {kind}", good, f"exit code {code}\n{tail(output)}")
