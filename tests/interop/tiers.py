"""Where a server of a given path of packets is judged: loopback for those of sockets, a cable of its own for those in the
kernel. No script of its own."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import harness
import nat
import stun
from place import IN_KERNEL

EVERY = ("sockets", "sk_lookup", *IN_KERNEL)
SO_RCVBUFFORCE = 33
# Clients and peers are behind interfaces of their own.
NEAR, FAR = "10.77.1.1", "10.77.1.2"
NEAR_PEER, FAR_PEER = "10.77.2.1", "10.77.2.2"


class Ground:
    """One tier, the addresses of its server, of clients and of peers, and how to be on the server's side."""

    def __init__(self, tier):
        self.tier = tier
        self.server_host, self.client_host, self.peer_host = "127.0.0.5", "127.0.0.6", "127.0.0.7"
        self.side, self.interfaces = None, []

    def lay_cable(self, held):
        """The server's side in a namespace of its own; this thread in another, at the far end."""
        if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "ethtool", "nsenter", "unshare"))):
            raise harness.Skip("a network of its own needs root, iproute2 and ethtool")
        self.side, far = nat.Namespace(held), nat.Namespace(held)
        for name, cable, near, here in (("net", "cable", NEAR, FAR), ("net-peer", "cable-peer", NEAR_PEER, FAR_PEER)):
            nat.link(self.side, name, far, cable)
            self.side.ip(f"address add {near}/24 dev {name}")
            far.ip(f"address add {here}/24 dev {cable}")
            # The end of a pair takes frames of a driver's program only where it reads in rounds; and as network cards have
            # it, sums are made by the senders.
            far.run("ethtool", "-K", cable, "gro", "on", "tx", "off", "rx", "off")
        # What peers send leaves by their own cable.
        far.ip(f"rule add from {FAR_PEER} lookup 100")
        far.ip(f"route add default via {NEAR_PEER} dev cable-peer table 100")
        for side in (self.side, far):
            side.run("sh", "-c", "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")
        held.enter_context(far.entered())
        self.server_host, self.client_host, self.peer_host = NEAR, FAR, FAR_PEER
        self.interfaces = ["net", "net-peer"]

    def command(self, *command):
        return self.side.command(*command) if self.side else list(command)

    def there(self):
        """Sockets made within are on the server's side."""
        return self.side.entered() if self.side else contextlib.nullcontext()

    def refusal(self):
        """Why this tier cannot be had here; None if it can."""
        folder = tempfile.mkdtemp(prefix="swingbridge-tier-")
        try:
            file = pathlib.Path(folder, "c.toml")
            file.write_text(Server(self).config())
            command = [str(harness.binary()), "serve", "--explain-path", "--format", "json", "--config", str(file)]
            ran = subprocess.run(self.command(*command), capture_output=True, text=True, timeout=30, check=False)
            harness.check(ran.returncode == 0, f"explaining is no failure: {ran.stderr}")
            [told] = [tier for tier in json.loads(ran.stdout)["tiers"] if tier["path"] == self.tier]
            return told.get("reason")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Server(harness.Server):
    """A server on the tier of a ground, with its metrics; `changes` are made in its configuration."""

    def __init__(self, ground, *, changes=(), **more):
        super().__init__(allow=("127.0.0.0/8", "10.77.2.0/24"), **more)
        self.ground, self.changes = ground, list(changes)
        self.hosts, self.interfaces = [ground.server_host], ground.interfaces

    def config(self):
        text = super().config()
        named = f'[relay]\npath = "{self.ground.tier}"\n'
        text = re.sub(r'^path = ".*"\n', "", text, flags=re.MULTILINE)
        for there, instead in [("[relay]\n", named), *self.changes]:
            harness.check(there in text, f"the configuration holds {there!r}")
            text = text.replace(there, instead)
        return text

    def command_there(self, *words):
        return self.ground.command(*words)

    def there(self):
        return self.ground.there()

    def address(self, host=None):
        return host or self.ground.server_host, self.port

    def client(self, host=None, credential=(harness.USER, harness.PASSWORD)):
        return stun.Client(self.address(host), *credential, source=self.ground.client_host)

    def page(self):
        """The metrics."""
        with self.get() as page:
            return page.read().decode()

    def of_workers(self, name, labels=""):
        """The values of a metric, by worker."""
        found = re.findall(rf'^{name}\{{worker="(\d+)"{labels}\}} (\d+)$', self.page(), re.MULTILINE)
        return {int(worker): int(value) for worker, value in found}


def roomy(sock):
    """A receive buffer that no pause of this process fills."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)


def each(test):
    """`test` on every tier that this machine lets us have; the others are named skips, with what is in their way."""
    wanted = os.environ.get(harness.PATH_VARIABLE)
    for tier in [wanted] if wanted else EVERY:
        with contextlib.ExitStack() as held:
            try:
                ground = Ground(tier)
                if tier in IN_KERNEL:
                    ground.lay_cable(held)
                why = ground.refusal()
            except harness.Skip as skip:
                why = str(skip)
            if why:
                harness.not_proved(tier, why)
                continue
            test(ground)
