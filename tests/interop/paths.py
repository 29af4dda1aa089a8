"""Paths of packets: what can be had is told and taken, what was named and cannot be had is refused, privileges go, nothing
is left behind by a process that was killed."""

import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile

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


def explained(command, **more):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **more)
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


PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 24, 38, 2
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_BPF": 39}
# The number of bpf(2), by machine.
BPF_CALL = {"x86_64": 321, "aarch64": 280}
RETURN_ERRNO, RETURN_ALLOW, EPERM = 0x0005_0000, 0x7FFF_0000, 1


def prctl(*arguments):
    if ctypes.CDLL(None, use_errno=True).prctl(*arguments):
        raise OSError(ctypes.get_errno(), "prctl")


def lacks(*names):
    """What a process does before it becomes another: that one cannot have these capabilities."""
    return lambda: [prctl(PR_CAPBSET_DROP, CAPABILITIES[name], 0, 0, 0) for name in names]


def lacks_bpf_call():
    """As filters of containers have it: bpf(2) is not permitted."""
    call = BPF_CALL[os.uname().machine]
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, RETURN_ERRNO | EPERM), (0x06, 0, 0, RETURN_ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))

    def filtered():
        program = struct.pack("@HxxxxxxP", len(steps), ctypes.addressof(code))
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0)

    return filtered


GRANT = r"^grant them \(conf/systemd/swingbridge-{tier}\.conf\), or start as root$"
# What is taken away from whom, with which interfaces named, and the reason and the cure that are told.
FORCED = [
    ("sk_lookup", lacks("CAP_BPF", "CAP_SYS_ADMIN"), [], r"^the process lacks CAP_BPF$", GRANT),
    ("sk_lookup", lacks("CAP_NET_ADMIN"), [], r"^the process lacks CAP_NET_ADMIN$", GRANT),
    ("sk_lookup", lacks("CAP_NET_RAW"), [], r"^the process lacks CAP_NET_RAW$", GRANT),
    ("sk_lookup", lacks_bpf_call(), [], r"^the kernel refuses ", r"filter of system calls of the container"),
    *[
        case
        for tier in ("tc", "xdp")
        for case in (
            (tier, None, [], r"^no interface is named", r'write `kernel_interfaces = \["\w+"\]` to `\[relay\]`'),
            (tier, lacks("CAP_BPF", "CAP_SYS_ADMIN"), ["lo"], r"^the process lacks CAP_BPF$", GRANT),
            (tier, lacks("CAP_NET_ADMIN"), ["lo"], r"^the process lacks CAP_NET_ADMIN$", GRANT),
            (tier, lacks_bpf_call(), ["lo"], r"^the kernel lets this process make no map$", r"CAP_BPF|bpf"),
            (tier, None, ["nowhere0"], r"^no interface `nowhere0`", r"^mend `\[relay\] kernel_interfaces`$"),
        )
    ],
]


def forced_off():
    """Each path taken away in turn: the line that is told, and what `auto` takes instead."""
    if os.geteuid() != 0:
        harness.not_proved("forced", "only root has something that can be taken away")
        return
    with tempfile.TemporaryDirectory(prefix="swingbridge-paths-") as folder:
        file = pathlib.Path(folder, "c.toml")
        for tier, deprive, interfaces, reason, cure in FORCED:
            text = CONFIG.format(port=harness.free_port(), path="auto")
            file.write_text(text.replace("[relay]", f"[relay]\nkernel_interfaces = {json.dumps(interfaces)}"))
            command = [str(harness.binary()), "serve", "--explain-path", "--format", "json", "--config", str(file)]
            told = json.loads(explained(command, preexec_fn=deprive))
            [of_tier] = [one for one in told["tiers"] if one["path"] == tier]
            check(of_tier["verdict"] == "refused", f"{tier} is refused: {of_tier}")
            check(re.search(reason, of_tier["reason"]), f"{tier}: the reason is {reason!r}: {of_tier['reason']!r}")
            wanted = cure.replace("{tier}", tier)
            check(re.search(wanted, of_tier["cure"]), f"{tier}: the cure is {wanted!r}: {of_tier['cure']!r}")
            check(told["chosen"] not in (None, tier), f"auto takes another: {told['chosen']}")
            print(f"{tier}: {of_tier['reason']}; {of_tier['cure']}")
    proved(f"{len(FORCED)} ways to be without a path are told, each with its reason and its cure, and auto takes another")


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
    forced_off()
    if tiers["sk_lookup"]["verdict"] == "refused":
        harness.not_proved("sk_lookup", tiers["sk_lookup"]["reason"])
        return
    os.environ[harness.PATH_VARIABLE] = "sk_lookup"
    with harness.Server() as server:
        relays_without_privilege(server)
    leaves_nothing()


harness.main(test)
