"""coturn's own client program: channels, Send indications, client to client, over IPv4 and IPv6, and nothing lost.

Its exit code says little (it is 0 after total loss too), so its totals are read.
"""

import concurrent.futures
import contextlib
import re
import subprocess
import time

import harness
from harness import check
from harness import proved
from place import HERE4
from place import HERE6
from place import ON_CABLE
from place import SERVER4
from place import SERVER6

CLIENTS, MESSAGES, BYTES, PACE_MS = 4, 200, 172, 5

# What, the server's address, options. With -c the client never asks for a port pair.
RUNS = [
    ("channels to a peer over IPv4", SERVER4, ["-e", HERE4]),
    ("Send indications to a peer over IPv4", SERVER4, ["-s", "-e", HERE4]),
    ("client to client over IPv4", SERVER4, ["-y"]),
    ("channels to a peer over IPv6", SERVER6, ["-x", "-e", HERE6]),
    ("Send indications to a peer over IPv6", SERVER6, ["-x", "-s", "-e", HERE6]),
    ("client to client over IPv6", SERVER6, ["-x", "-y"]),
    ("an IPv4 client with an IPv6 relayed address", SERVER4, ["-x", "-e", HERE6]),
    ("surplus CreatePermission and ChannelBind requests", SERVER4, ["-G", "-e", HERE4]),
    ("DONT-FRAGMENT in Allocate and in Send indications over IPv4", SERVER4, ["-g", "-s", "-e", HERE4]),
    ("DONT-FRAGMENT in Send indications over IPv6", SERVER6, ["-x", "-g", "-s", "-e", HERE6]),
    ("DONT-FRAGMENT in Allocate, with channels", SERVER4, ["-g", "-e", HERE4]),
]
RUNS = [(what, host, ["-c", *options]) for what, host, options in RUNS]

# A dual allocation implies that there is no port pair. Its client gives back now the one half, now the other, now both.
DUAL_RUNS = [
    ("dual allocation, channels to a peer over IPv4", SERVER4, ["-Z", "-e", HERE4]),
    ("dual allocation, channels to a peer over IPv6", SERVER4, ["-Z", "-e", HERE6]),
    ("dual allocation of an IPv6 client, Send indications to a peer over IPv6", SERVER6, ["-Z", "-s", "-e", HERE6]),
]
PAIR_RUNS = [
    ("even port and the reserved next one, channels", SERVER4, ["-e", HERE4]),
    ("even port and the reserved next one, Send indications", SERVER4, ["-s", "-e", HERE4]),
    ("even port and the reserved next one, over IPv6", SERVER6, ["-x", "-e", HERE6]),
]


# Each client moves to another port after its Allocate (RFC 8016), so that about half of them change workers.
MOVING_RUNS = [
    ("clients that move, channels", SERVER4, ["-M", "-e", HERE4]),
    ("clients that move, Send indications", SERVER4, ["-M", "-s", "-e", HERE4]),
    ("clients that move, client to client", SERVER4, ["-M", "-y"]),
    ("clients that move, over IPv6", SERVER6, ["-M", "-x", "-e", HERE6]),
]


@contextlib.contextmanager
def echoing_peer():
    """turnutils_peer on a free port of every loopback address."""
    port = harness.free_port()
    command = ["turnutils_peer", "-L", HERE4, "-p", str(port)]
    command += ["-L", HERE6] if harness.has_ipv6() else []
    peer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    try:
        check(peer.poll() is None, "turnutils_peer runs")
        yield port
    finally:
        harness.stop(peer)


def client(server, host, peer_port, options, password=harness.PASSWORD, clients=CLIENTS, messages=MESSAGES):
    """The text that one run printed, and its exit code."""
    command = ["turnutils_uclient", "-u", harness.USER, "-w", password, "-p", str(server.port)]
    command += ["-m", str(clients), "-n", str(messages), "-l", str(BYTES), "-z", str(PACE_MS), "-r", str(peer_port)]
    ran = subprocess.run(
        command + options + [host], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    text = ran.stdout + ran.stderr
    return text, ran.returncode


def totals(text):
    """Messages sent, received, lost and dropped, as the last report has them."""
    sums = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\s*$", text, re.MULTILINE)
    lost = re.findall(r"Total lost packets (-?\d+) .*total send dropped (-?\d+)", text)
    return tuple(int(number) for number in (*sums[-1], *lost[-1])) if sums and lost else None


def carry(server, peer_port, run):
    what, host, options = run
    text, code = client(server, host, peer_port, options)
    every = CLIENTS * MESSAGES
    good = code == 0 and totals(text) == (every, every, 0, 0)
    if not good:
        print(f"---- {what}: exit code {code}, totals {totals(text)}\n{text[-3000:]}\n----")
    return what, good


def binding(server, host):
    command = ["turnutils_stunclient", "-p", str(server.port), host]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    seen = re.search(r"UDP reflexive addr: (.*):\d+", ran.stdout)
    own = HERE6 if ":" in host else HERE4
    check(seen and seen[1].strip("[]") == own, f"turnutils_stunclient learns its address {own}: {ran.stdout!r}")


def carry_all(server, peer_port, pool, runs):
    for what, good in pool.map(lambda run: carry(server, peer_port, run), runs):
        check(good, f"uclient, {what}: {CLIENTS * MESSAGES} messages sent and received, none lost")
        proved(f"uclient, {what}: {CLIENTS} x {MESSAGES} messages of {BYTES} bytes, none lost")


def relayed_in(log):
    """The first relayed address of each allocation that the log tells of, and how many had a second."""
    made = re.findall(r"allocation made .* relayed=(\S+):(\d+) (additional=)?", log)
    return {(host, int(port)) for host, port, _ in made}, sum(1 for *_, additional in made if additional)


def went_by_the_kernel(server):
    """On a path of the kernel that is where the media of channels went, but for what came first: more than one run has."""
    wanted, until = 2 * CLIENTS * MESSAGES, time.monotonic() + 5
    while True:
        with server.get() as page:
            counts = re.findall(r"^swingbridge_kernel_packets_relayed_total\{.*\} (\d+)$", page.read().decode(), re.MULTILINE)
        relayed = sum(map(int, counts))
        # The page is a second old.
        if relayed >= wanted or time.monotonic() > until:
            break
        time.sleep(0.2)
    check(relayed >= wanted, f"the kernel relayed at least {wanted} packets, not {relayed}")
    proved(f"{relayed} of these packets, there or back, were relayed in the kernel")


def dual_and_pairs():
    """A server of its own: the client leaves many allocations behind, and they count in the quota."""
    runs = [run for run in DUAL_RUNS + PAIR_RUNS if harness.has_ipv6() or "IPv6" not in run[0]]
    limits = {"channel_numbers": "rfc5766"}
    with harness.Server(limits=limits, log={"level": "info"}) as server, echoing_peer() as peer_port:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            carry_all(server, peer_port, pool, runs)
        if harness.other_server():
            return
        relayed, dual = relayed_in(server.output())
        pairs = sum(1 for host, port in relayed if port % 2 == 0 and (host, port + 1) in relayed)
        check(pairs >= 3 * CLIENTS // 2 and dual > 0, f"{pairs} pairs, {dual} dual allocations in the log")
        proved(f"the log tells of {dual} dual allocations and {pairs} pairs of ports")


def test():
    harness.need("turnutils_uclient", "turnutils_peer", "turnutils_stunclient")
    runs = [run for run in RUNS if harness.has_ipv6() or "IPv6" not in run[0]]
    if not harness.has_ipv6():
        harness.not_proved("ipv6", "this machine has no ::1")
    # This client draws its channel numbers from the range of RFC 5766.
    with harness.Server(limits={"channel_numbers": "rfc5766"}, admin=True) as server, echoing_peer() as peer_port:
        for host in server.hosts:
            binding(server, host)
            proved(f"turnutils_stunclient learns its reflexive address {host}")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            nobody = pool.submit(
                client, server, SERVER4, harness.free_port(), ["-c", "-e", HERE4], clients=1, messages=5
            )
            carry_all(server, peer_port, pool, runs)
        text, _ = nobody.result()
        check(totals(text) == (5, 0, 5, 0), f"uclient, a peer that is not there: all is lost: {totals(text)}")
        proved("uclient's totals tell of loss: to a peer that is not there, 5 of 5 messages")
        text, code = client(server, SERVER4, peer_port, ["-c", "-e", HERE4], "wrong", 1, 5)
        check(code != 0 and "Cannot complete Allocation" in text, f"uclient is refused with a wrong password: {text}")
        proved("uclient is refused with a wrong password")
        if ON_CABLE:
            went_by_the_kernel(server)
    dual_and_pairs()
    moving()


def moving():
    """Mobility on: nothing is lost, and every allocation really moved. Off: the client is told so."""
    runs = [run for run in MOVING_RUNS if harness.has_ipv6() or "IPv6" not in run[0]]
    limits = {"channel_numbers": "rfc5766"}
    with harness.Server(limits=limits, mobility=True) as server, echoing_peer() as peer_port:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            carry_all(server, peer_port, pool, runs)
        if not harness.other_server():
            made, moved = (server.output().count(f"allocation {word} allocation=") for word in ("made", "moved"))
            check(moved >= CLIENTS * len(runs), f"each client moved: {made} allocations made, {moved} moved")
            proved(f"{moved} of {made} allocations moved with their client")
    with harness.Server(limits=limits) as server, echoing_peer() as peer_port:
        text, code = client(server, SERVER4, peer_port, ["-M", "-e", HERE4], clients=1, messages=5)
        check(code != 0, f"uclient is refused mobility where it is off: {text[-500:]}")
        proved("uclient is refused mobility where it is off")


if __name__ == "__main__":
    harness.main(test)
