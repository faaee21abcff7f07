#!/usr/bin/env python3
"""Holds our HPACK encoder to Python's `hpack`: it has to decode our blocks to the fields they were made of.

First the committed stories have to be what generate.py writes. The other direction, our decoder on hpack's blocks, is
engine/wire/tests/hpack_stories.rs.
"""

import os
import subprocess
import sys
from pathlib import Path

import hpack

import generate
import stories

ROOT = Path(__file__).resolve().parents[3]


def our_stories():
    """The stories with our blocks."""
    cargo = os.environ.get("CARGO", "cargo")
    words = [cargo, "run", "--quiet", "--locked", "--package", "corelane-wire", "--example", "hpack_encode", "--", generate.FILE]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"the example hpack_encode ended with {done.returncode}")
    return stories.read(done.stdout.decode("ascii").splitlines())


def main():
    if generate.FILE.read_text("ascii") != generate.generate():
        sys.exit("stories.txt is not what generate.py writes")
    expected = {}
    for name, steps in stories.read(generate.FILE.read_text("ascii").splitlines()):
        expected[name] = [step[2] for step in steps if step[0] == "block"]
    blocks, octets, told = 0, 0, {name: 0 for name in expected}
    for name, steps in our_stories():
        original, _, manner = name.partition("/")
        told[original] += 1
        decoder = hpack.Decoder(max_header_list_size=1 << 24)
        wanted = iter(expected[original])
        for step in steps:
            if step[0] == "size":
                decoder.max_allowed_table_size = step[1]
                continue
            fields = [(*header, not header.indexable) for header in decoder.decode(step[1], raw=True)]
            if fields != next(wanted):
                sys.exit(f"{name}: hpack reads other fields in {step[1].hex()}")
            blocks, octets = blocks + 1, octets + len(step[1])
        if next(wanted, None) is not None:
            sys.exit(f"{name}: blocks are missing")
    if set(told.values()) != {3}:
        sys.exit("not every story was told in three manners")
    print(f"hpack reads what we wrote: {blocks} blocks of {octets} octets")


if __name__ == "__main__":
    main()
