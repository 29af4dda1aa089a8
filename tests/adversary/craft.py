"""STUN messages byte by byte, right ones and wrong ones. Nothing here comes from the server's own code.

`message` builds what the standard says unless it is told to lie; `parse` reads an answer and takes nothing on trust.
"""

import hashlib
import hmac
import ipaddress
import random
import struct
import zlib

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
CONNECT, CONNECTION_BIND, CONNECTION_ID = 10, 11, 0x002A
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
MAPPED_ADDRESS, USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, UNKNOWN_ATTRIBUTES = 0x0001, 0x0006, 0x0008, 0x0009, 0x000A
CHANNEL_NUMBER, LIFETIME, XOR_PEER_ADDRESS, ATTR_DATA, REALM, NONCE = 0x000C, 0x000D, 0x0012, 0x0013, 0x0014, 0x0015
XOR_RELAYED_ADDRESS, REQUESTED_ADDRESS_FAMILY, EVEN_PORT, REQUESTED_TRANSPORT = 0x0016, 0x0017, 0x0018, 0x0019
MESSAGE_INTEGRITY_SHA256, PASSWORD_ALGORITHM, USERHASH, XOR_MAPPED_ADDRESS = 0x001C, 0x001D, 0x001E, 0x0020
RESERVATION_TOKEN, ADDITIONAL_ADDRESS_FAMILY, PASSWORD_ALGORITHMS, SOFTWARE, FINGERPRINT = (
    0x0022,
    0x8000,
    0x8002,
    0x8022,
    0x8028,
)
MACS = {MESSAGE_INTEGRITY: hashlib.sha1, MESSAGE_INTEGRITY_SHA256: hashlib.sha256}
UDP = (REQUESTED_TRANSPORT, bytes([17, 0, 0, 0]))


# Where transaction ids come from; the suite gives each test dice of its own.
ids = random.Random()


def transaction():
    return ids.randbytes(12)


def message_type(method, kind):
    return (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2 | kind


def header(method, kind, length, of, cookie=COOKIE):
    return struct.pack("!HHI", message_type(method, kind), length, cookie) + of


def attribute(number, value):
    return struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)


def seal(head, body, key, number=MESSAGE_INTEGRITY):
    """The integrity attribute over a message of this type and transaction whose attributes so far are `body`."""
    size = MACS[number]().digest_size
    covered = head[:2] + struct.pack("!H", len(body) + 4 + size) + head[4:20] + body
    return attribute(number, hmac.new(key, covered, MACS[number]).digest())


def finger(head, body):
    covered = head[:2] + struct.pack("!H", len(body) + 8) + head[4:20] + body
    return attribute(FINGERPRINT, struct.pack("!I", zlib.crc32(covered) ^ 0x5354554E))


def message(method, kind=REQUEST, attributes=(), of=None, key=None, seals=(MESSAGE_INTEGRITY,), behind=(), fingerprint=False):
    """One message. `behind` are attributes after the integrity, which a receiver must not look at."""
    head = header(method, kind, 0, of or transaction())
    body = b"".join(attribute(number, value) for number, value in attributes)
    if key is not None:
        for number in seals:
            body += seal(head, body, key, number)
    body += b"".join(attribute(number, value) for number, value in behind)
    if fingerprint:
        body += finger(head, body)
    return head[:2] + struct.pack("!H", len(body)) + head[4:] + body


def with_length(raw, length):
    """The same bytes, whose header claims another length."""
    return raw[:2] + struct.pack("!H", length & 0xFFFF) + raw[4:]


def places(raw):
    """Where each attribute of a well-formed message begins, and its type and value."""
    at = 20
    while at + 4 <= len(raw):
        number, size = struct.unpack("!HH", raw[at : at + 4])
        yield at, number, raw[at + 4 : at + 4 + size]
        at += 4 + size + (-size % 4)


def xor_address(host, port, of):
    ip = ipaddress.ip_address(host)
    pad = struct.pack("!I", COOKIE) + of
    masked = bytes(a ^ b for a, b in zip(ip.packed, pad))
    return struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16) + masked


def read_xor_address(value, of):
    _, _, port = struct.unpack("!BBH", value[:4])
    pad = struct.pack("!I", COOKIE) + of
    return str(ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4:], pad)))), port ^ COOKIE >> 16


def peer(host, port, of):
    return XOR_PEER_ADDRESS, xor_address(host, port, of)


def channel(number):
    return CHANNEL_NUMBER, struct.pack("!HH", number, 0)


def lifetime(seconds):
    return LIFETIME, struct.pack("!I", seconds)


def family(version):
    return REQUESTED_ADDRESS_FAMILY, bytes([{4: 1, 6: 2}[version], 0, 0, 0])


def channel_data(number, payload):
    return struct.pack("!HH", number, len(payload)) + payload


class Answer:
    """A STUN answer. Raises ValueError for bytes that are none, or whose padding says anything."""

    def __init__(self, raw):
        if len(raw) < 20 or raw[0] & 0xC0:
            raise ValueError("not STUN")
        kind_method, length, cookie = struct.unpack("!HHI", raw[:8])
        if cookie != COOKIE or length + 20 != len(raw) or length % 4:
            raise ValueError("a wrong cookie or length")
        self.raw, self.transaction = raw, raw[8:20]
        self.method = (kind_method & 0xF) | (kind_method & 0xE0) >> 1 | (kind_method & 0x3E00) >> 2
        self.kind = kind_method & 0x110
        self.list = [(number, value) for _, number, value in places(raw)]
        self.attributes = dict(reversed(self.list))
        for at, _, value in places(raw):
            end = at + 4 + len(value)
            if any(raw[end : end + -len(value) % 4]):
                raise ValueError("padding that says something")

    @property
    def code(self):
        value = self.attributes.get(ERROR_CODE)
        return value[2] % 8 * 100 + value[3] if value else None

    def signed_by(self, key):
        """The integrity attribute that fits this key; None if there is none, ValueError if one is wrong."""
        found = None
        for at, number, value in places(self.raw):
            if number in MACS:
                covered = self.raw[:2] + struct.pack("!H", at + 4 + len(value) - 20) + self.raw[4:at]
                if key is None or not hmac.compare_digest(hmac.new(key, covered, MACS[number]).digest(), value):
                    raise ValueError("signed with a wrong key")
                found = number
        return found


def long_term_key(username, realm, password):
    return hashlib.md5(b":".join((username, realm, password))).digest()
