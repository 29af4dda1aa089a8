"""Paths of packets: what can be had is told and taken, what was named and cannot be had is refused, privileges go, nothing
is left behind by a process that was killed."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import harness
from dual import address_of
from dual import both_ways
from dual import bound
from harness import check
from harness import proved
from serve_defaults import Home
from serve_defaults import as_ordinary_user

# CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF.
GIVEN_BACK = sum(1 << number for number in (12, 13, 21, 38, 39))
CONFIG = """
[listen]
udp = ["127.0.0.1:{port}"]
stream = []
[relay]
addresses = ["127.0.0.1"]
path = "{path}"
[auth]
secrets = ["0123456789abcdef0123456789abcdef"]
[admin]
listen = "off"
"""


def explained(command):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    check(ran.returncode == 0, f"explaining is no failure: {ran.returncode}, {ran.stderr}")
    return ran.stdout


def explains():
    told = json.loads(explained([str(harness.binary()), "serve", "--explain-path", "--format", "json"]))
    tiers = {tier["path"]: tier for tier in told["tiers"]}
    check(set(tiers) == {"sockets", "sk_lookup", "tc", "xdp"}, f"every path is told of, not {set(tiers)}")
    for tier in tiers.values():
        has_both = tier.get("reason") and tier.get("cure")
        check((tier["verdict"] == "refused") == bool(has_both), f"reason and cure where it is refused: {tier}")
    check(tiers[told["chosen"]]["verdict"] == "chosen", "the one that is chosen can be had")
    table = explained([str(harness.binary()), "serve", "--explain-path"])
    for path in tiers:
        check(re.search(rf"^  {path} ", table, re.MULTILINE), f"the table has a line for {path}")
    proved(f"serve --explain-path: {told['chosen']} is chosen, and each other path is told with what is in its way")
    return tiers


def refused_without_privilege():
    with Home() as home:
        file = home.path / "c.toml"
        file.write_text(CONFIG.format(port=harness.free_port(), path="sk_lookup"))
        file.chmod(0o644)
        command = as_ordinary_user([str(home.binary), "serve", "--config", str(file)])
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        check(ran.returncode == 3, f"a path that was named and cannot be had is exit 3, not {ran.returncode}")
        check('the path "sk_lookup" cannot be had: the process lacks CAP_BPF' in ran.stderr, ran.stderr)
        check("= help: " in ran.stderr, "with the cure")
        file.write_text(CONFIG.format(port=harness.free_port(), path="auto"))
        table = explained(as_ordinary_user([str(home.binary), "serve", "--explain-path", "--config", str(file)]))
        check("packets travel by sockets" in table, f"auto then takes sockets: {table}")
    proved("without the capabilities sk_lookup is exit 3 with the sentence, and auto takes sockets")


def capabilities_of(pid):
    """Those that some thread has, permitted or in effect."""
    every = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for name, value in re.findall(r"^(Cap(?:Prm|Eff|Amb|Inh)):\s+(\w+)$", (task / "status").read_text(), re.MULTILINE):
            every |= int(value, 16)
    return every


def relays_without_privilege(server):
    check("path sk_lookup" in re.sub(r"\s+", " ", server.output()), "the summary names the path")
    for host in server.hosts:
        with server.client(host) as client, bound(host) as peer:
            relayed = client.allocate(6 if ":" in host else None)
            client.permit(host)
            both_ways(client, peer, relayed, 0x4001)
    left = capabilities_of(server.process.pid) & GIVEN_BACK
    check(left == 0, f"no thread keeps what the path needed: {left:x}")
    proved("on sk_lookup calls go both ways while no thread has a capability that the path needed")


def is_refused(connected):
    try:
        connected.recv(64)
    except ConnectionRefusedError:
        return True
    return False


def leaves_nothing():
    server = harness.Server()
    with server as running:
        with running.client() as client, bound("127.0.0.1") as peer:
            relayed = client.allocate()
            client.permit("127.0.0.1")
            both_ways(client, peer, relayed, 0x4001)
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
            with bound(*relayed) as next_owner:
                peer.sendto(b"for the next", relayed)
                check(next_owner.recvfrom(64) == (b"for the next", address_of(peer)), "the port is whole again")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
                prober.settimeout(5)
                prober.connect(relayed)
                prober.send(b"anybody?")
                check(is_refused(prober), "and closed when nobody has it")
            # The harness stops what runs.
            running.process = harness.spawn(running.command(), running.folder)
            check(harness.answers(running.process, running.address()), "the next start finds nothing in its way")
            with running.client() as again:
                again.allocate()
    proved("after SIGKILL nothing is steered, and the next start serves")


def test():
    tiers = explains()
    refused_without_privilege()
    if tiers["sk_lookup"]["verdict"] == "refused":
        harness.not_proved("sk_lookup", tiers["sk_lookup"]["reason"])
        return
    os.environ[harness.PATH_VARIABLE] = "sk_lookup"
    with harness.Server() as server:
        relays_without_privilege(server)
    leaves_nothing()


harness.main(test)
