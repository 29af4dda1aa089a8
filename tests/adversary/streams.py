"""Connections: bytes cut anywhere, lengths that lie, ends in the middle, clients that are slow, too many, or never read.

What becomes of a connection is read from its answers, its end, and the counters that tell why: a connection that ends
because time was up has another reason than one that ends because of what it said.
"""

import collections
import contextlib
import socket
import struct
import threading
import time

import suite  # first: it knows where the harness is
import craft
import forged
import harness
import malformed
import oracle
import place
from harness import check
from harness import proved
from target import Attacker
from target import SILENCE
from target import Target
from target import dropped
from target import grown
from target import over
from transport import PATIENCE_S
from transport import Tcp
from transport import Tls
from transport import Udp

PEER = place.HERE4, 9
STREAMS = (Tcp, Tls)


def fates(before, after):
    """Connections that ended, by why, in the words of the oracle."""
    found = collections.Counter()
    for name, count in grown(before, after, "swingbridge_stream").items():
        reason = name.partition('reason="')[2].rstrip('"}')
        kind = {"streams_turned_away": "turned away", "streams_ended": "ended"}.get(name[12:].partition("_total")[0])
        if kind and reason:
            found[f"{kind}: {reason}"] += count
    return dict(found)


def quiet(target):
    """The counters, once every connection that was served and has ended is counted as such."""
    return target.settles({"swingbridge_streams": 0})


def settled_fates(target, before, wanted, same=()):
    """Wants them, once there are as many: a page may be a moment older than what the client has seen. Those of `same` may
    stand for each other, where a race decides that is none of the server's."""

    def folded(counts):
        either = sum(counts.get(why, 0) for why in same)
        return {why: count for why, count in counts.items() if why not in same} | ({" or ".join(same): either} if either else {})

    until = time.monotonic() + 10
    while sum((found := fates(before, target.counters())).values()) < sum(wanted.values()) and time.monotonic() < until:
        time.sleep(0.02)
    check(folded(found) == folded(wanted), f"connections end as {wanted}, not {found}")


def verdicts(attacker, said):
    """The messages in what a server said, in the words of `Attacker.verdict`; what is none raises."""
    words = []
    while said:
        size = oracle.next_frame(said)
        check(size, f"the server says messages, not {said.hex()}")
        words.append(attacker.verdict(said[:size]))
        said = said[size:]
    return words


def strangers(target, streams, transport=Tcp):
    """Says each stream on a connection of its own, and wants the answers and the end that the oracle tells."""
    before, wanted = quiet(target), collections.Counter()
    for claim, parts in streams:
        raw = b"".join(parts)
        with Attacker(transport(target.address()), "alice", harness.PASSWORD) as attacker:
            answers, fate = oracle.stream(raw, attacker)
            for part in parts:
                attacker.transport.send(part)
            attacker.transport.half_close()
            said = verdicts(attacker, attacker.transport.all())
            check(said == answers, f"{claim}: {answers}, not {said}; sent {raw.hex()}")
        wanted[fate] += 1
    settled_fates(target, before, dict(wanted))
    return wanted


def told(fate):
    return ", ".join(f"{count} {why}" for why, count in sorted(fate.items()))


def kinds():
    """A stranger's messages: each is answered by who has it first, in order."""
    invented = [(craft.USERNAME, b"alice"), (craft.REALM, harness.REALM.encode()), (craft.NONCE, b"obMatJos2AAAB" + b"A" * 20)]
    return [
        craft.message(craft.BINDING),
        craft.message(craft.BINDING, attributes=[(craft.SOFTWARE, b"odd")], fingerprint=True),
        craft.message(craft.ALLOCATE, attributes=[craft.UDP]),
        craft.message(craft.REFRESH, attributes=[craft.lifetime(0), *invented], key=b"guess"),
        craft.message(craft.SEND, craft.INDICATION, [(craft.ATTR_DATA, b"data")]),
    ]


def attack_cut_at_every_byte():
    """The client says a part of a first message, or of a second, and leaves."""
    with Target(streams=True) as target:
        first = [(f"{at} bytes", [raw[:at]]) for raw in kinds() for at in range(len(raw) + 1)]
        ends = strangers(target, first)
        binding = craft.message(craft.BINDING)
        later = [(f"{at} bytes of a second", [binding, raw[:at]]) for raw in kinds()[1:] for at in range(len(raw) + 1)]
        ends += strangers(target, later)
        inside = [(f"{at} bytes under TLS", [kinds()[3][:at]]) for at in range(8, len(kinds()[3]) + 1, 3)]
        ends += strangers(target, inside, Tls)
        target.alive()
        proved(f"{ends.total()} connections cut at every byte of a message: answered up to there, {told(ends)}")


def attack_every_split():
    """Requests pipelined, and cut in two at every byte, or into single bytes: the same answers in the same order."""
    with Target(streams=True) as target:
        raw = b"".join([*kinds(), craft.channel_data(0x4000, b"12345678"), craft.message(craft.BINDING)])
        whole = [("in one", [raw]), ("byte by byte", [raw[at : at + 1] for at in range(len(raw))])]
        halves = [(f"split at {at}", [raw[:at], raw[at:]]) for at in range(1, len(raw))]
        ends = strangers(target, whole + halves)
        ends += strangers(target, whole + halves[::16], Tls)
        many = [craft.message(craft.BINDING) for _ in range(300)]
        ends += strangers(target, [("300 requests in one", [b"".join(many)])])
        check(set(ends) == {oracle.ENDED}, f"all are served: {ends}")
        target.alive()
        proved(f"{ends.total()} ways to split pipelined requests: the same answers in the same order")


def attack_lengths_that_lie():
    """What a header says counts: what follows is cut there, and where no message begins the connection ends."""
    fence = craft.message(craft.BINDING)
    lies = [*range(-8, 0), *range(1, 9), 16, 64, 4_000, 8_172, 8_176, 8_180, 65_000, 65_532, 65_535]

    def make():
        for raw in kinds():
            for lie in lies:
                length = max(0, len(raw) - 20 + lie)
                bent = craft.with_length(raw, length)
                yield f"a first message that says {length}", [bent, fence, fence]
                yield f"a second message that says {length}", [fence, bent, fence, fence]
        for size in (0, 1, 3, 4, 8):
            right = craft.channel_data(0x4000, bytes(size))
            for lie in (*range(0, 13), 8_184, 8_188, 8_189, 8_192, 65_535):
                bent = right[:2] + struct.pack("!H", lie) + right[4:]
                yield f"ChannelData of {size} that says {lie}", [fence, bent, fence, fence]
            yield f"ChannelData of {size}, padded", [fence, right, bytes(-size % 4), fence]
            yield f"ChannelData of {size}, padded with noise", [fence, right, b"\xff" * (-size % 4), fence]

    with Target(streams=True) as target:
        ends = strangers(target, list(make()))
        check(set(ends) == {oracle.LEFT, oracle.NO_MESSAGE, oracle.ENDED, oracle.BROKEN}, f"each end is seen: {ends}")
        target.alive()
        proved(f"{ends.total()} connections whose lengths lie: {told(ends)}")


def attack_garbage_behind_a_good_message():
    """It is answered what was good; then there is no way back to a border of messages."""
    roll = suite.dice("garbage")
    garbage = [b"\x80", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0\1\0\0garb", b"\0\1\0\2"]
    garbage += [bytes([first]) + roll.randbytes(roll.randrange(60)) for first in range(0, 256, 3)]
    streams = [(f"then {bad[:8].hex()}", [raw, bad]) for bad in garbage for raw in kinds()[:2]]
    with Target(streams=True) as target:
        ends = strangers(target, streams) + strangers(target, streams[::12], Tls)
        check(ends[oracle.BROKEN] > 50, f"most end for what they say: {ends}")
        target.alive()
        proved(f"{ends.total()} good messages with garbage behind: answered, then {told(ends)}")


def attack_a_thousand_damaged_streams():
    """Messages in a row, bytes of them changed, left out or doubled: the oracle knows the answers and the end of each."""
    roll = suite.dice("streams")

    def damaged():
        while True:
            raw = bytearray(b"".join(roll.choice(kinds()) for _ in range(roll.randrange(1, 5))))
            for _ in range(roll.randrange(4)):
                at = roll.randrange(len(raw))
                raw[at : at + roll.choice([0, 1, 1, 1, 4])] = roll.randbytes(roll.choice([0, 1, 1, 1, 4]))
            if not sniffed_otherwise(raw) and not any(method in oracle.OF_STREAMS for method in methods(bytes(raw))):
                return bytes(raw)

    with Target(streams=True) as target:
        ends = strangers(target, [(f"number {number}", [damaged()]) for number in range(1_000)])
        target.alive()
        proved(f"1,000 damaged streams: {told(ends)}")


def sniffed_otherwise(raw):
    """Whether another protocol begins so; each has attacks of its own."""
    return raw[:1] in (b"", b"\x02", b"\x16", b"\r") or raw[:1].isupper()


def methods(raw):
    while size := oracle.next_frame(raw, oracle.STRANGERS_LONGEST):
        if framed := oracle.frame(raw[:size]):
            yield framed[0]
        raw = raw[size:]


def attack_channel_data_before_an_allocation():
    """As a first message it is nobody's; later it is dropped and counted, and the connection goes on."""
    for transport in STREAMS:
        with over(transport), Target() as target:
            before = target.counters()
            for size in (0, 4, 1_000):
                with target.attacker() as attacker:
                    attacker.transport.send(craft.channel_data(0x4000, bytes(size)))
                    check(attacker.transport.all() == b"", "closed without a byte")
            settled_fates(target, before, {oracle.NOT_SERVED: 3})
            with target.attacker() as attacker, target.attacker() as owner:
                owner.allocate()
                owner.bind(0x4000, PEER)
                attacker.challenge()
                before = target.counters()
                for number in (0x4000, 0x4001, 0x4FFF, 0x5000, 0x7FFF):
                    attacker.expect(craft.channel_data(number, b"data"), SILENCE, f"channel {number:#x} of nobody here")
                attacker.expect(attacker.indication(PEER, b"data"), SILENCE, "Send without an allocation")
                lost = dropped(before, target.counters())
                check(lost == {"no_allocation": 6}, f"each is counted: {lost}")
                attacker.allocate()
                attacker.expect(craft.channel_data(0x4000, b"data"), SILENCE, "another connection's channel")
                attacker.end()
        proved(f"{transport.name}: ChannelData before an allocation: closed as a first message, later dropped and counted")


def attack_frames_of_a_live_allocation():
    """Whole messages reach the peer in their order, padding never does, and no length reaches beyond its message."""
    for transport in STREAMS:
        with over(transport), Target() as target, peer() as (echo, address), target.attacker() as attacker:
            attacker.allocate()
            attacker.bind(0x4000, address)
            for size in (0, 1, 2, 3, 4, 5, 1_200, 9_000):
                frame = craft.channel_data(0x4000, bytes([size % 251]) * size)
                attacker.transport.send(frame + b"\xee" * (-size % 4))
                check(heard(echo) == frame[4:], f"{size} bytes arrive without their padding")
            before = target.counters()
            # The longest that the header can say: more than a datagram holds, but a message, and what follows is found.
            attacker.transport.send(craft.channel_data(0x4000, bytes(65_535)) + b"\0")
            attacker.transport.send(craft.channel_data(0x4000, b"behind it..."))
            check(heard(echo) == b"behind it...", "the message behind the longest arrives")
            check(sum(dropped(before, target.counters()).values()) == 1, "the longest is dropped and counted")
            check(attacker.refresh(), "the allocation is what it was")
            before = target.counters()
            # No padding: the next message is read one byte too late, and is none.
            attacker.transport.send(craft.channel_data(0x4000, b"odd") + craft.message(craft.BINDING))
            check(heard(echo) == b"odd", "what was whole arrives")
            check(attacker.transport.all() == b"", "then it ends")
            settled_fates(target, before, {oracle.BROKEN: 1})
            target.settles({"swingbridge_allocations": 0, "swingbridge_streams": 0})
        proved(f"{transport.name}: ChannelData of a live allocation: whole, in order, without padding; ended where it lacks")


@contextlib.contextmanager
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind((place.HERE4, 0))
        echo.settimeout(10)
        yield echo, echo.getsockname()


def heard(echo):
    return echo.recvfrom(65_535)[0]


def attack_ends_in_mid_frame():
    """Half-closed, closed or reset with half a message said: nothing of it is carried out, and everything is given back."""
    half = craft.channel_data(0x4000, b"never whole")[:-3]
    ways = {"half-close": lambda each: each.half_close(), "close": lambda each: each.close(), "reset": lambda each: each.reset()}
    for transport in STREAMS:
        with over(transport), Target() as target, peer() as (echo, address):
            for name, way in ways.items():
                with contextlib.ExitStack() as held:
                    attackers = [held.enter_context(target.attacker()) for _ in range(3)]
                    for attacker in attackers:
                        attacker.allocate()
                        attacker.bind(0x4000, address)
                    for attacker, last in zip(attackers, (half, attackers[0].request(craft.REFRESH)[:-1], b"")):
                        attacker.transport.send(last)
                        way(attacker.transport)
                    target.settles({"swingbridge_allocations": 0, "swingbridge_streams": 0, "swingbridge_relay_sockets": 0})
            ended = target.counters()['swingbridge_allocations_ended_total{reason="disconnected"}']
            check(ended == 9, f"each allocation ended with its connection: {ended}")
            echo.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                check(False, f"the peer heard {echo.recv(100)}")
            target.alive()
        proved(f"{transport.name}: {', '.join(ways)} in mid-frame: the allocation ends, the peer hears nothing")


def attack_forged_over_streams():
    """The attacks on credentials, whose answers do not depend on the transport."""
    for transport in STREAMS:
        with over(transport):
            forged.attack_every_method_without_authentication()
            forged.attack_forged_integrity()
            forged.attack_sha256_that_was_truncated_or_contradicts()
            forged.attack_foreign_nonce()
            forged.attack_offer_that_was_tampered_with()
            forged.attack_attributes_after_integrity()
            forged.attack_somebody_elses_allocation()
            forged.attack_stale_nonce()
            forged.attack_guessing_users()


def attack_malformed_over_streams():
    """The attacks inside messages, which leave borders of messages as they are."""
    for transport in STREAMS:
        with over(transport):
            malformed.attack_truncation_with_a_header_that_agrees()
            malformed.attack_attribute_length_lies()
            malformed.attack_indications_and_answers_as_requests()
            malformed.attack_unknown_attributes()
            malformed.attack_duplicate_attributes()
            malformed.attack_values_of_a_wrong_size()
            malformed.attack_algorithms_that_cannot_be_read()
            malformed.attack_channel_numbers_out_of_range()


def attack_replay_on_another_connection():
    """What was captured is worth nothing elsewhere, and nothing later, not even from the same addresses."""
    for transport in STREAMS:
        local = place.HERE4, harness.free_port(socket.SOCK_STREAM)
        with over(transport), Target() as target, target.attacker(source=local) as attacker, target.attacker() as elsewhere:
            attacker.challenge()
            captured = forged.all_kinds(attacker)
            for name, (raw, answer) in captured.items():
                attacker.heard.clear()
                attacker.transport.send(raw)
                attacker.fence()
                check(list(attacker.heard) == [answer], f"{name} again: the old answer, and nothing is done twice")
            for name, (raw, _) in captured.items():
                elsewhere.expect(raw, "438 unsigned", f"{name} on another connection")
            made = target.counters()["swingbridge_allocations_made_total"]
            attacker.transport.reset()
            target.settles({"swingbridge_allocations": 0})
            with target.attacker(source=local) as again:
                again.realm, again.nonce, again.key = attacker.realm, attacker.nonce, attacker.key
                for name, (raw, answer) in captured.items():
                    again.heard.clear()
                    again.transport.send(raw)
                    again.fence()
                    check(list(again.heard) == [answer], f"{name} on a new connection of the same addresses: the old answer")
                    method, attributes, peers = forged.METHODS[name]
                    raw = again.request(method, attributes, peers)
                    again.expect(raw, "438 signed", f"{name} with the nonce of the connection that ended")
            target.settles({"swingbridge_allocations": 0, "swingbridge_allocations_made_total": made})
            check(made == 1, "one allocation, ever")
        proved(f"{transport.name}: captured requests: an old answer at most, 438 from elsewhere; nonces end with a connection")


def attack_nonces_of_another_transport():
    """The same two addresses over UDP, TCP and TLS are three five-tuples: nonces and allocations are not shared."""
    with Target(streams=True, exempt=True) as target:
        take = lambda transport, source=None: Attacker(transport(target.address(), source), harness.USER, harness.PASSWORD)
        local = place.HERE4, harness.free_port_of_both()
        with take(Udp, local) as first:
            first.challenge()
            known = {"udp": first.nonce}
            first.allocate()
            first.bind(0x4000, PEER)
            for transport in STREAMS:
                with take(transport, local) as other:
                    other.challenge()
                    known[transport.name] = other.nonce
                    check(other.transport.local == local, "the same address and port")
                    before = target.counters()
                    other.expect(craft.channel_data(0x4000, b"data"), SILENCE, "the channel of the UDP five-tuple")
                    check(dropped(before, target.counters()) == {"no_allocation": 1}, "it is not this one's")
                    other.expect(other.request(craft.REFRESH, [craft.lifetime(0)]), "437 signed", "nor its allocation")
                    other.transport.reset()
            for transport in STREAMS:
                with take(transport, local) as other:
                    other.challenge()
                    own = other.nonce
                    for name, nonce in known.items():
                        if name != transport.name:
                            other.nonce = nonce
                            raw = other.request(craft.ALLOCATE, [craft.UDP])
                            other.nonce = own
                            other.expect(raw, "438 unsigned", f"a nonce of {name} over {transport.name}")
                    other.transport.reset()
            check(first.refresh(), "the allocation over UDP is what it was")
        proved("equal addresses over UDP, TCP and TLS: neither nonces nor allocations are shared")


def attack_too_many_connections():
    """A source has so many places and all have so many: who comes then is closed at once, and who leaves makes room."""
    with Target(streams=True, lines=["streams_per_address = 4", "streams_total = 6"]) as target:
        before = target.counters()
        refused = lambda: grown(before, target.counters(), "swingbridge_streams_refused_total")
        take = lambda host, transport=Tcp: Attacker(transport(target.address(), (host, 0)), harness.USER, harness.PASSWORD)
        silent = [Tcp(target.address()) for _ in range(2)]
        half = Tcp(target.address())
        half.send(b"\x16\x03\x01")
        with take(place.HERE4, Tls) as served, take(place.HERE4_MORE[0]) as other:
            served.allocate()
            other.allocate()
            for _ in range(3):
                check(Tcp(target.address()).all() == b"", "the fifth of a source is closed without a byte")
            check(refused() == {'swingbridge_streams_refused_total{limit="address"}': 3}, f"each is counted: {refused()}")
            with take(place.HERE4_MORE[1]):
                for _ in range(3):
                    check(take(place.HERE4_MORE[2]).transport.all() == b"", "the seventh of all is closed without a byte")
                told = refused()
                check(told['swingbridge_streams_refused_total{limit="total"}'] == 3, f"each is counted: {told}")
                check(served.refresh() and other.refresh(), "those who were there go on")
            for each in (*silent, half):
                each.reset()
            until = time.monotonic() + 10
            while True:
                with take(place.HERE4) as newcomer, contextlib.suppress(AssertionError):
                    newcomer.transport.send(craft.message(craft.BINDING))
                    if newcomer.transport.receive(2):
                        break
                check(time.monotonic() < until, "who leaves makes room")
        proved("4 connections of a source and 6 in all: one more is closed without a byte; who leaves makes room")


def attack_too_slow():
    """Silence, and a byte now and then, at each step: each ends at its deadline, while an honest client is served."""
    hello, allocate = hello_of_openssl(), craft.message(craft.ALLOCATE, attributes=[(craft.SOFTWARE, bytes(200))])
    plain = lambda said, drip=b"": (Tcp, said, drip)
    secret = lambda said, drip=b"": (Tls, said, drip)
    cases = {
        "sniff_deadline": [plain(b""), plain(b"\0"), plain(b"\x16\x03\x01"), secret(b""), secret(b"\0\1")],
        "handshake_deadline": [plain(hello[:6]), plain(hello[:-1]), plain(hello), plain(hello[:6], hello[6:])],
        "message_deadline": [plain(allocate[:8]), plain(allocate[:-1]), plain(allocate[:8], allocate[8:]), secret(allocate[:9])],
    }
    with Target(streams=True) as target:
        before = quiet(target)
        slow = [(why, *each) for why, some in cases.items() for each in some]
        open_ones = []
        for why, transport, said, drip in slow:
            one = transport(target.address())
            one.send(said)
            open_ones.append((why, one, drip, bool(said == hello)))
        over_now = threading.Event()

        def dripping():
            for at in range(200):
                for _, one, drip, _ in open_ones:
                    if at < len(drip):
                        with contextlib.suppress(OSError):
                            one.sock.send(drip[at : at + 1])
                if over_now.wait(0.4):
                    return

        thread = threading.Thread(target=dripping, daemon=True)
        thread.start()
        served = 0
        until = time.monotonic() + PATIENCE_S
        waiting = {number: each for number, each in enumerate(open_ones)}
        while waiting:
            check(time.monotonic() < until, f"{[each[0] for each in waiting.values()]} go on for ever")
            with over(Tcp), target.attacker() as honest:
                honest.allocate()
                honest.end()
                served += 1
            for number, (why, one, _, shaken) in list(waiting.items()):
                while one.more(0.005):
                    pass
                if one.ended:
                    check(shaken or one.unread == b"", f"{why}: closed without a byte")
                    del waiting[number]
        over_now.set()
        thread.join()
        wanted = {f"turned away: {why}": len(some) for why, some in cases.items()}
        settled_fates(target, before, wanted | {oracle.ENDED: served})
        proved(f"{len(slow)} silent and dripping clients: each ended at its deadline; {served} Allocates beside them answered")


def hello_of_openssl():
    """A whole ClientHello as OpenSSL says it."""
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


class SmallReader(Tcp):
    """A client whose own machine keeps little for it."""

    def tune(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


def attack_reader_that_never_reads():
    """Media for it is dropped whole, answers end it; nothing piles up, and others hear everything."""
    with over(SmallReader), Target() as target, peer() as (echo, address), target.attacker() as deaf:
        deaf.allocate()
        deaf.bind(0x4000, address)
        with over(Tcp), target.attacker() as other:
            other.allocate()
            other.bind(0x4000, address)
            before, warm = target.counters(), target.memory()
            sent = 0
            while dropped(before, target.counters()).get("stream_full", 0) < 500:
                check(sent < 20_000, f"it is dropped what a deaf client does not read: {sent} were not")
                for _ in range(200):
                    echo.sendto(bytes(1_000), deaf.relayed[0])
                    sent += 1
                echo.sendto(b"to the other", other.relayed[0])
                check(other.transport.receive(10) == craft.channel_data(0x4000, b"to the other"), "the other hears all")
            more = target.memory() - warm
            check(more < 1 << 20, f"a deaf client costs less than 1 MB, not {more / 1024:.0f} KB")
            before = target.counters()
            asking = craft.message(craft.BINDING) * 100
            deaf.transport.sock.setblocking(False)
            until = time.monotonic() + PATIENCE_S
            while not fates(before, target.counters()):
                check(time.monotonic() < until, "a client that asks and never reads is let go")
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    deaf.transport.sock.send(asking)
                time.sleep(0.01)
            settled_fates(target, before, {"ended: overrun": 1})
            target.settles({"swingbridge_allocations": 1})
            check(other.refresh(), "the other goes on")
        proved(f"a client that never reads: {sent} KB for it, dropped whole; it is let go when its answers find no room")


def ends_or_answers(target, said, claim, transport=Tcp):
    """Other protocols on the same port: there is an end or an answer within the deadlines, and the server lives on.

    The one place to say more, where one of them gets an answer of its own."""
    with contextlib.closing(transport(target.address())) as one:
        one.send(said)
        until = time.monotonic() + PATIENCE_S
        while not one.ended and not one.unread:
            check(time.monotonic() < until, f"{claim}: an end or an answer")
            one.more(1)
        return one.unread


def attack_other_protocols():
    fake = bytes.fromhex("160301002d010000290301") + bytes(32) + bytes.fromhex("00000200180100")
    legacy = bytes.fromhex("0200002400030020") + bytes(16) + bytes.fromhex("000f000472c64bc6")
    others = {
        "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HTTP/1.0": b"HEAD / HTTP/1.0\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
        "a long request line": b"GET /" + b"a" * 100_000,
        "a request without end": b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        "PROXY v1": b"PROXY TCP4 8.8.4.4 127.0.0.1 1 2\r\n" + craft.message(craft.BINDING),
        "PROXY v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + craft.message(craft.BINDING),
        "pseudo-TLS": fake,
        "the old dialect": legacy + bytes(64),
        "CONNECT": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n",
    }
    with Target(streams=True) as target:
        for claim, said in others.items():
            ends_or_answers(target, said, claim)
            if not said.startswith(b"PROXY") and said != fake:
                ends_or_answers(target, said, f"{claim} under TLS", Tls)
        target.alive()
        proved(f"{len(others)} other protocols: an end or an answer, in the clear and under TLS; the server lives")


if __name__ == "__main__":
    suite.main(globals())
