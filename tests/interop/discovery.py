"""Behaviour discovery: coturn's RFC 5780 client and Debian's RFC 3489 client find out the truth, without a NAT and
behind four kinds of it."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import harness
import nat
from harness import check
from harness import proved

PORTS = harness.free_port(), harness.free_port()
# What Debian's client calls each kind.
CLASSIC = {
    ("Endpoint Independent", "Endpoint Independent"): "Independent Mapping, Independent Filter",
    ("Endpoint Independent", "Address Dependent"): "Independent Mapping, Address Dependent Filter",
    ("Endpoint Independent", "Address and Port Dependent"): "Independent Mapping, Port Dependent Filter",
    ("Address and Port Dependent", "Address and Port Dependent"): "Dependent Mapping",
}


@contextlib.contextmanager
def server(hosts, command=lambda *words: list(words)):
    """A server that lets its two addresses be discovered; `command` says where it runs."""
    folder = tempfile.mkdtemp(prefix="swingbridge-interop-")
    primary, alternate = (f"{harness.bracketed(host)}:{port}" for host, port in zip(hosts, PORTS))
    file = pathlib.Path(folder, "swingbridge.toml")
    file.write_text(
        f'[listen]\nudp = ["{primary}"]\ndiscovery = [{{ primary = "{primary}", alternate = "{alternate}" }}]\n'
        f'[relay]\naddresses = ["{hosts[0]}"]\nworkers = 3\n[auth]\nusers = {{ {harness.USER} = "{harness.PASSWORD}" }}\n'
        '[admin]\nlisten = "off"\n'
    )
    file.chmod(0o600)
    process = harness.spawn(command(str(harness.binary()), "serve", "--config", str(file)), folder)
    log = lambda: "".join(pathlib.Path(folder, name).read_text(errors="replace") for name in ("out", "err"))
    try:
        until = time.monotonic() + 15
        while "serving" not in log():
            check(process.poll() is None and time.monotonic() < until, f"the server starts: {log()}")
            time.sleep(0.05)
        yield log
    finally:
        harness.stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def ran(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    return done.stdout + done.stderr


def natdiscovery(host, *options, command=lambda *words: list(words)):
    """The last verdict of coturn's client, without its frame."""
    text = ran(command("turnutils_natdiscovery", *options, "-p", str(PORTS[0]), host))
    verdicts = re.findall(r"^NAT with (.*) (?:Mapping|Filtering)!$", text, re.MULTILINE)
    check("ALG" not in text.replace("No ALG", ""), f"no gateway rewrites what we say: {text}")
    return verdicts[-1] if verdicts else None, text


def classic(host, command=lambda *words: list(words)):
    text = ran(command("stun", f"{host}:{PORTS[0]}"))
    found = re.search(r"^Primary: (.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else text


def without_a_nat():
    with server(("127.0.0.1", "127.0.0.2")) as log:
        for address in ("127.0.0.1", "127.0.0.2"):
            for port in PORTS:
                check(f"udp {address}:{port}\n" in log(), f"the summary names the listener {address}:{port}")
        for what, option in (("mapping", "-m"), ("filtering", "-f")):
            for padding in ([], ["-P"]):
                verdict, text = natdiscovery("127.0.0.1", option, *padding, "-L", "127.0.0.1")
                # proves rfc5780:5-1, rfc5780:6-1
                check(verdict == "Endpoint Independent", f"{what} {padding} without a NAT: {text}")
                check("No NAT!" in text, f"natdiscovery sees that there is no NAT: {text}")
                proved(f"natdiscovery {option} {' '.join(padding)}: no NAT, {what} endpoint-independent")
        _, text = natdiscovery("127.0.0.1", "-t", "-T", "1", "-L", "127.0.0.1")
        # proves rfc5780:7.5-1
        check("RFC 5780 response 2" in text, f"natdiscovery -t is answered at its other port: {text}")
        proved("natdiscovery -t: RESPONSE-PORT is answered at the other port")
        verdict = classic("127.0.0.1")
        # proves rfc5780:3-1, rfc8489:12-8
        check(verdict == "Open", f"Debian's stun sees no NAT: {verdict}")
        proved("Debian's stun (RFC 3489): Open")


def over_ipv6(far):
    """Loopback has one address of IPv6 only, so this needs a namespace too; there is no NAT."""
    hosts = "2001:db8::7", "2001:db8::8"
    for address in hosts:
        far.ip(f"address add {address}/64 dev lo nodad")
    with server(hosts, far.command):
        for option in "-m", "-f":
            verdict, text = natdiscovery(hosts[0], option, "-P", "-L", hosts[0], command=far.command)
            check(verdict == "Endpoint Independent" and "No NAT!" in text, f"natdiscovery {option} over IPv6: {text}")
    proved("natdiscovery -m and -f over IPv6, padded: no NAT, endpoint-independent")


def behind(kind, client, box):
    mapping, filtering = kind
    host = nat.SERVERS[0]
    for what, option, truth in (("mapping", "-m", mapping), ("filtering", "-f", filtering)):
        # Each client meets a NAT that has forgotten the last one's addresses.
        nat.become(box, kind)
        verdict, text = natdiscovery(host, option, "-L", nat.CLIENT, command=client.command)
        check("No NAT!" not in text, f"natdiscovery sees the NAT: {text}")
        check(verdict == truth, f"natdiscovery, {what} behind {kind}: {verdict}\n{text}")
    nat.become(box, kind)
    verdict = classic(host, command=client.command)
    check(verdict.startswith(CLASSIC[kind]), f"Debian's stun behind {kind}: {verdict}")
    proved(f"behind a NAT that maps {mapping} and filters {filtering}, both clients say so")


def behind_nats():
    if os.geteuid() != 0:
        return harness.not_proved("nat", "network namespaces need root")
    missing = [program for program in ("ip", "nft", "unshare", "nsenter") if not shutil.which(program)]
    if missing:
        return harness.not_proved("nat", f"not installed: {', '.join(missing)}")
    try:
        world = nat.world()
        with world as (client, box, far):
            for kind in nat.RULES:
                try:
                    nat.become(box, kind)
                except subprocess.CalledProcessError as error:
                    check("syntax" not in error.stderr, f"the rules are well formed: {error.stderr}")
                    return harness.not_proved("nat", f"this kernel takes no such rules: {error.stderr.strip()[:200]}")
            over_ipv6(far)
            with server(nat.SERVERS, far.command):
                for kind in nat.RULES:
                    behind(kind, client, box)
    except subprocess.CalledProcessError as error:
        harness.not_proved("nat", f"no network namespaces here: {error.cmd[0]}: {str(error.stderr).strip()[:200]}")


def test():
    if harness.other_server():
        raise harness.Skip("the addresses of our own server are what is tested")
    harness.need("turnutils_natdiscovery", "stun")
    without_a_nat()
    behind_nats()


harness.main(test)
