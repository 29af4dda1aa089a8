"""A network of its own: the attacker's side, the server's side, one cable between them, and everything that crosses it seen.

The attacker's side is this process; the server's side is a namespace that only the server lives in. Every address of the
world is routed over the cable, so whatever the relay lets through is seen on it or on the server's own loopback.
Needs root, and iproute2; nothing of it outlives the process.
"""

import contextlib
import ctypes
import ipaddress
import os
import shutil
import socket
import struct

import suite  # first: it knows where the harness is
import harness
import nat
import place
from target import Target

CLONE_NEWNET = 0x4000_0000
SERVER, SERVER6 = "9.9.9.1", "2620:fe::1"
ATTACKER, ATTACKER6 = "9.9.9.2", "2620:fe::2"
# A public peer, on the attacker's side.
PEER, PEER6 = "8.8.4.4", "2620:74:1b::1:1"
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86DD


def need_privilege():
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise harness.Skip("own-network: a network of its own needs root and iproute2")


def libc_call(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise harness.Skip(f"own-network: {name}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def of_process(pid):
    """Sockets made inside belong to the namespace of that process."""
    with open("/proc/self/ns/net") as own, open(f"/proc/{pid}/ns/net") as other:
        libc_call("setns", other.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            libc_call("setns", own.fileno(), CLONE_NEWNET)


class Lab:
    """The world around one server."""

    def __init__(self, held):
        need_privilege()
        with open("/proc/self/ns/net") as home:
            before = os.dup(home.fileno())
        libc_call("unshare", CLONE_NEWNET)
        held.callback(os.close, before)
        held.callback(libc_call, "setns", before, CLONE_NEWNET)
        self.side = nat.Namespace(held)
        os.system("ip link set lo up")
        self.pid = self.side.holder.pid
        self.here(f"link add name cable type veth peer name net netns {self.pid}")
        self.here("link set cable up")
        if place.ON_CABLE:
            # As in place.py.
            harness.check(os.system("ethtool -K cable gro on tx off rx off") == 0, "sums are made by senders")
        if os.environ.get(place.PATH_VARIABLE) == "xdp":
            held.callback(os.close, place.pass_all("cable"))
        self.side.ip("link set net up")
        for there, here in ((SERVER, ATTACKER), (SERVER6, ATTACKER6)):
            bits = 64 if ":" in there else 24
            nodad = " nodad" if ":" in there else ""
            self.side.ip(f"address add {there}/{bits} dev net{nodad}")
            self.here(f"address add {here}/{bits} dev cable{nodad}")
            version = "-6" if ":" in there else "-4"
            self.side.ip(f"{version} route add default via {here}")
        for address in (f"{PEER}/32", f"{PEER6}/128"):
            self.here(f"address add {address} dev lo" + (" nodad" if ":" in address else ""))
        self.here("-6 route add default via " + SERVER6)

    def here(self, arguments):
        harness.check(os.system(f"ip {arguments}") == 0, f"ip {arguments}")

    def many_sources(self, prefix="9.10.0.0/16"):
        """Every address of the prefix is this side's, and the server's side sends answers here."""
        self.here(f"route add local {prefix} dev lo")

    def sniffers(self):
        """Raw sockets that see every frame of the cable and of the server's loopback."""
        with of_process(self.pid):
            inside = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            inside.bind(("lo", 0))
        outside = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        outside.bind(("cable", 0))
        for sniffer in (inside, outside):
            sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            sniffer.setblocking(False)
        return inside, outside


class LabTarget(Target):
    """The server in its namespace. Its counters are read there."""

    def __init__(self, lab, **more):
        super().__init__(**more)
        self.lab = lab
        self.hosts = [SERVER, SERVER6]

    def command_there(self, *words):
        return self.lab.side.command(*words)

    def there(self):
        return of_process(self.lab.pid)

    def address(self, host=SERVER):
        return host, self.port

    def attacker(self, host=SERVER, source=None, **more):
        return super().attacker(host, source, **more)


def relayed_frames(sniffers, ports):
    """UDP datagrams from a relay port that the sniffers have seen: (destination, port, payload). The attacker's own ports
    are the kernel's choice and may be of the same range."""
    found = []
    for sniffer in sniffers:
        while True:
            try:
                frame = sniffer.recv(65_535)
            except BlockingIOError:
                break
            kind = struct.unpack("!H", frame[12:14])[0]
            if kind == ETH_P_IP and frame[23] == 17:
                at, one, other = 14 + (frame[14] & 15) * 4, frame[26:30], frame[30:34]
            elif kind == ETH_P_IPV6 and frame[20] == 17:
                at, one, other = 54, frame[22:38], frame[38:54]
            else:
                continue
            source, destination = struct.unpack("!HH", frame[at : at + 4])
            host, to = (str(ipaddress.ip_address(each)) for each in (one, other))
            if source in ports and host not in (ATTACKER, ATTACKER6):
                found.append((to, destination, frame[at + 8 :]))
    return found


__all__ = ["Lab", "LabTarget", "relayed_frames", "suite"]
