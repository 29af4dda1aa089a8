"""TCP allocations (RFC 6062): coturn's client in both roles over TCP and TLS, and raw sockets for what it does not try.

Raw: early data, half-close, reset, guesses and lies, what ends with the allocation, and 100 MB to a reader that dawdles.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request

import harness
import stun
from harness import check
from harness import proved
from place import HERE4
from place import HERE6
from place import ON_CABLE
from place import SERVER4
from place import SERVER6

CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT = 0x00A, 0x00B, 0x00C
CONNECTION_ID = 0x002A
TCP = bytes([6, 0, 0, 0])
MEGABYTES, PAUSES = 100, 20

# What, the server's address, options: two clients of the server reach each other, or a bare peer reaches a client. With
# -S that peer would speak TLS, too, which nobody answers.
CLIENTS, MESSAGES, BYTES = 4, 100, 800
RUNS = [
    ("over TCP", SERVER4, ["-T"]),
    ("over TCP, the peer connects", SERVER4, ["-P"]),
    ("over TLS", SERVER4, ["-T", "-S"]),
    ("over TCP and IPv6", SERVER6, ["-T", "-x"]),
    ("over TLS and IPv6", SERVER6, ["-T", "-S", "-x"]),
    ("over TCP and IPv6, the peer connects", SERVER6, ["-P", "-x"]),
]


class Stream(stun.Client):
    """One connection to the server: requests on it, and indications between their answers."""

    def __init__(self, server, host=SERVER4, transport="tcp", credential=(harness.USER, harness.PASSWORD)):
        self.server, (self.username, self.password) = server, credential
        self.realm = self.nonce = self.key = None
        self.relayed, self.last_request, self.last_answer = None, None, None
        self.where = host, transport
        self.sock = socket.create_connection(server.address(host), timeout=10)
        if transport == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.unread, self.attempts = b"", []

    def another(self):
        return Stream(self.server, *self.where, credential=(self.username, self.password))

    def exchange(self, request):
        self.sock.sendall(request)
        while True:
            raw = self.message()
            if raw[8:20] == request[8:20]:
                answer = stun.decode(raw)
                if answer.kind == stun.SUCCESS and self.key:
                    stun.decode(raw, self.key)
                return answer
            self.keep(raw)

    def message(self):
        while len(self.unread) < 20 or len(self.unread) < 20 + struct.unpack("!H", self.unread[2:4])[0]:
            more = self.sock.recv(65_536)
            check(more, "the server goes on")
            self.unread += more
        length = 20 + struct.unpack("!H", self.unread[2:4])[0]
        raw, self.unread = self.unread[:length], self.unread[length:]
        return raw

    def keep(self, raw):
        told = stun.decode(raw)
        if (told.method, told.kind) == (CONNECTION_ATTEMPT, stun.INDICATION):
            peer = stun.read_xor_address(told.attributes[stun.XOR_PEER_ADDRESS], told.transaction)
            self.attempts.append((peer, told.attributes[CONNECTION_ID]))

    def allocate_tcp(self, family=4):
        wanted = [(stun.REQUESTED_TRANSPORT, TCP), (stun.REQUESTED_ADDRESS_FAMILY, bytes([{4: 1, 6: 2}[family], 0, 0, 0]))]
        answer = self.request(stun.ALLOCATE, wanted)
        check(stun.RESERVATION_TOKEN not in answer.attributes, "no token")
        self.relayed = stun.read_xor_address(answer.attributes[stun.XOR_RELAYED_ADDRESS], answer.transaction)
        return self.relayed

    def permit(self, host):
        self.request(stun.CREATE_PERMISSION, peers=[(host, 0)])

    def connect(self, peer):
        return self.request(CONNECT, peers=[peer]).attributes[CONNECTION_ID]

    def attempt(self):
        """The next peer that is told of."""
        while not self.attempts:
            self.keep(self.message())
        return self.attempts.pop(0)

    def bind(self, connection):
        """A socket to the peer, and what of the peer's bytes came with the answer."""
        data = self.another()
        data.request(CONNECTION_BIND, [(CONNECTION_ID, connection)])
        return data.sock, data.unread

    def refused(self, method, attributes=(), peers=()):
        try:
            self.request(method, attributes, peers)
        except stun.Refused as refusal:
            return refusal.code
        return 0


@contextlib.contextmanager
def peer(host):
    """A listening peer, of the family of a host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HERE6 if ":" in host else HERE4, 0))
        listener.listen()
        listener.settimeout(10)
        yield listener


def all_of(sock, first=b""):
    parts = [first]
    while part := sock.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def endpoint(sock):
    return sock.getsockname()[:2]


def active(server, host, transport):
    """The client connects; each way has its own end."""
    with Stream(server, host, transport) as client, peer(host) as listener:
        relayed = client.allocate_tcp(6 if ":" in host else 4)
        connection = client.connect(endpoint(listener))
        far, source = listener.accept()
        check(source[:2] == relayed, f"the peer is reached from {relayed}: {source}")
        check(client.refused(CONNECT, peers=[endpoint(listener)]) == 446, "446 for a second one")
        far.sendall(b"early ")
        time.sleep(0.05)
        data, first = client.bind(connection)
        far.sendall(b"and late")
        data.sendall(b"request")
        far.settimeout(10)
        got = b""
        while len(got) < 7:
            got += far.recv(100)
        check(got == b"request", "the peer hears the request")
        far.shutdown(socket.SHUT_WR)
        check(all_of(data, first) == b"early and late", "early data first, and the end")
        data.sendall(b"the other way is open")
        data.close()
        check(all_of(far) == b"the other way is open", "after one end the other way goes on to its own")
        far.close()
    proved(f"the client connects, {transport} {host}: early data, half-close, 446")


def passive(server, host, transport):
    """A peer connects; one without a permission is closed."""
    with Stream(server, host, transport) as client:
        relayed = client.allocate_tcp(6 if ":" in host else 4)
        with socket.create_connection(relayed, timeout=10) as stranger:
            check(gone(stranger), "a peer without a permission is closed")
        client.permit(HERE6 if ":" in host else HERE4)
        with socket.create_connection(relayed, timeout=10) as far:
            far.sendall(b"hello, ")
            source, connection = client.attempt()
            check(source == endpoint(far), f"the client hears of {endpoint(far)}: {source}")
            data, first = client.bind(connection)
            far.sendall(b"it is me")
            far.shutdown(socket.SHUT_WR)
            check(all_of(data, first) == b"hello, it is me", "what it said before and after")
            data.sendall(b"welcome")
            data.close()
            check(all_of(far) == b"welcome", "and back")
    proved(f"a peer connects, {transport} {host}: told of, early data, both ends; a stranger is closed")


def gone(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def resets(server):
    with Stream(server) as client, peer(HERE4) as listener:
        client.allocate_tcp()
        for who in ("peer", "client"):
            data, _ = client.bind(client.connect(endpoint(listener)))
            far, _ = listener.accept()
            far.settimeout(10)
            breaking, other = (far, data) if who == "peer" else (data, far)
            breaking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            breaking.close()
            try:
                other.recv(1)
                check(False, f"a reset by the {who} is an end like any other")
            except ConnectionResetError:
                pass
            other.close()
            # The peer is free again once the server has heard of it.
            time.sleep(0.1)
        nobody = harness.free_port(socket.SOCK_STREAM)
        check(client.refused(CONNECT, peers=[(HERE4, nobody)]) == 447, "447 where nobody listens")
    proved("a reset passes through either way; 447 where nobody listens")


def lies(server):
    with Stream(server) as client, peer(HERE4) as listener, Stream(server) as other:
        client.allocate_tcp()
        connection = client.connect(endpoint(listener))
        far, _ = listener.accept()
        (number,) = struct.unpack("!I", connection)
        # Other workers' names, names that nobody drew, and none.
        for lie in (number ^ 1, number ^ 0xFF, number ^ 0x100, 0, 0xFFFF_FFFF):
            with client.another() as guess:
                code = guess.refused(CONNECTION_BIND, [(CONNECTION_ID, struct.pack("!I", lie))])
                check(code == 400, f"a guess gets 400: {code}")
        with client.another() as guess:
            check(guess.refused(CONNECTION_BIND) == 400, "so does none")
        other.request(stun.ALLOCATE, [(stun.REQUESTED_TRANSPORT, TCP)])
        check(other.refused(CONNECTION_BIND, [(CONNECTION_ID, connection)]) == 400, "a control connection stays one")
        udp = server.client()
        with udp:
            for method, attributes in (
                (stun.ALLOCATE, [(stun.REQUESTED_TRANSPORT, TCP)]),
                (CONNECTION_BIND, [(CONNECTION_ID, connection)]),
            ):
                try:
                    udp.request(method, attributes)
                    check(False, "over UDP there is no way")
                except stun.Refused as refusal:
                    check(refusal.code == 400, f"over UDP 400: {refusal.code}")
        data, _ = client.bind(connection)
        with client.another() as again:
            check(again.refused(CONNECTION_BIND, [(CONNECTION_ID, connection)]) == 400, "twice")
        check(client.refused(CONNECT, peers=[client.relayed]) == 403, "its own relayed address is no peer")
        client.request(stun.REFRESH, [(stun.LIFETIME, bytes(4))])
        far.settimeout(10)
        check(gone(far) and gone(data), "with the allocation its connections are closed")
        try:
            socket.create_connection(client.relayed, timeout=5).close()
            check(False, "the port is closed")
        except ConnectionRefusedError:
            pass
    proved("guesses, lies, another connection's name, UDP: 400; with its allocation every connection ends")


def bulk(server, transport, towards):
    """100 MB one way, to a reader that stops now and then."""
    piece = os.urandom(1 << 20)
    sent = hashlib.sha256(piece * MEGABYTES).hexdigest()
    with Stream(server, SERVER4, transport) as client, peer(HERE4) as listener:
        client.allocate_tcp()
        data, first = client.bind(client.connect(endpoint(listener)))
        far, _ = listener.accept()
        far.settimeout(30)
        data.settimeout(30)
        writer, reader = (data, far) if towards == "peer" else (far, data)

        def write():
            for _ in range(MEGABYTES):
                writer.sendall(piece)
            if towards == "peer" and transport == "tls":
                # It waits for the same from the server, which has no reason to say it before the peer ends.
                with contextlib.suppress(OSError):
                    writer.unwrap()
            else:
                writer.shutdown(socket.SHUT_WR)

        before = server.memory()
        thread = threading.Thread(target=write, daemon=True)
        began = time.monotonic()
        thread.start()
        got, digest, most = len(first), hashlib.sha256(first), before
        pause_at = [MEGABYTES * (1 << 20) * n // PAUSES for n in range(PAUSES)]
        while part := reader.recv(1 << 16):
            digest.update(part)
            got += len(part)
            if pause_at and got >= pause_at[0]:
                pause_at.pop(0)
                time.sleep(0.1)
                most = max(most, server.memory())
        took = time.monotonic() - began
        check(digest.hexdigest() == sent, f"{got} bytes, the same as were sent")
        more_kb = (most - before) >> 10
        check(more_kb < 8_192, f"the server grew by {more_kb} kB while its reader stood still")
    proved(f"{MEGABYTES} MB to the {towards} over {transport}, a slow reader: same checksum, {took:.1f} s, +{more_kb} kB")


def uclient(server, run):
    """This client takes what one read brings for one message, so it miscounts where a busy machine lets two messages come
    together: then it is asked again. That no byte is lost is for `bulk` to show."""
    for again in range(3):
        try:
            return uclient_once(server, run)
        except AssertionError:
            if again == 2:
                raise


def uclient_once(server, run):
    what, host, options = run
    command = ["turnutils_uclient", "-u", harness.USER, "-w", harness.PASSWORD, "-p", str(server.port)]
    command += ["-m", str(CLIENTS), "-n", str(MESSAGES), "-l", str(BYTES), "-z", "5", *options, host]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    text = ran.stdout + ran.stderr
    sums = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\s*$", text, re.MULTILINE)
    # Where the peer connects, half of the ends are bare peers, of which it counts what they send and not what they get.
    every = CLIENTS * MESSAGES
    good = ran.returncode == 0 and sums and sums[-1] == (str(every), str(every // 2 if "-P" in options else every))
    if not good:
        print(f"---- {what}: exit code {ran.returncode}, totals {sums[-1:]}\n{text[-3000:]}\n----")
    check(good, f"uclient, {what}: {CLIENTS * MESSAGES} messages sent and received")
    proved(f"uclient, {what}: {CLIENTS} x {MESSAGES} messages of {BYTES} bytes, none lost")


def test():
    harness.need("turnutils_uclient")
    with harness.Server(streams=True, admin=True, log={"level": "debug"}) as server:
        hosts = server.hosts
        # Its peers connect from loopback, and behind a cable two messages come together most of the time.
        runs = [] if ON_CABLE else RUNS
        if SERVER6 not in hosts:
            harness.not_proved("ipv6", "this machine has no ::1")
        for host in hosts:
            for transport in ("tcp", "tls"):
                active(server, host, transport)
                passive(server, host, transport)
        resets(server)
        lies(server)
        for transport, towards in (("tcp", "peer"), ("tcp", "client"), ("tls", "peer"), ("tls", "client")):
            bulk(server, transport, towards)
        with concurrent.futures.ThreadPoolExecutor(len(RUNS)) as pool:
            list(pool.map(lambda run: uclient(server, run), [run for run in runs if run[1] in hosts]))
        log = server.output()
        both = rf"to_peer_packets=\d+ to_peer_bytes={MESSAGES * BYTES} to_client_packets=\d+ to_client_bytes={MESSAGES * BYTES}"
        whole, pairs = len(re.findall(both, log)), CLIENTS // 2
        wanted = sum(pairs for _, host, options in runs if "-P" in options and host in hosts)
        check(whole >= wanted, f"{whole} allocations carried all both ways, of {wanted} at least")
        with server.get(timeout_s=10) as page:
            counts = re.findall(r"swingbridge_peer_refused_total\{.*\} (\d+)", page.read().decode())
        check(sum(map(int, counts)) >= 2 * len(hosts), f"each stranger is counted: {counts}")
        for moment in ("arrived", "connected", "failed", "joined", "ended"):
            check(f'what="{moment}"' in log or f"what={moment}" in log, f"the log tells of {moment}")


if __name__ == "__main__":
    harness.main(test)
