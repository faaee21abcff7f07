"""Connections that do nothing, and calls that stay open: as much HTTP/2 as memory is measured with.

Does not: decode header blocks. A reply is counted by its DATA frame.
"""

import socket
import struct

from .clients import message
from .machine import Failed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
ACK, END_HEADERS = 1, 4
HEAD_BYTES = 9
PATIENCE_SECONDS = 20
READ_BYTES = 1 << 16


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _call_head(method):
    fields = ((":path", f"/bench.v1.Bench/{method}"), (":authority", "127.0.0.1"), ("content-type", "application/grpc"), ("te", "trailers"))
    block = b"\x83\x86"  # POST and http
    for name, value in fields:  # literals that are not indexed
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return block


class Connection:
    """One connection, greeted. The server's SETTINGS are acknowledged."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.unread = b""

    def settle(self):
        """Waits for the server's SETTINGS and acknowledges them."""
        while True:
            kind, flags, _ = self._next()
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
                return

    def park(self, calls):
        """Opens so many chats and says one thing in each; `await_replies` waits for what is answered."""
        head, word = _call_head("Chat"), message(16, 16)
        streams = range(1, 2 * calls, 2)
        self.socket.sendall(b"".join(frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, 0, stream, word) for stream in streams))

    def await_replies(self, calls):
        open_calls = set(range(1, 2 * calls, 2))
        while open_calls:
            kind, _, stream = self._next()
            if kind in (RST_STREAM, GOAWAY):
                raise Failed(f"the server refuses {calls} calls on one connection, {len(open_calls)} are without a reply")
            if kind == DATA:
                open_calls.discard(stream)

    def close(self):
        self.socket.close()

    def _next(self):
        """Type, flags and stream of the next frame."""
        head = self._take(HEAD_BYTES)
        self._take(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF

    def _take(self, count):
        while len(self.unread) < count:
            try:
                more = self.socket.recv(READ_BYTES)
            except TimeoutError:
                raise Failed(f"no answer within {PATIENCE_SECONDS} s") from None
            if not more:
                raise Failed("the server closed the connection")
            self.unread += more
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken
