"""How an attacker's bytes get to the server. Every attack is written against this interface and no other.

A transport has:
    send(bytes)           one message, or bytes that claim to be one
    receive(timeout_s)    the next message of the server, or None
    close()
    datagrams             True where message borders are the network's (UDP), False where they are read from the bytes
    name                  for reports

TCP and TLS carry the same messages (RFC 8656 section 3.1): a transport for them cuts the stream by the header's length, and
an attack that lies about lengths asks `datagrams` what follows from that.
"""

import socket


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


TRANSPORTS = [Udp]
