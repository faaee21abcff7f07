"""Foreign clients that call services of ours by hand."""

import re
import tempfile
from pathlib import Path

from . import grpcurl_calls, install
from .core import ROOT, tail
from .judges import backends, python_checks
from .server import Server

H2LOAD_CALLS, H2LOAD_CONNECTIONS, H2LOAD_STREAMS = 20000, 10, 10


def grpcurl(report):
    judge = install.go_tool("grpcurl")
    with Server(report, "corelane", "serve", "--address", "127.0.0.1:0") as server:
        grpcurl_calls.run(report, [judge, "-plaintext", "-max-time", "20", "-import-path", ROOT / "proto"], server.address)


def grpcio(report):
    python = install.python()
    for backend in backends(report):
        with Server(report, "corelane", "serve", "--address", "127.0.0.1:0", backend=backend) as server:
            script = ROOT / "tests/python/example_calls.py"
            python_checks(report, f"grpcio {backend}", [python, script, server.address, ROOT / "proto"])


def h2load(report):
    judge = install.debian("h2load", "nghttp2-client")
    with tempfile.TemporaryDirectory(prefix="corelane-") as folder:
        body = Path(folder) / "body"
        # One gRPC message: bench.v1.Request with response_size 100.
        body.write_bytes(b"\0\0\0\0\x02\x10\x64")
        for backend in backends(report):
            with Server(report, "bench-peer", "serve", 0, 2, backend=backend, ends_by="the signal") as server:
                words = [judge, "-n", H2LOAD_CALLS, "-c", H2LOAD_CONNECTIONS, "-m", H2LOAD_STREAMS, "-d", body,
                         "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{server.address}/bench.v1.Bench/Unary"]
                code, output = report.command(words, seconds=120)
                wanted = f"{H2LOAD_CALLS} succeeded, 0 failed, 0 errored, 0 timeout"
                report.check(f"h2load on {backend}: every call succeeds", code == 0 and wanted in output, tail(output))
                traffic = re.search(r"traffic: .*\((\d+)\) data", output)
                # 5 octets of prefix and 102 of message for each call.
                octets = H2LOAD_CALLS * 107
                report.check(f"h2load on {backend}: every reply is whole", traffic and int(traffic.group(1)) == octets, tail(output))
