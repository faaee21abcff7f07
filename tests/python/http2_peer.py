#!/usr/bin/env python3
"""The scripted server of gRPC's negative HTTP/2 cases: it does to a client what the case says, and judges what the client does.

    http2_peer.py PROTO_ROOT --test_case goaway [--port PORT]

Cases: goaway, rst_after_header, rst_during_data, rst_after_data, ping, max_streams, data_frame_padding,
no_df_padding_sanity_test. It serves grpc.testing.TestService/UnaryCall only, and expects the request of large_unary.

It prints `listening on HOST:PORT`, serves until SIGTERM, then prints one `ok NAME` or `FAILED NAME: why` for each check
of the case and ends with 0 only if all are ok. The client's own asserts (success or failure of the calls, sizes) are
the client's to make; those that only a peer can make are here. That the client follows HTTP/2 is hyper-h2's judgment.
"""

import argparse
import asyncio
import signal
import struct
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

import protos
from checks import check, equal, finish

PATH = "/grpc.testing.TestService/UnaryCall"
REQUEST_SIZE, RESPONSE_SIZE = 271828, 314159
STALL_SECONDS = 20  # without credit for so long, a client has lost count of the window
PAD, PIECE = 255, 5  # octets of padding, and of data beside them
FRAMES_AT_ONCE = 64
MAX_STREAMS_CALLS = 11  # one to learn the limit by, and ten at once


@dataclass
class Call:
    """One stream."""

    headers: dict
    body: bytearray = field(default_factory=bytearray)
    over: bool = False  # reset by either side


class Peer:
    """What all connections share: the case, and what is to be judged in the end."""

    def __init__(self, messages, case):
        self.messages, self.case, self.script = messages, case, SCRIPTS[case]
        self.connections, self.faults = [], []
        self.answered = self.streams_most = self.pings_sent = self.pings_acknowledged = 0
        self.octets_sent = 0  # of flow control: data, padding and the octet of its length

    def settings(self):
        return {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1} if self.case == "max_streams" else {}

    async def accept(self, reader, writer):
        connection = Connection(self, len(self.connections), reader, writer)
        self.connections.append(connection)
        await connection.run()

    def judge(self):
        calls = [call for connection in self.connections for call in connection.calls.values()]
        check("the client follows HTTP/2", lambda: equal(self.faults, [], "faults"))
        check("the client makes a call", lambda: equal(bool(calls), True, "a call"))
        check("every request is that of large_unary", lambda: [self.judge_request(call) for call in calls])
        unsettled = sum(connection.unsettled for connection in self.connections if connection.calls)
        check("the client acknowledges all settings", lambda: equal(unsettled, 0, "SETTINGS without acknowledgement"))
        for name, body in JUDGMENTS[self.case]:
            check(name, lambda: body(self, calls))

    def judge_request(self, call):
        wanted = {":method": "POST", ":path": PATH, ":scheme": "http", "te": "trailers"}
        equal({name: call.headers.get(name) for name in wanted}, wanted, "headers")
        equal(call.headers.get("content-type", "").startswith("application/grpc"), True, f"content-type {call.headers.get('content-type')!r}")
        flag, size = struct.unpack(">BI", call.body[:5])
        equal((flag, size), (0, len(call.body) - 5), "prefix of the request")
        request = self.messages.SimpleRequest.FromString(bytes(call.body[5:]))
        equal((len(request.payload.body), request.response_size), (REQUEST_SIZE, RESPONSE_SIZE), "sizes of request and response")

    def response(self):
        body = self.messages.SimpleResponse(payload=self.messages.Payload(body=bytes(RESPONSE_SIZE))).SerializeToString()
        return struct.pack(">BI", 0, len(body)) + body


class Connection:
    """One connection, and the words that the scripts are written in."""

    def __init__(self, peer, number, reader, writer):
        self.peer, self.number, self.reader, self.writer = peer, number, reader, writer
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.calls, self.scripts, self.pings = {}, set(), []
        self.credit = asyncio.Event()
        self.unsettled = 0  # SETTINGS that the client has not acknowledged yet

    async def run(self):
        self.http.initiate_connection()
        self.unsettled = 1
        if settings := self.peer.settings():
            self.http.update_settings(settings)
            self.unsettled += 1
        try:
            await self.flush()
            while octets := await self.reader.read(65536):
                for event in self.http.receive_data(octets):
                    self.take(event)
                await self.flush()
        except h2.exceptions.ProtocolError as error:
            self.peer.faults.append(f"connection {self.number}: {type(error).__name__}: {error}")
            await self.flush()
        except ConnectionError:
            pass  # clients may leave without a word
        for script in self.scripts:
            script.cancel()
        self.writer.close()

    async def flush(self):
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    def take(self, event):
        match event:
            case h2.events.RequestReceived():
                self.calls[event.stream_id] = Call(dict(event.headers))
                if not self.unsettled:  # a client cannot keep a limit that it does not know yet
                    self.peer.streams_most = max(self.peer.streams_most, self.http.open_inbound_streams)
            case h2.events.DataReceived():
                self.calls[event.stream_id].body += event.data
                if event.flow_controlled_length:
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.begin(event.stream_id)
            case h2.events.StreamReset():
                self.calls[event.stream_id].over = True
                self.credit.set()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self.credit.set()
            case h2.events.SettingsAcknowledged():
                self.unsettled -= 1
            case h2.events.PingAckReceived():
                if self.pings and event.ping_data == self.pings[0]:
                    self.pings.pop(0)
                    self.peer.pings_acknowledged += 1
                else:
                    due = self.pings[0].hex() if self.pings else "none"
                    self.peer.faults.append(f"PING {event.ping_data.hex()} is acknowledged where {due} is due")

    def begin(self, stream):
        script = asyncio.create_task(self.answer(stream))
        self.scripts.add(script)
        script.add_done_callback(self.scripts.discard)

    async def answer(self, stream):
        try:
            await self.peer.script(self, stream)
            await self.flush()
            self.peer.answered += 1
        except (h2.exceptions.StreamClosedError, ConnectionError):
            pass  # the client has gone; that is for its case to judge
        except TimeoutError:
            where = f"stream {stream} of connection {self.number}, after {self.peer.octets_sent} octets"
            self.peer.faults.append(f"no credit for {STALL_SECONDS} s on {where}")

    def head(self, stream):
        self.http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])

    def tail(self, stream):
        self.http.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def reset(self, stream):
        self.http.reset_stream(stream, h2.errors.ErrorCodes.NO_ERROR)
        self.calls[stream].over = True

    def ping(self):
        self.peer.pings_sent += 1
        self.pings.append(struct.pack(">Q", self.peer.pings_sent))
        self.http.ping(self.pings[-1])

    def goaway(self, last):
        """By hand, since hyper-h2 would take no more of the streams that the GOAWAY leaves alive."""
        self.writer.write(self.http.data_to_send() + GoAwayFrame(0, last_stream_id=last, error_code=0).serialize())

    async def data(self, stream, octets, piece=None, pad=None, between=lambda: None):
        """Sends all of it as the windows allow, in frames of `piece` octets, each with `pad` octets of padding."""
        overhead = 0 if pad is None else pad + 1
        frames = position = 0
        while position < len(octets) and not self.calls[stream].over:
            wanted = min(piece or self.http.max_outbound_frame_size, len(octets) - position)
            room = self.http.local_flow_control_window(stream) - overhead
            if room < (wanted if piece else 1):
                await self.wait_for_credit()
                continue
            taken = min(wanted, room)
            between()
            self.http.send_data(stream, octets[position:position + taken], pad_length=pad)
            self.peer.octets_sent += taken + overhead
            position, frames = position + taken, frames + 1
            if frames % FRAMES_AT_ONCE == 0:
                await self.flush()

    async def wait_for_credit(self):
        self.credit.clear()
        await self.flush()
        await asyncio.wait_for(self.credit.wait(), STALL_SECONDS)


async def goaway(connection, stream):
    """The GOAWAY comes before the response, so a client knows it before it makes its second call."""
    if connection.number == 0:
        connection.goaway(stream)
    await plain(connection, stream)


async def plain(connection, stream, **how):
    connection.head(stream)
    await connection.data(stream, connection.peer.response(), **how)
    if not connection.calls[stream].over:
        connection.tail(stream)


async def rst_after_header(connection, stream):
    connection.head(stream)
    connection.reset(stream)


async def rst_during_data(connection, stream):
    response = connection.peer.response()
    connection.head(stream)
    await connection.data(stream, response[:len(response) // 2])
    connection.reset(stream)


async def rst_after_data(connection, stream):
    connection.head(stream)
    await connection.data(stream, connection.peer.response())
    connection.reset(stream)


async def ping(connection, stream):
    """A PING before and after everything: the headers, each DATA frame, the trailers."""
    connection.ping()
    connection.head(stream)
    await connection.data(stream, connection.peer.response(), between=connection.ping)
    connection.ping()
    connection.tail(stream)
    connection.ping()


async def data_frame_padding(connection, stream):
    await plain(connection, stream, piece=PIECE, pad=PAD)


async def no_df_padding_sanity_test(connection, stream):
    await plain(connection, stream, piece=PIECE)


SCRIPTS = {
    "goaway": goaway,
    "rst_after_header": rst_after_header,
    "rst_during_data": rst_during_data,
    "rst_after_data": rst_after_data,
    "ping": ping,
    "max_streams": plain,
    "data_frame_padding": data_frame_padding,
    "no_df_padding_sanity_test": no_df_padding_sanity_test,
}

# A stream that was answered with headers was processed, so no client may call again of its own accord.
ONE_CALL = ("the client calls once and does not try again", lambda peer, calls: equal(len(calls), 1, "calls"))
ANSWERED = ("every response goes out whole", lambda peer, calls: equal(peer.answered, len(calls), "responses"))
JUDGMENTS = {
    "goaway": [
        ("the two calls come on two connections",
         lambda peer, calls: equal([len(connection.calls) for connection in peer.connections if connection.calls], [1, 1], "calls of each connection")),
        ANSWERED,
    ],
    "rst_after_header": [ONE_CALL],
    "rst_during_data": [ONE_CALL],
    "rst_after_data": [ONE_CALL],
    "ping": [
        ONE_CALL, ANSWERED,
        ("every PING is acknowledged", lambda peer, calls: equal(peer.pings_acknowledged, peer.pings_sent, f"acknowledged of {peer.pings_sent}")),
    ],
    "max_streams": [
        ANSWERED,
        ("there are calls enough to pass the limit",
         lambda peer, calls: equal(len(calls) >= MAX_STREAMS_CALLS, True, f"whether {len(calls)} calls are {MAX_STREAMS_CALLS} or more")),
        ("no connection has more than one stream at a time",
         lambda peer, calls: equal(peer.streams_most <= 1, True, f"whether {peer.streams_most} streams at a time are at most one")),
    ],
    "data_frame_padding": [ONE_CALL, ANSWERED],
    "no_df_padding_sanity_test": [ONE_CALL, ANSWERED],
}


async def serve(flags):
    ((messages, _),) = protos.load(flags.root, "grpc/testing/messages.proto")
    peer = Peer(messages, flags.test_case)
    server = await asyncio.start_server(peer.accept, "127.0.0.1", flags.port)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
    peer.judge()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="PROTO_ROOT")
    parser.add_argument("--test_case", choices=SCRIPTS, required=True)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
    finish()


if __name__ == "__main__":
    main()
