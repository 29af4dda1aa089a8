"""Captured messages of the old dialect, sent anew or out of turn, over UDP and over TCP; frames that are none.

A replay is judged by what its effect would be: a datagram at a peer, an active destination that moved. What is sent behind it
on the same five-tuple is carried out after it, so a peer that hears of that and of nothing before it heard no replay.
"""

import contextlib
import socket

import suite  # first: it knows where the harness is
import harness
import msturn
import place
from harness import check
from harness import proved
from target import Target

CAPTURED, REPLAYS, WINDOW = 100, 10_000, 128
# Relayed ports of UDP for those too who come by a connection: then each Send is one datagram, and can be counted.
DATAGRAMS_ONLY = ["connections_per_allocation = 0"]


class Peer:
    """A socket that tells what it hears."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((place.HERE4, 0))
        self.sock.settimeout(10)

    @property
    def address(self):
        return self.sock.getsockname()

    def heard_until(self, last):
        """Everything up to `last`, without it."""
        heard = []
        while (data := self.sock.recv(65_535)) != last:
            heard.append(data)
        return heard


def clients(target):
    """One of each transport, with an allocation."""
    for kind in (msturn.Client, msturn.Stream):
        client = kind(target.address(), harness.USER.encode(), harness.PASSWORD.encode())
        client.allocate()
        yield kind.__name__, client


def attack_ten_thousand_replays():
    with Target(streams=True, lines=DATAGRAMS_ONLY) as target:
        for name, client in clients(target):
            with client:
                peer, first, second = Peer(), Peer(), Peer()
                captured = []
                for number in range(CAPTURED):
                    captured.append(client.send_message(peer.address, b"%d" % number))
                    client.post(captured[-1], msturn.CONTROL)
                check(peer.heard_until(b"99") == [b"%d" % n for n in range(99)], f"{name}: each once, in order")
                client.set_destination(first.address)
                moved = client.last_request
                client.set_destination(second.address)
                before = target.counters()["swingbridge_replays_dropped_total"]
                for _ in range(REPLAYS // CAPTURED):
                    for message in captured:
                        client.post(message, msturn.CONTROL)
                    # Answered in its turn, so the rings never hold more than a round of it.
                    client.exchange(moved)
                    client.exchange(client.numbered(msturn.SET_DESTINATION, second.address))
                client.send(peer.address, b"the end")
                check(peer.heard_until(b"the end") == [], f"{name}: none of {REPLAYS} had an effect")
                client.send_bare(b"bare")
                check(second.heard_until(b"bare") == [], f"{name}: the destination did not move")
                dropped = target.counters()["swingbridge_replays_dropped_total"] - before
                check(dropped >= REPLAYS, f"{name}: {dropped} were counted")
                client.allocate(0)
        target.alive()
    proved(f"of {REPLAYS} replayed messages none has an effect, over UDP and over TCP")


def attack_overtaken_messages():
    with Target(streams=True, lines=DATAGRAMS_ONLY) as target:
        for name, client in clients(target):
            with client:
                peer = Peer()
                messages = [client.send_message(peer.address, b"%d" % number) for number in range(WINDOW + 1)]
                for message in reversed(messages):
                    for _ in range(2):
                        client.post(message, msturn.CONTROL)
                client.send(peer.address, b"the end")
                wanted = [b"%d" % number for number in range(WINDOW, 0, -1)]
                check(peer.heard_until(b"the end") == wanted, f"{name}: {WINDOW} of {WINDOW + 1}, each once")
                client.allocate(0)
        target.alive()
    proved(f"a first-seen message that up to {WINDOW - 1} overtook has its effect exactly once, an older one none")


def attack_shuffled_messages():
    with Target(streams=True, lines=DATAGRAMS_ONLY) as target:
        dice = suite.dice("shuffled")
        for name, client in clients(target):
            with client:
                peer = Peer()
                for _ in range(10):
                    messages = [client.send_message(peer.address, b"%d" % number) for number in range(WINDOW)]
                    twice = messages * 2
                    dice.shuffle(twice)
                    for message in twice:
                        client.post(message, msturn.CONTROL)
                    client.send(peer.address, b"the end")
                    heard = sorted(int(data) for data in peer.heard_until(b"the end"))
                    check(heard == list(range(WINDOW)), f"{name}: each exactly once, not {heard}")
                client.allocate(0)
        target.alive()
    proved(f"{WINDOW} messages sent twice each in any order: each has its effect exactly once")


def attack_forged_numbers():
    with Target(streams=True, lines=DATAGRAMS_ONLY) as target:
        for name, client in clients(target):
            with client:
                peer = Peer()
                number = client.number
                client.number = 0xFFFFFFFE
                forged = bytearray(client.send_message(peer.address, b"forged"))
                forged[-1] ^= 1
                client.number = number
                client.post(bytes(forged), msturn.CONTROL)
                connection, client.connection = client.connection, bytes(20)
                client.send(peer.address, b"of another connection")
                client.connection = connection
                client.send(peer.address, b"the end")
                check(peer.heard_until(b"the end") == [], f"{name}: neither had an effect, and the window stands")
                client.allocate(0)
        target.alive()
    proved("a wrong MAC and another connection id move nothing")


def attack_forbidden_peers_over_tcp():
    """No form of asking opens a connection to a forbidden peer."""
    with Target(streams=True, allow=[]) as target, socket.create_server((place.HERE4, 0)) as listener:
        with msturn.Stream(target.address(), harness.USER.encode(), harness.PASSWORD.encode()) as client:
            client.allocate()
            forbidden = [listener.getsockname(), client.relayed, target.address()]
            forbidden += [(host, 9) for host in ("0.0.0.0", "10.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255")]
            for peer in forbidden:
                check(code_of(client, peer) == 403, f"Set Active Destination to {peer}")
                client.send(peer, b"x")
            check(code_of(client, forbidden[0]) == 403, "the Sends before it were carried out")
        listener.settimeout(0.2)
        try:
            listener.accept()
            check(False, "somebody connected")
        except TimeoutError:
            pass
        target.alive()
    proved("Send and Set Active Destination over TCP open no connection to a forbidden peer")


def attack_pending_connections():
    """Peers whose kernels do not answer: so many of one allocation may be on their way, and no more."""
    with contextlib.ExitStack() as held, Target(streams=True, lines=["connects_per_allocation = 4"]) as target:
        busy = []
        for _ in range(8):
            listener = held.enter_context(socket.create_server((place.HERE4, 0), backlog=0))
            busy.append(listener.getsockname())
            # Until the kernel has no room for more, and drops what comes.
            for _ in range(3):
                sock = held.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(busy[-1])
        client = held.enter_context(
            msturn.Stream(target.address(), harness.USER.encode(), harness.PASSWORD.encode())
        )
        client.allocate()
        codes = [code_of(client, peer) for peer in busy]
        check(codes == [0] * 4 + [508] * 4, f"four on their way and no more: {codes}")
        client.allocate(0)
        target.alive()
    proved("of one allocation four connections may be on their way where four are allowed; the next gets 508")


def code_of(client, peer):
    try:
        client.set_destination(peer)
    except msturn.Refused as refused:
        return refused.code
    return 0


def attack_random_frames():
    """Sound frames with a byte changed or cut short: an answer in a sound frame, silence, or the end; and the server lives."""
    with Target(exempt=True, streams=True) as target:
        dice = suite.dice("frames")
        good = msturn.frame(msturn.CONTROL, msturn.encode(msturn.ALLOCATE, [(msturn.MS_VERSION, bytes([0, 0, 0, 1]))]))
        for _ in range(300):
            bad = bytearray(dice.choice([good, msturn.CLIENT_HELLO + good, good + good]))
            for _ in range(dice.randrange(3)):
                bad[dice.randrange(len(bad))] = dice.randrange(256)
            bad = bytes(bad[: dice.randrange(len(bad)) + 1])
            with socket.create_connection(target.address(), 10) as sock:
                heard = b""
                try:
                    sock.sendall(bad)
                    sock.shutdown(socket.SHUT_WR)
                    while more := sock.recv(65_536):
                        heard += more
                except OSError:
                    pass  # it was ended before all was said
            if heard.startswith(b"\x15"):
                continue  # what is no hello of pseudo-TLS any more is one of TLS, and gets its alert
            if heard.startswith(b"\x16"):
                check(msturn.is_server_hello(heard[:83]), f"the hello of pseudo-TLS: {bad.hex()}")
                heard = heard[83:]
            while heard:
                size = int.from_bytes(heard[2:4], "big")
                check(heard[:2] == b"\x02\x00" and len(heard) >= 4 + size, f"a sound frame: {bad.hex()}")
                msturn.decode(heard[4 : 4 + size])
                heard = heard[4 + size :]
        target.alive()
    proved("300 connections of changed and cut frames: sound answers, silence or the end")


if __name__ == "__main__":
    suite.main(globals())
