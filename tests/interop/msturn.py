"""A small client of [MS-TURN] over UDP, TCP, pseudo-TLS and TLS, written from the open specification with nothing but
Python's own library.
"""

import collections
import hashlib
import hmac
import ipaddress
import os
import socket
import struct
import time

COOKIE = bytes.fromhex("000f000472c64bc6")
ALLOCATE, SEND, SET_DESTINATION = 0x0003, 0x0004, 0x0006
ALLOCATED, NOT_ALLOCATED, DATA_INDICATION, DESTINATION_SET = 0x0103, 0x0113, 0x0115, 0x0106

MAPPED_ADDRESS, USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, LIFETIME = 0x0001, 0x0006, 0x0008, 0x0009, 0x000D
DESTINATION_ADDRESS, REMOTE_ADDRESS, DATA, NONCE, REALM = 0x0011, 0x0012, 0x0013, 0x0014, 0x0015
MS_VERSION, XOR_MAPPED_ADDRESS, MS_SEQUENCE_NUMBER = 0x8008, 0x8020, 0x8050

# What a frame on a stream carries (section 2.1.4).
CONTROL, BARE = 2, 3

Message = collections.namedtuple("Message", "kind transaction attributes raw")


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code, answer):
        super().__init__(str(code))
        self.code, self.answer = code, answer


def address(host, port):
    return struct.pack("!BBH", 0, 1, port) + ipaddress.IPv4Address(host).packed


def read_address(value, mask=bytes(16)):
    port = struct.unpack("!H", value[2:4])[0] ^ struct.unpack("!H", mask[:2])[0]
    return str(ipaddress.IPv4Address(bytes(a ^ b for a, b in zip(value[4:8], mask)))), port


def signature(key, covered):
    """The MAC of an old STUN: what is covered is filled up with zeros to 64 bytes, which are never sent."""
    return hmac.new(key, covered + bytes(-len(covered) % 64), hashlib.sha1).digest()


def encode(kind, attributes, transaction=None, key=None):
    """One message, cookie first, nothing padded, signed if there is a key."""
    body = COOKIE + b"".join(struct.pack("!HH", number, len(value)) + value for number, value in attributes)
    length = len(body) + (24 if key else 0)
    covered = struct.pack("!HH", kind, length) + (transaction or os.urandom(16)) + body
    return covered + (struct.pack("!HH", MESSAGE_INTEGRITY, 20) + signature(key, covered) if key else b"")


def decode(raw):
    if len(raw) < 28 or raw[20:28] != COOKIE or struct.unpack("!H", raw[2:4])[0] + 20 != len(raw):
        raise ValueError("not a message of [MS-TURN]")
    attributes, at = {}, 28
    while at < len(raw):
        number, size = struct.unpack("!HH", raw[at : at + 4])
        attributes.setdefault(number, raw[at + 4 : at + 4 + size])
        at += 4 + size
    return Message(struct.unpack("!H", raw[:2])[0], raw[4:20], attributes, raw)


class Client:
    """One five-tuple. User name and password are bytes."""

    def __init__(self, server, username, password):
        self.username, self.password = username, password
        self.realm = self.nonce = self.key = self.relayed = self.connection = None
        self.number = 0
        self.last_request = None
        self.received = collections.deque()
        self.sock = self.connect(server)

    def connect(self, server):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server)
        return sock

    def post(self, raw, kind):
        self.sock.send(raw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def allocate(self, lifetime_s=None):
        """Makes, refreshes or, with a lifetime of 0, ends the allocation. Raises Refused."""
        wanted = [(MS_VERSION, struct.pack("!I", 1))]
        if lifetime_s is not None:
            wanted.append((LIFETIME, struct.pack("!I", lifetime_s)))
        while True:
            proof = [(REALM, self.realm), (NONCE, self.nonce), (USERNAME, self.username)] if self.key else []
            answer = self.exchange(encode(ALLOCATE, wanted + proof, key=self.key))
            if answer.kind == ALLOCATED:
                break
            value = answer.attributes[ERROR_CODE]
            if self.key or value[2:4] != bytes([4, 1]):
                raise Refused(value[2] * 100 + value[3], answer)
            self.realm, self.nonce = answer.attributes[REALM], answer.attributes[NONCE]
            self.key = hashlib.md5(self.username + b":" + self.realm + b":" + self.password).digest()
        if not self.is_signed(answer):
            raise ValueError("the answer is not signed")
        self.relayed = read_address(answer.attributes[MAPPED_ADDRESS]) if lifetime_s != 0 else None
        told = answer.attributes.get(MS_SEQUENCE_NUMBER)
        if told and self.connection is None:
            self.connection, self.number = told[:20], struct.unpack("!I", told[20:])[0]
        return answer

    def is_signed(self, answer):
        at = len(answer.raw) - 20
        return hmac.compare_digest(signature(self.key, answer.raw[: at - 4]), answer.raw[at:])

    def _numbered(self, kind, attributes):
        self.number += 1
        sequence = self.connection + struct.pack("!I", self.number)
        return encode(kind, [(MS_SEQUENCE_NUMBER, sequence), (USERNAME, self.username), *attributes], key=self.key)

    def send(self, peer, payload):
        self.post(self.send_message(peer, payload), CONTROL)

    def send_message(self, peer, payload):
        return self._numbered(SEND, [(DESTINATION_ADDRESS, address(*peer)), (DATA, payload)])

    def numbered(self, kind, peer):
        return self._numbered(kind, [(DESTINATION_ADDRESS, address(*peer))])

    def set_destination(self, peer):
        self.last_request = self.numbered(SET_DESTINATION, peer)
        answer = self.exchange(self.last_request)
        if answer.kind != DESTINATION_SET:
            value = answer.attributes[ERROR_CODE]
            raise Refused(value[2] * 100 + value[3], answer)
        if not self.is_signed(answer):
            raise ValueError("the answer is not signed")

    def send_bare(self, payload):
        self.post(payload, BARE)

    def exchange(self, request):
        for wait_s in (0.5, 1, 2):
            self.post(request, CONTROL)
            until = time.monotonic() + wait_s
            while (raw := self._read(until)) is not None:
                if raw[4:20] == request[4:20] and raw[20:28] == COOKIE:
                    return decode(raw)
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

    def _keep(self, raw):
        """A Data Indication becomes (peer, payload), all else (None, payload): it comes from the active destination."""
        try:
            message = decode(raw)
        except ValueError:
            return self.received.append((None, raw))
        if message.kind != DATA_INDICATION:
            return self.received.append((None, raw))
        self.received.append((read_address(message.attributes[REMOTE_ADDRESS]), message.attributes[DATA]))

    def receive(self, timeout_s=1.0):
        """The next data, or None if none came in time."""
        until = time.monotonic() + timeout_s
        while not self.received:
            raw = self._read(until)
            if raw is None:
                return None
            self._keep(raw)
        return self.received.popleft()


# Section 2.1.1: 32 bytes of the first, and 64 of the second, may be anything.
CLIENT_HELLO = bytes.fromhex("160301002d010000290301") + b"\xc1" * 32 + bytes.fromhex("00000200180100")
SERVER_HELLO_BYTES = 83


def is_server_hello(answer):
    fixed = answer[:11] + answer[43:44] + answer[76:]
    return fixed == bytes.fromhex("160301004e020000460301" + "20" + "0018000e000000") and len(answer) == SERVER_HELLO_BYTES


def frame(kind, payload):
    return struct.pack("!BBH", kind, 0, len(payload)) + payload


class Stream(Client):
    """The same on a stream: plain, behind the hellos of pseudo-TLS, or under TLS."""

    def __init__(self, server, username, password, *, pseudo=False, tls=None):
        self.pseudo, self.tls, self.unread = pseudo, tls, b""
        super().__init__(server, username, password)

    def connect(self, server):
        sock = socket.create_connection(server, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.pseudo:
            sock.sendall(CLIENT_HELLO)
            # One read, as clients do it.
            answer = sock.recv(4_096)
            if not is_server_hello(answer):
                raise ValueError(f"not the hello of pseudo-TLS: {answer.hex()}")
        return self.tls.wrap_socket(sock, server_hostname="localhost") if self.tls else sock

    def post(self, raw, kind):
        self.sock.sendall(frame(kind, raw))

    def exchange(self, request):
        self.post(request, CONTROL)
        until = time.monotonic() + 10
        while (got := self._frame(until)) is not None:
            kind, raw = got
            if kind == CONTROL and raw[4:20] == request[4:20]:
                return decode(raw)
            self._sort(kind, raw)
        raise TimeoutError("the server does not answer")

    def _frame(self, until):
        while True:
            if len(self.unread) >= 4:
                kind, zero, size = struct.unpack("!BBH", self.unread[:4])
                if kind not in (CONTROL, BARE) or zero:
                    raise ValueError(f"no frame: {self.unread[:8].hex()}")
                if len(self.unread) >= 4 + size:
                    payload, self.unread = self.unread[4 : 4 + size], self.unread[4 + size :]
                    return kind, payload
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                more = self.sock.recv(65_536)
            except TimeoutError:
                return None
            if not more:
                raise ConnectionError("the server ended the connection")
            self.unread += more

    def _sort(self, kind, raw):
        """The frame says what it is; what data looks like says nothing."""
        if kind == BARE:
            return self.received.append((None, raw))
        message = decode(raw)
        if message.kind != DATA_INDICATION:
            raise ValueError(f"a control frame that nobody asked for: {raw.hex()}")
        self.received.append((read_address(message.attributes[REMOTE_ADDRESS]), message.attributes[DATA]))

    def receive(self, timeout_s=1.0):
        until = time.monotonic() + timeout_s
        while not self.received:
            got = self._frame(until)
            if got is None:
                return None
            self._sort(*got)
        return self.received.popleft()
