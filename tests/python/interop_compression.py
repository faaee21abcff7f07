#!/usr/bin/env python3
"""The compression cases of gRPC's interop suite, by the C core, under gzip and deflate.

    interop_compression.py HOST:PORT PROTO_ROOT

client_compressed_unary, server_compressed_unary, client_compressed_streaming, server_compressed_streaming, with the
steps, sizes and expectations of the suite's description. A proxy between the two ends reads the flag of each message
from the wire.
"""

import sys

import grpc
from grpc import _channel
from grpc._cython import cygrpc

import protos
from checks import check, equal, finish
from wiretap import Wiretap

SECONDS = 20
REQUEST_SIZE, RESPONSE_SIZE = 271828, 314159


class Plain(bytes):
    """A serialised message that is to leave uncompressed although its call compresses."""


class _Operations:
    """The C core can spare single messages, but Python's API has no word for it: this is the word."""

    def __getattr__(self, name):
        return getattr(cygrpc, name)

    @staticmethod
    def SendMessageOperation(message, flags):
        plain = isinstance(message, Plain)
        return cygrpc.SendMessageOperation(bytes(message), flags | (cygrpc.WriteFlag.no_compress if plain else 0))


_channel.cygrpc = _Operations()


class Session:
    """A fresh channel through a fresh proxy."""

    def __init__(self, address):
        self.tap = Wiretap(address)
        self.channel = grpc.insecure_channel(self.tap.address, options=[("grpc.max_receive_message_length", -1)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.tap.close()

    def method(self, shape, name, response):
        def serialize(request):
            message, plain = request
            return Plain(message.SerializeToString()) if plain else message.SerializeToString()

        return getattr(self.channel, shape)(f"/grpc.testing.TestService/{name}", request_serializer=serialize, response_deserializer=response.FromString)

    def last(self):
        return self.tap.calls()[-1]


def refused(call):
    """The feature probe: the server must see that the message came uncompressed."""
    try:
        call()
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.INVALID_ARGUMENT, "status of the probe")
        return
    raise AssertionError("the server did not notice that the request was not compressed")


def payload(messages, size):
    return messages.Payload(body=bytes(size))


def client_compressed_unary(address, messages, algorithm, name):
    def request(expected):
        return messages.SimpleRequest(expect_compressed=messages.BoolValue(value=expected), response_size=RESPONSE_SIZE,
                                      payload=payload(messages, REQUEST_SIZE))

    with Session(address) as session:
        call = session.method("unary_unary", "UnaryCall", messages.SimpleResponse)
        refused(lambda: call((request(True), True), timeout=SECONDS))
        equal(session.last()[0].flags, [0], "flags of the probe")
        response = call((request(True), False), timeout=SECONDS, compression=algorithm)
        equal(len(response.payload.body), RESPONSE_SIZE, "size of the response")
        equal(session.last()[0].flags, [1], "flags of the compressed request")
        equal(session.last()[0].headers["grpc-encoding"], name, "encoding of the compressed request")
        response = call((request(False), True), timeout=SECONDS, compression=algorithm)
        equal(len(response.payload.body), RESPONSE_SIZE, "size of the response")
        equal(session.last()[0].flags, [0], "flags of the uncompressed request")


def server_compressed_unary(address, messages, algorithm, name):
    with Session(address) as session:
        call = session.method("unary_unary", "UnaryCall", messages.SimpleResponse)
        for wanted in (True, False):
            request = messages.SimpleRequest(response_compressed=messages.BoolValue(value=wanted), response_size=RESPONSE_SIZE,
                                             payload=payload(messages, REQUEST_SIZE))
            response = call((request, True), timeout=SECONDS, compression=algorithm)
            equal(response.payload.body, bytes(RESPONSE_SIZE), "body of the response")
            equal(session.last()[1].flags, [int(wanted)], f"flags of a response with compression {wanted}")
            if wanted:
                offered = session.last()[0].headers["grpc-accept-encoding"]
                chosen = session.last()[1].headers["grpc-encoding"]
                equal(chosen in offered.replace(" ", "").split(","), True, f"{chosen} is one of {offered}")
                equal(session.last()[1].sizes[0] < RESPONSE_SIZE // 10, True, "zeros shrink to less than a tenth")


def client_compressed_streaming(address, messages, algorithm, name):
    def request(expected, size):
        return messages.StreamingInputCallRequest(expect_compressed=messages.BoolValue(value=expected), payload=payload(messages, size))

    with Session(address) as session:
        call = session.method("stream_unary", "StreamingInputCall", messages.StreamingInputCallResponse)
        refused(lambda: call(iter([(request(True, 27182), True)]), timeout=SECONDS, compression=algorithm))
        both = [(request(True, 27182), False), (request(False, 45904), True)]
        response = call(iter(both), timeout=SECONDS, compression=algorithm)
        equal(response.aggregated_payload_size, 73086, "sum of the sizes")
        equal(session.last()[0].flags, [1, 0], "flags of the requests")
        equal(session.last()[0].headers["grpc-encoding"], name, "encoding of the requests")


def server_compressed_streaming(address, messages, algorithm, name):
    with Session(address) as session:
        call = session.method("unary_stream", "StreamingOutputCall", messages.StreamingOutputCallResponse)
        request = messages.StreamingOutputCallRequest(response_parameters=[
            messages.ResponseParameters(compressed=messages.BoolValue(value=True), size=31415),
            messages.ResponseParameters(compressed=messages.BoolValue(value=False), size=92653),
        ])
        sizes = [len(response.payload.body) for response in call((request, True), timeout=SECONDS, compression=algorithm)]
        equal(sizes, [31415, 92653], "sizes of the responses")
        equal(session.last()[1].flags, [1, 0], "flags of the responses")


def main():
    address, root = sys.argv[1:]
    ((messages, _),) = protos.load(root, "grpc/testing/messages.proto")
    cases = (client_compressed_unary, server_compressed_unary, client_compressed_streaming, server_compressed_streaming)
    for algorithm, name in ((grpc.Compression.Gzip, "gzip"), (grpc.Compression.Deflate, "deflate")):
        for case in cases:
            check(f"{case.__name__} {name}", lambda: case(address, messages, algorithm, name))
    finish()


if __name__ == "__main__":
    main()
