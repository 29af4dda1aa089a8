"""Calls that speak and are heard all the time, and count what came. No script of its own."""

import contextlib
import selectors
import socket
import threading
import time

import tiers
from harness import check

CHANNEL = 0x4000


def bound(host, port=0):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(2)
    sock.bind((host, port))
    return sock


class Call:
    """A client with a channel to a peer. Both number what they send."""

    def __init__(self, server, data_len=64):
        self.peer = bound(server.ground.peer_host)
        self.client = server.client()
        for sock in (self.peer, self.client.sock):
            tiers.roomy(sock)
        self.client.allocate()
        self.client.bind_channel(CHANNEL, self.peer.getsockname())
        self.data_len = data_len
        self.sent_to_peer = self.sent_to_client = 0
        self.at_peer, self.at_client = set(), set()
        self.at_peer_from = set()

    def to_peer(self):
        self.client.send_channel(CHANNEL, self.sent_to_peer.to_bytes(8, "big").ljust(self.data_len, b"."))
        self.sent_to_peer += 1

    def to_client(self):
        self.peer.sendto(self.sent_to_client.to_bytes(8, "big").ljust(self.data_len, b"."), self.client.relayed)
        self.sent_to_client += 1

    def hear_peer(self):
        raw, source = self.peer.recvfrom(65535)
        self.at_peer.add(int.from_bytes(raw[:8], "big"))
        self.at_peer_from.add(source)

    def hear_client(self):
        raw = self.client.sock.recv(65535)
        check(raw[0] & 0xC0 == 0x40, f"a client of a channel hears ChannelData: {raw.hex()}")
        self.at_client.add(int.from_bytes(raw[4:12], "big"))

    def ears(self):
        yield self.peer, self.hear_peer
        yield self.client.sock, self.hear_client

    def sent(self):
        return self.sent_to_peer + self.sent_to_client

    def heard(self):
        return len(self.at_peer) + len(self.at_client)

    def close(self):
        self.client.sock.close()
        self.peer.close()


class Ears(threading.Thread):
    """Reads sockets as soon as something is there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector, self.ended, self.failure = selectors.DefaultSelector(), False, None

    def add(self, sock, hear):
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, hear)

    def run(self):
        try:
            while not self.ended:
                for key, _ in self.selector.select(0.05):
                    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                        while True:
                            key.data()
        except Exception as failure:  # told where it is waited for
            self.failure = failure

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.join()
        self.selector.close()

    def hear_all(self, missing, timeout_s=10):
        """Waits until nothing is missing; answers what still is."""
        until = time.monotonic() + timeout_s
        while (left := missing()) and time.monotonic() < until and not self.failure:
            time.sleep(0.02)
        if self.failure:
            raise self.failure
        return left


class Mouth(threading.Thread):
    """Says `word()` again and again, so many seconds apart."""

    def __init__(self, word, pause_s):
        super().__init__(daemon=True)
        self.word, self.pause_s, self.ended, self.failure = word, pause_s, False, None
        self.longest_pause_s = 0.0

    def run(self):
        try:
            last = time.monotonic()
            while not self.ended:
                self.word()
                time.sleep(self.pause_s)
                now = time.monotonic()
                self.longest_pause_s = max(self.longest_pause_s, now - last)
                last = now
        except Exception as failure:  # told where it is waited for
            self.failure = failure

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.join()
        if self.failure:
            raise self.failure
