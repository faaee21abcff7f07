#!/usr/bin/env python3
"""The server of gRPC's interop suite on the C core (grpcio), for clients of ours to call.

    interop_server.py PROTO_ROOT [--port PORT] [--compression gzip|deflate] [--max_concurrent_streams N]

Serves grpc.testing.TestService but for UnimplementedCall, and OpenRcaService. It prints `listening on HOST:PORT` and
serves until a signal. The payloads are zeros, as in the other servers of the suite.

Python's API does not tell whether a request came compressed. So the C core is told to hand messages over as they
came, and they are inflated here: no message of the service begins like a gzip or zlib stream does.
"""

import argparse
import asyncio
import gzip
import signal
import time
import zlib

import grpc

import protos

ECHO_INITIAL, ECHO_TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
CALL_REPORT = "endpoint-load-metrics-bin"
REPORT_INTERVAL_MIN = 0.1  # seconds, whatever a client asks for
PAYLOAD_MAX = 64 << 20
# Read as a Protocol Buffers tag, the first would have a wire type that does not exist, the second the field 15.
GZIP, ZLIB = b"\x1f\x8b", b"\x78"
COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def reader(kind):
    """A deserialiser: octets to (message, whether it came compressed)."""
    def read(octets):
        if octets.startswith(GZIP):
            return kind.FromString(gzip.decompress(octets)), True
        if octets.startswith(ZLIB):
            return kind.FromString(zlib.decompress(octets)), True
        return kind.FromString(octets), False
    return read


class Interop:
    """TestService. Every request is a pair: the message, and whether it came compressed."""

    def __init__(self, empty, messages, reports, compression):
        self.empty, self.messages, self.reports, self.compression = empty, messages, reports, compression
        self.load = reports.OrcaLoadReport()

    async def empty_call(self, _request, _context):
        return self.empty.Empty()

    async def unary_call(self, request, context):
        message, compressed = request
        await self.expect(message, compressed, context)
        await self.end(message, context)
        # Sent by hand even where there are none: grpc.aio forgets the compression of a unary call whose headers it sends itself.
        await self.begin(context, always=True)
        if message.HasField("orca_per_query_report"):
            report = self.report(message.orca_per_query_report).SerializeToString()
            context.set_trailing_metadata((*self.trailing(context), (CALL_REPORT, report)))
        self.choose(message.response_compressed.value, context)
        return self.messages.SimpleResponse(payload=await self.payload(message.response_type, message.response_size, context),
                                            server_id="c-core" if message.fill_server_id else "")

    async def cacheable_unary_call(self, _request, context):
        await context.send_initial_metadata((("cache-control", "max-age=60, public"),))
        return self.messages.SimpleResponse(payload=self.messages.Payload(body=str(time.time_ns()).encode()))

    async def streaming_output_call(self, request, context):
        message, _ = request
        await self.begin(context)
        async for reply in self.replies(message, context):
            yield reply
        await self.end(message, context)

    async def streaming_input_call(self, requests, context):
        size = 0
        async for message, compressed in requests:
            await self.expect(message, compressed, context)
            size += len(message.payload.body)
        return self.messages.StreamingInputCallResponse(aggregated_payload_size=size)

    async def full_duplex_call(self, requests, context):
        await self.begin(context)
        async for message, _ in requests:
            await self.end(message, context)
            if message.HasField("orca_oob_report"):
                self.load = self.report(message.orca_oob_report)
            async for reply in self.replies(message, context):
                yield reply

    async def half_duplex_call(self, requests, context):
        await self.begin(context)
        messages = [message async for message, _ in requests]
        for message in messages:
            await self.end(message, context)
            async for reply in self.replies(message, context):
                yield reply

    async def stream_core_metrics(self, request, _context):
        interval = max(REPORT_INTERVAL_MIN, request.report_interval.ToTimedelta().total_seconds())
        while True:
            yield self.load
            await asyncio.sleep(interval)

    async def begin(self, context, always=False):
        """Echoes metadata. The compression of a call is part of its headers, so it is settled here, for all of its messages."""
        context.set_compression(self.compression)
        context.set_trailing_metadata(self.trailing(context))
        initial = [(name, value) for name, value in context.invocation_metadata() if name == ECHO_INITIAL]
        if initial or always:
            await context.send_initial_metadata(initial)

    @staticmethod
    def trailing(context):
        return tuple((name, value) for name, value in context.invocation_metadata() if name == ECHO_TRAILING)

    @staticmethod
    async def expect(message, compressed, context):
        """The feature probe of the cases: a server that does not look cannot know."""
        if message.HasField("expect_compressed") and message.expect_compressed.value != compressed:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request came {'compressed' if compressed else 'plain'}")

    @staticmethod
    async def end(message, context):
        """The end that a client asks for, unless it is OK."""
        if message.response_status.code:
            code = next((code for code in grpc.StatusCode if code.value[0] == message.response_status.code), grpc.StatusCode.UNKNOWN)
            await context.abort(code, message.response_status.message)

    @staticmethod
    def choose(compressed, context):
        if not compressed:
            context.disable_next_message_compression()

    async def replies(self, message, context):
        for asked in message.response_parameters:
            if asked.interval_us > 0:
                await asyncio.sleep(asked.interval_us / 1e6)
            reply = self.messages.StreamingOutputCallResponse(payload=await self.payload(message.response_type, asked.size, context))
            if asked.fill_peer_socket_address.value:
                reply.peer_socket_address = context.peer()
            self.choose(asked.compressed.value, context)
            yield reply

    async def payload(self, kind, size, context):
        if kind != self.messages.COMPRESSABLE or not 0 <= size <= PAYLOAD_MAX:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no payload of type {kind} and {size} octets is offered")
        return self.messages.Payload(type=kind, body=bytes(size))

    def report(self, claimed):
        return self.reports.OrcaLoadReport(
            cpu_utilization=claimed.cpu_utilization, mem_utilization=claimed.memory_utilization,
            request_cost=claimed.request_cost, utilization=claimed.utilization)


def handlers(service, empty, messages, orca):
    """Written out rather than generated, since the requests are read in a way of our own."""
    def method(shape, body, kind):
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(body, request_deserializer=reader(kind), response_serializer=lambda message: message.SerializeToString())

    test_service = {
        "EmptyCall": method("unary_unary", service.empty_call, empty.Empty),
        "UnaryCall": method("unary_unary", service.unary_call, messages.SimpleRequest),
        "CacheableUnaryCall": method("unary_unary", service.cacheable_unary_call, messages.SimpleRequest),
        "StreamingOutputCall": method("unary_stream", service.streaming_output_call, messages.StreamingOutputCallRequest),
        "StreamingInputCall": method("stream_unary", service.streaming_input_call, messages.StreamingInputCallRequest),
        "FullDuplexCall": method("stream_stream", service.full_duplex_call, messages.StreamingOutputCallRequest),
        "HalfDuplexCall": method("stream_stream", service.half_duplex_call, messages.StreamingOutputCallRequest),
    }
    metrics = grpc.unary_stream_rpc_method_handler(
        service.stream_core_metrics, request_deserializer=orca.OrcaLoadReportRequest.FromString,
        response_serializer=lambda message: message.SerializeToString())
    return [
        grpc.method_handlers_generic_handler("grpc.testing.TestService", test_service),
        grpc.method_handlers_generic_handler("xds.service.orca.v3.OpenRcaService", {"StreamCoreMetrics": metrics}),
    ]


async def serve(flags):
    (empty, _), (messages, _), (reports, _), (orca, _) = protos.load(
        flags.root, "grpc/testing/empty.proto", "grpc/testing/messages.proto", "xds/data/orca/v3/orca_load_report.proto",
        "xds/service/orca/v3/orca.proto")
    options = [("grpc.so_reuseport", 0), ("grpc.per_message_decompression", 0), ("grpc.max_receive_message_length", -1)]
    if flags.max_concurrent_streams:
        options.append(("grpc.max_concurrent_streams", flags.max_concurrent_streams))
    server = grpc.aio.server(options=options)
    service = Interop(empty, messages, reports, COMPRESSIONS[flags.compression])
    server.add_generic_rpc_handlers(handlers(service, empty, messages, orca))
    port = server.add_insecure_port(f"127.0.0.1:{flags.port}")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
    await server.stop(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="PROTO_ROOT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--compression", choices=COMPRESSIONS, default="gzip", help="what responses are compressed with where a client asks for it")
    parser.add_argument("--max_concurrent_streams", type=int, default=0, metavar="N", help="no limit unless it is given")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
