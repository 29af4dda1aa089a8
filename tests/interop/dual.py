"""Dual allocations and reserved ports, by the standard's bytes: data over both relayed addresses, one half given back."""

import contextlib
import socket

import harness
import stun
from harness import check
from harness import proved
from place import HERE4
from place import HERE6
from place import SERVER4
from place import SERVER6

# Those of the server, and those of peers.
HOSTS = {4: SERVER4, 6: SERVER6}
PEERS = {4: HERE4, 6: HERE6}
# Enough five-tuples that both workers of the server get some of them.
PAIRS = 12


def refusal(call, *arguments):
    """The error code that a request got, None for success."""
    try:
        call(*arguments)
    except stun.Refused as refused:
        return refused.code
    return None


def bound(host, port=0):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(2)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def address_of(sock):
    return sock.getsockname()[:2]


def both_ways(client, peer, relayed, number):
    """By Send indication, then by channel: the peer hears the relayed address of its family, the client the peer."""
    client.send(address_of(peer), b"there")
    payload, seen = peer.recvfrom(2048)
    check((payload, seen[:2]) == (b"there", relayed), f"the peer hears {relayed}, not {seen}")
    peer.sendto(b"back", relayed)
    check(client.receive() == (address_of(peer), b"back"), "and its answer comes as a Data indication")
    client.bind_channel(number, address_of(peer))
    client.send_channel(number, b"channel there")
    payload, seen = peer.recvfrom(2048)
    check((payload, seen[:2]) == (b"channel there", relayed), f"by channel too: {payload} from {seen}")
    peer.sendto(b"channel back", relayed)
    check(client.receive() == (number, b"channel back"), "and back by the channel")


def is_free(server, address):
    try:
        with server.there():
            bound(*address).close()
    except OSError:
        return False
    return True


def lives_and_halves(server, host, peers, first, second):
    """Both halves carry; `first` is given back and `second` goes on alone; with it the allocation ends."""
    with server.client(host) as client:
        relayed, errors = client.allocate_both()
        check([address[0] for address in relayed] == [HOSTS[4], HOSTS[6]] and not errors, f"two addresses: {relayed}")
        relayed = dict(zip((4, 6), relayed))
        client.permit(PEERS[4], PEERS[6])
        for family, number in ((4, 0x4000), (6, 0x4001)):
            both_ways(client, peers[family], relayed[family], number)
        # proves rfc8656:5-16, rfc8656:7.2-20
        proved(f"a client at {host} talks over both relayed addresses, by Send and by channel, both ways")

        check(client.refresh(0, first) == 0, "one half is given back")
        check(is_free(server, relayed[first]), "its port can be bound the moment this is answered")
        check(not is_free(server, relayed[second]), "the other's port is held")
        check(refusal(client.permit, PEERS[first]) == 443, "no permission for a peer of the family that is gone")
        check(refusal(client.bind_channel, 0x4002, address_of(peers[first])) == 443, "nor a channel")
        check(refusal(client.refresh, 600, first) == 443, "nor a refresh of it")
        check(refusal(client.allocate) == 437, "the five-tuple has its allocation still")
        client.send(address_of(peers[first]), b"too late")
        with bound(PEERS[second]) as other_peer:
            both_ways(client, other_peer, relayed[second], 0x4003)
        peers[first].settimeout(0.2)
        try:
            check(peers[first].recv(100) is None, "nothing leaves by the half that is gone")
        except TimeoutError:
            pass
        peers[first].settimeout(2)
        check(client.refresh(600, second) == 600, "the half that is left can be refreshed")
        check(client.refresh(0, second) == 0, "and be given back")
        check(is_free(server, relayed[second]), "then its port is free too")
        code = refusal(client.refresh, 600)
        check(code in (437, 438), f"and the allocation is over: {code}")
        # proves rfc8656:8.1-2, rfc8656:8.1-3, rfc8656:8.2-1, rfc8656:10.2-5, rfc8656:12.2-2
        proved(f"IPv{first} given back alone: port free, 443, and IPv{second} goes on until it is given back itself")


def one_family_only():
    """A server without IPv6 relays gives the half it has and says why not the other."""
    server = harness.Server()
    server.hosts = [SERVER4]
    with server, server.client() as client, bound(HERE4) as peer:
        relayed, errors = client.allocate_both()
        check(len(relayed) == 1 and errors == [(6, 440)], f"one address and the error of the other: {relayed}, {errors}")
        client.permit(HERE4)
        both_ways(client, peer, relayed[0], 0x4000)
    # proves rfc8656:7.2-19
    proved("without an IPv6 relay address: success with IPv4, ADDRESS-ERROR-CODE with IPv6 and 440")


def pairs(server):
    """Even ports, and the next one to whoever shows the token."""
    with contextlib.ExitStack() as clients, bound(HERE4) as peer:
        for _ in range(PAIRS):
            one, other = (clients.enter_context(server.client()) for _ in range(2))
            (host, even), token = one.allocate_pair()
            check(even % 2 == 0, f"port {even} is even")
            check(is_free(server, (host, even + 1)), "a reserved port is bound by nobody yet")
            check(other.redeem(token) == (host, even + 1), "the token stands for the next port")
            check(refusal(clients.enter_context(server.client()).redeem, token) == 508, "a token is good once")
        other.permit(HERE4)
        both_ways(other, peer, other.relayed, 0x4000)
        # proves rfc8656:7.2-25, rfc8656:7.2-26, rfc8656:7.2-27, rfc8656:7.2-30
        proved(f"{PAIRS} pairs of ports, each upper one redeemed from another five-tuple, and it carries")
        (host, even), token = one_more = clients.enter_context(server.client()).allocate_pair()
        with server.there():
            taken = bound(host, even + 1)
        with taken:
            code = refusal(clients.enter_context(server.client()).redeem, token)
        check(code == 508, f"{one_more}: a reserved port that another program took gets 508, not {code}")
        # proves rfc8656:7.2-9
        proved("a reserved port that another program took meanwhile gets 508, and no other port is given for it")


def test():
    with harness.Server() as server:
        pairs(server)
    one_family_only()
    if not harness.has_ipv6():
        harness.not_proved("ipv6", "this machine has no ::1")
        return
    with harness.Server(log={"level": "info"}) as server, bound(PEERS[4]) as four, bound(PEERS[6]) as six:
        peers = {4: four, 6: six}
        lives_and_halves(server, SERVER4, peers, 6, 4)
        lives_and_halves(server, SERVER6, peers, 4, 6)
    made = [line for line in server.output().splitlines() if "allocation made" in line]
    check(len(made) == 2 and all(f"additional=[{SERVER6}]:" in line for line in made), f"the log tells both addresses: {made}")
    proved("one line of the log for each dual allocation, with both addresses")


if __name__ == "__main__":
    harness.main(test)
