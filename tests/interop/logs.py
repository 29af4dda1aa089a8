"""What the log tells of an allocation's life, and what it must never tell, as text and as JSON, at info and at debug."""

import json
import re
import socket

import harness
import stun
from harness import check
from harness import proved
from place import HERE4

TO_PEER, TO_CLIENT = (7, 100), (5, 40)
# A user name that would forge a line and move a terminal's cursor, were it printed as it came.
HOSTILE = "eve\x1b[31m\r\nFORGED allocation made user=root\u202e"
WRONG = "an-entirely-wrong-password"


def events(output, log_format):
    """The lines about allocations, each as (message, fields)."""
    found = []
    for line in output.splitlines():
        if log_format == "json":
            if not line.startswith("{"):
                continue
            fields = json.loads(line)
            found.append((fields.get("message", ""), fields))
        else:
            pairs = re.findall(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)', line)
            fields = {key: int(value) if value.isdigit() else value.strip('"') for key, value in pairs}
            message = re.search(r"(?:ERROR|WARN|INFO|DEBUG|TRACE) +(allocation (?:made|refused|ended))\b", line)
            found.append((message[1] if message else line, fields))
    return found


def carry_data(client, peer):
    """A known number of packets and bytes each way."""
    client.permit(HERE4)
    for _ in range(TO_PEER[0]):
        client.send(peer.getsockname(), bytes(TO_PEER[1]))
        payload, back = peer.recvfrom(2048)
        check((len(payload), back) == (TO_PEER[1], client.relayed), "the peer hears the client's relayed address")
    for _ in range(TO_CLIENT[0]):
        peer.sendto(bytes(TO_CLIENT[1]), client.relayed)
        check(client.receive() == (peer.getsockname(), bytes(TO_CLIENT[1])), "the client hears the peer")


def live_and_leave(server):
    """One allocation released, one refused, one hostile name, one that the server's end ends. Gives the secrets seen."""
    hostile = harness.time_limited(server.secret, HOSTILE)
    made, secrets = 2, [server.secret, harness.PASSWORD, WRONG, hostile[1]]
    with (
        server.client() as good,
        server.client(credential=(harness.USER, WRONG)) as bad,
        server.client(credential=hostile) as eve,
        server.client() as left,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind((HERE4, 0))
        peer.settimeout(2)
        good.allocate()
        carry_data(good, peer)
        good.refresh(0)
        try:
            bad.allocate()
            raise AssertionError("a wrong password was accepted")
        except stun.Refused:
            pass
        try:
            eve.allocate()
            made += 1
        except stun.Refused:
            pass
        left.allocate()
        clients = (good, bad, eve, left)
        addresses = [f"{HERE4}:{client.sock.getsockname()[1]}" for client in clients]
        for client in clients:
            secrets += [client.nonce.decode(), client.key.hex()]
        return made, addresses, secrets


def check_events(found, made):
    told = {word: [fields for message, fields in found if message == f"allocation {word}"] for word in
            ("made", "refused", "ended")}
    check(len(told["made"]) == made, f"one line for each of {made} allocations made: {told['made']}")
    check(len(told["ended"]) == made, f"one line for each of {made} allocations ended: {told['ended']}")
    check(any(fields.get("code") == 401 for fields in told["refused"]), f"a refusal with its code: {told['refused']}")
    whys = [fields["why"] for fields in told["ended"]]
    check(whys.count("released") == 1 and whys.count("shutdown") == made - 1, f"each end says why: {whys}")
    released = next(fields for fields in told["ended"] if fields["why"] == "released")
    counts = {
        "to_peer_packets": TO_PEER[0],
        "to_peer_bytes": TO_PEER[0] * TO_PEER[1],
        "to_client_packets": TO_CLIENT[0],
        "to_client_bytes": TO_CLIENT[0] * TO_CLIENT[1],
    }
    for key, count in counts.items():
        check(released.get(key) == count, f"{key} is {count}: {released}")


def check_silence(output, secrets):
    for secret in secrets:
        check(secret not in output, f"no secret, password, key or nonce is in the log: {secret!r}")
    bad = sorted({each for each in output if ord(each) < 32 and each != "\n" or 127 <= ord(each) < 160})
    check(not bad and "\u202e" not in output, f"no control character is in the log: {bad}")
    forged = [line for line in output.splitlines() if line.lstrip().startswith("FORGED")]
    check(not forged, f"no user name begins a line: {forged}")


def run(log_format, level):
    with harness.Server(log={"format": log_format, "level": level}) as server:
        made, addresses, secrets = live_and_leave(server)
    output = server.output()
    try:
        check_silence(output, secrets)
        check_events(events(output, log_format), made)
        for address in addresses:
            seen = re.search(re.escape(address) + r"(?!\d)", output) is not None
            check(seen == (level == "debug"), f"a client's address is in the log at debug only; at {level}: {seen}")
    except AssertionError:
        print(f"---- {log_format}, {level}\n{output[-6000:]}\n----")
        raise
    proved(f"{log_format} at {level}: every allocation made, refused and ended is told, with why, packets and bytes")
    proved(f"{log_format} at {level}: no secret, no control character; client addresses only at debug")


def test():
    if harness.other_server():
        raise harness.Skip("another server's log is not ours to judge")
    for log_format in ("text", "json"):
        for level in ("info", "debug"):
            run(log_format, level)


harness.main(test)
