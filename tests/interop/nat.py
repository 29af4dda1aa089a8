"""A client, a NAT and a server in network namespaces of their own: client --- NAT --- server.

Needs root, iproute2 and nftables. Nothing of it is seen outside, and all of it goes when the last process in it does.
"""

import contextlib
import ctypes
import os
import subprocess
import time

import harness

CLONE_NEWNET = 0x4000_0000
CLIENT, INSIDE = "10.77.0.2", "10.77.0.1"
OUTSIDE, SERVERS = "192.0.2.1", ("192.0.2.7", "192.0.2.8")

# Each kind of NAT as nftables says it, by how it maps and how it filters.
RULES = {
    # conntrack lets in only what was asked for, and keeps the client's port.
    ("Endpoint Independent", "Address and Port Dependent"): """
        table ip nat {
            chain out { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }
        }""",
    # A port of its own for each address and port that is spoken to: a symmetric NAT.
    ("Address and Port Dependent", "Address and Port Dependent"): """
        table ip nat {
            chain out { type nat hook postrouting priority srcnat; oifname "outside" masquerade fully-random; }
        }""",
    # Everything that comes goes to the client: a full cone.
    ("Endpoint Independent", "Endpoint Independent"): f"""
        table ip nat {{
            chain in {{ type nat hook prerouting priority dstnat; iifname "outside" ip protocol udp dnat to {CLIENT}; }}
            chain out {{ type nat hook postrouting priority srcnat; oifname "outside" masquerade; }}
        }}""",
    # Only addresses that the client has spoken to may send, from whatever port: a restricted cone.
    ("Endpoint Independent", "Address Dependent"): f"""
        table ip nat {{
            set spoken_to {{ type ipv4_addr; flags dynamic; timeout 1m; }}
            chain note {{ type filter hook forward priority filter; iifname "inside" update @spoken_to {{ ip daddr }}; }}
            chain in {{
                type nat hook prerouting priority dstnat;
                iifname "outside" ip protocol udp ip saddr @spoken_to dnat to {CLIENT};
            }}
            chain out {{ type nat hook postrouting priority srcnat; oifname "outside" masquerade; }}
        }}""",
}


def set_namespace(file):
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace that a sleeping process holds open."""

    def __init__(self, held):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "300"], stdin=subprocess.DEVNULL)
        held.callback(harness.stop, self.holder)
        until = time.monotonic() + 5
        while self.name() == os.readlink("/proc/self/ns/net"):
            harness.check(time.monotonic() < until and self.holder.poll() is None, "a network namespace can be made")
            time.sleep(0.01)
        self.ip("link set lo up")

    def name(self):
        return os.readlink(f"/proc/{self.holder.pid}/ns/net")

    def command(self, *command):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def run(self, *command, **more):
        return subprocess.run(self.command(*command), check=True, capture_output=True, text=True, timeout=30, **more)

    def ip(self, arguments):
        self.run("ip", *arguments.split())

    @contextlib.contextmanager
    def entered(self):
        """Sockets that this thread makes meanwhile, and threads that it starts, belong there."""
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self.holder.pid}/ns/net") as there:
            set_namespace(there)
            try:
                yield
            finally:
                set_namespace(own)


def link(one, one_name, other, other_name):
    subprocess.run(
        ["ip", "link", "add", "name", one_name, "netns", str(one.holder.pid), "type", "veth"]
        + ["peer", "name", other_name, "netns", str(other.holder.pid)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    one.ip(f"link set {one_name} up")
    other.ip(f"link set {other_name} up")


@contextlib.contextmanager
def world():
    """The three namespaces: client, NAT, server. There is no NAT yet; `become` makes one."""
    with contextlib.ExitStack() as held:
        client, nat, server = Namespace(held), Namespace(held), Namespace(held)
        link(client, "home", nat, "inside")
        link(nat, "outside", server, "net")
        client.ip(f"address add {CLIENT}/24 dev home")
        client.ip(f"route add default via {INSIDE}")
        nat.ip(f"address add {INSIDE}/24 dev inside")
        nat.ip(f"address add {OUTSIDE}/24 dev outside")
        for address in SERVERS:
            server.ip(f"address add {address}/24 dev net")
        nat.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        yield client, nat, server


def become(nat, kind):
    """Makes the NAT one of this kind, that remembers nothing of the last one: its old mappings die with its rules."""
    nat.run("nft", "-f", "-", input="flush ruleset\n" + RULES[kind])
