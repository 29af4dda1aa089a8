"""Certificates by ACME: a certificate authority of our own (acme_authority.py) asks over TLS whether each name is the
server's, signs, misbehaves, and signs again when the end is near. Judges a binary with the feature `acme`."""

import os
import pathlib
import re
import signal
import socket
import ssl
import tempfile
import time
import urllib.request

from cryptography import x509

import acme_authority
import harness
import panic
from acme_authority import DAY
from harness import check
from harness import proved
from streams import Stream

NAMES = ["turn.example.test", "stun.example.test"]
GIVEN = '[[tls.certificates]]\nchain = "server.pem"\nkey = "server.key"\n'
FAULTS = {
    "no JSON": "account",
    "endless": "account",
    "out of order": "account",
    "no order": "order",
    "another challenge": "proof",
    "another name": "proof",
    "no proof": "proof",
    "another key": "certificate",
    "fewer names": "certificate",
}


class Relay(harness.Server):
    """A server that orders from `authority` and keeps what it gets in `state`."""

    def __init__(self, authority, state, given=False):
        names = ", ".join(f'"{name}"' for name in NAMES)
        acme = [
            "[tls.acme]",
            f"names = [{names}]",
            "accept_terms = true",
            'contact = "mailto:admin@example.test"',
            f'directory = "{authority.base}/directory"',
            f'roots = "{authority.folder}/root.pem"',
        ]
        super().__init__(streams=True, admin=True, more="\n".join(acme) + "\n")
        self.authority, self.state, self.given = authority, state, given

    def config(self):
        text = super().config()
        check(GIVEN in text, "the harness names a certificate of its own")
        return text if self.given else text.replace(GIVEN, "")

    def command(self):
        self.authority.port = self.port
        return [*super().command(), "--state-dir", str(self.state)]

    def metric(self, name):
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5).read().decode()
        found = re.search(rf"^swingbridge_{re.escape(name)} (\d+)$", page, re.MULTILINE)
        check(found, f"the metric {name} is there")
        return int(found[1])

    def orders(self, outcome, count):
        until = time.monotonic() + 30
        name = f'acme_orders_total{{outcome="{outcome}"}}'
        while self.metric(name) < count:
            told = (self.authority.complaints, self.output()[-1500:])
            check(time.monotonic() < until, f"{count} orders are {outcome}: {told}")
            time.sleep(0.1)
        check(self.metric(name) == count, f"no more than {count} orders are {outcome}")

    def trusting(self):
        return ssl.create_default_context(cafile=self.authority.folder / "root.pem")

    def serial(self, name=NAMES[0]):
        """Of the certificate that a client sees who trusts the authority alone."""
        with socket.create_connection(self.address(), 10) as bare:
            with self.trusting().wrap_socket(bare, server_hostname=name) as sock:
                return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True)).serial_number

    def calls(self, tls=None):
        """An allocation over UDP, and one over TCP or TLS."""
        for client in (self.client(), Stream(self, tls=tls, name=NAMES[0])):
            with client:
                client.allocate()
                client.refresh(0)


def is_refused(server, name):
    """Whether who asks as an authority does gets no handshake at all."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols([acme_authority.PROTOCOL])
    try:
        with socket.create_connection(server.address(), 10) as bare, tls.wrap_socket(bare, server_hostname=name) as sock:
            return sock.selected_alpn_protocol() is None and "answered as everybody"
    except OSError:
        return "refused"


def faults(authority, folder):
    """Whatever the authority does wrong, calls go on, and one line says what to do."""
    for fault, step in FAULTS.items():
        authority.fault = fault
        with Relay(authority, pathlib.Path(folder, fault)) as server:
            server.orders("failed", 1)
            server.calls()
            told = [line for line in server.output().splitlines() if "no certificate was issued" in line]
            check(len(told) == 1, f"{fault}: one line tells of it: {told}")
            check(f"step={step}" in told[0].replace('"', "") and "cure=" in told[0], f"{fault}: {told[0]}")
            check(is_refused(server, NAMES[0]) == "refused", f"{fault}: nothing is answered any more")
            check(not list(server.state.rglob("certificate.pem")), f"{fault}: no certificate is kept")
    authority.fault = None
    proved(f"{len(FAULTS)} faults of an authority: calls go on, one line of the log each")


def first(authority, state):
    """From nothing to a certificate, and nobody is disturbed meanwhile."""
    server = Relay(authority, state)
    seen = []

    def beside(name):
        check(harness.answers(server.process, server.address()), "the server answers while it is asked")
        seen.append(is_refused(server, acme_authority.OTHER))
        server.calls()

    authority.beside = beside
    authority.proofs.clear()
    authority.complaints.clear()
    with server:
        server.orders("issued", 1)
        authority.beside = lambda name: None
        check(not authority.complaints, f"the authority has nothing to complain of: {authority.complaints}")
        check(len(authority.proofs) == len(NAMES), f"it asked for each name: {authority.proofs}")
        check(seen == ["refused"] * len(NAMES), f"who asks for another name is not answered: {seen}")
        account = list(authority.accounts.values())[-1]
        check(account["contact"] == ["mailto:admin@example.test"], "it was told the contact")
        shown = server.serial()
        check(shown == authority.issued[-1].serial_number, "clients see what was issued")
        check(shown == server.serial(NAMES[1]), "for each name")
        server.calls(server.trusting())
        check(server.metric('streams_turned_away_total{reason="acme_challenge"}') == len(NAMES), "questions are counted")
        check(89 * 86_400 < server.metric("acme_certificate_seconds") <= 90 * 86_400, "its end is told")
        check(is_refused(server, NAMES[0]) == "answered as everybody", "after the order nothing is proved any more")
        server.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while server.metric('reloads_total{result="applied"}') < 1:
            check(time.monotonic() < until, "the reload is done")
            time.sleep(0.05)
        check(server.serial() == shown, "SIGHUP does not take it away")
        kept(server)
    proved(f"a certificate for {len(NAMES)} names, proved by {authority.proofs[-1]}; a call over TLS under it")


def kept(server):
    """What is kept is for the owner alone, and is not in the log."""
    files = [path for path in server.state.rglob("*") if path.is_file()]
    check(sorted(path.name for path in files) == ["account.json", "certificate.pem"], f"two files: {files}")
    for path in files:
        check(path.stat().st_mode & 0o777 == 0o600, f"{path} is for its owner alone")
        secret = re.search(r"key_pkcs8\W+([\w-]+)", path.read_text()) or re.search(r"KEY-----\n(\S+)", path.read_text())
        check(secret and secret[1][:40] not in server.output(), f"nothing of {path} is in the log")


def again(authority, state):
    """A restart uses what is kept; near its end it is renewed with the account that is kept."""
    ordered, accounts = len(authority.orders), len(authority.accounts)
    with Relay(authority, state, given=True) as server:
        check(server.serial() == authority.issued[-1].serial_number, "what is kept is shown at once")
        with socket.create_connection(server.address(), 10) as bare:
            tls = ssl.create_default_context(cafile=f"{server.folder}/server.pem")
            tls.wrap_socket(bare, server_hostname="localhost").close()
        check(server.metric('acme_orders_total{outcome="issued"}') == 0, "nothing is ordered")
    check(len(authority.orders) == ordered, "the authority was asked for nothing")
    proved("a restart shows the certificate that is kept, beside the operator's own, without an order")
    file = next(pathlib.Path(state).rglob("certificate.pem"))
    file.write_text("broken")
    authority.life = (-61 * DAY, 29 * DAY)
    for _ in range(2):
        # The second time it is there, and a third of its life is not left.
        before = len(authority.issued)
        with Relay(authority, state) as server:
            server.orders("issued", 1)
            check(len(authority.issued) == before + 1, "one order")
            check(server.serial() == authority.issued[-1].serial_number, "clients see the new one")
    check(len(authority.accounts) == accounts, "with the account that is kept")
    authority.accounts.clear()
    with Relay(authority, state) as server:
        server.orders("failed", 1)
        check(server.serial() == authority.issued[-1].serial_number, "a failed renewal takes nothing away")
    with Relay(authority, state) as server:
        server.orders("issued", 1)
        check(len(authority.accounts) == 1, "an account that the authority forgot is made anew")
    proved("what is broken, or has less than a third of its life left, is ordered anew")


def test():
    harness.need("openssl")
    os.environ["SWINGBRIDGE_BIN"] = panic.fault_binary()
    with tempfile.TemporaryDirectory(prefix="swingbridge-acme-") as folder:
        with acme_authority.Authority(folder) as authority:
            state = pathlib.Path(folder, "state")
            faults(authority, folder)
            first(authority, state)
            again(authority, state)


if __name__ == "__main__":
    harness.main(test)
