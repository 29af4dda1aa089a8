"""One port for everything: callers over TCP, TLS and pseudo-TLS, callers who are connected to their peers, a web site
behind, a name that is passed through, proxies in front, and garbage, all of them on one port. (Those over DTLS share a port
with others in `dtls`, for they need another binary.)
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import hashlib
import http.server
import os
import pathlib
import random
import re
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time

import aioice_echo
import harness
import msturn
import streams
import tcp_relay
from harness import check
from harness import proved

# The server takes PROXY headers from here, and only from here.
PROXY_HOST = "127.0.0.2"
THROUGH = "through.example"
DOWNLOAD = 32 << 20
ALLOCATES, DOWNLOADERS = 300, 4


class Site(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A web site on loopback. What it is told of its visitors by PROXY headers it tells them."""

    daemon_threads = True

    def __init__(self, proxied=False, tls=None, port=0):
        self.proxied, self.tls = proxied, tls
        super().__init__(("127.0.0.1", port), Page)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Visitors that leave early are nobody's business."""


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.told = "nothing"
        if self.server.proxied:
            self.told = read_proxy_header(self.request)
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Told", self.told)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.answer(content() if self.path.startswith("/large") else b"the site behind\n")

    do_HEAD = do_GET

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.answer(hashlib.sha256(self.rfile.read(length)).hexdigest().encode())

    def log_message(self, *_):
        pass


@functools.cache
def content():
    return random.Random(7).randbytes(DOWNLOAD)


def exactly(sock, length):
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ConnectionError("it ended")
        data += more
    return data


def read_proxy_header(sock):
    """A header of version 2, read by the drawing of its specification: `address port tls?`."""
    head = exactly(sock, 16)
    assert head[:13] == b"\r\n\r\n\0\r\nQUIT\n\x21", f"no PROXY header: {head!r}"
    family, length = head[13], struct.unpack("!H", head[14:])[0]
    body = exactly(sock, length)
    assert family in (0x11, 0x21), f"family {family:#x}"
    size = 4 if family == 0x11 else 16
    host = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, body[:size])
    port = struct.unpack("!H", body[2 * size : 2 * size + 2])[0]
    return f"{host} {port} {'tls' if body[2 * size + 4 : 2 * size + 5] == b' ' else 'plain'}"


class Proxy:
    """A proxy in front: says whose connection it passes on, and passes it on."""

    def __init__(self, server, version):
        self.target, self.version = server.address(), version
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def address(self, host="127.0.0.1"):
        return host, self.port

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            server = socket.create_connection(self.target, 10, (PROXY_HOST, 0))
            server.settimeout(None)
            server.sendall(header(self.version, client.getpeername(), client.getsockname()))
            back = threading.Thread(target=copy, args=(server, client), daemon=True)
            back.start()
            copy(client, server)
            back.join()
            client.close()
            server.close()

    def close(self):
        self.listener.close()


def header(version, client, server):
    (host, port), (own, own_port) = client[:2], server[:2]
    if version == 1:
        return f"PROXY TCP4 {host} {own} {port} {own_port}\r\n".encode()
    body = socket.inet_aton(host) + socket.inet_aton(own) + struct.pack("!HH", port, own_port)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


def copy(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class WebServer(harness.Server):
    def __init__(self, site, through):
        more = f'[listen.web]\nupstream = "127.0.0.1:{site.port}"\nupstream_proxy = "v2"\n'
        more += f'passthrough = ["{THROUGH}"]\npassthrough_to = "127.0.0.1:{through.port}"\n'
        super().__init__(limits={"channel_numbers": "rfc5766"}, admin=True, streams=True, more=more)

    def config(self):
        return super().config().replace("stream = [", f'proxy_from = ["{PROXY_HOST}"]\nstream = [', 1)


def curl(server, path, *options, host="localhost", scheme="https", trusted="server.pem", good=True):
    """What curl says of a page: its body, and its head."""
    head = pathlib.Path(server.folder, f"head-{threading.get_ident()}-{time.monotonic_ns()}")
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--dump-header", str(head)]
    command += ["--noproxy", "*", "--resolve", f"{host}:{server.port}:127.0.0.1"]
    command += ["--cacert", f"{server.folder}/{trusted}", *options, f"{scheme}://{host}:{server.port}{path}"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
    if good:
        check(ran.returncode == 0, f"curl {scheme} {host}{path}: {ran.stderr.decode()}")
    return ran.stdout, head.read_text() if head.exists() else ""


def pages(server):
    for scheme in ("http", "https"):
        body, head = curl(server, "/", scheme=scheme)
        told = "plain" if scheme == "http" else "tls"
        check(body == b"the site behind\n", f"{scheme}: {body}")
        check(re.search(rf"^X-Told: 127\.0\.0\.1 \d+ {told}\s*$", head, re.MULTILINE), f"told: {head}")
    body, _ = curl(server, "/", "--no-alpn")
    check(body == b"the site behind\n", "without ALPN")
    curl(server, "/", "--head")
    upload = content()[: 1 << 20]
    file = pathlib.Path(server.folder, "upload")
    file.write_bytes(upload)
    body, _ = curl(server, "/", "--data-binary", f"@{file}", "--header", "Expect:")
    check(body.decode() == hashlib.sha256(upload).hexdigest(), "a megabyte there")
    body, _ = curl(server, "/large")
    check(hashlib.sha256(body).digest() == hashlib.sha256(content()).digest(), "every byte back")
    size = f"{DOWNLOAD >> 20} MiB"
    proved(f"curl: the site behind, plain and inside TLS, told whose connection it gets; {size}, every byte the same")
    with streams.Stream(server, tls=streams.trusting(f"{server.folder}/server.pem")) as caller:
        caller.allocate()
    proved("on the same name, without ALPN: an allocation over TLS")


def passed_through(server):
    body, head = curl(server, "/", host=THROUGH, trusted="through.pem")
    check(body == b"the site behind\n" and "X-Told: nothing" in head, f"{head}")
    refused, _ = curl(server, "/", host=THROUGH, trusted="server.pem", good=False)
    check(refused == b"", "the certificate is the site's own")
    proved("a name that is passed through shows the certificate of the site behind")


def site_down(server, site):
    site.shutdown()
    site.server_close()
    for scheme in ("http", "https"):
        _, head = curl(server, "/", scheme=scheme)
        check(head.startswith("HTTP/1.1 502 "), head)
    again = Site(proxied=True, port=site.port)
    body, _ = curl(server, "/")
    check(body == b"the site behind\n", "it is back")
    proved("a site that is down: 502, and callers are served; when it is back it is back")
    return again


def garbage(server):
    """Each of these is closed without a byte."""
    header_of_nobody = header(2, ("203.0.113.5", 1), ("198.51.100.9", 443))
    # A frame of the old dialect but for its cookie.
    strange = msturn.frame(msturn.CONTROL, struct.pack("!HH", msturn.ALLOCATE, 16) + bytes(32))
    cases = [strange, b"\xff" * 64, b"SSH-2.0-x\r\n", b"\x05\x01\x00", b"\x40\x01\x00\x04data", header_of_nobody]
    for first in [*cases, header_of_nobody + b"GET / HTTP/1.1\r\n"]:
        with socket.create_connection(server.address(), 10) as one:
            one.sendall(first)
            with contextlib.suppress(ConnectionResetError):
                check(one.recv(64) == b"", f"{first[:16]!r} is closed without a byte")
    with socket.create_connection(server.address(), 10, (PROXY_HOST, 0)) as one:
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            check(one.recv(64) == b"", "a proxy without a header is closed without a byte")
    proved("garbage, a PROXY header of a stranger, and a proxy without one are closed without a byte")


def coturns_client(server, through, what):
    runs = [run for run in streams.RUNS if "channels" in run[0]]
    with streams.echoing_peer() as peer_port:
        for run in runs:
            _, good, text = streams.uclient(through, peer_port, run)
            check(good, f"uclient {what}, {run[0]}: nothing is lost\n{text[-2000:]}")
            proved(f"uclient {what}: {run[0]}, nothing lost")


def connected_to_peers(server):
    """RFC 6062. The runs with names are whole in `tcp_relay`; here they share the port."""
    runs = [run for run in tcp_relay.RUNS if ":" not in run[1]]
    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run: tcp_relay.uclient(server, run), runs))
    proved(f"uclient with RFC 6062 on the same port: {', '.join(what for what, *_ in runs)}")


def in_disguise(server):
    """The hello of pseudo-TLS, which clients expect to be answered by 83 bytes for one call, and what comes behind it."""
    proof = server.address(), harness.USER.encode(), harness.PASSWORD.encode()
    for _ in range(20):
        with socket.create_connection(server.address(), 10) as one:
            one.sendall(msturn.CLIENT_HELLO)
            heard = one.recv(4_096)
            check(msturn.is_server_hello(heard), f"83 bytes for one call: {heard.hex()}")
            one.shutdown(socket.SHUT_WR)
            check(one.recv(4_096) == b"", "and nothing behind them")
    with msturn.Stream(*proof, pseudo=True) as caller:
        caller.allocate()
        check(caller.relayed, "an allocation behind the hellos")
    proved("a hello of pseudo-TLS is answered with 83 bytes in one piece, and an allocation behind it is made")


def aioices(server):
    os.environ["SSL_CERT_FILE"] = f"{server.folder}/server.pem"
    for transport in ("tcp", "tls"):
        asyncio.run(aioice_echo.call(server, "127.0.0.1", (harness.USER, harness.PASSWORD), transport))
        proved(f"aioice over {transport}, every byte the same")


def proxies(server):
    for version in (1, 2):
        proxy = Proxy(server, version)
        coturns_client(server, proxy, f"behind a proxy that speaks PROXY v{version}")
        for scheme in ("http", "https"):
            with socket.create_connection(proxy.address(), 10) as raw:
                own = raw.getsockname()
                client = raw
                if scheme == "https":
                    client = streams.trusting(f"{server.folder}/server.pem").wrap_socket(raw, server_hostname="localhost")
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                page = b""
                while more := client.recv(65_536):
                    page += more
                told = f"X-Told: {own[0]} {own[1]} ".encode()
                check(told in page and page.endswith(b"the site behind\n"), f"{page}")
        proxy.close()
        proved(f"behind a proxy that speaks PROXY v{version} the site is told of the client, not of the proxy")


def downloading(server):
    """curl after curl, each of which hears a page that never ends in sight."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{size_download}\n", "--noproxy", "*"]
    command += ["--cacert", f"{server.folder}/server.pem", f"https://localhost:{server.port}/large?[1-100000]"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def beside_downloads(server, site):
    """How long Allocates take alone, and beside downloads that never rest. The site is another process: this one only asks."""
    site.shutdown()
    site.server_close()
    other = subprocess.Popen([sys.executable, __file__, str(site.port)], stdin=subprocess.DEVNULL)
    downloads = []
    try:
        streams.eventually("the other site serves", lambda: b"behind" in curl(server, "/")[0])
        alone = streams.answered(server, ALLOCATES)
        downloads = [downloading(server) for _ in range(DOWNLOADERS)]
        carried = 'swingbridge_web_bytes_total{direction="to_client"}'
        streams.eventually("they load", lambda: streams.metrics(server)[carried] > 4 * DOWNLOAD)
        before, start = streams.metrics(server)[carried], time.monotonic()
        beside = streams.answered(server, ALLOCATES)
        rate = (streams.metrics(server)[carried] - before) / (time.monotonic() - start) / 1e6
        check(all(one.poll() is None for one in downloads), "they never rested")
    finally:
        for process in (*downloads, other):
            process.kill()
            process.wait()
    p99 = lambda times: times[len(times) * 99 // 100]
    check(rate > 0, "bytes were carried")
    proved(
        f"beside {DOWNLOADERS} downloads over TLS ({rate:.0f} MB/s) each of {ALLOCATES} Allocates is answered: "
        f"p99 {p99(beside):.1f} ms, median {beside[len(beside) // 2]:.1f} ms; without them {p99(alone):.1f} ms, "
        f"{alone[len(alone) // 2]:.1f} ms"
    )


def counted(server):
    seen = streams.metrics(server)
    for sample in (
        'swingbridge_web_connections_begun_total{route="upstream"}',
        'swingbridge_web_connections_begun_total{route="passthrough"}',
        'swingbridge_web_connections_ended_total{reason="done"}',
        'swingbridge_web_connections_ended_total{reason="unreachable"}',
        'swingbridge_web_bytes_total{direction="to_client"}',
        'swingbridge_stream_verdicts_total{inside="tls",verdict="http"}',
        'swingbridge_stream_verdicts_total{inside="tcp",verdict="pseudo_tls"}',
        'swingbridge_stream_verdicts_total{inside="tcp",verdict="proxy_v1"}',
        'swingbridge_stream_verdicts_total{inside="tcp",verdict="proxy_v2"}',
        'swingbridge_streams_turned_away_total{reason="proxy_header"}',
    ):
        check(seen.get(sample, 0) > 0, f"{sample} is counted")
    open_now = "swingbridge_web_connections"
    streams.eventually("every visitor has left", lambda: streams.metrics(server)[open_now] == 0)


def browser(server):
    if not (harness.ROOT / "target/node_modules/playwright-core").is_dir():
        return harness.not_proved("chromium", "playwright-core is not in target/node_modules")
    import chromium_call

    for transport in ("tcp", "tls"):
        url = server.url("localhost" if transport == "tls" else "127.0.0.1", transport)
        ice_servers = [{"urls": url, "username": harness.USER, "credential": harness.PASSWORD}]
        chromium_call.judge(chromium_call.call(ice_servers, ["--ignore-certificate-errors"]), url, transport)


def test():
    harness.need("curl", "openssl", "turnutils_uclient", "turnutils_peer", "chromium", "node")
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    site, through = Site(proxied=True), Site(tls=certificate)
    with WebServer(site, through) as server:
        certificate.load_cert_chain(*harness.make_certificate(server.folder, "through", (THROUGH,)))
        pages(server)
        passed_through(server)
        garbage(server)
        in_disguise(server)
        connected_to_peers(server)
        coturns_client(server, server, "on the same port")
        aioices(server)
        proxies(server)
        site = site_down(server, site)
        browser(server)
        beside_downloads(server, site)
        counted(server)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Site(proxied=True, port=int(sys.argv[1]))
        threading.Event().wait()
    harness.main(test, timeout_s=500)
