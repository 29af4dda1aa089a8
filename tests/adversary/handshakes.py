"""TLS: hellos cut, bent, of old versions, too long, with names and protocols that nobody has, and what comes after."""

import collections
import contextlib
import socket
import ssl

import suite  # first: it knows where the harness is
import craft
import harness
import hello
import oracle
from harness import check
from harness import proved
from streams import hello_of_openssl
from streams import peer
from streams import quiet
from streams import settled_fates
from streams import told
from target import Attacker
from target import Target
from target import over
from transport import Tcp
from transport import Tls


def greet(target, flights, same=()):
    """Says each first flight, or its parts, on a connection of its own and then no more; wants one of the answers, and the
    right ends. Answers are words of `hello.answer`; for `same` see `settled_fates`."""
    before, wanted, heard = quiet(target), collections.Counter(), collections.Counter()
    for claim, raw, answers in flights:
        parts = raw if isinstance(raw, tuple) else (raw,)
        raw = b"".join(parts)
        with contextlib.closing(Tcp(target.address())) as one:
            for part in parts:
                one.send(part)
            one.half_close()
            said = hello.answer(one.all())
        check(said in answers, f"{claim}: not {said}, but one of {answers[:3]}; sent {raw.hex()}")
        fate = hello.fate(raw)
        is_message = fate in (hello.WHOLE, hello.MORE_BEHIND)
        check(fate == hello.MORE_BEHIND or is_message == (said != "nothing"), f"{claim}: {fate}, and {said}; sent {raw.hex()}")
        heard[said] += 1
        # The handshake that began goes no further: the client has left.
        wanted[oracle.LEFT if said == "hello" else hello.FAILED if is_message else fate] += 1
    settled_fates(target, before, dict(wanted), same)
    return heard


def alerts(*codes):
    return [f"alert {code}" for code in codes]


def attack_hello_cut_at_every_byte():
    """Nothing is said to half a hello, and with headers that agree it is one that cannot be read."""
    with Target(streams=True) as target:
        whole = [hello.hello(), hello_of_openssl()]
        check(greet(target, [("whole", raw, ["hello"]) for raw in whole]) == {"hello": 2}, "whole they are answered")
        cut = [(f"cut at {at}", raw[:at], ["nothing"]) for raw in whole for at in range(len(raw))]
        greet(target, cut)
        inside = hello.body()
        bare = inside.index(hello.extensions()) - 2
        shorter = lambda at: hello.record(hello.message(inside[:at]))
        agreeing = [(f"a body of {at}", shorter(at), alerts(hello.DECODE)) for at in range(len(inside))]
        # Without extensions it is a whole hello, of a client that knows none of our signatures.
        agreeing[bare] = ("no extensions", agreeing[bare][1], alerts(hello.HANDSHAKE_FAILURE, hello.MISSING))
        heard = greet(target, agreeing)
        target.alive()
        proved(f"{len(cut)} hellos cut: no answer; {len(agreeing)} cut with headers that agree: {told(heard)}")


def attack_hello_one_byte_changed():
    """Every byte of a hello: the lengths decide whether there is a message, and what is in it gets an answer or an alert."""
    roll = suite.dice("hello")
    legal = ["hello", *alerts(*range(256))]
    answers = {hello.WHOLE: legal, hello.MORE_BEHIND: [*legal[1:], "nothing"]}

    def flights():
        for at in range(len(right)):
            for _ in range(2):
                raw = bytearray(right)
                raw[at] ^= roll.randrange(1, 256)
                yield f"byte {at} is {raw[at]:#04x}", bytes(raw), answers.get(hello.fate(bytes(raw)), ["nothing"])

    with Target(streams=True) as target:
        right = hello.hello(hello.extensions(more=hello.extension(hello.PADDING, bytes(20))))
        # What is wrong further in shows after our hello, under a key that this client does not have.
        heard = greet(target, list(flights()), same=(oracle.LEFT, hello.FAILED))
        check(heard["hello"] and heard["nothing"] and len(heard) > 3, f"each kind of answer is seen: {heard}")
        target.alive()
        proved(f"{heard.total()} hellos with a byte changed: {told(heard)}")


def attack_hello_in_pieces():
    """A hello in records of any sizes is the same hello; what is too long, or no hello, is closed without a byte."""
    roll = suite.dice("pieces")
    with Target(streams=True) as target:
        inside = hello.body()
        sizes = [[roll.randrange(1, 40), *(roll.randrange(1, 60) for _ in range(roll.randrange(12)))] for _ in range(60)]
        heard = greet(target, [(f"in {some}", hello.in_records(inside, some), ["hello"]) for some in sizes])
        whole = hello.hello()
        heard += greet(target, [(f"split at {at}", (whole[:at], whole[at:]), ["hello"]) for at in range(1, len(whole))])
        heard += greet(target, [("byte by byte", tuple(whole[at : at + 1] for at in range(len(whole))), ["hello"])])
        padded = lambda size: hello.body(hello.extensions(more=hello.extension(hello.PADDING, bytes(size))))
        room = hello.LONGEST - 9 - len(padded(0))
        heard += greet(
            target,
            [
                ("the longest", hello.record(hello.message(padded(room))), ["hello"]),
                ("one byte too long", hello.record(hello.message(padded(room + 1))), ["nothing"]),
                ("16 MB announced", hello.record(b"\1\xff\xff\xff" + bytes(1_000)), ["nothing"]),
                ("crumbs beyond the limit", hello.in_records(padded(8_000), [4] * 4_000), ["nothing"]),
                ("an empty record inside", hello.record(hello.message(inside)[:50]) + hello.record(b""), ["nothing"]),
                ("data inside", hello.record(hello.message(inside)[:50]) + hello.record(b"x", hello.DATA), ["nothing"]),
                ("an alert inside", hello.record(hello.message(inside)[:50]) + hello.record(b"\2\0", hello.ALERT), ["nothing"]),
                ("a first record of 3 bytes", hello.in_records(inside, [3]), ["hello"]),
                ("a byte in each record", hello.in_records(inside, [1] * 1_000), ["hello"]),
                ("a ServerHello", hello.record(hello.message(inside, kind=2)), ["nothing"]),
                ("a Finished", hello.record(hello.message(bytes(32), kind=20)), ["nothing"]),
                ("an alert first", hello.record(b"\1\0", hello.ALERT), ["nothing"]),
                ("data first", hello.record(b"GET / HTTP/1.1", hello.DATA), ["nothing"]),
            ],
        )
        target.alive()
        proved(f"{heard.total()} hellos in pieces, too long, or none: {told(heard)}")


def attack_old_versions():
    """TLS 1.0 and 1.1, SSL 3 and 2, and a client that has nothing in common with us: the alert that says so."""
    old = hello.extensions(versions=())
    weak = [0x0005, 0x000A, 0x002F, 0x003C, 0x0000, 0x0003, 0xC009, 0xC013, 0xC008, 0x0033]
    ssl_2 = bytes.fromhex("802e0100020015000000100100800300800700c0060040020080040080") + bytes(16)
    only = lambda **more: hello.hello(hello.extensions(versions=(hello.TLS_1_2,), **more))
    twelve = hello.extensions(versions=(hello.TLS_1_2,))
    refused = alerts(hello.HANDSHAKE_FAILURE)
    with Target(streams=True) as target:
        outright = lambda legacy: hello.hello(old, legacy=legacy)
        flights = [(f"version {legacy:#06x}", outright(legacy), alerts(hello.VERSION)) for legacy in (0x0300, 0x0301, 0x0302)]
        listed = hello.extensions(versions=(hello.TLS_1_1, hello.TLS_1_0))
        flights += [
            ("1.1 and 1.0 listed", hello.hello(listed), alerts(hello.VERSION)),
            ("versions of nobody listed", hello.hello(hello.extensions(versions=(0x7F1C, 0x0A0A))), alerts(hello.VERSION)),
            ("1.2 without the list", hello.hello(old), ["hello"]),
            ("1.2 listed", hello.hello(twelve), ["hello"]),
            ("1.3 alone", hello.hello(hello.extensions(versions=(hello.TLS_1_3,))), ["hello"]),
            ("weak suites alone, 1.2", hello.hello(twelve, suites=weak), refused),
            ("weak suites alone, 1.3", hello.hello(suites=weak), refused),
            ("SHA-1 signatures alone", only(signatures=(0x0203, 0x0201)), refused),
            ("groups of nobody", only(groups=(0x0001,)), refused),
            ("compression alone, 1.2", hello.hello(twelve, compression=b"\1"), alerts(hello.ILLEGAL)),
        ]
        heard = greet(target, flights)
        with contextlib.closing(Tcp(target.address())) as one:
            one.send(ssl_2)
            check(one.all() == b"", "SSL 2 is closed without a byte")
        target.alive()
        proved(f"{len(flights) + 1} old or foreign hellos: {told(heard)}; SSL 2 without a byte")


def attack_compression():
    """Where it is offered beside none, none is chosen (RFC 8489 section 6.2.3)."""
    with Target(streams=True) as target:
        raw = hello.hello(hello.extensions(versions=(hello.TLS_1_2,)), compression=b"\1\0")
        with contextlib.closing(Tcp(target.address())) as one:
            one.send(raw)
            one.half_close()
            said = one.all()
        check(hello.answer(said) == "hello", f"it is answered: {said[:20].hex()}")
        session = said[43]
        check(said[46 + session] == 0, "without compression")
        proved("TLS 1.2 with compression offered: answered without")


def attack_names_and_protocols():
    """Neither a name that nobody has nor a protocol that is not ours is a reason to refuse; the inside decides."""
    with Target(streams=True) as target:
        offers = [(), ("stun.turn",), ("stun.nat-discovery",), ("h2", "http/1.1"), ("h2", "stun.turn"), ("x" * 255,), ("ftp",)]
        for names in offers:
            with contextlib.closing(Tls(target.address(), names=names)) as one:
                chosen = one.sock.selected_alpn_protocol()
                ours = [name for name in names if name.startswith("stun.")]
                check(chosen in (ours or [None]), f"of {names} {chosen} was chosen")
                one.send(craft.message(craft.BINDING))
                check(craft.Answer(one.receive(10)).kind == craft.SUCCESS, f"with {names} it is served")
        for host in (None, "localhost", "nobody.example", "a" * 63 + ".example", "xn--nxasmq6b.example"):
            with contextlib.closing(Tls(target.address(), host=host)) as one:
                one.send(craft.message(craft.BINDING))
                check(craft.Answer(one.receive(10)).kind == craft.SUCCESS, f"as {host} it is served")
        refused = alerts(hello.DECODE, hello.ILLEGAL)
        name = lambda raw: hello.hello(hello.extensions(name=None, more=raw))
        twice = hello.server_name(b"localhost") * 2
        long = hello.sized(b"\0" + hello.sized(b"a" * 300 + b".example", 2), 2)
        flights = [
            ("an empty list of names", name(hello.extension(hello.SERVER_NAME, b"\0\0")), refused),
            ("an empty name", name(hello.server_name(b"")), refused),
            ("the extension twice", name(twice), refused),
            ("a name of 308 bytes", name(hello.extension(hello.SERVER_NAME, long)), ["hello", *refused]),
            ("a name with a zero", name(hello.server_name(b"a\0b.example")), ["hello", *refused]),
            ("a name that is a path", name(hello.server_name(b"../../etc/passwd")), ["hello", *refused]),
            ("an address as name", name(hello.server_name(b"127.0.0.1")), ["hello", *refused]),
            ("protocols that lie", name(hello.extension(hello.PROTOCOLS, b"\0\x09\xffh2")), refused),
            ("no protocol in the list", name(hello.extension(hello.PROTOCOLS, b"\0\0")), refused),
        ]
        heard = greet(target, flights)
        target.alive()
        proved(f"{len(offers)} offers of protocols and 5 names: served; {len(flights)} that are bent: {told(heard)}")


def attack_weak_suites():
    """OpenSSL as client with one suite: those with forward secrecy and AEAD are taken, no other."""
    good = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    bad = ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "AES256-SHA"]
    with Target(streams=True) as target:
        for name in good:
            with contextlib.closing(Tls(target.address(), suite=name)) as one:
                check(one.sock.version() == "TLSv1.2" and one.sock.cipher()[0] == name, f"{name} is taken")
                check(one.sock.compression() is None, "without compression")
                one.send(craft.message(craft.BINDING))
                check(craft.Answer(one.receive(10)).kind == craft.SUCCESS, f"with {name} it is served")
        before = quiet(target)
        for name in bad:
            try:
                Tls(target.address(), suite=name).close()
            except ssl.SSLError as error:
                check("HANDSHAKE_FAILURE" in str(error).upper(), f"{name}: {error}")
            else:
                check(False, f"{name} is refused")
        settled_fates(target, before, {hello.FAILED: len(bad)})
        proved(f"{len(good)} suites of TLS 1.2 with forward secrecy and AEAD are taken, {len(bad)} others refused")


def attack_messages_in_records():
    """Borders of records are not borders of messages: a byte in each, many messages in one, empty ones between."""
    with over(Tls), Target() as target, peer() as (echo, address), target.attacker() as attacker:
        attacker.allocate()
        attacker.bind(0x4000, address)
        send = attacker.transport.sock.sendall
        frame = craft.channel_data(0x4000, b"abcd")
        for byte in frame + craft.message(craft.BINDING) + frame:
            send(bytes([byte]))
        for _ in range(2):
            check(echo.recvfrom(100)[0] == b"abcd", "a byte in each record")
        send(frame * 100 + craft.message(craft.BINDING))
        for _ in range(100):
            check(echo.recvfrom(100)[0] == b"abcd", "a hundred in one")
        send((frame * 4_000)[: 16_384 - 2])
        send((frame * 4_000)[16_384 - 2 : 16_384])
        attacker.fence()
        check(attacker.refresh(), "the allocation is what it was")
        before = target.counters()
        send(frame[:-1])
        with contextlib.suppress(OSError):
            attacker.transport.sock.settimeout(1)
            attacker.transport.sock.unwrap()
        settled_fates(target, before, {oracle.ENDED: 1})
        target.settles({"swingbridge_allocations": 0})
        proved("records of a byte, of many messages, of 16 KiB; close_notify in mid-frame ends the allocation")


def attack_after_the_handshake():
    """Broken records, plain bytes, alerts, another hello, another TLS inside: an end, and never a word in the clear."""
    nasty = {
        "a record that nobody sealed": b"\x17\x03\x03\x00\x20" + bytes(32),
        "STUN in the clear": craft.message(craft.BINDING),
        "a hello in the clear": hello.hello(),
        "a record too long": b"\x17\x03\x03\xff\xff" + bytes(2_000),
        "an alert in the clear": hello.record(b"\2\x28", hello.ALERT),
        "a record of no kind": hello.record(b"x", 99),
        "an empty record in the clear": hello.record(b"", hello.DATA),
    }
    with Target(streams=True) as target:
        for suite_name in (None, "ECDHE-ECDSA-AES128-GCM-SHA256"):
            for claim, raw in nasty.items():
                for served in (False, True):
                    before = quiet(target)
                    with Attacker(Tls(target.address(), suite=suite_name), harness.USER, harness.PASSWORD) as attacker:
                        if served:
                            attacker.allocate()
                        plain = socket.socket(fileno=attacker.transport.sock.detach())
                    with contextlib.closing(plain):
                        plain.settimeout(30)
                        plain.sendall(raw)
                        said = b""
                        with contextlib.suppress(ConnectionResetError):
                            while more := plain.recv(4_096):
                                said += more
                    check(craft.message(craft.BINDING)[4:8] not in said, f"{claim}: not a word in the clear")
                    # In TLS 1.3 the client is done before the server is.
                    same = () if served else (hello.FAILED, "turned away: failed")
                    settled_fates(target, before, {"ended: failed" if served else "turned away: failed": 1}, same)
            target.settles({"swingbridge_allocations": 0, "swingbridge_streams": 0})
        inside = [hello.hello(), b"\xff\xfe", craft.channel_data(0x4000, b"data"), b"\0\1\0\0garbage!"]
        before = target.counters()
        for raw in inside:
            with contextlib.closing(Tls(target.address())) as one:
                one.send(raw)
                check(one.all() == b"", "closed without a byte")
        settled_fates(target, before, {oracle.NOT_SERVED: len(inside)})
        target.alive()
        proved(f"{len(nasty)} breaks of the record layer, before and after a first message: an end; TLS in TLS: not served")


if __name__ == "__main__":
    suite.main(globals())
