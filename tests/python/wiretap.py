"""A proxy that lets every byte pass and writes down the gRPC messages that went by, in both directions.

It stands in for the C++ client's look into its own library: whether a message was compressed on the wire is not
something that Python's API tells.
"""

import socket
import struct
import threading
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, CONTINUATION = 0, 1, 9
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20


@dataclass
class Side:
    """One direction of one stream."""

    headers: dict = field(default_factory=dict)
    flags: list = field(default_factory=list)  # the compressed-flag of each message, in order
    sizes: list = field(default_factory=list)  # the size of each message on the wire
    rest: bytes = b""

    def data(self, payload):
        self.rest += payload
        while len(self.rest) >= 5:
            flag, size = struct.unpack(">BI", self.rest[:5])
            if len(self.rest) < 5 + size:
                return
            self.flags.append(flag)
            self.sizes.append(size)
            self.rest = self.rest[5 + size:]


class Direction:
    """Parses one direction of one connection."""

    def __init__(self, skip):
        self.skip, self.buffer, self.block = skip, b"", b""
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = 1 << 20
        self.streams = {}

    def feed(self, chunk):
        self.buffer += chunk
        if len(self.buffer) < self.skip:
            return
        self.buffer, self.skip = self.buffer[self.skip:], 0
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            self.frame(kind, flags, stream, self.buffer[9:9 + size])
            self.buffer = self.buffer[9 + size:]

    def frame(self, kind, flags, stream, payload):
        if kind in (DATA, HEADERS) and flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if kind == HEADERS and flags & PRIORITY:
            payload = payload[5:]
        if kind == DATA:
            self.streams.setdefault(stream, Side()).data(payload)
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                fields = self.decoder.decode(self.block)
                self.block = b""
                self.streams.setdefault(stream, Side()).headers.update(fields)


class Wiretap:
    """Listens on a port of its own and passes everything to `address`. `calls()` tells what went by."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            pair = (Direction(len(PREFACE)), Direction(0))
            with self.lock:
                self.connections.append(pair)
            for source, sink, direction in ((client, server, pair[0]), (server, client, pair[1])):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True).start()

    def _pump(self, source, sink, direction):
        try:
            while chunk := source.recv(65536):
                with self.lock:
                    direction.feed(chunk)
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # either end has closed; the other thread finds out likewise

    def calls(self):
        """(request, response) of every stream so far, in the order of their opening."""
        with self.lock:
            return [(request.streams[stream], response.streams.get(stream, Side()))
                    for request, response in self.connections
                    for stream in sorted(request.streams) if stream]

    def close(self):
        self.listener.close()
