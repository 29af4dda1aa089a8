"""coturn's own client in its negative modes: it breaks the protocol, floods, and leaves without a word. The server lives on,
serves a good client meanwhile, and when its clients are gone their allocations end.

Mode -R never ends by itself, whoever the server is: it is ended after a while.
"""

import contextlib
import subprocess
import time

import harness
from harness import check
from harness import proved
from place import HERE4
from place import SERVER4

# What, the option, and how long it may take.
MODES = [
    ("negative tests", "-N", 40),
    ("negative protocol tests, for a while", "-R", 5),
    ("quick connect and exit", "-O", 40),
    ("random disconnect", "-B", 40),
]


def hostile(server, peer_port, option, seconds):
    """Runs one mode; it may end by itself, with whatever exit code, or is ended."""
    command = ["turnutils_uclient", "-c", "-u", harness.USER, "-w", harness.PASSWORD, "-p", str(server.port)]
    command += ["-e", HERE4, "-r", str(peer_port), "-m", "2", "-n", "50", "-l", "172", "-z", "5", option]
    with contextlib.suppress(subprocess.TimeoutExpired):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*command, SERVER4], timeout=seconds, **quiet)


def good(server):
    """A good client's call from beginning to end."""
    with server.client() as client:
        client.allocate()
        client.refresh(0)


def page(server, path):
    with server.get(f"/{path}") as answer:
        return answer.read().decode()


def live(server):
    line = next(line for line in page(server, "metrics").splitlines() if line.startswith("swingbridge_allocations "))
    return int(line.split()[1])


def test():
    harness.need("turnutils_uclient", "turnutils_peer")
    # Short lives, so that what the client leaves behind ends while we look.
    limits = {"channel_numbers": "rfc5766", "allocation_lifetime_max": "10s"}
    with harness.Server(limits=limits, admin=True) as server:
        peer_port = harness.free_port()
        peer = subprocess.Popen(
            ["turnutils_peer", "-L", HERE4, "-p", str(peer_port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for what, option, seconds in MODES:
                hostile(server, peer_port, option, seconds)
                check(server.process.poll() is None, f"the server runs after uclient {option}")
                good(server)
                proved(f"uclient {option}, {what}: the server lives and serves a good client")
        finally:
            harness.stop(peer)
        check("ok" in page(server, "health"), "the server says that it is well")
        until = time.monotonic() + 15
        while live(server) and time.monotonic() < until:
            time.sleep(0.2)
        check(live(server) == 0, f"every allocation that was left behind has ended: {live(server)}")
        proved("what such a client leaves behind ends by itself")


harness.main(test)
