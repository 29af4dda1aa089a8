"""A small STUN and TURN client over UDP, written from RFC 8489 and RFC 8656 with nothing but Python's own library.

It exists so that the tests hold the server to the standard's bytes, not to what some library thinks they mean.
"""

import collections
import hashlib
import hmac
import ipaddress
import os
import socket
import struct
import time
import zlib

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110

USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x0006, 0x0008, 0x0009, 0x000C, 0x000D
XOR_PEER_ADDRESS, ATTR_DATA, REALM, NONCE, XOR_RELAYED_ADDRESS = 0x0012, 0x0013, 0x0014, 0x0015, 0x0016
REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS, FINGERPRINT = 0x0017, 0x0019, 0x0020, 0x8028
MESSAGE_INTEGRITY_SHA256, PASSWORD_ALGORITHM, PASSWORD_ALGORITHMS = 0x001C, 0x001D, 0x8002
ACCESS_TOKEN, THIRD_PARTY_AUTHORIZATION = 0x001B, 0x802E

MACS = {MESSAGE_INTEGRITY: hashlib.sha1, MESSAGE_INTEGRITY_SHA256: hashlib.sha256}

ALTERNATE_SERVER = 0x8023
EVEN_PORT, RESERVATION_TOKEN, ADDITIONAL_ADDRESS_FAMILY, ADDRESS_ERROR_CODE = 0x0018, 0x0022, 0x8000, 0x8001

Message = collections.namedtuple("Message", "method kind transaction attributes raw")


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code, reason, answer=None):
        super().__init__(f"{code} {reason}")
        self.code, self.answer = code, answer


def xor_address(host, port, transaction):
    ip = ipaddress.ip_address(host)
    pad = struct.pack("!I", COOKIE) + transaction
    family = 1 if ip.version == 4 else 2
    masked = bytes(a ^ b for a, b in zip(ip.packed, pad))
    return struct.pack("!BBH", 0, family, port ^ (COOKIE >> 16)) + masked


def read_xor_address(value, transaction):
    _, family, port = struct.unpack("!BBH", value[:4])
    pad = struct.pack("!I", COOKIE) + transaction
    packed = bytes(a ^ b for a, b in zip(value[4:], pad))
    assert len(packed) == {1: 4, 2: 16}[family], "an address of the wrong length"
    return str(ipaddress.ip_address(packed)), port ^ (COOKIE >> 16)


def message_type(method, kind):
    return (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2 | kind


def encode(method, kind, attributes, transaction=None, key=None, integrity=MESSAGE_INTEGRITY):
    """One message, with FINGERPRINT, and with the integrity attribute if there is a key."""
    transaction = transaction or os.urandom(12)
    body = b""
    for number, value in attributes:
        body += struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)

    def head(length):
        return struct.pack("!HHI", message_type(method, kind), length, COOKIE) + transaction

    if key:
        size = MACS[integrity]().digest_size
        mac = hmac.new(key, head(len(body) + 4 + size) + body, MACS[integrity]).digest()
        body += struct.pack("!HH", integrity, size) + mac
    crc = zlib.crc32(head(len(body) + 8) + body) ^ 0x5354554E
    return head(len(body) + 8) + body + struct.pack("!HHI", FINGERPRINT, 4, crc)


def decode(raw, key=None):
    """Takes a message apart; with a key, insists on a right integrity attribute. Raises ValueError if it is not STUN."""
    if len(raw) < 20 or raw[0] & 0xC0:
        raise ValueError("not STUN")
    kind_method, length, cookie = struct.unpack("!HHI", raw[:8])
    if cookie != COOKIE or length + 20 != len(raw) or length % 4:
        raise ValueError("a wrong cookie or length")
    method = (kind_method & 0xF) | (kind_method & 0xE0) >> 1 | (kind_method & 0x3E00) >> 2
    attributes, at, signed = {}, 20, False
    while at < len(raw):
        number, size = struct.unpack("!HH", raw[at : at + 4])
        value = raw[at + 4 : at + 4 + size]
        if number in MACS and key:
            covered = raw[:2] + struct.pack("!H", at + 4 + size - 20) + raw[4:at]
            if not hmac.compare_digest(hmac.new(key, covered, MACS[number]).digest(), value):
                raise ValueError("a wrong MESSAGE-INTEGRITY")
            signed = True
        attributes.setdefault(number, value)
        at += 4 + size + (-size % 4)
    if key and not signed:
        raise ValueError("no MESSAGE-INTEGRITY")
    return Message(method, kind_method & 0x110, raw[8:20], attributes, raw)


def attributes_of(raw):
    """Every attribute of a message as (type, value), in order and however often."""
    at = 20
    while at < len(raw):
        number, size = struct.unpack("!HH", raw[at : at + 4])
        yield number, raw[at + 4 : at + 4 + size]
        at += 4 + size + (-size % 4)


def binding(server, timeout_s=0.5):
    """Asks for our own address; None if no answer came in time."""
    with socket.socket(_family(server[0]), socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(server)
        request = encode(BINDING, REQUEST, [])
        try:
            sock.send(request)
            answer = decode(sock.recv(2048))
        except (OSError, ValueError):
            return None
        if answer.transaction != request[8:20] or answer.kind != SUCCESS:
            return None
        return read_xor_address(answer.attributes[XOR_MAPPED_ADDRESS], answer.transaction)


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Client:
    """One five-tuple: requests with the long-term credential, and the data that arrives between their answers."""

    def __init__(self, server, username, password, source=None):
        self.server = server
        self.username, self.password = username, password
        self.realm = self.nonce = self.key = None
        self.relayed = None
        self.last_request = self.last_answer = None
        self.received = collections.deque(maxlen=10_000)
        self.sock = socket.socket(_family(server[0]), socket.SOCK_DGRAM)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(server)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def request(self, method, attributes=(), peers=()):
        """One authenticated request; takes up the realm and nonce that a 401 or 438 brings. Raises Refused."""
        for _ in range(3):
            request = self.written(method, attributes, peers)
            answer = self.exchange(request)
            if answer.kind == SUCCESS:
                self.last_request, self.last_answer = request, answer.raw
                return answer
            value = answer.attributes[ERROR_CODE]
            code = value[2] * 100 + value[3]
            fresh = answer.attributes.get(NONCE)
            if code not in (401, 438) or fresh in (None, self.nonce) or (code == 401 and self.key):
                raise Refused(code, value[4:].decode(errors="replace"), answer)
            self.heed(answer)
        raise Refused(438, "again and again")

    def written(self, method, attributes=(), peers=()):
        """The bytes of a request, with what a challenge has brought so far."""
        transaction = os.urandom(12)
        sent = [(XOR_PEER_ADDRESS, xor_address(*peer, transaction)) for peer in peers] + list(attributes)
        if self.key:
            sent += [(USERNAME, self.username.encode()), (REALM, self.realm), (NONCE, self.nonce)]
        return encode(method, REQUEST, sent, transaction, self.key)

    def heed(self, challenge):
        """Takes up the realm and the nonce of an answer."""
        self.nonce, self.realm = challenge.attributes[NONCE], challenge.attributes[REALM]
        text = self.username.encode() + b":" + self.realm + b":" + self.password.encode()
        self.key = hashlib.md5(text).digest()

    def exchange(self, request):
        """Sends, and sends again as RFC 8489 section 6.2.1 has it, until the answer to it arrives. Raises TimeoutError."""
        for wait_s in (0.5, 1, 2):
            self.sock.send(request)
            until = time.monotonic() + wait_s
            while (raw := self._read(until)) is not None:
                if len(raw) >= 20 and raw[8:20] == request[8:20] and raw[0] & 0xC0 == 0:
                    answer = decode(raw)
                    if answer.kind == SUCCESS and self.key:
                        decode(raw, self.key)
                    return answer
                self._keep(raw)
        raise TimeoutError("the server does not answer")

    def _read(self, until):
        left = until - time.monotonic()
        if left <= 0:
            return None
        self.sock.settimeout(left)
        try:
            return self.sock.recv(65535)
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            return b""

    def _keep(self, raw):
        """A Data indication or ChannelData becomes (from, payload); from is an address or a channel number."""
        if len(raw) >= 4 and raw[0] & 0xC0 == 0x40:
            number, size = struct.unpack("!HH", raw[:4])
            self.received.append((number, raw[4 : 4 + size]))
            return
        try:
            message = decode(raw)
        except ValueError:
            return
        if (message.method, message.kind) == (DATA, INDICATION):
            peer = read_xor_address(message.attributes[XOR_PEER_ADDRESS], message.transaction)
            self.received.append((peer, message.attributes[ATTR_DATA]))

    def allocate(self, family=None, lifetime_s=None):
        attributes = [(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0]))]
        if family:
            attributes.append((REQUESTED_ADDRESS_FAMILY, bytes([{4: 1, 6: 2}[family], 0, 0, 0])))
        if lifetime_s is not None:
            attributes.append((LIFETIME, struct.pack("!I", lifetime_s)))
        answer = self.request(ALLOCATE, attributes)
        self.relayed = read_xor_address(answer.attributes[XOR_RELAYED_ADDRESS], answer.transaction)
        return self.relayed

    def allocate_both(self):
        """A dual allocation: its relayed addresses in the order of the answer, and (family, code) of one not given."""
        wanted = [(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0])), (ADDITIONAL_ADDRESS_FAMILY, bytes([2, 0, 0, 0]))]
        answer = self.request(ALLOCATE, wanted)
        told = list(attributes_of(answer.raw))
        relayed = [read_xor_address(value, answer.transaction) for number, value in told if number == XOR_RELAYED_ADDRESS]
        errors = [value for number, value in told if number == ADDRESS_ERROR_CODE]
        return relayed, [({1: 4, 2: 6}[value[0]], (value[2] & 7) * 100 + value[3]) for value in errors]

    def allocate_pair(self):
        """An even port, with the token of the next one."""
        answer = self.request(ALLOCATE, [(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0])), (EVEN_PORT, b"\x80")])
        self.relayed = read_xor_address(answer.attributes[XOR_RELAYED_ADDRESS], answer.transaction)
        return self.relayed, answer.attributes[RESERVATION_TOKEN]

    def redeem(self, token):
        """The port that a token stands for."""
        answer = self.request(ALLOCATE, [(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0])), (RESERVATION_TOKEN, token)])
        self.relayed = read_xor_address(answer.attributes[XOR_RELAYED_ADDRESS], answer.transaction)
        return self.relayed

    def refresh(self, lifetime_s, family=None):
        attributes = [(LIFETIME, struct.pack("!I", lifetime_s))]
        if family:
            attributes.append((REQUESTED_ADDRESS_FAMILY, bytes([{4: 1, 6: 2}[family], 0, 0, 0])))
        answer = self.request(REFRESH, attributes)
        return struct.unpack("!I", answer.attributes[LIFETIME])[0]

    def permit(self, *hosts):
        self.request(CREATE_PERMISSION, peers=[(host, 0) for host in hosts])

    def bind_channel(self, number, peer):
        self.request(CHANNEL_BIND, [(CHANNEL_NUMBER, struct.pack("!HH", number, 0))], peers=[peer])

    def send(self, peer, payload):
        """A Send indication."""
        transaction = os.urandom(12)
        attributes = [(XOR_PEER_ADDRESS, xor_address(*peer, transaction)), (ATTR_DATA, payload)]
        self.sock.send(encode(SEND, INDICATION, attributes, transaction))

    def send_channel(self, number, payload):
        self.sock.send(struct.pack("!HH", number, len(payload)) + payload)

    def receive(self, timeout_s=1.0):
        """The next data from a peer as (from, payload), or None if none came in time."""
        until = time.monotonic() + timeout_s
        while not self.received:
            raw = self._read(until)
            if raw is None:
                return None
            self._keep(raw)
        return self.received.popleft()
