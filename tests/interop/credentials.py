"""Who is let in, byte by byte: SHA-256 negotiated, its offer tampered with, both kinds of time-limited password, access
tokens sealed here (RFC 7635), and a secret from what systemd hands over.

Everything is raw STUN from Python's sockets. The tokens are sealed by Python's `cryptography`, so that server and test
share no code.
"""

import base64
import hashlib
import hmac
import os
import pathlib
import struct
import tempfile
import time

import harness
import stun
from harness import check
from harness import proved

try:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None

SHA256, MD5 = b"\0\2\0\0", b"\0\1\0\0"
UDP = (stun.REQUESTED_TRANSPORT, bytes([17, 0, 0, 0]))
NAME = "turn.example.net"
KEYS = {"long": ("A256GCM", bytes(range(32))), "short": ("A128GCM", bytes(range(16)))}


def code_of(answer):
    value = answer.attributes.get(stun.ERROR_CODE)
    return 0 if value is None else value[2] * 100 + value[3]


class Raw(stun.Client):
    """One five-tuple whose every attribute is for the test to say."""

    def challenge(self):
        """Takes realm and nonce from a 401, and answers it."""
        answer = self.exchange(stun.encode(stun.ALLOCATE, stun.REQUEST, [UDP]))
        check(code_of(answer) == 401, "a stranger is challenged")
        self.realm, self.nonce = answer.attributes[stun.REALM], answer.attributes[stun.NONCE]
        return answer

    def ask(self, method, key, attributes=(), chosen=None, offered=None, integrity=stun.MESSAGE_INTEGRITY_SHA256):
        """One request; the answer as it came, with the attribute that signs it checked if there is one."""
        sent = list(attributes)
        sent += [(stun.USERNAME, self.username.encode()), (stun.REALM, self.realm), (stun.NONCE, self.nonce)]
        if chosen is not None:
            sent.append((stun.PASSWORD_ALGORITHM, chosen))
        if offered is not None:
            sent.append((stun.PASSWORD_ALGORITHMS, offered))
        answer = self.exchange(stun.encode(method, stun.REQUEST, sent, os.urandom(12), key, integrity))
        if signer(answer):
            stun.decode(answer.raw, key)
        return answer


def signer(answer):
    """The integrity attribute of an answer, None if it has none."""
    return next((number for number in stun.MACS if number in answer.attributes), None)


def long_term(hash_, user, realm, password):
    return hash_(user.encode() + b":" + realm + b":" + password.encode()).digest()


def raw(server, user=harness.USER, password=harness.PASSWORD):
    return Raw(server.address(), user, password)


def negotiated(server):
    """Allocate, Refresh and errors, all answered with MESSAGE-INTEGRITY-SHA256."""
    with raw(server) as client:
        offer = client.challenge().attributes[stun.PASSWORD_ALGORITHMS]
        check(offer == SHA256 + MD5, "SHA-256 is offered first, then MD5")
        check(client.nonce.startswith(b"obMatJos2AAAB"), "the nonce's cookie announces the offer")
        key = long_term(hashlib.sha256, client.username, client.realm, client.password)
        life = [(stun.LIFETIME, struct.pack("!I", 600))]
        steps = [(stun.ALLOCATE, [UDP], 0), (stun.ALLOCATE, [UDP], 437), (stun.REFRESH, life, 0)]
        steps += [(stun.CREATE_PERMISSION, [], 400), (stun.REFRESH, [(0x7001, b"")], 420)]
        for method, attributes, code in steps + [(stun.REFRESH, [(stun.LIFETIME, bytes(4))], 0)]:
            answer = client.ask(method, key, attributes, SHA256, offer)
            check(code_of(answer) == code, f"method {method} gets {code}, not {code_of(answer)}")
            check(signer(answer) == stun.MESSAGE_INTEGRITY_SHA256, f"the answer {code} is signed with SHA-256")
    proved("a negotiated session is answered with MESSAGE-INTEGRITY-SHA256, errors too")


def tampered(server):
    """Whoever sits in the path takes the better algorithm away."""
    with raw(server) as client:
        client.challenge()
        weak = long_term(hashlib.md5, client.username, client.realm, client.password)
        for chosen, offered in [(MD5, MD5), (MD5, MD5 + SHA256), (MD5, None), (None, SHA256 + MD5), (MD5, b"")]:
            answer = client.ask(stun.ALLOCATE, weak, [UDP], chosen, offered)
            check(code_of(answer) == 400 and not signer(answer), f"{chosen} of {offered} gets a bare 400")
        good = client.nonce
        for nonce in (good[:9] + b"AAAA" + good[13:], good[13:]):
            client.nonce = nonce
            answer = client.ask(stun.ALLOCATE, weak, [UDP], integrity=stun.MESSAGE_INTEGRITY)
            check(code_of(answer) == 438, "a nonce without its features is stale")
            check(answer.attributes[stun.PASSWORD_ALGORITHMS] == SHA256 + MD5, "the offer is made again")
        client.nonce = good
        answer = client.ask(stun.ALLOCATE, weak, [UDP], integrity=stun.MESSAGE_INTEGRITY)
        check(code_of(answer) == 0 and signer(answer) == stun.MESSAGE_INTEGRITY, "an old client is let in all the same")
    proved("an offer that was tampered with gets 400 or 438, never an allocation")


def time_limited(server, secret):
    name = f"{int(time.time()) + 600}:carol"
    for number, mac in enumerate((hashlib.sha1, hashlib.sha256)):
        password = base64.b64encode(hmac.new(secret.encode(), name.encode(), mac).digest()).decode()
        with server.client(credential=(name, password)) as client:
            client.allocate()
        with raw(server, name, password) as client:
            offer = client.challenge().attributes[stun.PASSWORD_ALGORITHMS]
            key = long_term(hashlib.sha256, name, client.realm, password)
            answer = client.ask(stun.ALLOCATE, key, [UDP], SHA256, offer)
            check(code_of(answer) == 0, f"password {number} passes under the other key, too")


def token(kid, mac_key, issued, lifetime_s, name=NAME):
    _, key = KEYS[kid]
    nonce = os.urandom(12)
    block = struct.pack("!H", len(mac_key)) + mac_key + struct.pack("!QI", int(issued) << 16, lifetime_s)
    return struct.pack("!H", 12) + nonce + AESGCM(key).encrypt(nonce, block, name.encode())


def holder(server, kid):
    """A challenged client that will bring a token; the challenge must name this server."""
    client = raw(server, kid)
    told = client.challenge().attributes.get(stun.THIRD_PARTY_AUTHORIZATION)
    check(told == NAME.encode(), "a 401 names this server in THIRD-PARTY-AUTHORIZATION")
    return client


def allocate(client, mac_key, sealed):
    """What an Allocate with the token gets."""
    attributes = [UDP, (stun.LIFETIME, struct.pack("!I", 600)), (stun.ACCESS_TOKEN, sealed)]
    return client.ask(stun.ALLOCATE, mac_key, attributes, integrity=stun.MESSAGE_INTEGRITY)


def bad_copies(good):
    """The token with one wrong bit, each bit in turn, and cut short at every byte."""
    for bit in range(len(good) * 8):
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} is wrong", bytes(wrong)
    for size in range(len(good)):
        yield f"only {size} bytes are there", good[:size]


def tokens(server):
    if AESGCM is None:
        return harness.not_proved("access tokens", "Python's cryptography is not installed")
    now, mac_key = time.time(), os.urandom(20)
    for kid in KEYS:
        good = token(kid, mac_key, now, 3600)
        with holder(server, kid) as client:
            for why, wrong in bad_copies(good):
                check(code_of(allocate(client, mac_key, wrong)) == 401, f"key {kid}: {why}, and it lets in")
            answer = allocate(client, mac_key, good)
            check(code_of(answer) == 0, f"a token of key {kid} lets in")
            check(signer(answer) == stun.MESSAGE_INTEGRITY, "and its session key signs")
    with holder(server, "long") as client:
        for sealed, why in [
            (token("long", mac_key, now - 3700, 3600), "is over"),
            (token("long", mac_key, now, 3600, "turn.example.org"), "is for another server"),
            (token("short", mac_key, now, 3600), "is of another key"),
            (token("long", bytes(20), now, 3600), "holds another session key"),
        ]:
            check(code_of(allocate(client, mac_key, sealed)) == 401, f"a token that {why} lets in")
        answer = allocate(client, mac_key, token("long", mac_key, now, 120))
        granted = struct.unpack("!I", answer.attributes[stun.LIFETIME])[0]
        check(100 <= granted <= 120, f"no allocation outlives its token: {granted} s")
    # proves rfc7635:4.1.2-1, rfc7635:7-2, rfc7635:7-6, rfc7635:7-7, rfc7635:9-2
    proved("a token lets in, and not with one wrong bit or one byte less")


def test():
    if harness.other_server():
        raise harness.Skip("this is about our own configuration")
    with tempfile.TemporaryDirectory() as folder:
        handed = "handed over by systemd, thirty bytes"
        pathlib.Path(folder, "turn-secret").write_text(handed + "\n")
        os.environ["CREDENTIALS_DIRECTORY"] = folder
        keys = ", ".join(
            f'{{ kid = "{kid}", key = "{base64.b64encode(key).decode()}", algorithm = "{algorithm}" }}'
            for kid, (algorithm, key) in KEYS.items()
        )
        more = [f'server_name = "{NAME}"', f"oauth = [{keys}]"]
        with harness.Server(more_auth=more, handed="turn-secret") as server:
            negotiated(server)
            tampered(server)
            for secret in (server.secret, handed):
                time_limited(server, secret)
            proved("both kinds of time-limited password pass, of a written secret and of one from systemd")
            tokens(server)


if __name__ == "__main__":
    harness.main(test)
