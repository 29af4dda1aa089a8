"""What must not go through: the server's own ports behind a permission, a closed port, a second allocation.

Everything is raw STUN from Python's sockets, so that nothing but the standard's bytes is relied on. Against coturn,
which is told to let loopback peers through, the forbidden part must fail: that shows that this test would notice.
"""

import contextlib
import errno
import socket
import time

import harness
import stun
from harness import check
from harness import proved
from place import SERVER4
from place import SERVER6

# Ways to write the server's IPv4 address as an IPv6 address: mapped, compatible, 6to4, NAT64.
SIX_TO_FOUR = "2002:" + socket.inet_aton(SERVER4).hex(":", 2) + "::"
DISGUISES = [f"::ffff:{SERVER4}", f"::{SERVER4}", SIX_TO_FOUR, f"64:ff9b::{SERVER4}"]
NEVER_PEERS = ["127.0.0.2", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.0.0.1", "192.168.0.1"]


def refusal(call, *arguments):
    """The error code that a request got, None for success."""
    try:
        call(*arguments)
    except stun.Refused as refused:
        return refused.code
    return None


def reach_each_other(one, other):
    """Both ways by Send indication, both ways by channel."""
    for here, there in ((one, other), (other, one)):
        here.permit(there.relayed[0])
    for here, there, word in ((one, other, b"there"), (other, one, b"and back")):
        here.send(there.relayed, word)
        check(there.receive() == (here.relayed, word), "relayed addresses reach each other by Send indication")
    for here, there in ((one, other), (other, one)):
        here.bind_channel(0x4000, there.relayed)
    for here, there, word in ((one, other, b"channel there"), (other, one, b"channel back")):
        here.send_channel(0x4000, word)
        check(there.receive() == (0x4000, word), "relayed addresses reach each other by channel")


def no_permission_no_data(one, without):
    """A third client that permitted nobody hears nothing."""
    one.send(without.relayed, b"uninvited")
    check(without.receive(0.3) is None, "a client without a permission gets no peer's data")


def watch(server, host, port):
    """A socket that would see a packet on that port, or None where the port is somebody's already or privileged."""
    with server.there():
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except OSError as why:
        sock.close()
        if why.errno in (errno.EACCES, errno.EADDRINUSE):
            return None
        raise
    sock.setblocking(False)
    return sock


def heard(sock):
    try:
        return sock.recvfrom(2048)
    except BlockingIOError:
        return None


def unallocated_port(server, host, relayed_ports):
    """A port of the range that no allocation has and nobody holds."""
    for port in reversed(harness.PORTS):
        if port not in relayed_ports and (sock := watch(server, host, port)):
            sock.close()
            return port
    raise RuntimeError("every port of the range is taken")


def what_is_reached(server, client, peer_host, real_host, ports, control):
    """Tries each port of one address by Send and by channel; `control` sends what must arrive, last. Gives the breaches."""
    refusal(client.permit, peer_host)
    breaches = []
    with contextlib.ExitStack() as held:
        watches = {}
        for name, port in ports.items():
            if sock := watch(server, real_host, port):
                watches[name] = held.enter_context(sock)
        for index, (name, port) in enumerate(ports.items()):
            number = 0x4100 + index
            code = refusal(client.bind_channel, number, (peer_host, port))
            if code not in ((403,) if peer_host == real_host else (400, 403, 443)):
                breaches.append(f"ChannelBind to {name} got {code or 'success'}")
            # A Binding request: the server's own port would answer it, and the answer would come back as data.
            client.send((peer_host, port), stun.encode(stun.BINDING, stun.REQUEST, []))
            client.send_channel(number, b"through a channel that was refused")
        control()
        time.sleep(0.2)
        breaches += [f"a packet reached {name}" for name, sock in watches.items() if heard(sock)]
        if answer := client.receive(0.3):
            breaches.append(f"{answer[0]} answered through the relay")
    return breaches


def nothing_is_reached(server, client, peer_host, real_host, ports, control):
    breaches = what_is_reached(server, client, peer_host, real_host, ports, control)
    check(not breaches, f"nothing of the server is reached as {peer_host}: {'; '.join(breaches)}")


def own_ports(server, host, taken):
    return {
        "port 22": 22,
        "port 3478": 3478,
        "the listener's port": server.port,
        "the admin port": server.admin_port,
        "an unallocated port of the range": unallocated_port(server, host, taken),
        "another local port": harness.free_port(),
    }


def forbidden(server, one, other):
    """None of the server's own ports but live relayed addresses, from an IPv4 and from an IPv6 allocation."""
    taken = {one.relayed[1], other.relayed[1]}
    ports = own_ports(server, SERVER4, taken)

    def positive():
        one.send(other.relayed, b"control")
        check(other.receive() == (0x4000, b"control"), "a live relayed address is reached meanwhile")

    nothing_is_reached(server, one, SERVER4, SERVER4, ports, positive)
    # proves rfc8656:11.2-6, rfc8656:12.2-3
    proved(f"a permission for the server's own address reaches none of: {', '.join(ports)}; Send silent, channel 403")
    for host in NEVER_PEERS:
        code = refusal(one.permit, host)
        check(code == 403, f"CreatePermission for {host} is refused with 403, not {code}")
    # proves rfc8656:10.2-6
    proved(f"CreatePermission is refused with 403 for {', '.join(NEVER_PEERS)}")
    if not harness.has_ipv6():
        harness.not_proved("ipv6", "this machine has no ::1")
        return
    with server.client(SERVER6) as six:
        six.allocate(6)
        ports = own_ports(server, SERVER6, taken | {six.relayed[1]})
        nothing_is_reached(server, six, SERVER6, SERVER6, ports, positive)
        proved("the same over IPv6")
        for disguise in DISGUISES:
            nothing_is_reached(server, six, disguise, SERVER4, ports, positive)
        proved(f"nor with {SERVER4} written as {', '.join(DISGUISES)}")


def one_allocation_each(one, request, answer):
    code = refusal(one.allocate)
    check(code == 437, f"a second Allocate on one five-tuple gets 437, not {code}")
    # proves rfc8656:7.2-4
    proved("a second Allocate gets 437")
    check(one.exchange(request).raw == answer, "a retransmitted Allocate gets the same answer")
    # proves rfc8656:5-20, rfc8656:7.2-38
    proved("a retransmitted Allocate gets the same answer, byte for byte")


def closed_at_once(server, one, other):
    """After Refresh 0 the port is nobody's, its traffic is refused, and its data goes nowhere."""
    host, port = one.relayed
    check(watch(server, host, port) is None, "the relayed port is held while the allocation lives")
    check(one.refresh(0) == 0, "Refresh 0 is answered with lifetime 0")
    if harness.other_server():
        time.sleep(2)  # coturn answers first and closes afterwards
    sock = watch(server, host, port)
    check(sock is not None, "the port can be bound the moment Refresh 0 is answered")
    sock.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(1)
        stranger.connect((host, port))
        stranger.send(b"anyone?")
        try:
            stranger.recv(100)
            raise AssertionError("a closed port answers")
        except ConnectionRefusedError:
            pass
    other.send((host, port), b"too late")
    while data := one.receive(0.3):
        check(data[1] != b"too late", "nothing arrives after Refresh 0")
    code = refusal(one.refresh, 600)
    check(code in (437, 438), f"a Refresh after the end gets 437 or 438, not {code}")
    # proves rfc8656:6-6, rfc8656:8.2-2
    proved("after Refresh 0 the port is closed at once and the five-tuple has no allocation")


def begins_again(one):
    """An end kills the nonces of its five-tuple; whoever allocates again at once pays one round trip for it."""
    one.allocate()
    one.refresh(0)
    nonce = one.nonce
    one.allocate()
    check(one.nonce != nonce, "the nonce of the allocation that ended is stale")
    check(one.refresh(600) == 600, "the new allocation lives")
    proved("a client that allocates again at once gets 438 with a new nonce, and by that its allocation")


def test():
    with harness.Server(allow=(), admin=True) as server, contextlib.ExitStack() as clients:
        one, other, third = (clients.enter_context(server.client()) for _ in range(3))
        one.allocate()
        request, answer = one.last_request, one.last_answer
        one_allocation_each(one, request, answer)
        other.allocate()
        third.allocate()
        reach_each_other(one, other)
        proved("two clients' relayed addresses reach each other, by Send and by channel, both ways")
        no_permission_no_data(one, third)
        # proves rfc8656:9-5
        proved("a client that permitted nobody gets nothing")
        if harness.other_server():
            try:
                forbidden(server, one, other)
            except AssertionError as noticed:
                proved(f"a server that lets its own ports be reached is noticed ({noticed})")
            else:
                raise AssertionError("coturn was told to let loopback through, and the test did not notice")
        else:
            forbidden(server, one, other)
        closed_at_once(server, one, other)
        if not harness.other_server():
            begins_again(one)


harness.main(test)
