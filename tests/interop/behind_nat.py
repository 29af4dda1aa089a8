"""Two clients of one server that stands behind a 1:1 NAT: the NAT turns no packet round, and they talk all the same.

The server binds loopback and tells addresses of the documentation networks, to which nothing on this machine leads: what
arrives has been taken from one relay socket to the other by the server itself.
"""

import contextlib
import time

import harness
import stun
from harness import check
from harness import proved
from place import SERVER4
from place import SERVER6

EXTERNAL = {SERVER4: "203.0.113.7", SERVER6: "2001:db8::7"}
# The kernel spreads clients over the two workers by their ports; with so many, pairs of both kinds are certain enough.
CLIENTS = 12
FIRST_CHANNEL = 0x4000


def refusal(call, *arguments):
    """The error code that a request got, None for success."""
    try:
        call(*arguments)
    except stun.Refused as refused:
        return refused.code
    return None


def talk(one, other, number):
    """Both ways by Send indication and both ways by channel, each shown by its external address."""
    for here, there in ((one, other), (other, one)):
        here.permit(there.relayed[0])
    for here, there, word in ((one, other, b"there"), (other, one, b"and back")):
        here.send(there.relayed, word)
        got = there.receive()
        check(got == (here.relayed, word), f"a Send indication arrives from the external address, not {got}")
    for here, there in ((one, other), (other, one)):
        here.bind_channel(number, there.relayed)
    for here, there, word in ((one, other, b"channel there"), (other, one, b"channel back")):
        here.send_channel(number, word)
        got = there.receive()
        check(got == (number, word), f"ChannelData arrives on the channel of the external address, not {got}")


def everybody_talks(server, clients, host, family):
    parties = [clients.enter_context(server.client(host)) for _ in range(CLIENTS)]
    for party in parties:
        party.allocate(family)
        check(party.relayed[0] == EXTERNAL[host], f"the relayed address is told as {EXTERNAL[host]}")
    first = parties[0]
    for number, party in enumerate(parties[1:], FIRST_CHANNEL):
        talk(first, party, number)
    return first, parties[1]


def nothing_else_is_reached(server, one, other, host):
    """Of the external address and of the bound one only live relayed addresses are peers."""
    external = EXTERNAL[host]
    dead = next(port for port in reversed(harness.PORTS) if port not in (one.relayed[1], other.relayed[1]))
    ports = {"ssh": 22, "the listener": server.port, "the admin port": server.admin_port, "a dead relay port": dead}
    for name, port in ports.items():
        code = refusal(one.bind_channel, 0x4F00, (external, port))
        check(code == 403, f"ChannelBind to {external} at {name} gets 403, not {code}")
        one.send((external, port), stun.encode(stun.BINDING, stun.REQUEST, []))
    check(refusal(one.permit, host) == 403, f"CreatePermission for the bound address {host} gets 403")
    code = refusal(one.bind_channel, 0x4F00, (host, other.relayed[1]))
    check(code == 403, f"ChannelBind to the bound form of a live relayed address gets 403, not {code}")
    time.sleep(0.2)
    answer = one.receive(0.3)
    check(answer is None, f"nothing of the server answers through the relay: {answer}")


def ended(one, other):
    """A relayed address that ended is a peer no more."""
    gone = other.relayed
    code = refusal(one.bind_channel, FIRST_CHANNEL, gone)
    check(code is None, f"a channel is bound again while its peer lives, not refused with {code}")
    check(other.refresh(0) == 0, "Refresh 0 is answered with lifetime 0")
    # The channel that the two had, which could be bound again while both lived.
    code = refusal(one.bind_channel, FIRST_CHANNEL, gone)
    check(code == 403, f"ChannelBind to a relayed address that ended gets 403, not {code}")


def test():
    with harness.Server(allow=(), admin=True, external=EXTERNAL) as server, contextlib.ExitStack() as clients:
        families = [(SERVER4, 4)] + ([(SERVER6, 6)] if harness.has_ipv6() else [])
        for host, family in families:
            one, other = everybody_talks(server, clients, host, family)
            proved(f"clients reach each other at {EXTERNAL[host]}, by Send and by channel, both ways")
            nothing_else_is_reached(server, one, other, host)
            proved(f"nothing else is reached at {EXTERNAL[host]} or {host}: port 22, listener, admin, dead relay ports")
            ended(one, other)
            proved("a relayed address that ended is reached no more")
        if not harness.has_ipv6():
            harness.not_proved("ipv6", "this machine has no ::1")


harness.main(test)
