"""Both doors of the MRAS service: a front end of Python's own library asks over SIP and HTTPS, and libnice calls with it."""

import base64
import hashlib
import hmac
import http.client
import pathlib
import re
import secrets
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import urllib.request
import xml.etree.ElementTree

import harness
import legacy
import libnice_call
import msturn
import reload
from harness import check, need, proved

NAME = "pool.example.com"
TYPE = "application/msrtc-media-relay-auth+xml"
SPACE = "{http://schemas.microsoft.com/2006/09/sip/mrasp}"
COUNT = 100
BEHIND_THE_PROXY = "the proxy has looked"


def openssl(folder, *arguments):
    command = ["openssl", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)


def authority(folder, name):
    """An authority of its own: NAME.pem and NAME.key."""
    openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip


def certificate(folder, ca, name, host):
    """A certificate for a host, signed by `ca`: NAME.pem and NAME.key."""
    openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}",
    )  # fmt: skip
    pathlib.Path(folder, f"{name}.ext").write_text(
        f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
    )
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
        "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
    )  # fmt: skip


def made(folder):
    authority(folder, "ca")
    authority(folder, "other-ca")
    certificate(folder, "ca", "edge", "localhost")
    certificate(folder, "ca", "pool", NAME)
    certificate(folder, "ca", "stranger", "www.example.com")
    certificate(folder, "other-ca", "forged", NAME)


def context(folder, identity):
    made = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    if identity:
        made.load_cert_chain(f"{folder}/{identity}.pem", f"{folder}/{identity}.key")
    return made


def asked(minutes=480, user="sip:alice@example.com", before="", version="1.0"):
    return (
        f'{before}<request requestID="7" version="{version}" from="sip:f@example.com" to="sip:MRASLoc@example.com" '
        f'xmlns="{SPACE[1:-1]}"><credentialsRequest credentialsRequestID="8"><identity>{user}</identity>'
        f"<location>internet</location><duration>{minutes}</duration></credentialsRequest></request>"
    ).encode()


def answered(text):
    """User name, password and where the relay is, out of an answer's XML."""
    root = xml.etree.ElementTree.fromstring(text)
    check(root.get("reasonPhrase") == "OK" and root.get("requestID") == "7", f"an answer to what was asked: {text}")
    value = {element.tag.removeprefix(SPACE): element.text for element in root.iter()}
    return base64.b64decode(value["username"]), base64.b64decode(value["password"]), value


class Front:
    """A front end: which certificate it shows, and where it asks."""

    def __init__(self, folder, ports, identity="pool"):
        self.folder, self.ports, self.identity = folder, ports, identity

    def sip(self, body, method="SERVICE", crumbs=False):
        """Status and body of the answer to one SIP request."""
        head = (
            f"{method} sip:MRASLoc.edge@example.com SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK{time.time_ns()}\r\n"
            "From: <sip:f@example.com>;tag=1;epid=a\r\nTo: <sip:MRASLoc.edge@example.com>\r\nMax-Forwards: 70\r\n"
            f"Call-ID: {secrets.token_hex(8)}\r\nCSeq: 1 {method}\r\nContent-Type: {TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        message = b"\r\n\r\n" + head.encode() + body
        line = socket.create_connection(("127.0.0.1", self.ports["sip"]), timeout=10)
        if self.identity != BEHIND_THE_PROXY:
            line = context(self.folder, self.identity).wrap_socket(line, server_hostname="localhost")
        with line:
            for at in range(0, len(message), 1 if crumbs else len(message)):
                line.sendall(message[at : at + (1 if crumbs else len(message))])
            file = line.makefile("rb")
            if file.read(2) != b"\r\n":
                raise ConnectionError("ended before the keep-alive was answered")
            status = file.readline().decode().strip()
            if not status:
                raise ConnectionError("ended without an answer")
            fields = {}
            while line_of := file.readline().decode().strip():
                name, _, value = line_of.partition(":")
                fields[name.lower()] = value.strip()
            return status, file.read(int(fields["content-length"]))

    def https(self, body, kind=TYPE):
        """Status and body of the answer to one POST."""
        line = http.client.HTTPSConnection(
            "localhost", self.ports["https"], timeout=10, context=context(self.folder, self.identity)
        )
        try:
            line.request("POST", "/mras", body, {"Content-Type": kind})
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()


def raises(ask, body):
    """Whether the connection ends without an answer."""
    try:
        ask(body)
    except (OSError, http.client.HTTPException):
        return True
    return False


def is_shut_out(front):
    """Whether neither door says anything to it."""
    return raises(front.sip, asked()) and raises(front.https, asked())


def old_hello(port):
    """A ClientHello of TLS 1.0, as the front ends of 2007 R2 say it."""
    inside = bytes([3, 1]) + bytes(32) + bytes([0, 0, 4, 0, 0x2F, 0, 0x0A, 1, 0])
    message = bytes([1, 0, 0, len(inside)]) + inside
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(bytes([0x16, 3, 1, 0, len(message)]) + message)
        while line.recv(1024):
            pass


def configuration(pair, ports, folder, more=""):
    return legacy.section(pair) + (
        f'https = "127.0.0.1:{ports["https"]}"\nsip = "127.0.0.1:{ports["sip"]}"\n'
        f'sip_plain = "127.0.0.1:{ports["sip_plain"]}"\n'
        f'client_ca = "{folder}/ca.pem"\nfront_ends = ["{NAME}"]\n'
        f'certificates = [{{ chain = "{folder}/edge.pem", key = "{folder}/edge.key" }}]\n{more}'
    )


def metrics(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def counted(server, metric, **labels):
    named = ",".join(f'{name}="{value}"' for name, value in labels.items())
    found = re.search(rf"^{re.escape(f'{metric}{{{named}}}')} (\d+)$", metrics(server), re.MULTILINE)
    return int(found[1])


def settles(holds, claim, timeout_s=10):
    """A line of the log and a counter follow a connection's end; they do not come before it."""
    until = time.monotonic() + timeout_s
    while not holds():
        check(time.monotonic() < until, claim)
        time.sleep(0.02)


def ended(server, door, reason):
    return counted(server, "swingbridge_mras_connections_ended_total", door=door, reason=reason)


def calls(server, front, program):
    """What each door hands out opens a call of libnice."""
    for door, ask in (("sip", front.sip), ("https", front.https)):
        for version in ("1.0", "2.0"):
            status, body = ask(asked(version=version))
            check(status in ("SIP/2.0 200 OK", 200), f"{door}: {status}")
            username, password, value = answered(body)
            check(value["duration"] == "480" and value["realm"] == harness.REALM, f"{door}: {value}")
            check(int(value["udpPort"]) == server.port, f"{door}: the relay's port: {value}")
            check(value["directIPAddress"] == "127.0.0.1", f"{door}: the relay's address: {value}")
            said, code = libnice_call.call(program, server, "udp", credential=(username, password), count=COUNT)
            check(code == 0 and said["got"] == [COUNT, COUNT], f"{door}, version {version}: {said}")
        proved(f"{door}: a pair of either version opens a call of libnice, {COUNT} datagrams each way")
    check(answered(front.sip(asked(), crumbs=True)[1])[0], "one byte at a time is the same")
    check(counted(server, "swingbridge_mras_credentials_total", door="sip") == 3, "credentials are counted")
    behind = Front(front.folder, {"sip": front.ports["sip_plain"]}, BEHIND_THE_PROXY)
    username, password, _ = answered(behind.sip(asked())[1])
    with msturn.Client(server.address(), username, password) as client:
        client.allocate()
    proved("sip_plain: a pair opens an allocation, without TLS and on loopback alone")
    check(front.sip(b"", "OPTIONS")[0] == "SIP/2.0 200 OK", "OPTIONS is answered")
    check(front.sip(b"", "INVITE")[0] == "SIP/2.0 405 Method Not Allowed", "INVITE is not served")


def refusals(server, front):
    """Who and what is refused."""
    for identity in (None, "forged", "stranger"):
        check(is_shut_out(Front(front.folder, front.ports, identity)), f"{identity} is shut out")
    for door in ("sip", "https"):
        for reason in ("no_certificate", "bad_certificate", "wrong_name"):
            settles(lambda door=door, reason=reason: ended(server, door, reason) == 1, f"{door}: {reason} is counted once")
    settles(lambda: "www.example.com" in server.output(), "the log tells the name that nobody may come by")
    proved("no certificate, another authority's, and the right authority's with a wrong name come in at neither door")
    entity = asked(before='<!DOCTYPE request [<!ENTITY a "b">]>', user="&a;")
    check(front.sip(entity)[0] == "SIP/2.0 400 Bad Request", "an entity over SIP")
    check(front.https(entity)[0] == 400, "an entity over HTTPS")
    large = asked(user="a" * 70_000)
    check(front.https(large)[0] == 413, "too large over HTTPS")
    check(raises(front.sip, large), "too large over SIP gets no answer")
    settles(lambda: ended(server, "sip", "broken") == 1, "and is counted")
    check(front.https(asked(), "text/xml")[0] == 415, "another type")
    proved("XML with an entity, or too large, is refused at both doors")
    old_hello(front.ports["sip"])
    settles(lambda: "[mras] sip_plain" in server.output(), "an old hello is told with advice")
    proved("a front end whose TLS is too old is turned away, and the log says what helps")


def expired(server, front):
    """A pair whose end was signed in the past, beyond the leeway of clocks."""
    old = past(server.pair)
    with msturn.Client(server.address(), *old) as late:
        check(legacy.refusal(late.allocate) == 401, "a pair whose time is over gets 401")
    _, body = front.sip(asked(minutes=1))
    check(answered(body)[2]["duration"] == "1", "what is asked for is heeded")
    _, body = front.https(asked(minutes=100_000))
    check(answered(body)[2]["duration"] == "480", "never more than 480 minutes")
    proved("a pair whose time is over opens nothing, and none is made for more than 480 minutes")
    return old


def past(pair):
    """A token of the right keys that ended ten minutes ago."""
    one, two = (key.encode() for key in pair)
    ticks = (int(time.time()) - 600 + 11_644_473_600) * 10**7
    while True:
        blob = bytes([1, 0, 0, 32]) + struct.pack("!II", ticks & 0xFFFFFFFF, ticks >> 32) + bytes(range(20))
        username = blob + hmac.new(one, blob, hashlib.sha1).digest()
        password = hmac.new(two, username, hashlib.sha1).digest()
        if password[0] != 0x22 and not {username[-1], password[-1]} & {0x00, 0x22}:
            return username, password
        ticks -= 1


def reloaded(server, front):
    """SIGHUP: new keys, another front end; and a mistake changes nothing."""
    other = legacy.keys()
    text = reload.file_of(server).read_text()
    for mistake in (("front_ends = ", "front_end = "), (f"{front.folder}/ca.pem", f"{front.folder}/nowhere.pem")):
        reload.write(server, mistake)
        reload.hang_up(server, "nothing was changed")
        reload.file_of(server).write_text(text)
    check(answered(front.sip(asked())[1])[0], "and the doors go on")
    for old, new in zip(server.pair, other):
        text = text.replace(old, new)
    reload.file_of(server).write_text(text)
    reload.hang_up(server)
    username, password, _ = answered(front.https(asked())[1])
    with msturn.Client(server.address(), username, password) as client:
        client.allocate()
    certificate(front.folder, "ca", "stranger", "second.example.com")
    reload.write(server, (f'front_ends = ["{NAME}"]', 'front_ends = ["second.example.com"]'))
    reload.hang_up(server)
    check(is_shut_out(front), "who was taken out is shut out")
    check(answered(Front(front.folder, front.ports, "stranger").sip(asked())[1])[0], "who was put in is let in")
    proved("a reload brings new keys and other front ends; a file with a mistake changes nothing")


def does_not_start(pair, ports, folder):
    """Without the list or the authority `serve` starts nothing, and `check` tells the line."""
    text = configuration(pair, ports, folder)
    for without in ("client_ca", "front_ends", "certificates"):
        lines = [line for line in text.splitlines() if not line.startswith(f"{without} ")]
        file = pathlib.Path(folder, "broken.toml")
        file.write_text('[auth]\nsecrets = ["0123456789abcdef0123456789abcdef"]\n' + "\n".join(lines) + "\n")
        file.chmod(0o600)
        for command in (["check", str(file)], ["serve", "--config", str(file)]):
            done = subprocess.run([harness.binary(), *command], capture_output=True, text=True, timeout=20)
            said = done.stdout + done.stderr
            check(done.returncode == 2 and "broken.toml:5:" in said, f"{command[0]} without {without}: {said}")
    proved("without authority, list or certificate `serve` refuses to start, and `check` tells file and line: exit code 2")


def test():
    need("openssl")
    with tempfile.TemporaryDirectory() as folder:
        made(folder)
        program = libnice_call.built(folder)
        pair = legacy.keys()
        ports = {door: harness.free_port(socket.SOCK_STREAM) for door in ("https", "sip", "sip_plain")}
        with harness.Server(admin=True, more=configuration(pair, ports, folder)) as server:
            server.pair = pair
            front = Front(folder, ports)
            calls(server, front, program)
            refusals(server, front)
            old = expired(server, front)
            said, code = libnice_call.call(program, server, "udp", credential=old, count=2)
            check(code == 3, f"libnice with a pair whose time is over: {said}")
            reloaded(server, front)
            check("alice@" not in server.output(), "nobody's name is in the log")
            check(not any(key in server.output() for key in pair), "no key is in the log")
        does_not_start(pair, ports, folder)


if __name__ == "__main__":
    harness.main(test)
