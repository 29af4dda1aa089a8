"""Every way of writing every address that a relay must not reach, as peer of every request that names one.

Each has its exact answer, and nothing of it is ever seen on the cable or on the server's loopback, while a public peer
is reached the same way at the same time.
"""

import contextlib
import ipaddress
import socket
import time

import suite  # first: it knows where the harness is
import craft
import lab
from harness import PORTS
from harness import check
from harness import proved
from target import SILENCE
from target import dropped

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.255.255.254",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "RFC 1918 10/8": "10.0.0.1",
    "RFC 1918 172.16/12": "172.31.255.254",
    "RFC 1918 192.168/16": "192.168.1.1",
    "shared 100.64/10": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata of Azure": "168.63.129.16",
    "metadata of Alibaba": "100.100.100.200",
    "multicast": "224.0.0.1",
    "multicast, scoped": "239.255.255.250",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "documentation": "192.0.2.1",
    "benchmarking": "198.18.0.1",
    "own": lab.SERVER,
}
OWN = {lab.SERVER, lab.SERVER6}
FORMS = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "translated": lambda v4: f"::ffff:0:{v4}",
    "compatible": lambda v4: f"::{v4}",
    "6to4": lambda v4: ipaddress.IPv6Address(0x2002 << 112 | int(ipaddress.IPv4Address(v4)) << 80 | 1),
    "Teredo client": lambda v4: ipaddress.IPv6Address(
        0x20010000 << 96 | 0x08080808 << 64 | 0xFFFFFFFF ^ int(ipaddress.IPv4Address(v4))
    ),
    "Teredo server": lambda v4: ipaddress.IPv6Address(0x20010000 << 96 | int(ipaddress.IPv4Address(v4)) << 64 | 0xF7F7F7F7),
    "NAT64": lambda v4: f"64:ff9b::{v4}",
    "local-use NAT64": lambda v4: f"64:ff9b:1::{v4}",
    "ISATAP": lambda v4: f"2600::5efe:{v4}",
}
FORBIDDEN6 = {
    "loopback": "::1",
    "unspecified": "::",
    "link-local": "fe80::1",
    "unique local fc": "fc00::1",
    "unique local fd": "fd12:3456::1",
    "site-local": "fec0::1",
    "multicast, interface": "ff01::1",
    "multicast, link": "ff02::1",
    "multicast, global": "ff0e::1",
    "documentation": "2001:db8::1",
    "documentation, new": "3fff::1",
    "metadata of AWS": "fd00:ec2::254",
    "metadata of Google": "fd20:ce::254",
    "discard-only": "100::1",
    "segment routing": "5f00::1",
    "IETF protocol assignments": "2001:1::1",
    "own": lab.SERVER6,
}


def product():
    """(claim, address) of everything forbidden: native, and each IPv4 in each IPv6 form."""
    yield from ((what, address) for what, address in FORBIDDEN.items())
    for what, address in FORBIDDEN.items():
        yield from ((f"{what} as {form}", str(ipaddress.ip_address(make(address)))) for form, make in FORMS.items())
    yield from ((f"{what} (IPv6)", address) for what, address in FORBIDDEN6.items())


@contextlib.contextmanager
def world(**more):
    with contextlib.ExitStack() as held:
        around = lab.Lab(held)
        yield around, held.enter_context(lab.LabTarget(around, exempt=False, allow=(), lines=[EXEMPT], **more))


EXEMPT = f'unproven_exempt = ["{lab.ATTACKER}/32", "{lab.ATTACKER6}/128"]'


def attack_every_forbidden_peer():
    """The product, by CreatePermission, ChannelBind, Send and ChannelData, from a dual allocation."""
    peers = list(product())
    with world() as (around, target), target.attacker() as attacker:
        attacker.allocate(dual=True)
        sniffers = around.sniffers()
        marker = b"must not arrive"
        before = target.counters()
        for number, (what, address) in enumerate(peers):
            if number % 50 == 49:
                # An allocation remembers 256 transactions under one nonce.
                attacker.challenge()
            # Live relayed addresses share the server's own address, so it can be permitted; each packet is judged by port.
            wanted = "success signed" if address in OWN else "403 signed"
            raw = attacker.request(craft.CREATE_PERMISSION, peers=[(address, 0)])
            attacker.expect(raw, wanted, f"CreatePermission for {what}, {address}")
            raw = attacker.request(craft.CREATE_PERMISSION, peers=[(lab.SERVER, 0), (address, 0)])
            attacker.expect(raw, wanted, f"CreatePermission for one that may be and {what}, {address}")
            channel = 0x4000 + number
            raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(channel)], [(address, 80)])
            attacker.expect(raw, "403 signed", f"ChannelBind to {what}, {address}")
            attacker.expect(attacker.indication((address, 80), marker), SILENCE, f"Send to {what}, {address}")
            attacker.expect(craft.channel_data(channel, marker), SILENCE, f"ChannelData to {what}, {address}")
        lost = dropped(before, target.counters())
        wanted = {"no_permission": len(peers) - len(OWN), "forbidden_peer": len(OWN), "no_channel": len(peers)}
        check(lost == wanted, f"each packet is counted: {lost}, not {wanted}")
        nothing_but(around, sniffers, attacker, marker)
    ways = f"{len(FORBIDDEN)} of IPv4, native and in {len(FORMS)} IPv6 forms, and {len(FORBIDDEN6)} of IPv6"
    proved(f"{len(peers)} forbidden addresses ({ways}):")
    proved("CreatePermission and ChannelBind 403 signed, Send and ChannelData silent and counted, nothing on the wire")


def nothing_but(around, sniffers, attacker, marker):
    """A public peer is reached, which shows that the sniffers see; what they saw besides is a leak."""
    control = b"may arrive"
    attacker.permit(lab.PEER, lab.PEER6)
    for peer in (lab.PEER, lab.PEER6):
        attacker.transport.send(attacker.indication((peer, 9), control))
    attacker.fence()
    seen = lab.relayed_frames(sniffers, PORTS)
    leaks = [frame for frame in seen if frame[2].startswith(marker)]
    check(not leaks, f"datagrams left for forbidden peers: {leaks}")
    reached = {frame[0] for frame in seen if frame[2].startswith(control)}
    check(reached == {lab.PEER, lab.PEER6}, f"the public peers are seen: {reached}")


def attack_peers_of_the_other_family():
    """An allocation of one family: every peer of the other gets 443, forbidden or not."""
    with world() as (around, target):
        for version, others in ((4, ["::ffff:8.8.8.8", "::1", lab.PEER6]), (6, ["127.0.0.1", lab.PEER, "10.0.0.1"])):
            with target.attacker(lab.SERVER if version == 4 else lab.SERVER6) as attacker:
                attacker.allocate(craft.family(version))
                before = target.counters()
                for address in others:
                    raw = attacker.request(craft.CREATE_PERMISSION, peers=[(address, 0)])
                    attacker.expect(raw, "443 signed", f"CreatePermission for {address}")
                    raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000)], [(address, 9)])
                    attacker.expect(raw, "443 signed", f"ChannelBind to {address}")
                    attacker.expect(attacker.indication((address, 9), b"x"), SILENCE, f"Send to {address}")
                lost = dropped(before, target.counters())
                check(lost == {"peer_family": len(others)}, f"each is counted: {lost}")
    proved("peers of the family that the allocation does not have: 443 signed, silence")


def attack_own_ports_of_the_server():
    """Listener, admin door, relay ports that nobody has: none of them; a live relayed address only."""
    with world() as (around, target), target.attacker() as attacker, target.attacker() as other:
        attacker.allocate()
        other.allocate()
        relayed = other.relayed[0]
        free = next(port for port in PORTS if port not in (relayed[1], attacker.relayed[0][1]))
        sniffers = around.sniffers()
        marker = craft.message(craft.BINDING)
        # A live relayed address has this address, so the permission itself is granted.
        attacker.permit(lab.SERVER)
        before = target.counters()
        ports = [target.port, target.admin_port, free, 22, 53, 1, 65_535]
        for number, port in enumerate(ports):
            raw = attacker.request(craft.CHANNEL_BIND, [craft.channel(0x4000 + number)], [(lab.SERVER, port)])
            attacker.expect(raw, "403 signed", f"ChannelBind to the server's port {port}")
            attacker.expect(attacker.indication((lab.SERVER, port), marker), SILENCE, f"Send to the server's port {port}")
        lost = dropped(before, target.counters())
        check(lost == {"forbidden_peer": len(ports)}, f"each is counted: {lost}")
        check(not lab.relayed_frames(sniffers, PORTS), "nothing left the relay")
        other.permit(lab.SERVER)
        attacker.transport.send(attacker.indication(relayed, b"may arrive"))
        attacker.fence()
        other.fence()
        check(any(b"may arrive" in raw for raw in other.heard), "a live relayed address is reached")
        other.end()
        before = target.counters()
        attacker.expect(attacker.indication(relayed, marker), SILENCE, "Send to a relayed address that ended")
        check(dropped(before, target.counters()) == {"forbidden_peer": 1}, "it is counted")
    proved("the server's own ports, free relay ports and ended relayed addresses: 403 and silence; a live one is reached")


def attack_port_zero():
    with world() as (around, target), target.attacker() as attacker:
        attacker.allocate(dual=True)
        sniffers = around.sniffers()
        attacker.permit(lab.PEER)
        attacker.outcome(attacker.indication((lab.PEER, 0), b"to port zero"))
        frames = lab.relayed_frames(sniffers, PORTS)
        check(not frames, f"nothing is sent to port 0: {frames}")
    proved("a peer's port 0 is reached by nobody")


def attack_peers_that_were_not_permitted():
    """What a peer sends uninvited, and what comes after a permission's end."""
    with world(limits={"permission_lifetime": "2s"}) as (around, target), target.attacker() as attacker:
        attacker.allocate()
        with target_peer() as peer:
            before = target.counters()
            peer.sendto(b"uninvited", attacker.relayed[0])
            wait_for(target, before, "no_permission", 1)
            attacker.permit(lab.PEER)
            peer.sendto(b"invited", attacker.relayed[0])
            check(b"invited" in hear(attacker), "a permitted peer is heard")
            time.sleep(2.2)
            before = target.counters()
            peer.sendto(b"too late", attacker.relayed[0])
            wait_for(target, before, "permission_expired", 1)
            attacker.expect(attacker.indication((lab.PEER, 9), b"too late"), SILENCE, "Send after the permission's end")
            check(dropped(before, target.counters()) == {"permission_expired": 2}, "both are counted")
    proved("peers without a permission, or after its end: dropped and counted, both ways")


def target_peer():
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((lab.PEER, 0))
    return peer


def hear(attacker):
    attacker.fence()
    until = 20
    while not attacker.heard and until:
        raw = attacker.transport.receive(0.25)
        until -= 1
        if raw:
            attacker.heard.append(raw)
    return b"".join(attacker.heard)


def wait_for(target, before, reason, count):
    """Until a counter has risen; what another socket received has no order with what we ask."""
    until = time.monotonic() + 5
    while dropped(before, target.counters()).get(reason, 0) < count:
        check(time.monotonic() < until, f"{reason} rises: {dropped(before, target.counters())}")
        time.sleep(0.02)


if __name__ == "__main__":
    suite.main(globals())
