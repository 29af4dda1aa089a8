"""Much of everything: strangers from one address, from many, from forged ones; what must not suffer is a live call."""

import collections
import contextlib
import socket
import struct
import threading
import time

import suite  # first: it knows where the harness is
import craft
import lab
from harness import PORTS
from harness import check
from harness import proved
from peers import world
from target import SILENCE
from target import dropped
from target import grown

# What a source that proved nothing gets: so many answers at once, then so many a second, and what it paid for.
BURST, PER_SECOND, DEBT = 64, 20, 131_072
WORKERS = 2
FAR_PREFIX = "9.10.0.0/16"


class Call:
    """A live call beside a flood: data both ways at a steady pace, a Refresh and a permission now and then."""

    def __init__(self, target, attacker):
        self.target, self.client = target, attacker
        attacker.allocate()
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((lab.PEER, 0))
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        attacker.bind(0x4000, self.peer.getsockname())
        self.sent = self.arrived = self.back = self.refreshes = self.late = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        beat = time.monotonic()
        while not self.over.is_set():
            self.client.transport.send(craft.channel_data(0x4000, struct.pack("!I", self.sent)))
            self.sent += 1
            self.peer.sendto(b"back", self.client.relayed[0])
            if self.sent % 25 == 0:
                self.ask()
            self.drain()
            beat += 0.02
            time.sleep(max(0, beat - time.monotonic()))

    def ask(self):
        """A Refresh, answered at its first sending: a retransmission counts as late."""
        raw = self.client.request(craft.REFRESH, [craft.lifetime(600)])
        self.client.transport.send(raw)
        answer = self.client.await_answer(raw[8:20], 2)
        self.late += answer is None
        self.refreshes += 1

    def drain(self, timeout_s=0.0):
        self.peer.settimeout(timeout_s or 0.0001)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while self.peer.recv(100):
                self.arrived += 1
        while raw := self.client.transport.receive(timeout_s or 0.0001):
            self.client.heard.append(raw)
        self.back += sum(raw[:2] == b"\x40\x00" for raw in self.client.heard)
        self.client.heard.clear()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(10)
        self.drain(0.5)
        self.peer.close()

    def suffered(self):
        """Losses of the call: packets to the peer, packets back, Refreshes without an answer."""
        return self.sent - self.arrived, self.sent - self.back, self.late


@contextlib.contextmanager
def call_beside(target):
    with target.attacker() as attacker:
        call = Call(target, attacker)
        with call:
            yield call
    check(call.sent > 10, "the call went on meanwhile")
    lost = call.suffered()
    check(lost == (0, 0, 0), f"the call beside the flood lost {lost} of {call.sent} (to the peer, back, Refreshes)")


def paced(number, per_second, send):
    """Calls `send(n)` so often, at no more than this pace."""
    began = time.monotonic()
    for at in range(number):
        if at % 20 == 0:
            time.sleep(max(0, began + at / per_second - time.monotonic()))
        send(at)
    return time.monotonic() - began


def everything(transport, timeout_s=0.5):
    found = []
    while (raw := transport.receive(timeout_s)) is not None:
        found.append(raw)
    return found


def attack_one_source():
    """The smallest Allocate, 20,000 times from one address: the floor, then no more bytes out than in."""
    with world() as (around, target), contextlib.ExitStack() as held:
        around.many_sources(FAR_PREFIX)
        sockets = [held.enter_context(target.attacker(source=("9.10.0.1", 0))).transport for _ in range(8)]
        before = target.counters()
        with call_beside(target):
            number, answers = 20_000, []
            received = 0

            def send(at):
                nonlocal received
                raw = craft.message(craft.ALLOCATE, attributes=[craft.UDP])
                received += len(raw)
                sockets[at % 8].send(raw)
                if at % 400 == 399:
                    for each in sockets:
                        answers.extend(everything(each, 0.0001))

            seconds = paced(number, 4_000, send)
            for each in sockets:
                answers.extend(everything(each))
        answered = sum(map(len, answers))
        floor = WORKERS * (BURST + PER_SECOND * (seconds + 1)) * len(answers[0])
        check(answered <= received + floor, f"{answered} bytes for {received}, of which the floor is {floor:.0f}")
        check({craft.Answer(raw).code for raw in answers} == {401}, "every answer is a challenge")
        after = target.counters()
        budget = dropped(before, after).get("stranger_budget", 0)
        told = sum(grown(before, after, 'swingbridge_stranger_answers_total{code="401"}').values())
        lost = sum(grown(before, after, "swingbridge_kernel_losses_total").values())
        # The call's own client was challenged too.
        check(told + budget + lost == number + 1, f"each was answered or counted: {told} + {budget} + {lost} of {number}")
        check(after["swingbridge_answers_total"] == before["swingbridge_answers_total"], "the control thread did not hear of it")
    proved(f"{number} Allocates of one source: {answered / received:.2f} bytes out per byte in; the call lost nothing")


def attack_forged_source():
    """A victim's address on every datagram, all ports: what arrives there is no more than was sent in its name."""
    victim = "9.10.7.7"
    with world() as (around, target):
        around.many_sources(FAR_PREFIX)
        listener, server = (socket.inet_aton(address) for address in (lab.SERVER, victim))
        raw_socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(lab.ETH_P_IP))
        seen.bind(("cable", 0))
        seen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        received = 0
        with call_beside(target):

            def send(at):
                nonlocal received
                message = craft.message(craft.ALLOCATE, attributes=[craft.UDP])
                received += len(message)
                udp = struct.pack("!HHHH", 1_024 + at * 7 % 60_000, target.port, 8 + len(message), 0) + message
                head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + server + listener
                raw_socket.sendto(head + udp, (lab.SERVER, 0))

            seconds = paced(10_000, 4_000, send)
        seen.settimeout(0.5)
        answered = answers = 0
        with contextlib.suppress(TimeoutError):
            while frame := seen.recv(2_048):
                if frame[30:34] == server and frame[23] == 17:
                    answered += struct.unpack("!H", frame[38:40])[0] - 8
                    answers += 1
        check(answers > BURST, f"{answers} answers were seen")
        floor = WORKERS * (BURST + PER_SECOND * (seconds + 1)) * 100 + WORKERS * DEBT
        check(answered <= received + floor, f"{answered} bytes for {received}, of which the floor is {floor:.0f}")
    proved(f"10,000 Allocates in a victim's name: it got {answered / received:.2f} bytes per byte sent; the call lost nothing")


def attack_many_sources():
    """Thousands of addresses, each once: each is challenged, none is remembered."""
    with world() as (around, target):
        around.many_sources(FAR_PREFIX)
        warm = target.memory()
        sources, answered = 3_000, collections.Counter()
        before = target.counters()
        with call_beside(target):

            def send(at):
                with target.attacker(source=(f"9.10.{1 + at // 250}.{1 + at % 250}", 0)) as stranger:
                    raw = craft.message(craft.ALLOCATE, attributes=[craft.UDP])
                    stranger.transport.send(raw)
                    answer = stranger.await_answer(raw[8:20], 1)
                    answered[answer.code if answer else None] += 1

            paced(sources, 2_000, send)
        after = target.counters()
        check(answered[401] >= sources - 5, f"each source is challenged: {answered}")
        more = target.memory() - warm
        check(more < 1 << 20, f"{sources} sources cost {more / 1024:.0f} KB")
        made = grown(before, after, "swingbridge_allocations_made_total")
        check(sum(made.values()) == 1, "but the call's allocation, none was made")
    proved(f"{sources} sources once each: {answered[401]} challenged, {more / 1024:.0f} KB; the call lost nothing")


def attack_foreign_nonces_in_numbers():
    """The worker alone refuses them: no password is looked up, and the answer is smaller than the question."""
    with world() as (around, target), target.attacker() as stranger:
        stranger.challenge()
        before = target.counters()
        stranger.nonce = b"obMatJos2AAAB" + b"A" * 15
        received = answered = answers = 0
        with call_beside(target):
            calls_own = target.counters()

            def send(at):
                nonlocal received, answered, answers
                raw = stranger.request(craft.ALLOCATE, [craft.UDP])
                received += len(raw)
                stranger.transport.send(raw)
                for answer in everything(stranger.transport, 0.00001) if at % 50 == 49 else ():
                    answered, answers = answered + len(answer), answers + 1
                    check(craft.Answer(answer).code == 438, "a foreign nonce gets 438")

            paced(5_000, 2_500, send)
            answers_of_control = grown(calls_own, target.counters(), "swingbridge_answers_total")
        check(not [name for name in answers_of_control if "allocate" in name], f"control heard of none: {answers_of_control}")
        check(answered <= received, f"{answered} bytes for {received}")
        told = sum(grown(before, target.counters(), 'swingbridge_stranger_answers_total{code="438"}').values())
        check(told >= 4_900, f"{told} of 5,000 are answered")
    proved(f"5,000 foreign nonces: 438 by the worker, {answered / received:.2f} bytes per byte; the call lost nothing")


def attack_wrong_passwords_in_numbers():
    """Right nonces, wrong keys: the control thread's work, and live calls come first all the same."""
    with world() as (around, target), target.attacker() as stranger:
        stranger.challenge()
        wrong = craft.long_term_key(stranger.username, stranger.realm, b"guess")
        before = target.counters()
        with call_beside(target):
            codes = collections.Counter()

            def send(at):
                stranger.transport.send(stranger.request(craft.ALLOCATE, [craft.UDP], key=wrong))
                for raw in everything(stranger.transport, 0.00001) if at % 50 == 49 else ():
                    codes[craft.Answer(raw).code] += 1

            paced(5_000, 2_500, send)
            for raw in everything(stranger.transport):
                codes[craft.Answer(raw).code] += 1
        after = target.counters()
        full = dropped(before, after).get("request_ring_full", 0)
        check(codes.keys() == {401}, f"each gets 401: {codes}")
        told = sum(grown(before, after, 'swingbridge_allocations_refused_total{code="401"').values())
        check(told + full >= 4_990, f"each is refused or counted: {told} + {full}")
    proved(f"5,000 wrong passwords: {told} times 401, {full} dropped for want of room; the call lost nothing")


def attack_relay_port_from_outside():
    """Who was not permitted floods a relayed address: the client hears nothing of it."""
    with world() as (around, target), target.attacker() as victim:
        around.many_sources(FAR_PREFIX)
        victim.allocate()
        before = target.counters()
        with call_beside(target), contextlib.ExitStack() as held:
            sockets = []
            for number in range(20):
                sockets.append(held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
                sockets[-1].bind((f"9.10.3.{1 + number}", 0))
            paced(5_000, 5_000, lambda at: sockets[at % 20].sendto(b"\x40\x00\x00\x04evil", victim.relayed[0]))
        victim.fence()
        check(not victim.heard, "the client hears nothing")
        after = target.counters()
        lost = dropped(before, after).get("no_permission", 0)
        lost += sum(grown(before, after, "swingbridge_kernel_losses_total").values())
        check(lost == 5_000, f"each is counted: {lost}")
    proved("5,000 datagrams of strangers at a relayed address: dropped and counted; the call lost nothing")


def attack_unpermitted_sends_in_numbers():
    with world() as (around, target), target.attacker() as user:
        user.allocate()
        sniffers = around.sniffers()
        before = target.counters()
        raw = user.indication(("8.8.8.8", 9), b"must not arrive")
        paced(5_000, 5_000, lambda at: user.transport.send(raw))
        user.expect(raw, SILENCE, "Send without a permission")
        check(dropped(before, target.counters()) == {"no_permission": 5_001}, "each is counted")
        check(not lab.relayed_frames(sniffers, PORTS), "nothing left")
    proved("5,001 Send indications without a permission: silence, counted, nothing on the wire")


if __name__ == "__main__":
    suite.main(globals())
