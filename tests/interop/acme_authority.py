"""A certificate authority for one test: ACME (RFC 8555) over HTTPS on loopback, each name proved by tls-alpn-01
(RFC 8737) with a handshake of its own. It is as strict as the standard lets it be, and can be told to misbehave."""

import base64
import contextlib
import datetime
import hashlib
import http.server
import json
import pathlib
import secrets
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
PROTOCOL = "acme-tls/1"
DAY = datetime.timedelta(days=1)
# What nobody ordered.
OTHER = "other.example.test"


class Refused(Exception):
    """A request that breaks a rule: the type of the problem, and why."""


def unpacked(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def packed(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """`with Authority() as authority:` serves. `port` is where the names that it is asked for are reached."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port = None
        # What it does wrong; None for nothing.
        self.fault = None
        # What is looked at while a name is being proved.
        self.beside = lambda name: None
        # The life of the certificates, from now on.
        self.life = (-DAY, 90 * DAY)
        self.accounts, self.orders, self.nonces = {}, {}, set()
        self.issued, self.proofs, self.complaints, self.stale = [], [], [], 1
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        self.root = self.sign(self.name, self.key.public_key(), [], is_authority=True)
        self.folder.joinpath("root.pem").write_bytes(pem(self.root))

    def sign(self, subject, key, names, is_authority=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = (-DAY, 90 * DAY) if is_authority else self.life
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + begin).not_valid_after(now + end)
        constraints = x509.BasicConstraints(ca=is_authority, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
        return builder.sign(self.key, hashes.SHA256())

    def __enter__(self):
        key = ec.generate_private_key(ec.SECP256R1())
        own = self.sign(x509.Name([]), key.public_key(), [x509.DNSName("localhost")])
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.folder.joinpath("web.pem").write_bytes(text + pem(own))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.folder / "web.pem")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        # A server that has enough of an endless answer.
        self.server.handle_error = lambda *_: None
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    # ---- the protocol

    def directory(self):
        return {
            "newNonce": f"{self.base}/nonce",
            "newAccount": f"{self.base}/account",
            "newOrder": f"{self.base}/order",
            "revokeCert": f"{self.base}/revoke",
            "keyChange": f"{self.base}/key",
        }

    def nonce(self):
        fresh = secrets.token_urlsafe(16)
        self.nonces.add(fresh)
        return fresh

    def opened(self, path, body):
        """The payload of a request, and the account that signed it (RFC 8555 section 6.2)."""
        jws = json.loads(body)
        head = json.loads(unpacked(jws["protected"]))
        if self.stale:
            self.stale -= 1
            self.nonces.discard(head.get("nonce"))
            raise Refused("badNonce", "a nonce that is too old")
        if head.get("nonce") not in self.nonces:
            raise Refused("badNonce", "a nonce that is not ours, or was used")
        self.nonces.remove(head["nonce"])
        if head.get("url") != self.base + path:
            raise Refused("unauthorized", "signed for another address")
        if head.get("alg") != "ES256":
            raise Refused("badSignatureAlgorithm", "only ES256")
        if path == "/account":
            if "jwk" not in head or "kid" in head:
                raise Refused("malformed", "a new account shows its key")
            account = {"jwk": head["jwk"]}
        else:
            account = self.accounts.get(head.get("kid"))
            if account is None or "jwk" in head:
                raise Refused("accountDoesNotExist", "nobody of that name")
        jwk = account["jwk"]
        x, y = (int.from_bytes(unpacked(jwk[part]), "big") for part in ("x", "y"))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        raw = unpacked(jws["signature"])
        if len(raw) != 64:
            raise Refused("malformed", "a signature of another form")
        signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        signed = f"{jws['protected']}.{jws['payload']}".encode()
        # Raises where the signature is not that of the key.
        public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        payload = unpacked(jws["payload"])
        return (json.loads(payload) if payload else None), account

    def post(self, path, body):
        """Status, headers and body of the answer."""
        payload, account = self.opened(path, body)
        if path == "/account":
            if payload.get("termsOfServiceAgreed") is not True:
                raise Refused("userActionRequired", "nobody agreed to the terms")
            where = f"{self.base}/account/{len(self.accounts)}"
            self.accounts[where] = {**account, "contact": payload.get("contact")}
            return 201, {"Location": where}, {"status": "valid"}
        if path == "/order":
            return self.new_order(payload, account)
        kind, number = path.strip("/").split("/")[:2]
        order = self.orders[int(number)]
        if order["account"]["jwk"] != account["jwk"]:
            raise Refused("unauthorized", "the order of another account")
        if kind == "order":
            return 200, {}, self.shown(order)
        if kind == "authorization":
            return 200, {}, self.authorization(order, path.rsplit("/", 1)[1])
        if kind == "challenge":
            return self.challenge(order, path.rsplit("/", 1)[1])
        if kind == "finalize":
            return self.finalize(order, payload)
        if kind == "certificate":
            chain = pem(order["certificate"]) + pem(self.root)
            return 200, {"Content-Type": "application/pem-certificate-chain"}, chain
        raise Refused("malformed", "no such thing")

    def new_order(self, payload, account):
        if self.fault == "no order":
            raise Refused("rejectedIdentifier", "not this name")
        names = [identifier["value"] for identifier in payload["identifiers"] if identifier["type"] == "dns"]
        number = len(self.orders)
        self.orders[number] = {
            "number": number,
            "account": account,
            "names": names,
            "status": "pending",
            "tokens": {name: secrets.token_urlsafe(32) for name in names},
            "proved": dict.fromkeys(names, "pending"),
        }
        return 201, {"Location": f"{self.base}/order/{number}"}, self.shown(self.orders[number])

    def shown(self, order):
        number = order["number"]
        told = {
            "status": order["status"],
            "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
            "authorizations": [f"{self.base}/authorization/{number}/{name}" for name in order["names"]],
            "finalize": f"{self.base}/finalize/{number}",
        }
        if order["status"] == "valid":
            told["certificate"] = f"{self.base}/certificate/{number}"
        return told

    def authorization(self, order, name):
        challenge = {
            "type": "tls-alpn-01" if self.fault != "another challenge" else "http-01",
            "url": f"{self.base}/challenge/{order['number']}/{name}",
            "token": order["tokens"][name],
            "status": order["proved"][name],
        }
        if challenge["status"] == "invalid":
            challenge["error"] = {"type": "urn:ietf:params:acme:error:connection", "detail": "no\nanswer"}
        asked = name if self.fault != "another name" else OTHER
        return {
            "status": order["proved"][name],
            "identifier": {"type": "dns", "value": asked},
            "challenges": [challenge],
        }

    def challenge(self, order, name):
        jwk = order["account"]["jwk"]
        canonical = json.dumps({part: jwk[part] for part in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        thumbprint = packed(hashlib.sha256(canonical.encode()).digest())
        expected = hashlib.sha256(f"{order['tokens'][name]}.{thumbprint}".encode()).digest()
        if self.fault == "no proof":
            order["proved"][name], order["status"] = "invalid", "invalid"
        elif order["proved"][name] == "pending":
            order["proved"][name] = "processing"
            threading.Thread(target=self.prove, args=(order, name, expected), daemon=True).start()
        url = f"{self.base}/challenge/{order['number']}/{name}"
        return 200, {}, {"type": "tls-alpn-01", "url": url, "token": order["tokens"][name], "status": "processing"}

    def prove(self, order, name, expected):
        try:
            self.beside(name)
            asked = name if self.fault != "another name" else OTHER
            self.proofs.append(ask(self.port, asked, expected))
            order["proved"][name] = "valid"
        except Exception as why:  # the test asks for these
            self.complaints.append(f"{name}: {why!r}")
            order["proved"][name] = order["status"] = "invalid"
        if all(state == "valid" for state in order["proved"].values()):
            order["status"] = "ready"

    def finalize(self, order, payload):
        if order["status"] != "ready":
            raise Refused("orderNotReady", "not every name is proved")
        request = x509.load_der_x509_csr(unpacked(payload["csr"]))
        wanted = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if not request.is_signature_valid or sorted(wanted.get_values_for_type(x509.DNSName)) != sorted(order["names"]):
            raise Refused("badCSR", "not what was ordered")
        key = request.public_key() if self.fault != "another key" else ec.generate_private_key(ec.SECP256R1()).public_key()
        names = order["names"] if self.fault != "fewer names" else order["names"][:1]
        order["certificate"] = self.sign(x509.Name([]), key, [x509.DNSName(name) for name in names])
        order["status"] = "valid"
        self.issued.append(order["certificate"])
        return 200, {}, self.shown(order)


def ask(port, name, expected):
    """The question of RFC 8737 section 3, and a close look at the answer. Gives the version of TLS."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols([PROTOCOL])
    with socket.create_connection(("127.0.0.1", port), 10) as bare, tls.wrap_socket(bare, server_hostname=name) as sock:
        if sock.selected_alpn_protocol() != PROTOCOL:
            raise AssertionError(f"the protocol is {sock.selected_alpn_protocol()}")
        shown = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True))
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if list(names) != [x509.DNSName(name)]:
            raise AssertionError(f"the certificate is for {list(names)}")
        extension = shown.extensions.get_extension_for_oid(ACME_IDENTIFIER)
        if not extension.critical or extension.value.value != b"\x04\x20" + expected:
            raise AssertionError("the extension is not critical, or not of this challenge")
        version = sock.version()
        sock.settimeout(10)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
            if sock.recv(1):
                raise AssertionError("something was said after the handshake")
        return version


def handler(authority):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, headers, body, kind="application/json"):
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Replay-Nonce", authority.nonce())
            self.send_header("Content-Type", headers.pop("Content-Type", kind))
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_HEAD(self):
            self.answer(200, {}, b"")

        def do_GET(self):
            if authority.fault == "no JSON":
                self.answer(200, {}, b"<html>")
            elif authority.fault == "endless":
                self.answer(200, {}, b" " * (1 << 22))
            elif authority.fault == "out of order":
                self.answer(500, {}, {"type": "urn:ietf:params:acme:error:serverInternal", "detail": "down"})
            else:
                self.answer(200, {}, authority.directory())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                if self.headers["Content-Type"] != "application/jose+json":
                    raise Refused("malformed", "another type of content")
                self.answer(*authority.post(self.path, body))
            except Refused as why:
                kind, detail = why.args
                if kind != "badNonce" and authority.fault is None:
                    authority.complaints.append(f"{self.path}: {why.args}")
                problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}
                self.answer(400, {}, problem, "application/problem+json")
            except Exception as why:  # the test asks for these
                authority.complaints.append(f"{self.path}: {why!r}")
                self.answer(500, {}, {"type": "urn:ietf:params:acme:error:serverInternal"}, "application/problem+json")

        def log_message(self, *_):
            pass

    return Handler
