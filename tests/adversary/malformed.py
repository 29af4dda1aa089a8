"""Bytes that are almost messages: cut, stretched, mislabelled, shuffled. Each has one right answer, mostly none."""

import struct

import suite  # first: it knows where the harness is
import craft
import oracle
import place
from harness import check
from harness import proved
from target import SILENCE
from target import Target
from target import dropped

PEER = place.HERE4, 9


def server():
    return Target(exempt=True)


def live(server):
    attacker = server.attacker()
    attacker.allocate()
    return attacker


def newcomer(server):
    attacker = server.attacker()
    attacker.challenge()
    return attacker


def every_kind(attacker):
    """One right message of each kind, by name; the requests are signed."""
    return {
        "Binding": craft.message(craft.BINDING, attributes=[(craft.SOFTWARE, b"x")], fingerprint=True),
        "Allocate": attacker.request(craft.ALLOCATE, [craft.UDP], fingerprint=True),
        "Refresh": attacker.request(craft.REFRESH, [craft.lifetime(0)]),
        "CreatePermission": attacker.request(craft.CREATE_PERMISSION, peers=[PEER, ("127.0.0.9", 1)]),
        "ChannelBind": attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], [PEER]),
    }


def wanted_of(raw, attacker, is_live):
    wanted = oracle.judge(raw, attacker, is_live)
    check(wanted != oracle.PASSES, f"an attack is no right request: {raw.hex()}")
    return wanted


def judged(attacker, attacks, is_live):
    """Sends each, wants of each what the standard says, and counts the silent ones."""
    silent = 0
    for claim, raw in attacks:
        wanted = wanted_of(raw, attacker, is_live)
        attacker.expect(raw, wanted, claim)
        silent += wanted == SILENCE
    return silent


def both(make, claim):
    """The attacks that `make` makes of every kind of request, from a five-tuple without and with an allocation."""
    with server() as target:
        for is_live, attacker in ((False, newcomer(target)), (True, live(target))):
            with attacker:
                before, number = target.counters(), 0
                attacks = [(f"{kind}: {how}", raw) for kind, right in every_kind(attacker).items() for how, raw in make(right)]
                number = judged(attacker, attacks, is_live)
                lost = dropped(before, target.counters())
                known = {"unclassified", "malformed", "stranger_malformed", "discarded"}
                # A changed bit of the type makes another class of message.
                known |= {"unexpected_answer", "unknown_indication" if is_live else "no_allocation", "no_channel", "bad_send"}
                check(set(lost) <= known, f"only as bytes that are no message: {lost}")
                check(sum(lost.values()) == number, f"{number} silent ones are counted, not {lost}")
                if is_live:
                    check(attacker.refresh(), "the allocation is what it was")
                who = "live" if is_live else "stranger"
                proved(f"{claim}: {len(attacks)} {who} datagrams, {number} in silence, each counted")
        target.alive()


def attack_truncation_at_every_byte():
    both(lambda right: [(f"cut at {at}", right[:at]) for at in range(len(right))], "cut at every byte")


def attack_truncation_with_a_header_that_agrees():
    def safe(right):
        for at in range(20, len(right) - 3, 4):
            raw = craft.with_length(right[:at], at - 20)
            framed = oracle.frame(raw)
            whole = framed and any(number in craft.MACS for _, number, _ in framed[1])
            if not whole:
                yield f"cut at {at}, header agrees", raw

    both(safe, "cut at every word, the header's length agreeing")


def attack_header_length_lies():
    lies = [*range(-9, 0), *range(1, 10), 16, 256, -256]

    def make(right):
        length = len(right) - 20
        for lie in lies:
            yield f"length {lie:+}", craft.with_length(right, max(0, length + lie))
        yield "length 65535", craft.with_length(right, 0xFFFF)
        yield "length 65532", craft.with_length(right, 0xFFFC)
        yield "bytes behind the end", right + b"\0\0\0\0"

    def honest(right):
        return [(how, raw) for how, raw in make(right) if raw != right]

    both(honest, "a header that lies about the length")


def attack_attribute_length_lies():
    def make(right):
        for at, _, value in craft.places(right):
            size = len(value)
            for lie in {0, 1, size - 1, size + 1, size + 4, len(right), 0x7FFF, 0xFFFC, 0xFFFF} - {size, -1}:
                raw = right[: at + 2] + struct.pack("!H", lie) + right[at + 4 :]
                yield f"attribute at {at} claims {lie}", raw

    both(make, "attributes that lie about their length")


def attack_one_byte_changed_anywhere():
    """Every byte of every kind, changed at random."""
    roll = suite.dice("one byte")

    def make(right):
        is_binding = right[:2] == b"\0\1"
        for at in range(len(right)):
            if is_binding and at < 8:
                continue  # without the cookie it may be a Binding request of RFC 3489, which is answered
            raw = bytearray(right)
            raw[at] ^= roll.randrange(1, 256)
            if not oracle_passes(right, bytes(raw), at):
                yield f"byte {at} changed to {raw[at]:#04x}", bytes(raw)

    both(make, "one byte changed")


def oracle_passes(right, raw, at):
    """Padding and what stands behind the integrity are covered by nothing, or change nothing."""
    for place, number, value in craft.places(right):
        end = place + 4 + len(value)
        if end <= at < end + -len(value) % 4:
            return True
        if number in craft.MACS and at >= end:
            return True
    return at in (0,) and raw[0] & 0xC0 == 0x40


def attack_algorithms_that_cannot_be_read():
    """A PASSWORD-ALGORITHM whose value is none is there all the same: 400, and not what MD5 would be judged by."""

    def make(right):
        if right[:2] == b"\0\1":
            return
        for at, number, value in craft.places(right):
            if number not in (*craft.MACS, craft.FINGERPRINT):
                yield f"attribute at {at} called PASSWORD-ALGORITHM", right[:at] + b"\0\x1d" + right[at + 2 :]
        for value in (b"", b"\0\1", b"\0\1\0\1", bytes([0, 1, 0x21, 0x1B, 0x5E, 0x12, 0xA4, 0x43]), bytes(764)):
            before = craft.attribute(craft.PASSWORD_ALGORITHM, value)
            raw = craft.with_length(right, len(right) - 20 + len(before))
            yield f"a PASSWORD-ALGORITHM of {value[:8].hex()}", raw[:20] + before + raw[20:]

    def unmarked(right):
        """Without a FINGERPRINT, which would be wrong, and the message dropped."""
        marked = any(number == craft.FINGERPRINT for _, number, _ in craft.places(right))
        return make(craft.with_length(right[:-8], len(right) - 28) if marked else right)

    both(unmarked, "a PASSWORD-ALGORITHM that cannot be read")


def attack_ten_thousand_mutations():
    """Random damage, many bytes at once, at a rate that a machine shared with others can follow."""
    roll = suite.dice("mutations")
    with server() as target, live(target) as attacker:
        kinds = list(every_kind(attacker).values())[1:]
        warm = target.memory()
        for number in range(10_000):
            raw = bytearray(roll.choice(kinds))
            for _ in range(roll.randrange(1, 12)):
                raw[roll.randrange(8, len(raw))] = roll.randrange(256)
            cut = raw[: roll.randrange(len(raw) + 1)] if roll.random() < 0.3 else raw
            damaged = bytes(cut) + roll.randbytes(roll.choice([0, 0, 0, 4, 40]))
            # The dice may have changed bytes into themselves: then it is a right request, which would be carried out.
            if damaged not in kinds:
                attacker.transport.send(damaged)
            if number % 50 == 49:
                attacker.fence()
                attacker.heard.clear()
        check(attacker.refresh(), "the allocation is what it was")
        more = target.memory() - warm
        check(more < 1 << 20, f"10,000 mutated datagrams cost less than 1 MB, not {more:.0f}")
        target.alive()
        proved(f"10,000 mutated datagrams: alive, {more / 1024:.0f} KB")


def attack_indications_and_answers_as_requests():
    with server() as target:
        for is_live, attacker in ((False, newcomer(target)), (True, live(target))):
            with attacker:
                before = target.counters()
                for method in (craft.BINDING, craft.ALLOCATE, craft.REFRESH, craft.CREATE_PERMISSION, craft.CHANNEL_BIND):
                    for kind in (craft.INDICATION, craft.SUCCESS, craft.ERROR):
                        raw = craft.message(method, kind, [*attacker.identity(), craft.UDP, craft.lifetime(0)], key=attacker.key)
                        attacker.expect(raw, SILENCE, f"method {method} of class {kind:#x}")
                lost = dropped(before, target.counters())
                wanted = {"unknown_indication": 5} if is_live else {"no_allocation": 5}
                check(lost == wanted | {"unexpected_answer": 10}, f"each is counted as what it is: {lost}")
                if is_live:
                    check(attacker.refresh(), "the allocation is what it was")
        proved("indications and answers with a request's method: silence, counted")


def attack_methods_that_are_none():
    with server() as target:
        for is_live, attacker in ((False, newcomer(target)), (True, live(target))):
            with attacker:
                before = target.counters()
                methods = [0, 2, 5, 6, 7, 12, 13, 0x80, 0x7FF, 0xFFF]
                for method in methods:
                    attacker.expect(attacker.request(method, [craft.UDP]), SILENCE, f"method {method:#x}")
                    attacker.expect(craft.message(method), SILENCE, f"bare method {method:#x}")
                lost = dropped(before, target.counters())
                wanted = {"discarded" if is_live else "stranger_malformed": 2 * len(methods)}
                check(lost == wanted, f"each is counted: {lost}, not {wanted}")
        proved("methods that no server of ours knows: silence, counted")


def attack_unknown_attributes():
    """Comprehension-required: 420 that names them; optional: as if it were not there."""
    with server() as target, live(target) as attacker:
        for number in (0x0000, 0x0003, 0x0024, 0x002B, 0x4242, 0x7FFF):
            for method in (craft.REFRESH, craft.CREATE_PERMISSION, craft.CHANNEL_BIND, craft.ALLOCATE):
                raw = attacker.request(method, [(number, b"1234"), craft.lifetime(0)])
                attacker.expect(raw, "420 signed", f"method {method} with {number:#06x}")
            answer = attacker.ask(craft.message(craft.BINDING, attributes=[(number, b"")]))
            named = answer.attributes[craft.UNKNOWN_ATTRIBUTES]
            check(answer.code == 420 and named[:2] == struct.pack("!H", number), f"Binding with {number:#06x}: 420 naming it")
        many = [(0x0100 + number, b"") for number in range(200)]
        answer = attacker.ask(attacker.request(craft.REFRESH, many))
        check(answer.code == 420 and len(answer.raw) < 200, "the 420 to 200 unknown attributes is small")
        for number in (0x8003, 0xC001, 0xFFFF):
            attacker.do(craft.REFRESH, [(number, b"12345"), craft.lifetime(600)])
        proved("unknown comprehension-required attributes: 420 signed and naming them; optional ones: ignored")


def attack_duplicate_attributes():
    """The first of each counts, whatever comes after."""
    with server() as target, live(target) as attacker:
        of = craft.transaction()
        twice = [craft.lifetime(700), craft.lifetime(0)]
        answer = attacker.ask(attacker.request(craft.REFRESH, twice, of=of))
        check(answer.attributes[craft.LIFETIME] == struct.pack("!I", 700), "of two LIFETIMEs the first counts")
        forged = attacker.identity() + [(craft.USERNAME, b"mallory"), (craft.REALM, b"other"), (craft.NONCE, b"x")]
        raw = craft.message(craft.REFRESH, attributes=[craft.lifetime(700), *forged], key=attacker.key)
        check(attacker.ask(raw).kind == craft.SUCCESS, "of two names the first counts")
        swapped = [(craft.USERNAME, b"mallory"), *attacker.identity()]
        raw = craft.message(craft.REFRESH, attributes=[craft.lifetime(0), *swapped], key=attacker.key)
        attacker.expect(raw, "401 unsigned", "a wrong name before the right one")
        raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], [PEER, (place.HERE4_MORE[0], 9)])
        attacker.expect(raw, "400 signed", "a ChannelBind with two peers")
        check(attacker.refresh(), "the allocation is what it was")
        proved("duplicate attributes: the first counts; two peers of one ChannelBind: 400")


def attack_values_of_a_wrong_size():
    """Each attribute that a request may carry, at every length but its own: 400, and never more."""
    sizes = {
        craft.ALLOCATE: [craft.REQUESTED_TRANSPORT, craft.LIFETIME, craft.REQUESTED_ADDRESS_FAMILY, craft.EVEN_PORT]
        + [craft.RESERVATION_TOKEN, craft.ADDITIONAL_ADDRESS_FAMILY],
        craft.REFRESH: [craft.LIFETIME, craft.REQUESTED_ADDRESS_FAMILY],
        craft.CREATE_PERMISSION: [craft.XOR_PEER_ADDRESS],
        craft.CHANNEL_BIND: [craft.CHANNEL_NUMBER, craft.XOR_PEER_ADDRESS],
    }
    own = {craft.EVEN_PORT: {1}, craft.RESERVATION_TOKEN: {8}, craft.XOR_PEER_ADDRESS: set()}
    number = 0
    with server() as target, live(target) as attacker, newcomer(target) as stranger:
        for method, attributes in sizes.items():
            asker = stranger if method == craft.ALLOCATE else attacker
            for attribute in attributes:
                for size in set(range(0, 24)) - own.get(attribute, {4}):
                    rest = {
                        craft.ALLOCATE: [] if attribute == craft.REQUESTED_TRANSPORT else [craft.UDP],
                        craft.CHANNEL_BIND: [craft.channel(0x4001)] if attribute == craft.XOR_PEER_ADDRESS else [],
                    }.get(method, [])
                    peers = [PEER] if attribute == craft.CHANNEL_NUMBER else []
                    raw = asker.request(method, [(attribute, bytes(size)), *rest], peers)
                    asker.expect(raw, "400 signed", f"method {method}, {attribute:#06x} of {size} bytes")
                    number += 1
        check(attacker.refresh(), "the allocation is what it was")
        target.alive()
    proved(f"{number} attributes of a wrong size: 400 signed")


def attack_channel_data_that_lies():
    with server() as target, live(target) as attacker:
        attacker.bind(0x4000, PEER)
        before = target.counters()
        lies = [
            craft.channel_data(0x4000, b"12345678")[:-1],
            craft.channel_data(0x4000, b"")[:3],
            struct.pack("!HH", 0x4000, 0xFFFF) + b"short",
            struct.pack("!HH", 0x4000, 9) + b"12345678",
        ]
        for raw in lies:
            attacker.expect(raw, SILENCE, "ChannelData longer than its datagram")
        for number in (0x4001, 0x4FFF, 0x5000, 0x7FFE, 0x7FFF):
            attacker.expect(craft.channel_data(number, b"data"), SILENCE, f"channel {number:#06x} that is not bound")
        lost = dropped(before, target.counters())
        check(lost == {"malformed": 5, "no_channel": 4}, f"each is counted: {lost}")
        with target.attacker() as stranger:
            before = target.counters()
            stranger.expect(craft.channel_data(0x4000, b"data"), SILENCE, "somebody else's channel")
            check(dropped(before, target.counters()) == {"no_allocation": 1}, "a channel is its five-tuple's alone")
        proved("ChannelData that lies about its length, or is of no channel of this five-tuple: silence, counted")


def attack_channel_numbers_out_of_range():
    """ChannelBind with every kind of wrong number, and with a value that is none: once a panic elsewhere."""
    with server() as target, live(target) as attacker:
        for number in (0x0000, 0x3FFF, 0x5000, 0x7FFE, 0x7FFF, 0x8000, 0xFFFF):
            raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(number)], [PEER])
            attacker.expect(raw, "400 signed", f"channel number {number:#06x}")
        for value in (b"", b"\x40", b"\x40\x00", b"\x40\x00\x00"):
            raw = attacker.request(craft.CHANNEL_BIND, [(craft.CHANNEL_NUMBER, value)], [PEER])
            attacker.expect(raw, "400 signed", f"a channel number of {len(value)} bytes")
        target.alive()
        proved("channel numbers out of range or cut short: 400 signed")


def attack_padding_is_zero():
    """Every answer and Data indication is parsed with its padding, which must say nothing (Answer raises)."""
    with server() as target, live(target) as attacker:
        attacker.permit(attacker.relayed[0][0])
        for size in range(8):
            attacker.transport.send(attacker.indication(attacker.relayed[0], bytes([255] * size)))
            attacker.fence()
        seen = [craft.Answer(raw) for raw in attacker.heard]
        check(len(seen) == 8, f"eight came back, not {len(seen)}")
        with target.attacker() as stranger:
            requests = [craft.message(craft.ALLOCATE, of=bytes(12), attributes=[craft.UDP]) for _ in range(2)]
            first, second = (stranger.ask(raw) for raw in requests)
            cut = lambda answer: [each for each in answer.list if each[0] != craft.NONCE]
            check(cut(first) == cut(second) and first.raw[:24] == second.raw[:24], "equal requests, equal answers")
        proved("padding is zero in answers and in Data indications; equal requests get equal bytes but for the nonce")


if __name__ == "__main__":
    suite.main(globals())
