"""Users with a right credential who want too much: each limit has its answer, and what was granted before goes on."""

import contextlib
import struct

import suite  # first: it knows where the harness is
import craft
import harness
import place
from harness import check
from harness import proved
from target import SILENCE
from target import Target
from target import dropped
from target import grown

PEER = place.HERE4, 9


class SmallTarget(Target):
    """A server with few relay ports."""

    def __init__(self, ports, **more):
        super().__init__(**more)
        self.few = ports

    def config(self):
        return super().config().replace('ports = "50000-59999"', f'ports = "{self.few}"')


@contextlib.contextmanager
def allocated(target, number, **more):
    """So many five-tuples with an allocation each."""
    with contextlib.ExitStack() as held:
        attackers = [held.enter_context(target.attacker(**more)) for _ in range(number)]
        for attacker in attackers:
            attacker.allocate()
        yield attackers


def one_more(target, wanted, claim, **more):
    with target.attacker(**more) as attacker:
        attacker.challenge()
        attacker.expect(attacker.request(craft.ALLOCATE, [craft.UDP]), wanted, claim)


def attack_user_quota():
    with Target(exempt=True, lines=["allocations_per_user = 3"]) as target, allocated(target, 3) as attackers:
        before = target.counters()
        for number in range(20):
            one_more(target, "486 signed", "one allocation above the user's quota")
        refused = grown(before, target.counters(), "swingbridge_allocations_refused_total")
        check(refused.get('swingbridge_allocations_refused_total{code="486"}') == 20, f"each is counted: {refused}")
        name, password = harness.time_limited(target.secret, "bob")
        with target.attacker(credential=(name, password)) as other:
            other.allocate()
            other.end()
        attackers[0].end()
        with target.attacker() as again:
            again.allocate()
            again.end()
        for attacker in attackers[1:]:
            attacker.refresh()
        proved("486 signed above a user's quota; others are not touched, and what is given back can be had again")


def attack_quota_by_renaming():
    """A time-limited name counts by what follows the first colon, whatever its expiry."""
    with Target(exempt=True, lines=["allocations_per_user = 2"]) as target, contextlib.ExitStack() as held:
        for lifetime_s in (3_000, 3_100):
            held.enter_context(target.attacker(credential=harness.time_limited(target.secret, "bob", lifetime_s))).allocate()
        credential = harness.time_limited(target.secret, "bob", 3_200)
        one_more(target, "486 signed", "the same user under a third name", credential=credential)
        proved("a user's quota is not escaped by new names of the same user")


def attack_address_quota():
    with Target(exempt=True, lines=["allocations_per_address = 2"]) as target, allocated(target, 2):
        one_more(target, "486 signed", "one allocation above the address's quota")
        credential = harness.time_limited(target.secret, "bob")
        one_more(target, "486 signed", "another user of the same address", credential=credential)
        with target.attacker(source=(place.HERE4_MORE[0], 0)) as elsewhere:
            elsewhere.allocate()
            elsewhere.end()
        proved("486 signed above an address's quota, whoever asks; other addresses are not touched")


def attack_total():
    with Target(exempt=True, lines=["allocations_total = 2"]) as target, allocated(target, 2) as attackers:
        one_more(target, "508 signed", "one allocation above all that there may be")
        for attacker in attackers:
            attacker.refresh()
        proved("508 signed above the total")


def attack_ports():
    """No port left: 508; ports that others hold are tried past, and none is lost."""
    with SmallTarget("50100-50103", exempt=True) as target, allocated(target, 4) as attackers:
        for _ in range(10):
            one_more(target, "508 signed", "an allocation without a port")
        target.settles({'swingbridge_ports{state="used"}': 4})
        for attacker in attackers:
            attacker.end()
        # The pool of IPv6 has as many.
        target.settles({'swingbridge_ports{state="free"}': 8, 'swingbridge_ports{state="used"}': 0})
        with allocated(target, 4) as again:
            for attacker in again:
                attacker.end()
    proved("508 signed without a free port; all come back")


def attack_even_ports():
    """Port pairs, with and without reservation, until nothing is left: no odd neighbour leaks."""
    with SmallTarget("50200-50207", exempt=True) as target:
        for flags, rounds in ((b"\0", 20), (b"\x80", 20)):
            for _ in range(rounds):
                with target.attacker() as attacker:
                    answer = attacker.allocate((craft.EVEN_PORT, flags))
                    check(attacker.relayed[0][1] % 2 == 0, "an even port")
                    if flags == b"\x80" and (token := answer.attributes[craft.RESERVATION_TOKEN]):
                        with target.attacker() as second:
                            second.allocate((craft.RESERVATION_TOKEN, token))
                            second.end()
                    attacker.end()
        states = {"free": 16, "used": 0, "reserved": 0, "quarantined": 0}
        target.settles({f'swingbridge_ports{{state="{state}"}}': number for state, number in states.items()})
        with target.attacker() as attacker:
            attacker.challenge()
            for token in (bytes(8), b"\xff" * 8):
                raw = attacker.request(craft.ALLOCATE, [craft.UDP, (craft.RESERVATION_TOKEN, token)])
                attacker.expect(raw, "508 signed", "a reservation token that is none")
        proved("EVEN-PORT with and without R, 40 times: free + used + reserved + quarantined = range; invented tokens: 508")


def attack_reservations():
    """Reserved ports count in no quota, so there are few of them at a time."""
    with SmallTarget("50300-50315", exempt=True) as target, contextlib.ExitStack() as held:
        codes = []
        for _ in range(6):
            attacker = held.enter_context(target.attacker())
            attacker.challenge()
            codes.append(attacker.outcome_of_allocate([(craft.EVEN_PORT, b"\x80")]))
        check(codes == ["success signed"] * 4 + ["508 signed"] * 2, f"a quarter of the ports may be reserved: {codes}")
        target.settles({'swingbridge_ports{state="reserved"}': 4})
        with target.attacker() as ordinary:
            ordinary.allocate()
        proved("a quarter of the ports can be reserved, then 508; ordinary allocations go on")


def attack_permissions():
    with Target(exempt=True, lines=["permissions_per_allocation = 10"]) as target, target.attacker() as attacker:
        attacker.allocate()
        target_allowed(attacker, [f"8.8.4.{number}" for number in range(10)])
        for number in range(10):
            raw = attacker.request(craft.CREATE_PERMISSION, peers=[(f"8.8.5.{number}", 0)])
            attacker.expect(raw, "508 signed", "a permission above the limit")
        raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], [("8.8.6.1", 9)])
        attacker.expect(raw, "508 signed", "a channel that would need one more permission")
        both = [("8.8.4.1", 0), ("8.8.7.1", 0)]
        attacker.expect(attacker.request(craft.CREATE_PERMISSION, peers=both), "508 signed", "all or none")
        before = target.counters()
        attacker.expect(attacker.indication(("8.8.5.1", 9), b"x"), SILENCE, "Send to who was refused")
        check(dropped(before, target.counters()) == {"no_permission": 1}, "it is counted")
        attacker.permit("8.8.4.1")
        raw = attacker.request(craft.CREATE_PERMISSION, peers=[("8.8.4.1", 0)] * 65)
        attacker.expect(raw, "400 signed", "65 peers in one request")
        raw = attacker.request(craft.CREATE_PERMISSION)
        attacker.expect(raw, "400 signed", "no peer at all")
        proved("508 signed above the permissions of an allocation, all or none; 65 peers in one request, or none: 400")


def target_allowed(attacker, hosts):
    for host in hosts:
        attacker.permit(host)


def attack_channels():
    with Target(exempt=True, lines=["channels_per_allocation = 4"]) as target, target.attacker() as attacker:
        attacker.allocate()
        for number in range(4):
            attacker.bind(0x4000 + number, ("8.8.4.1", 100 + number))
        for number in range(10):
            raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4100 + number)], [("8.8.4.1", 200 + number)])
            attacker.expect(raw, "508 signed", "a channel above the limit")
        raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], [("8.8.4.1", 999)])
        attacker.expect(raw, "400 signed", "a number that is another peer's")
        raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4200)], [("8.8.4.1", 100)])
        attacker.expect(raw, "400 signed", "a peer that has another number")
        attacker.bind(0x4000, ("8.8.4.1", 100))
        proved("508 signed above the channels of an allocation; numbers and peers are tied: 400")


def attack_transactions():
    """More requests under one nonce than are remembered: 438, and with a new nonce it goes on."""
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.allocate()
        accepted = 1
        while True:
            answer = attacker.ask(attacker.request(craft.REFRESH, [craft.lifetime(600)]))
            if answer.code == 438:
                break
            accepted += 1
            check(accepted <= 256, "no more than 256 transactions are taken under one nonce")
        check(accepted == 256, f"256 are, not {accepted}")
        check(answer.signed_by(attacker.key), "the 438 is signed")
        old = attacker.nonce
        attacker.take(answer)
        attacker.refresh()
        fresh, attacker.nonce = attacker.nonce, old
        raw = attacker.request(craft.REFRESH, [craft.lifetime(0)])
        attacker.nonce = fresh
        attacker.expect(raw, "438 signed", "the nonce before the newest")
        proved("256 transactions under one nonce, then 438 signed; older nonces are dead for the allocation")


def attack_lifetimes():
    """Wishes for no end and for no time."""
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.allocate(craft.lifetime(0xFFFF_FFFF))
        for wish, granted in ((0xFFFF_FFFF, 3_600), (3_601, 3_600), (1, 600), (599, 600), (601, 601)):
            answer = attacker.refresh(wish)
            check(answer.attributes[craft.LIFETIME] == struct.pack("!I", granted), f"{wish} s asked, {granted} s granted")
        proved("lifetimes are kept within their bounds")


def attack_what_is_left_behind():
    """A thousand allocations made and ended by one client leave no port, no socket, no descriptor, and little memory."""
    with Target(exempt=True) as target, contextlib.ExitStack() as held:
        def round_of(number):
            for _ in range(number):
                with target.attacker() as attacker:
                    attacker.allocate()
                    attacker.bind(0x4000, ("8.8.4.1", 9))
                    attacker.end()

        round_of(200)
        before, warm = target.counters(), target.memory()
        round_of(1_000)
        gone = ("swingbridge_allocations", 'swingbridge_ports{state="used"}', "swingbridge_relay_sockets")
        after = target.settles(dict.fromkeys(gone, 0))
        fds = after["process_open_fds"] - before["process_open_fds"]
        check(abs(fds) <= 1, f"{fds} descriptors more")
        more = target.memory() - warm
        # Answers are kept for 40 s, five-tuples whose nonces are dead for an hour, both up to a bound.
        check(more < 4 << 20, f"{more / 1024:.0f} KB are left behind")
        proved(f"1,000 allocations made and ended: no port, socket or descriptor is left, and {more / 1024:.0f} KB")


if __name__ == "__main__":
    suite.main(globals())
