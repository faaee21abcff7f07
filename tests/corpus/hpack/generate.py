#!/usr/bin/env python3
"""Writes stories.txt: HPACK blocks with the fields that Python's `hpack` finds in them.

    generate.py [--check]       --check only compares with the committed file

Two kinds of blocks: those of hpack's own encoder, which indexes all it can, and blocks put together here, octet by octet,
from all representations of RFC 7541, as no single encoder uses them all. hpack's decoder is the judge of both. The same
version gives the same file everywhere: the random numbers are this script's own.
"""

import argparse
import sys
from pathlib import Path

import hpack

import stories

VERSION = "4.2.0"
FILE = Path(__file__).with_name("stories.txt")


class Random:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        word = self.state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        return word ^ (word >> 31)

    def below(self, bound):
        return self.next() % bound

    def one_in(self, bound):
        return self.below(bound) == 0

    def choice(self, items):
        return items[self.below(len(items))]

    def octets(self, count, alphabet=bytes(range(256))):
        return bytes(self.choice(alphabet) for _ in range(count))


TEXT = bytes(range(0x20, 0x7F))
TOKEN = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
METHODS = [b"/helloworld.Greeter/SayHello", b"/grpc.testing.TestService/UnaryCall", b"/a.B/C", b"/"]
VALUES = {
    b"te": [b"trailers"],
    b"content-type": [b"application/grpc", b"application/grpc+proto", b"application/json"],
    b"user-agent": [b"grpc-go/1.80.0", b"tonic/0.14.2"],
    b"grpc-encoding": [b"gzip", b"identity", b"zstd"],
    b"grpc-accept-encoding": [b"gzip,deflate,zstd"],
    b"accept-encoding": [b"gzip, deflate", b"identity"],
    b"cache-control": [b"no-cache", b"private"],
    b"x-request-kind": [b"interactive", b"batch"],
}


def call_fields(random):
    """Fields as gRPC has them: most of them repeat, some do not."""
    if random.one_in(3):
        fields = [(b":status", random.choice([b"200", b"200", b"404", b"503"]), False)]
    else:
        authority = random.choice([b"localhost:50051", b"example.com"])
        fields = [
            (b":method", b"POST", False),
            (b":scheme", random.choice([b"http", b"https"]), False),
            (b":path", random.choice(METHODS), False),
            (b":authority", authority, False),
        ]
    for name, values in VALUES.items():
        if random.one_in(3):
            fields.append((name, random.choice(values), False))
    if random.one_in(2):
        fields.append((b"grpc-timeout", b"%d" % random.below(10**6) + random.choice([b"m", b"u", b"S"]), False))
    if random.one_in(3):
        fields.append((b"authorization", b"Bearer " + random.octets(random.below(24), TOKEN), True))
    if random.one_in(3):
        fields.append((b"x-trace-bin", random.octets(random.below(30)), random.one_in(4)))
    if random.one_in(4):
        fields.append((random.octets(1 + random.below(12), TOKEN), random.octets(random.below(60), TEXT), False))
    if random.one_in(4):
        fields.append((b"grpc-status", random.choice([b"0", b"0", b"5"]), False))
    return fields


class Story:
    """The lines of one story, and hpack's decoder, which says what the blocks hold."""

    def __init__(self, name):
        self.lines = [f"story {name}"]
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)

    def size(self, size):
        self.lines.append(f"size {size}")
        self.decoder.max_allowed_table_size = size

    def block(self, block):
        fields = [(name, value, not indexable) for name, value, indexable in self.decode(block)]
        self.lines.append(f"block {block.hex()}")
        self.lines += [stories.field_line(*field) for field in fields]
        return fields

    def decode(self, block):
        return [(*header, header.indexable) for header in self.decoder.decode(block, raw=True)]

    def refused(self, block):
        try:
            self.decode(block)
        except hpack.HPACKError:
            self.lines += [f"block {block.hex()}", "refused"]
            return
        raise AssertionError(f"hpack takes {block.hex()}")


def encoder_story(number, random):
    """What hpack's own encoder makes of calls, with table sizes that change."""
    story = Story(f"encoder-{number}")
    encoder = hpack.Encoder()
    allowed, used = 4096, 4096
    for _ in range(10 + random.below(10)):
        if number % 3 == 1 and random.one_in(4):
            allowed = random.choice([0, 100, 256, 1024, 4096, 8192])
            story.size(allowed)
        # What the decoder's side has reduced must be answered; any other change is the encoder's own choice.
        targets = [min(used, allowed)]
        if number % 3 == 1 and random.one_in(4):
            targets += [random.below(allowed // 2 + 1), random.below(allowed + 1)]
        for target in targets:
            if target != used:
                encoder.header_table_size = used = target
        fields = call_fields(random)
        got = story.block(encoder.encode(fields, huffman=not random.one_in(3)))
        # hpack's encoder gives a sensitive field by its index if it was once inserted, so the mark may be lost.
        assert [field[:2] for field in got] == [field[:2] for field in fields]
    return story


def integer(value, prefix_bits, pattern, padding=0):
    """RFC 7541, section 5.1; `padding` zero octets make it longer than it has to be."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([pattern | value])
    octets = bytearray([pattern | limit])
    value -= limit
    while value >= 128 or padding > 0:
        padding -= value < 128
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def string(octets, random, coder=hpack.Encoder().huffman_coder):
    padding = random.below(3) if random.one_in(6) else 0
    if random.one_in(2):
        octets = coder.encode(octets)
        return integer(len(octets), 7, 0x80, padding) + octets
    return integer(len(octets), 7, 0, padding) + octets


def piece(random, entries):
    """One representation, of a table whose indices end at `entries`."""
    if random.one_in(3):
        # Of the static table or of the dynamic one, which is seldom as full as this hopes.
        return integer(1 + random.below(entries), 7, 0x80)
    prefix_bits, pattern = random.choice([(6, 0x40), (4, 0x00), (4, 0x10)])
    if random.one_in(2):
        head = integer(1 + random.below(entries), prefix_bits, pattern)
    else:
        name = random.choice([*VALUES, b":path", b":protocol", b"grpc-message", random.octets(random.below(9), TOKEN)])
        head = integer(0, prefix_bits, pattern) + string(name, random)
    alphabet = TEXT if random.one_in(2) else bytes(range(256))
    return head + string(random.octets(random.below(40), alphabet), random)


def pieces_story(number, random):
    """Blocks of all representations in any order."""
    story = Story(f"pieces-{number}")
    allowed = 4096
    for _ in range(8 + random.below(8)):
        block = b""
        reduced = False
        if random.one_in(4):
            before, allowed = allowed, random.choice([0, 64, 150, 400, 4096, 20000])
            reduced = allowed < before
            story.size(allowed)
        if reduced or random.one_in(4):
            sizes = sorted(random.below(allowed + 1) for _ in range(1 + random.below(2)))
            block += b"".join(integer(size, 5, 0x20) for size in sizes)
        # Several pieces make a block; each is tried alone first, on a decoder in the same state, as its index may be
        # beyond the table.
        entries = 61 + len(story.decoder.header_table.dynamic_entries)
        block += b"".join(piece(random, entries) for _ in range(1 + random.below(8)))
        snapshot = table_state(story.decoder)
        try:
            story.block(block)
        except hpack.HPACKError:
            # An eviction in the block took the entry that it names: a refused block, which ends the story.
            restore(story.decoder, snapshot)
            story.refused(block)
            return story
    return story


def table_state(decoder):
    table = decoder.header_table
    return table._maxsize, table._current_size, list(table.dynamic_entries)


def restore(decoder, state):
    table = decoder.header_table
    table._maxsize, table._current_size, entries = state
    table.dynamic_entries.clear()
    table.dynamic_entries.extend(entries)


REFUSED = {
    "index-zero": "80",
    "index-beyond-static": "be",
    "index-far-beyond": "ffffffff0f",
    "name-index-beyond": "7f0001 61",
    "integer-ends": "ff",
    "integer-too-long": "ff8080808080808080808000",
    "name-missing": "40",
    "name-cut": "400a6375",
    "value-missing": "400161",
    "value-cut": "4001610562",
    "huffman-eos": "400161 84ffffffff",
    "huffman-padding-of-zeros": "400161 8100",
    "huffman-padding-of-eight": "400161 82f8ff",
    "size-update-too-large": "3fe21f",
    "size-update-behind-a-field": "8820",
}


def refused_stories():
    for name, block in REFUSED.items():
        story = Story(f"refused-{name}")
        story.block(bytes.fromhex("8286"))
        story.refused(bytes.fromhex(block))
        yield story
    story = Story("refused-size-update-missing")
    story.block(bytes.fromhex("400161 0162"))
    story.size(100)
    story.refused(bytes.fromhex("be"))
    yield story
    story = Story("refused-entry-evicted")
    story.block(bytes.fromhex("400161 0162"))
    story.block(bytes.fromhex("be"))
    story.refused(bytes.fromhex("20 be"))
    yield story


def generate():
    lines = [
        "# Written by generate.py; the fields are what Python's hpack " + VERSION + " decodes. The format: stories.py.",
    ]
    for number in range(12):
        lines += encoder_story(number, Random(1000 + number)).lines
    for number in range(24):
        lines += pieces_story(number, Random(2000 + number)).lines
    for story in refused_stories():
        lines += story.lines
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if hpack.__version__ != VERSION:
        sys.exit(f"hpack {VERSION} is the judge, this is {hpack.__version__}")
    text = generate()
    if check and FILE.read_text("ascii") != text:
        sys.exit("stories.txt is not what this script writes")
    if not check:
        FILE.write_text(text, "ascii")


if __name__ == "__main__":
    main()
