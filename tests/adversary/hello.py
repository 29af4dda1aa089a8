"""ClientHellos byte by byte, right ones and wrong ones, and what a server must make of their lengths."""

import struct

import craft
import oracle

HANDSHAKE, ALERT, DATA = 22, 21, 23
SERVER_NAME, GROUPS, SIGNATURES, PROTOCOLS, PADDING, VERSIONS, KEYS = 0, 10, 13, 16, 21, 43, 51
TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0301, 0x0302, 0x0303, 0x0304
# ECDSA with P-256 and SHA-256, RSA-PSS with SHA-256.
SIGNED = 0x0403, 0x0804
SUITES = (0x1301, 0x1302, 0xC02B, 0xC02C, 0xC02F)
X25519 = 0x001D
# The alerts of RFC 8446 section 6 that are an answer to a ClientHello.
UNEXPECTED, HANDSHAKE_FAILURE, ILLEGAL, DECODE, VERSION, MISSING = 10, 40, 47, 50, 70, 109
LONGEST = 16 * 1_024
TOO_LONG = "turned away: hello"
FAILED = "turned away: handshake"
# In the last record something stands behind the message, which RFC 8446 does not allow a first flight.
WHOLE, MORE_BEHIND = "whole", "whole, and more behind it"


def sized(value, width):
    return len(value).to_bytes(width, "big") + value


def words(values):
    return b"".join(struct.pack("!H", value) for value in values)


def extension(number, value):
    return struct.pack("!H", number) + sized(value, 2)


def server_name(name, kind=0):
    return extension(SERVER_NAME, sized(bytes([kind]) + sized(name, 2), 2))


def extensions(versions=(TLS_1_3, TLS_1_2), groups=(X25519,), signatures=SIGNED, name=b"localhost", more=b""):
    some = server_name(name) if name is not None else b""
    some += extension(GROUPS, sized(words(groups), 2)) + extension(SIGNATURES, sized(words(signatures), 2))
    if versions:
        some += extension(VERSIONS, sized(words(versions), 1))
        some += extension(KEYS, sized(struct.pack("!H", X25519) + sized(b"\x09" + bytes(31), 2), 2))
    return some + more


def body(inside=None, legacy=TLS_1_2, suites=SUITES, compression=b"\0", session=bytes(32)):
    """What a ClientHello says; `inside` are its extensions, b"" for none at all."""
    inside = extensions() if inside is None else inside
    raw = struct.pack("!H", legacy) + craft.ids.randbytes(32) + sized(session, 1)
    raw += sized(words(suites), 2) + sized(compression, 1)
    return raw + (sized(inside, 2) if inside else b"")


def message(inside, kind=1):
    return bytes([kind]) + sized(inside, 3)


def record(fragment, kind=HANDSHAKE, version=TLS_1_0):
    return bytes([kind]) + struct.pack("!H", version) + sized(fragment, 2)


def hello(*some, **more):
    return record(message(body(*some, **more)))


def in_records(inside, sizes):
    """One message in records of these sizes; the last takes the rest."""
    raw = message(inside)
    cut = []
    for size in sizes:
        cut.append(raw[:size])
        raw = raw[size:]
    return b"".join(record(part) for part in [*cut, raw] if part)


def fate(raw):
    """What becomes of a first flight when the client says no more: WHOLE, or why it is none. RFC 8446 sections 4 and 5.1."""
    head = raw[:6]
    if head[:1] != b"\x16" or head[1:2] not in (b"", b"\3") or head[2:3] > b"\4" or head[5:6] not in (b"", b"\1"):
        return oracle.NOT_SERVED if head else oracle.LEFT
    if len(head) < 6:
        return oracle.LEFT
    at, said, wanted = 0, b"", None
    while wanted is None or len(said) < wanted:
        if at + 5 > LONGEST:
            return TOO_LONG
        if at + 5 > len(raw):
            return oracle.LEFT
        size = struct.unpack("!H", raw[at + 3 : at + 5])[0]
        if raw[at] != HANDSHAKE or size == 0:
            return TOO_LONG
        said += raw[at + 5 : at + 5 + size]
        at += 5 + size
        if len(said) >= 4:
            wanted = 4 + int.from_bytes(said[1:4], "big")
        if (wanted or 0) > LONGEST or at > LONGEST:
            return TOO_LONG
        if at > len(raw):
            return oracle.LEFT
    return WHOLE if len(said) == wanted else MORE_BEHIND


def answer(said):
    """The first record of a server, in a word: `hello`, `alert 70`, or nothing."""
    if not said:
        return "nothing"
    if said[0] == ALERT and len(said) == 7 and said[5] == 2:
        return f"alert {said[6]}"
    return "hello" if said[0] == HANDSHAKE and said[5] == 2 else f"bytes {said[:16].hex()}"


__all__ = ["answer", "fate", "hello"]
