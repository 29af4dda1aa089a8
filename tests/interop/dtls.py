"""Clients over DTLS (RFC 7350): coturn's client, beside others over TCP and TLS on the same port, OpenSSL's, and what hellos
without a cookie cost. Judges a binary with the feature `dtls`.
"""

import concurrent.futures
import os
import pathlib
import re
import socket
import subprocess
import urllib.request

import harness
import load
import panic
import streams
import uclient
from harness import check
from harness import proved

STRANGERS = 3_000
STRANGER_BYTES_MAX = 1 << 20

RUNS = [
    ("channels over DTLS", "127.0.0.1", ["-c", "-S", "-e", "127.0.0.1"]),
    ("Send indications over DTLS", "127.0.0.1", ["-c", "-S", "-s", "-e", "127.0.0.1"]),
    ("client to client over DTLS", "127.0.0.1", ["-c", "-S", "-y"]),
    ("channels over DTLS and IPv6", "::1", ["-c", "-S", "-x", "-e", "::1"]),
]

# At the same time, on the same port.
BESIDE = [run for run in streams.RUNS if run[0] in ("channels over TCP", "channels over TLS")]

# This client draws for each connection whether it speaks DTLS 1.0, which is given up (RFC 8996), or 1.2; here always 1.2.
ALWAYS_1_2 = """
const void *DTLSv1_2_client_method(void);
const void *DTLSv1_client_method(void) { return DTLSv1_2_client_method(); }
"""


def always_1_2(folder):
    library = pathlib.Path(folder, "always_1_2.so")
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=ALWAYS_1_2, text=True, check=True, capture_output=True, timeout=30)
    return str(library)


def events(server, event):
    page = urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=5).read().decode()
    found = re.findall(rf'^swingbridge_dtls_total\{{worker="\d+",event="{event}"\}} (\d+)$', page, re.MULTILINE)
    return sum(int(count) for count in found)


def openssl(server):
    """OpenSSL's own client: the handshake, the certificate, the end."""
    command = ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{server.port}"]
    ran = subprocess.run(
        [*command, "-CAfile", str(pathlib.Path(server.folder, "server.pem")), "-verify_return_error"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
    )
    check("Verify return code: 0 (ok)" in ran.stdout, f"OpenSSL shakes hands: {ran.stdout[-1500:]}{ran.stderr[-500:]}")
    check("DTLSv1.2" in ran.stdout, "it is DTLS 1.2")
    proved("OpenSSL shakes hands, and finds the certificate good")


def hello():
    """A ClientHello of DTLS 1.2 without a cookie."""
    body = b"\xfe\xfd" + os.urandom(32) + b"\0" + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0" + b"\0\0"
    length = len(body).to_bytes(3, "big")
    message = b"\x01" + length + b"\0\0" + b"\0\0\0" + length + body
    return b"\x16\xfe\xff" + bytes(8) + len(message).to_bytes(2, "big") + message


def strangers(server):
    def ask(sock):
        mine = hello()
        sock.sendto(mine, server.address())
        answer = sock.recv(2048)
        check(answer[13] == 3 and len(answer) < len(mine), "a HelloVerifyRequest shorter than the hello")
        return len(mine), len(answer)

    def one():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            return ask(sock)

    # The memory that the first ones touch for the first time is not theirs.
    for _ in range(200):
        one()
    before, begun = server.memory(), events(server, "begun")
    sizes = [one() for _ in range(STRANGERS)]
    grown = server.memory() - before
    check(grown < STRANGER_BYTES_MAX, f"{STRANGERS} strangers cost {grown} bytes")
    check(events(server, "begun") == begun, "none of them has an association")
    asked, answered = (sum(column) for column in zip(*sizes))
    proved(f"{STRANGERS} hellos without a cookie: {answered / asked:.2f} bytes out for each in, {grown} bytes kept")


def made():
    """Load over DTLS, to its own relays and to peers of its own."""
    with load.Testbed() as testbed:
        access = ["--secret-file", f"{testbed.folder}/secret", "--users", "20"]
        address = f"turns:127.0.0.1:{testbed.port}?transport=udp"
        trust = ["--authority", f"{testbed.folder}/server.pem"]
        for more in ([], ["--peer", "local"], ["--indications"], ["--profile", "screen"]):
            report = load.Ran([address, *access, *trust, *load.brief(), *more], [testbed.secret]).report()
            load.full(report, f"DTLS {more}")
            load.lossless(report, f"DTLS {more}")
            check(report["plan"]["servers"][0]["carrier"] == "dtls", "the carrier is told")
        ice = load.Ran(["ice", address, *access, *trust, "--calls", "10"]).report()["servers"][0]["ice"]
        check(ice["connected_by_kind"] == {"relay/dtls-relay/dtls": 10}, f"pairs connect over DTLS: {ice}")
        load.says([address, *access, *load.brief()], 1, "certificate", [testbed.secret])
    proved("`swingbridge load` over DTLS: media each way without a loss, ICE, and a certificate that is not believed")


def test():
    harness.need("turnutils_uclient", "turnutils_peer", "openssl", "cc")
    os.environ["SWINGBRIDGE_BIN"] = panic.fault_binary()
    runs = [run for run in RUNS if harness.has_ipv6() or "IPv6" not in run[0]]
    limits = {"channel_numbers": "rfc5766"}
    with harness.Server(limits=limits, admin=True, streams=True) as server, uclient.echoing_peer() as peer_port:
        openssl(server)
        os.environ["LD_PRELOAD"] = always_1_2(server.folder)
        with concurrent.futures.ThreadPoolExecutor(2) as pool, concurrent.futures.ThreadPoolExecutor(2) as others:
            beside = [others.submit(streams.uclient, server, peer_port, run) for run in BESIDE]
            uclient.carry_all(server, peer_port, pool, runs)
            for what, good, text in (one.result() for one in beside):
                check(good, f"uclient, {what}, beside those over DTLS: nothing is lost\n{text[-2000:]}")
                proved(f"uclient, {what}, on the same port at the same time: nothing lost")
        check(len(BESIDE) == 2, "over TCP and over TLS")
        del os.environ["LD_PRELOAD"]
        check(events(server, "begun") >= 4 * uclient.CLIENTS, "they came over DTLS")
        strangers(server)
    made()


if __name__ == "__main__":
    harness.main(test)
