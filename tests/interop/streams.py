"""TCP and TLS on one port: coturn's client, certificates by name and by SIGHUP under traffic, slow and hostile clients
beside an honest one, connections that end, and what a silent one costs.
"""

import concurrent.futures
import contextlib
import pathlib
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import time

import harness
import stun
from harness import check
from harness import proved
from place import HERE4
from place import SERVER4

CLIENTS, MESSAGES, BYTES = 4, 100, 172
# Over TLS this client loses packets by itself when it is paced faster.
PACE_MS = 60
SILENT = 2_000
SILENT_BYTES_MAX = 4_096
SLOW, ALLOCATES = 200, 1_000

RUNS = [
    ("channels over TCP", ["-t", "-e", HERE4]),
    ("Send indications over TCP", ["-t", "-s", "-e", HERE4]),
    ("client to client over TCP", ["-t", "-y"]),
    ("channels over TLS", ["-t", "-S", "-e", HERE4]),
    ("Send indications over TLS", ["-t", "-S", "-s", "-e", HERE4]),
    ("client to client over TLS", ["-t", "-S", "-y"]),
]


class Stream(stun.Client):
    """A TURN client whose socket is a stream: the frames of RFC 8656 section 12.5."""

    def __init__(self, server, host=SERVER4, tls=None, name="localhost"):
        self.unread = b""
        super().__init__((host, server.port), harness.USER, harness.PASSWORD)
        self.sock.close()
        self.sock = socket.create_connection((host, server.port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name)

    def exchange(self, request):
        self.sock.sendall(request)
        until = time.monotonic() + 10
        while (raw := self._read(until)) is not None:
            if raw[8:20] == request[8:20] and raw[0] & 0xC0 == 0:
                answer = stun.decode(raw)
                if answer.kind == stun.SUCCESS and self.key:
                    stun.decode(raw, self.key)
                return answer
            self._keep(raw)
        raise TimeoutError("the server does not answer")

    def _read(self, until):
        while True:
            if len(self.unread) >= 4:
                first, length = self.unread[0], struct.unpack("!H", self.unread[2:4])[0]
                size = 20 + length if first < 0x40 else 4 + length + (-length % 4)
                if len(self.unread) >= size:
                    frame, self.unread = self.unread[:size], self.unread[size:]
                    return frame
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                more = self.sock.recv(65_536)
            except TimeoutError:
                return None
            if not more:
                raise ConnectionError("the server ended the connection")
            self.unread += more

    def send_channel(self, number, payload):
        frame = struct.pack("!HH", number, len(payload)) + payload
        self.sock.sendall(frame + bytes(-len(frame) % 4))


def trusting(*files):
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(file)
    return context


def metrics(server):
    """Every sample of the metrics page."""
    with server.get(timeout_s=10) as page:
        lines = page.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def eventually(what, look, timeout_s=15):
    until = time.monotonic() + timeout_s
    while not (found := look()):
        check(time.monotonic() < until, what)
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def echoing_peer():
    port = harness.free_port()
    command = ["turnutils_peer", "-L", HERE4, "-p", str(port)]
    peer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    try:
        check(peer.poll() is None, "turnutils_peer runs")
        yield port
    finally:
        harness.stop(peer)


def uclient(server, peer_port, run):
    what, options = run
    command = ["turnutils_uclient", "-u", harness.USER, "-w", harness.PASSWORD, "-p", str(server.port), "-c"]
    command += ["-m", str(CLIENTS), "-n", str(MESSAGES), "-l", str(BYTES), "-z", str(PACE_MS), "-r", str(peer_port)]
    ran = subprocess.run(
        [*command, *options, SERVER4], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    text = ran.stdout + ran.stderr
    sums = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\s*$", text, re.MULTILINE)
    every = str(CLIENTS * MESSAGES)
    good = ran.returncode == 0 and sums and sums[-1] == (every, every)
    return what, good, text


def coturns_client(server):
    with echoing_peer() as peer_port, concurrent.futures.ThreadPoolExecutor(len(RUNS)) as pool:
        for what, good, text in pool.map(lambda run: uclient(server, peer_port, run), RUNS):
            check(good, f"uclient, {what}: all of {CLIENTS * MESSAGES} come back\n{text[-2000:]}")
            proved(f"uclient, {what}: {CLIENTS} x {MESSAGES} messages of {BYTES} bytes, none lost")


def certificates(server):
    """By name, and exchanged under traffic."""
    first = f"{server.folder}/server.pem"
    second, _ = harness.make_certificate(server.folder, "second", ("second.example",))
    shown = lambda name: ssl.get_server_certificate(server.address()) if name is None else None
    check(shown(None) == pathlib.Path(first).read_text(), "the first certificate is the default")

    def certificate_for(name, trusted):
        with Stream(server, tls=trusting(trusted), name=name) as client:
            return client.sock.getpeercert(binary_form=True)

    default = certificate_for("localhost", first)
    check(certificate_for("second.example", f"{server.folder}/other.pem") != default, "another name, another certificate")
    proved("the certificate is chosen by the name that is asked for")

    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((HERE4, 0))
    peer.settimeout(10)
    with Stream(server, tls=trusting(first)) as client, peer:
        client.allocate()
        client.bind_channel(0x4000, peer.getsockname())
        for number in range(400):
            if number == 100:
                harness.make_certificate(server.folder)
                server.process.send_signal(signal.SIGHUP)
            payload = struct.pack("!I", number) * 40
            client.send_channel(0x4000, payload)
            data, relayed = peer.recvfrom(2_048)
            check(data == payload, "to the peer")
            peer.sendto(payload, relayed)
            check(client.receive(10) == (0x4000, payload), "to the client")
            time.sleep(0.005)
    eventually("the new certificate is shown", lambda: certificate_for("localhost", first) != default)
    proved("certificates are exchanged by SIGHUP under traffic: 400 messages there and back, none lost; then the new is shown")
    del second


def endings(server):
    """An allocation ends with its connection."""
    before = metrics(server)["swingbridge_allocations"]
    clients = [Stream(server, tls=trusting(f"{server.folder}/server.pem") if odd else None) for odd in (0, 1, 0, 1)]
    for client in clients:
        client.allocate()
    check(metrics(server)["swingbridge_allocations"] == before + 4, "four allocations")
    clients[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for client in clients:
        client.sock.close()
    eventually("they end", lambda: metrics(server)["swingbridge_allocations"] == before)
    ended = metrics(server)['swingbridge_allocations_ended_total{reason="disconnected"}']
    check(ended >= 4, f"{ended} ended as disconnected")
    proved("an allocation ends with its connection, closed or reset, over TCP and TLS")


def answered(server, count):
    """How long each of so many Allocates of one honest client takes, in ms, sorted; each is answered at once."""
    times = []
    for _ in range(count):
        with Stream(server) as client:
            start = time.monotonic()
            client.allocate()
            times.append((time.monotonic() - start) * 1_000)
    return sorted(times)


def slow_ones(server):
    alone = answered(server, ALLOCATES)
    hello = bytes([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
    parts = [b"", b"\0", b"\0\1\0\0", hello, stun.encode(stun.BINDING, stun.REQUEST, [])[:-1]]

    def slow_one(number):
        one = socket.create_connection(server.address())
        one.sendall(parts[number % len(parts)])
        return one

    def is_closed(one):
        one.setblocking(False)
        try:
            check(one.recv(64) == b"", "a slow client is closed without a byte")
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    slow = [slow_one(number) for number in range(SLOW)]
    beside, closed = [], 0
    for _ in range(ALLOCATES // 50):
        beside += answered(server, 50)
        # Those whose time is up come again, so that there are as many to the end.
        for number in (number for number, one in enumerate(slow) if is_closed(one)):
            slow[number].close()
            slow[number] = slow_one(number)
            closed += 1
    beside.sort()
    p99 = lambda times: times[len(times) * 99 // 100]
    proved(
        f"beside {SLOW} slow clients ({closed} came again) each of {ALLOCATES} Allocates over TCP is answered without being "
        f"sent again: "
        f"p99 {p99(beside):.1f} ms, without them {p99(alone):.1f} ms"
    )
    for one in slow:
        one.settimeout(20)
        # A reset says that the server had bytes of ours that it never read.
        with contextlib.suppress(ConnectionResetError):
            check(one.recv(64) == b"", "a slow client is closed without a byte")
        one.close()
    proved("each of them is closed at its deadline, without a byte")


def silent_ones(server):
    # The first ones also bring in what the process takes once.
    warm = [socket.create_connection(server.address()) for _ in range(200)]
    eventually("they are seen", lambda: metrics(server)["process_open_fds"] > 200)
    before = server.memory()
    silent = [socket.create_connection(server.address()) for _ in range(SILENT)]
    eventually("they are seen", lambda: metrics(server)["process_open_fds"] > 200 + SILENT)
    each = (server.memory() - before) / SILENT
    for one in silent + warm:
        one.close()
    check(each <= SILENT_BYTES_MAX, f"a silent connection costs {each:.0f} bytes")
    proved(f"{SILENT} silent connections cost {each:.0f} bytes of memory each")


def test():
    harness.need("turnutils_uclient", "turnutils_peer", "openssl")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    more = '[[tls.certificates]]\nchain = "other.pem"\nkey = "other.key"\n'
    limits = {"channel_numbers": "rfc5766"}
    server = WithSecond(limits=limits, admin=True, streams=True, more=more, counts={"streams_per_address": 0})
    with server:
        coturns_client(server)
        endings(server)
        slow_ones(server)
        silent_ones(server)
        certificates(server)


class WithSecond(harness.Server):
    """A server with a second certificate, for another name."""

    def __init__(self, *, counts, **options):
        super().__init__(**options)
        self.counts = counts

    def config(self):
        counts = "".join(f"{key} = {value}\n" for key, value in self.counts.items())
        return super().config().replace("[limits]\n", f"[limits]\n{counts}")

    def command(self):
        harness.make_certificate(self.folder, "other", ("second.example",))
        return super().command()


if __name__ == "__main__":
    harness.main(test)
