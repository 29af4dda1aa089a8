"""How an attacker's bytes get to the server. Every attack is written against this interface and no other.

A transport has:
    send(bytes)           one message, or bytes that claim to be one
    receive(timeout_s)    the next message of the server, or None
    close()
    datagrams             True where message borders are the network's (UDP), False where they are read from the bytes
    name                  for reports
    local                 the own address and port

TCP and TLS carry the same messages (RFC 8656 section 3.1): a transport for them cuts the stream by the header's length. An
attack that lies about lengths means something else there, and has its own scripts.
"""

import socket
import ssl
import struct
import time

# Longer than any deadline of the server: who waits so long sees the end of everything that ends.
PATIENCE_S = 30


class Udp:
    """One five-tuple over UDP."""

    name, datagrams = "udp", True

    def __init__(self, server, source=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if source:
            self.sock.bind(source)
        self.sock.connect(server)

    @property
    def local(self):
        return self.sock.getsockname()[:2]

    def send(self, raw):
        self.sock.send(raw)

    def receive(self, timeout_s=2.0):
        self.sock.settimeout(timeout_s)
        try:
            return self.sock.recv(65_535)
        except (TimeoutError, ConnectionRefusedError):
            return None

    def close(self):
        self.sock.close()


class Tcp:
    """One connection. What the server says is cut into messages; `ended` is True once it said its last word."""

    name, datagrams = "tcp", False

    def __init__(self, server, source=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(PATIENCE_S)
        self.tune()
        if source:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(source)
        self.sock.connect(server)
        self.unread, self.ended = b"", False

    def tune(self):
        """Options that must be set before the connection is there."""

    @property
    def local(self):
        return self.sock.getsockname()[:2]

    def send(self, raw):
        """As far as the server listens: it may have ended the connection."""
        self.sock.settimeout(PATIENCE_S)
        try:
            self.sock.sendall(raw)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            pass

    def receive(self, timeout_s=2.0):
        until = time.monotonic() + timeout_s
        while (size := frame_size(self.unread)) is None or len(self.unread) < size:
            left = until - time.monotonic()
            if left <= 0 or not self.more(left):
                return None
        frame, self.unread = self.unread[:size], self.unread[size:]
        return frame

    def more(self, timeout_s):
        """Takes in what is there. False at the end, or when nothing came."""
        self.sock.settimeout(timeout_s)
        try:
            some = self.sock.recv(65_536)
        except TimeoutError:
            return False
        except (ConnectionResetError, ssl.SSLError):
            some = b""
        self.ended |= not some
        self.unread += some
        return not self.ended

    def all(self):
        """Everything up to the end of the connection; that it never comes is an error."""
        until = time.monotonic() + PATIENCE_S
        while self.more(max(0.1, until - time.monotonic())):
            pass
        if not self.ended:
            raise AssertionError("the connection goes on for ever")
        said, self.unread = self.unread, b""
        return said

    def half_close(self):
        """The own side is done. The server may have left already."""
        try:
            # Past the wrapper of TLS, which would forget its keys.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """Ends the connection with RST, which also leaves the own port free."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class Tls(Tcp):
    """One connection under TLS. The certificate is nobody's, and is not looked at."""

    name = "tls"

    def __init__(self, server, source=None, host="localhost", names=(), suite=None):
        super().__init__(server, source)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if names:
            context.set_alpn_protocols(list(names))
        if suite:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(suite)
        self.sock = context.wrap_socket(self.sock, server_hostname=host, suppress_ragged_eofs=True)


def frame_size(raw):
    """How many bytes the first message of a stream has: RFC 8489 section 5, RFC 8656 section 12.5. None: not yet known."""
    if len(raw) < 4:
        return None
    length = struct.unpack("!H", raw[2:4])[0]
    return 20 + length if raw[0] < 0x40 else 4 + length + -length % 4


TRANSPORTS = [Udp, Tcp, Tls]
