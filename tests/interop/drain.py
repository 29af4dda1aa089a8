"""SIGTERM with live calls: they go on, nobody new comes in, and the server leaves when the last has ended, or when told."""

import contextlib
import ipaddress
import json
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request

import harness
import stun
from harness import check
from harness import proved
from place import SERVER4
from place import SERVER6

ALTERNATE_V4, ALTERNATE_V6 = ("203.0.113.9", 3478), ("2001:db8::9", 3479)
# The last steps, measured: signal, answers on their way, workers, admin.
AT_ONCE_S = 2.0


def drain_section(deadline, *alternates):
    listed = ", ".join(f'"{harness.bracketed(host)}:{port}"' for host, port in alternates)
    return f'[drain]\ndeadline = "{deadline}"\nalternate_servers = [{listed}]\n'


def signalled(server, which=signal.SIGTERM):
    server.process.send_signal(which)
    return time.monotonic()


def told(server, words, timeout_s=3):
    """Waits for a line of the log."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if words in server.output():
            return
        time.sleep(0.02)
    raise AssertionError(f"the log tells of `{words}`")


def left(server, since, at_most_s, at_least_s=0.0):
    """The server ends with exit code 0 within these bounds."""
    try:
        code = server.process.wait(max(0.0, since + at_most_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the server has not left after {at_most_s} s") from None
    took = time.monotonic() - since
    check(code == 0, f"it leaves with exit code 0, not {code}")
    check(took >= at_least_s, f"it stays for {at_least_s} s, not {took:.2f} s")


def health(server):
    try:
        with server.get("/health") as page:
            return page.status, json.load(page)
    except urllib.error.HTTPError as failing:
        return failing.code, json.load(failing)


def refusal(client):
    """The code that an Allocate is refused with, and the address in ALTERNATE-SERVER."""
    try:
        client.allocate()
    except stun.Refused as refused:
        stun.decode(refused.answer.raw, client.key)
        value = refused.answer.attributes.get(stun.ALTERNATE_SERVER)
        if value is None:
            return refused.code, None
        _, family, port = struct.unpack("!BBH", value[:4])
        check(len(value) == {1: 8, 2: 20}[family], "ALTERNATE-SERVER has the length of its family")
        return refused.code, (str(ipaddress.ip_address(value[4:])), port)
    raise AssertionError("a draining server takes no new allocation")


def talk(one, other, word):
    """Both ways, by Send indication and by channel."""
    for here, there in ((one, other), (other, one)):
        here.send(there.relayed, word)
        check(there.receive() == (0x4000, word), "the call goes on by Send indication")
        here.send_channel(0x4000, word[::-1])
        check(there.receive() == (0x4000, word[::-1]), "the call goes on by channel")


def call(clients, server):
    one, other = (clients.enter_context(server.client()) for _ in range(2))
    one.allocate()
    other.allocate()
    for here, there in ((one, other), (other, one)):
        here.permit(there.relayed[0])
        here.bind_channel(0x4000, there.relayed)
    return one, other


def newcomers(server, v4, v6):
    for host, expected in ((SERVER4, v4), (SERVER6, v6)):
        if host == SERVER6 and not harness.has_ipv6():
            harness.not_proved("ipv6", "this machine has no ::1")
            continue
        with server.client(host) as late:
            got = refusal(late)
            # proves rfc8489:10-1, rfc8489:10-2, rfc8489:14.8-7
            check(got == expected, f"a newcomer on {host} gets {expected}, not {got}")


def a_call_is_not_cut_off():
    more = drain_section("60s", ALTERNATE_V4, ALTERNATE_V6)
    with harness.Server(admin=True, more=more) as server, contextlib.ExitStack() as clients:
        one, other = call(clients, server)
        check(health(server) == (200, {"status": "ok"}), "health is ok before")
        since = signalled(server)
        told(server, "draining: no new allocation is made")
        newcomers(server, (300, ALTERNATE_V4), (300, ALTERNATE_V6))
        for turn in range(3):
            talk(one, other, b"turn %d" % turn)
            check(one.refresh(600) == 600, "a Refresh is granted")
            one.permit(other.relayed[0])
            time.sleep(0.5)
        check(health(server) == (503, {"status": "failing", "reason": "draining"}), "health says draining")
        proved("after SIGTERM a call goes on: data both ways, Refresh, CreatePermission; /health says draining")
        proved("an Allocate meanwhile gets a signed 300 with the ALTERNATE-SERVER of the client's family")
        check(one.refresh(0) == 0, "one ends")
        talk_alone = time.monotonic()
        check(server.process.poll() is None, "the other is not cut off")
        check(other.refresh(0) == 0, "the Refresh 0 of the last call is answered")
        left(server, talk_alone, AT_ONCE_S)
        check(time.monotonic() - since < 30, "long before the deadline")
        proved("it leaves with exit code 0 as soon as the last call has ended, whose Refresh 0 is answered")


def the_deadline_ends_what_is_left():
    more = drain_section("2s", ALTERNATE_V6)
    with harness.Server(more=more) as server, contextlib.ExitStack() as clients:
        one, other = call(clients, server)
        since = signalled(server)
        told(server, "draining: no new allocation is made")
        newcomers(server, (508, None), (300, ALTERNATE_V6))
        talk(one, other, b"until the end")
        left(server, since, 2 + AT_ONCE_S, 1.9)
        output = server.output()
        check("ending every allocation" in output, "the log tells of the deadline")
        check(output.count("why=shutdown") == 2, "each allocation's end is told")
    proved("at the deadline the rest is ended and told; a family without an alternate server gets 508")


def a_second_signal_leaves_at_once():
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, None)):
        with harness.Server(more=drain_section("60s")) as server, contextlib.ExitStack() as clients:
            call(clients, server)
            since = signalled(server, first)
            if second:
                told(server, "draining: no new allocation is made")
                check(server.process.poll() is None, "the first SIGTERM waits for calls")
                since = signalled(server, second)
            left(server, since, AT_ONCE_S)
            check(server.output().count("why=shutdown") == 2, "each allocation's end is told")
    proved("a second SIGTERM leaves at once with exit code 0, and so does Ctrl-C, first or second")


def an_empty_server_has_nothing_to_wait_for():
    with harness.Server(more=drain_section("60s")) as server:
        left(server, signalled(server), AT_ONCE_S)
    proved("a server without calls leaves at once")


def test():
    if harness.other_server():
        raise harness.Skip("another server's way to leave is not ours to judge")
    a_call_is_not_cut_off()
    the_deadline_ends_what_is_left()
    a_second_signal_leaves_at_once()
    an_empty_server_has_nothing_to_wait_for()


harness.main(test)
