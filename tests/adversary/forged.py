"""Messages that are well made and not true: forged, stale, foreign, replayed, downgraded, rewritten on the way."""

import re
import struct
import time

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
METHODS = {
    "Allocate": (craft.ALLOCATE, [craft.UDP], []),
    "Refresh": (craft.REFRESH, [craft.lifetime(0)], []),
    "CreatePermission": (craft.CREATE_PERMISSION, [], [PEER]),
    "ChannelBind": (craft.CHANNEL_BIND, [craft.channel(0x4001)], [PEER]),
}
# Those of RFC 6062 have no success over UDP, so they stand where none is expected.
EVERY = METHODS | {
    "Connect": (craft.CONNECT, [], [PEER]),
    "ConnectionBind": (craft.CONNECTION_BIND, [(craft.CONNECTION_ID, bytes(4))], []),
}


def five_tuples(target):
    """A five-tuple without an allocation, and one with."""
    newcomer, live = target.attacker(), target.attacker()
    newcomer.challenge()
    live.allocate()
    return (newcomer, False), (live, True)


def attack_every_method_without_authentication():
    with Target(exempt=True) as target:
        for attacker, is_live in five_tuples(target):
            with attacker:
                for name, (method, attributes, peers) in EVERY.items():
                    of = craft.transaction()
                    inside = [craft.peer(*peer, of) for peer in peers] + attributes
                    raw = craft.message(method, attributes=inside, of=of)
                    attacker.expect(raw, "401 unsigned", f"{name} without integrity")
                    raw = craft.message(method, attributes=inside + attacker.identity(), of=of)
                    attacker.expect(raw, "401 unsigned", f"{name} with a name and no integrity")
                    for left_out in range(3):
                        some = [each for at, each in enumerate(attacker.identity()) if at != left_out]
                        raw = craft.message(method, attributes=inside + some, key=attacker.key)
                        attacker.expect(raw, "400 unsigned", f"{name} without {some}")
                attacker.expect(craft.message(craft.BINDING), "success unsigned", "Binding asks for nothing")
                before = target.counters()
                attacker.expect(attacker.indication(PEER, b"data"), SILENCE, "Send without a permission")
                attacker.expect(craft.channel_data(0x4000, b"data"), SILENCE, "ChannelData without a channel")
                wanted = {"no_permission": 1, "no_channel": 1} if is_live else {"no_allocation": 2}
                check(dropped(before, target.counters()) == wanted, f"both are counted as {wanted}")
                if is_live:
                    attacker.refresh()
        proved("every method without authentication: 401 or 400, unsigned; indications: silence, counted")


def attack_forged_integrity():
    with Target(exempt=True) as target:
        for attacker, is_live in five_tuples(target):
            with attacker:
                before = target.counters()
                number = 0
                for name, (method, attributes, peers) in EVERY.items():
                    right = attacker.request(method, attributes, peers)
                    last = range(len(right) - 20, len(right))
                    macs = [(f"byte {at}", right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :]) for at in last]
                    macs += [("zeros", right[:-20] + bytes(20))]
                    macs += [("no password", attacker.request(method, attributes, peers, key=b""))]
                    wrong = craft.long_term_key(attacker.username, attacker.realm, b"guess")
                    macs += [("a guess", attacker.request(method, attributes, peers, key=wrong))]
                    macs += [("the password as key", attacker.request(method, attributes, peers, key=attacker.password))]
                    for how, raw in macs:
                        attacker.expect(raw, "401 unsigned", f"{name} with a forged integrity ({how})")
                        number += 1
                refused = grown(before, target.counters(), "swingbridge_answers_total")
                told = sum(count for name, count in refused.items() if 'code="401"' in name)
                check(told == 2 * number, f"each is counted, and its fence: {refused}")
                if is_live:
                    attacker.refresh()
        proved("one wrong bit in any byte of the integrity, zeros, guesses: 401 unsigned")


def attack_sha256_that_was_truncated_or_contradicts():
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.allocate()
        of = craft.transaction()
        inside = [craft.lifetime(0), *attacker.identity()]
        right = craft.message(craft.REFRESH, attributes=inside, of=of, key=attacker.key, seals=(craft.MESSAGE_INTEGRITY_SHA256,))
        for size in (16, 20, 28):
            head, body = right[:20], right[20:-36]
            whole = craft.seal(craft.with_length(head, 0), body, attacker.key, craft.MESSAGE_INTEGRITY_SHA256)[4:]
            body += craft.attribute(craft.MESSAGE_INTEGRITY_SHA256, whole[:size])
            raw = craft.with_length(head, len(body)) + body
            attacker.expect(raw, "401 unsigned", f"SHA-256 truncated to {size} bytes")
        both = (craft.MESSAGE_INTEGRITY, craft.MESSAGE_INTEGRITY_SHA256)
        raw = craft.message(craft.REFRESH, attributes=inside, key=attacker.key, seals=both)
        attacker.expect(raw[:-1] + bytes([raw[-1] ^ 1]), "401 unsigned", "a right SHA-1 before a wrong SHA-256")
        attacker.refresh()
        proved("truncated SHA-256, and a right SHA-1 before a wrong SHA-256: 401 unsigned")


def attack_foreign_nonce():
    """Another five-tuple's, another server's, an invented one, one whose feature bits were changed."""
    another = Target(exempt=True)
    if place.ON_CABLE:
        # At an interface there is room for one program of XDP.
        another.path, another.interfaces = "sockets", []
    with Target(exempt=True) as target, another as other, target.attacker() as second, other.attacker() as elsewhere:
        second.challenge()
        elsewhere.challenge()
        for attacker, is_live in five_tuples(target):
            with attacker:
                own = attacker.nonce
                foreign = {
                    "of another five-tuple": second.nonce,
                    "of another server": elsewhere.nonce,
                    "invented": b"obMatJos2AAAB" + b"A" * (len(own) - 13),
                    "without the cookie": b"0123456789",
                    "without feature bits": own[:9] + b"AAAA" + own[13:],
                    "with more feature bits": own[:9] + b"AAAD" + own[13:],
                    "cut short": own[:-1],
                    "made longer": own + b"A",
                    "of 763 bytes": b"n" * 763,
                }
                for how, nonce in foreign.items():
                    for name, (method, attributes, peers) in EVERY.items():
                        attacker.nonce = nonce
                        raw = attacker.request(method, attributes, peers)
                        attacker.nonce = own
                        wanted = "438 signed" if is_live else "438 unsigned"
                        attacker.expect(raw, wanted, f"{name} with a nonce {how}")
                if is_live:
                    attacker.refresh()
        proved("nonces of others, invented, cut, with changed feature bits: 438, and nothing is carried out")


def attack_stale_nonce():
    with Target(exempt=True, more_auth=['nonce_lifetime = "2s"']) as target:
        pairs = five_tuples(target)
        time.sleep(2.2)
        for attacker, is_live in pairs:
            with attacker:
                for name, (method, attributes, peers) in EVERY.items():
                    raw = attacker.request(method, attributes, peers)
                    attacker.expect(raw, "438 signed", f"{name} with a stale nonce")
                answer = attacker.ask(attacker.request(craft.REFRESH, [craft.lifetime(600)]))
                check(answer.attributes[craft.NONCE] != attacker.nonce, "the 438 brings a new nonce")
                attacker.take(answer)
                attacker.refresh() if is_live else attacker.allocate()
        proved("a nonce older than nonce_lifetime: 438 signed with a new nonce, which is good")


def attack_offer_that_was_tampered_with():
    """Who strips or swaps the password algorithms on the way gets 400, not the weaker one."""
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.challenge()
        offers = {
            "chosen without the offer": [(craft.PASSWORD_ALGORITHM, b"\0\1\0\0")],
            "the offer without a choice": [(craft.PASSWORD_ALGORITHMS, b"\0\2\0\0\0\1\0\0")],
            "a shorter offer": [(craft.PASSWORD_ALGORITHMS, b"\0\1\0\0"), (craft.PASSWORD_ALGORITHM, b"\0\1\0\0")],
            "an offer in another order": [
                (craft.PASSWORD_ALGORITHMS, b"\0\1\0\0\0\2\0\0"),
                (craft.PASSWORD_ALGORITHM, b"\0\1\0\0"),
            ],
            "an algorithm that was not offered": [
                (craft.PASSWORD_ALGORITHMS, b"\0\2\0\0\0\1\0\0"),
                (craft.PASSWORD_ALGORITHM, b"\0\7\0\0"),
            ],
        }
        answer = attacker.challenge()
        told = answer.attributes[craft.PASSWORD_ALGORITHMS]
        for how, attributes in offers.items():
            if how in ("an offer in another order",) and told == attributes[0][1]:
                attributes = [(craft.PASSWORD_ALGORITHMS, told[4:] + told[:4]), attributes[1]]
            elif how == "an algorithm that was not offered":
                attributes = [(craft.PASSWORD_ALGORITHMS, told), attributes[1]]
            raw = attacker.request(craft.ALLOCATE, [craft.UDP, *attributes])
            attacker.expect(raw, "400 unsigned", f"password algorithms: {how}")
        proved("password algorithms that do not fit the offer: 400 unsigned")


def attack_attributes_after_integrity():
    """An on-path attacker appends; nothing of it is obeyed."""
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.allocate()
        appended = [craft.lifetime(0), (craft.USERNAME, b"mallory"), (0x4242, b"must be understood")]
        raw = attacker.request(craft.REFRESH, [craft.lifetime(700)], behind=appended)
        answer = attacker.ask(raw)
        check(answer.kind == craft.SUCCESS, f"a signed Refresh with attributes behind it succeeds, not {answer.code}")
        check(answer.attributes[craft.LIFETIME] == struct.pack("!I", 700), "a LIFETIME behind the integrity is not obeyed")
        of = craft.transaction()
        behind = [craft.peer(place.HERE4, 0, of), craft.peer("9.9.9.9", 0, of)]
        raw = attacker.request(craft.CREATE_PERMISSION, peers=[PEER], of=of, behind=behind)
        check(attacker.ask(raw).kind == craft.SUCCESS, "CreatePermission")
        attacker.expect(attacker.indication(("9.9.9.9", 9), b"data"), SILENCE, "Send to a peer behind the integrity")
        check(target.counters()['swingbridge_packets_dropped_total{reason="no_permission"}'] == 1, "it has no permission")
        of = craft.transaction()
        raw = attacker.request(craft.CREATE_PERMISSION, of=of, behind=[craft.peer(*PEER, of)])
        attacker.expect(raw, "400 signed", "CreatePermission whose only peer stands behind the integrity")
        of = craft.transaction()
        raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], of=of, behind=[craft.peer(*PEER, of)])
        attacker.expect(raw, "400 signed", "ChannelBind whose peer stands behind the integrity")
        sha256 = (craft.MESSAGE_INTEGRITY_SHA256,)
        raw = attacker.request(craft.REFRESH, [craft.lifetime(700)], seals=sha256, behind=[craft.lifetime(0)])
        answer = attacker.ask(raw)
        check(answer.attributes.get(craft.LIFETIME) == struct.pack("!I", 700), "nor behind MESSAGE-INTEGRITY-SHA256")
        attacker.refresh()
        proved("attributes behind the integrity are not obeyed: LIFETIME, USERNAME, peers, unknown ones")


def attack_somebody_elses_allocation():
    """The five-tuple is the key to everything: another port, another user, the same user."""
    users = harness.USER, "bob"
    with Target(exempt=True) as target, target.attacker() as owner, target.attacker() as thief:
        owner.allocate()
        thief.challenge()
        for name, (method, attributes, peers) in METHODS.items():
            if method != craft.ALLOCATE:
                raw = thief.request(method, attributes, peers)
                thief.expect(raw, "437 signed", f"{name} of the same user from another five-tuple")
        name, password = harness.time_limited(target.secret, users[1])
        honest = owner.username, owner.password, owner.key
        owner.username, owner.password = name.encode(), password.encode()
        owner.key = craft.long_term_key(owner.username, owner.realm, owner.password)
        for name, (method, attributes, peers) in METHODS.items():
            wanted = "437 signed" if method == craft.ALLOCATE else "441 signed"
            owner.expect(owner.request(method, attributes, peers), wanted, f"{name} of another user on this five-tuple")
        owner.username, owner.password, owner.key = honest
        owner.expect(owner.request(craft.ALLOCATE, [craft.UDP]), "437 signed", "a second Allocate")
        owner.refresh()
        proved("an allocation obeys its own five-tuple and user: 437, 441")


def all_kinds(attacker):
    """One accepted request of each kind, with its answer, in an order that leaves the allocation alive."""
    done = {}
    for name, (method, attributes, peers) in METHODS.items():
        if name == "Refresh":
            attributes = [craft.lifetime(900)]
        raw = attacker.request(method, attributes, peers)
        answer = attacker.ask(raw)
        check(answer.kind == craft.SUCCESS, f"{name} succeeds, not {answer.code}")
        done[name] = raw, answer.raw
    return done


def attack_replay_of_everything():
    """Within 40 s the old answer and nothing else; from elsewhere, after 40 s, after the end: nothing or 438."""
    with Target(exempt=True) as target, target.attacker() as attacker, target.attacker() as elsewhere:
        attacker.challenge()
        done = all_kinds(attacker)
        first = target.counters()
        for name, (raw, answer) in done.items():
            attacker.heard.clear()
            attacker.transport.send(raw)
            attacker.fence()
            check(list(attacker.heard) == [answer], f"{name} again: the old answer, byte for byte")
        again = grown(first, target.counters(), "swingbridge_answers_repeated_total")
        check(sum(again.values()) == len(done), f"each is counted as a repetition: {again}")
        check(target.counters()["swingbridge_allocations_made_total"] == 1, "nothing was made")
        for name, (raw, _) in done.items():
            elsewhere.expect(raw, "438 unsigned", f"{name} replayed from another five-tuple")
        proved("each kind of request repeated at once: the old answer; from another five-tuple: 438 unsigned")

        time.sleep(41)
        before = target.counters()
        for name, (raw, _) in done.items():
            attacker.expect(raw, SILENCE, f"{name} replayed after 40 s")
        late = grown(before, target.counters(), "swingbridge_replays_dropped_total")
        check(sum(late.values()) == len(done), f"each is counted as a replay: {late}")
        proved("each kind replayed after 40 s: silence, counted")

        ending = attacker.request(craft.REFRESH, [craft.lifetime(0)])
        check(attacker.ask(ending).kind == craft.SUCCESS, "Refresh 0")
        for name, (raw, _) in done.items():
            attacker.expect(raw, "438 signed", f"{name} replayed after the end")
        target.settles({"swingbridge_allocations": 0, "swingbridge_allocations_made_total": 1})
        proved("each kind replayed after Refresh 0: 438 signed, no allocation comes back")


def attack_replay_after_a_restart():
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.challenge()
        done = all_kinds(attacker)
        local = attacker.transport.local
        attacker.transport.close()
        port = target.port
    again = Target(exempt=True)
    again.port = port
    with again as target, target.attacker(source=local) as attacker:
        for name, (raw, _) in done.items():
            attacker.expect(raw, "438 unsigned", f"{name} replayed after a restart")
        check(target.counters()["swingbridge_allocations_made_total"] == 0, "nothing was made")
        proved("each kind replayed to the same addresses after a restart: 438 unsigned")


def shape(answer):
    return answer.method, answer.kind, answer.code, [(number, len(value)) for number, value in answer.list]


def attack_guessing_users():
    """Unknown user, wrong password, expired and malformed names: one answer, so that nothing is learnt."""
    with Target(exempt=True) as target, target.attacker() as attacker:
        attacker.challenge()
        expired, its_password = harness.time_limited(target.secret, "eve", -3600)
        far, far_password = harness.time_limited(target.secret, "eve", 48 * 3600)
        names = [
            (attacker.username, b"wrong"),
            (b"nobody", b"wrong"),
            (b"nobody", attacker.password),
            (expired.encode(), its_password.encode()),
            (far.encode(), far_password.encode()),
            (b"99999999999999999999999999:x", b"x"),
            (b"", b""),
            (b"a" * 508, b"x"),
        ]
        shapes = set()
        for username, password in names:
            key = craft.long_term_key(username, attacker.realm, password)
            identity = [(craft.USERNAME, username), (craft.REALM, attacker.realm), (craft.NONCE, attacker.nonce)]
            raw = craft.message(craft.ALLOCATE, attributes=[craft.UDP, *identity], key=key)
            answer = attacker.ask(raw)
            check(answer.code == 401 and not answer.signed_by(None), f"{username[:20]} gets 401 unsigned, not {answer.code}")
            shapes.add(str(shape(answer)))
        check(len(shapes) == 1, f"all answers have one shape: {shapes}")
        proved(f"{len(names)} kinds of wrong credentials: one answer in code, size and attributes")


def attack_foreseeing_nonces_ports_and_tokens():
    """Two servers, a hundred draws each: nothing repeats, nothing is in order, neither foretells the other."""
    ports, nonces, tokens = [], set(), set()
    for _ in range(2):
        with Target(exempt=True) as target:
            drawn = []
            for _ in range(100):
                with target.attacker() as attacker:
                    answer = attacker.allocate((craft.EVEN_PORT, b"\x80"))
                    drawn.append(attacker.relayed[0][1])
                    nonces.add(attacker.nonce)
                    tokens.add(answer.attributes[craft.RESERVATION_TOKEN])
                    attacker.end()
            ports.append(drawn)
    steps = {after - before for drawn in ports for before, after in zip(drawn, drawn[1:])}
    check(len(steps) > 150, f"the ports keep no pace: {len(steps)} different steps of 198")
    check(len(set(ports[0]) & set(ports[1])) < 20, "the second server does not draw the ports of the first")
    check(len(nonces) == 200 and len(tokens) == 200, "200 nonces and 200 tokens, all distinct")
    for bit in range(64):
        ones = sum(int.from_bytes(token) >> bit & 1 for token in tokens)
        check(40 < ones < 160, f"bit {bit} of the tokens is 1 in {ones} of 200")
    proved("200 ports, nonces and reservation tokens of two servers: distinct, without order")


def attack_names_that_are_programs():
    """Formats, SQL, shell, line breaks, terminal escapes as names: opaque bytes, and no raw control character in the log."""
    nasty = [
        b"%n%n%s%s%x",
        b"'; DROP TABLE users; --",
        b'" OR ""="',
        b"$(touch /tmp/owned)",
        b"alice\r\n2026-01-01T00:00:00Z  INFO allocation made user=root",
        b"\x1b]0;owned\x07\x1b[2J",
        b"\0alice",
        "‮ecila".encode(),
        b"\xff\xfe\xfd",
    ]
    with Target(exempt=True, log={"level": "debug"}) as target, target.attacker() as attacker:
        attacker.challenge()
        for username in nasty:
            for user in (username, str(int(time.time()) + 900).encode() + b":" + username):
                key = craft.long_term_key(user, attacker.realm, b"x")
                identity = [(craft.USERNAME, user), (craft.REALM, attacker.realm), (craft.NONCE, attacker.nonce)]
                raw = craft.message(craft.ALLOCATE, attributes=[craft.UDP, *identity], key=key)
                attacker.expect(raw, "401 unsigned", f"the name {user!r}")
        log = target.output()
        check(not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", log), "no control character in the log")
        check("INFO allocation made user=root" not in [line[:38] for line in log.splitlines()], "no forged line")
        check(not any(line.startswith("2026-01-01T00:00:00Z") for line in log.splitlines()), "no forged line in the log")
        check(harness.PASSWORD not in log and target.secret not in log, "no secret in the log")
        proved(f"{len(nasty)} hostile names: 401, and a log of clean lines")


if __name__ == "__main__":
    suite.main(globals())
