"""The format of HPACK stories: what happens to one connection's table, block after block, as text.

    story NAME      a new connection: both tables have 4096 octets
    size N          SETTINGS_HEADER_TABLE_SIZE of the decoder's side is N, and the encoder has acknowledged it
    block HEX       a block, followed by the fields it has to give
    f NAME<tab>VALUE    a field
    n NAME<tab>VALUE    a field that is never to be indexed
    refused         the block before has to be refused, which ends the story

Octets that are not printable ASCII, and the backslash, are written as \\xNN. Lines that start with # are comments.
"""


def escape(octets):
    return "".join(chr(octet) if 0x20 <= octet < 0x7F and octet != 0x5C else f"\\x{octet:02x}" for octet in octets)


def unescape(text):
    first, *rest = text.split("\\x")
    return first.encode("ascii") + b"".join(bytes.fromhex(part[:2]) + part[2:].encode("ascii") for part in rest)


def field_line(name, value, never):
    return f"{'n' if never else 'f'} {escape(name)}\t{escape(value)}"


def read(lines):
    """Yields (story, [step]); a step is ("size", n), ("block", octets, [(name, value, never)]) or ("refused", octets)."""
    name, steps = None, []
    for line in lines:
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "story":
            if name is not None:
                yield name, steps
            name, steps = rest, []
        elif kind == "size":
            steps.append(("size", int(rest)))
        elif kind == "block":
            steps.append(("block", bytes.fromhex(rest), []))
        elif kind in ("f", "n"):
            field_name, _, value = rest.partition("\t")
            steps[-1][2].append((unescape(field_name), unescape(value), kind == "n"))
        elif kind == "refused":
            steps[-1] = ("refused", steps[-1][1])
        elif kind and not kind.startswith("#"):
            raise ValueError(f"no such line: {line!r}")
    if name is not None:
        yield name, steps
