"""A client of the old dialect and one of RFC 8656 exchange media through one server; every client by raw sockets."""

import base64
import hashlib
import hmac
import json
import secrets
import struct
import subprocess
import tempfile
import time

import harness
import msturn
import reload
import stun
from harness import check, proved

FOREIGN = {
    "STUN": stun.encode(stun.BINDING, stun.REQUEST, []),
    "a STUN answer": stun.encode(stun.BINDING, stun.SUCCESS, []),
    "DTLS": bytes.fromhex("16fefd0000000000000000000501000000ff"),
    "ChannelData": bytes.fromhex("4000000401020304"),
    "RTP": bytes.fromhex("80600001000000010000000200"),
    "RTCP": bytes.fromhex("80c8000100000001"),
    "QUIC": bytes.fromhex("c00000000108"),
    "one byte": b"\x00",
}


def keys():
    return secrets.token_hex(32), secrets.token_hex(32)


def section(*pairs):
    tables = ", ".join(f'{{ key1 = "{one}", key2 = "{two}" }}' for one, two in pairs)
    return f"[mras]\nkeys = [{tables}]\n"


def minted(pair, user, *more):
    """What `swingbridge credential --mras` prints, decoded."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, key in enumerate(pair, start=1):
            with open(f"{folder}/key{number}", "w") as file:
                file.write(key)
            files += [f"--key{number}-file", f"{folder}/key{number}"]
        command = [harness.binary(), "credential", "--mras", "--user", user, "--format", "json", *files, *more]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return base64.b64decode(said["username"]), base64.b64decode(said["password"])


def handmade(pair, cut):
    """A token made here by itself, whose edges libnice would cut, or would not."""
    one, two = (key.encode() for key in pair)
    ticks = (int(time.time()) + 3_600 + 11_644_473_600) * 10**7
    while True:
        blob = bytes([1, 0, 0, 32]) + struct.pack("!II", ticks & 0xFFFFFFFF, ticks >> 32) + bytes(range(0xA0, 0xB4))
        username = blob + hmac.new(one, blob, hashlib.sha1).digest()
        password = hmac.new(two, username, hashlib.sha1).digest()
        if cut == (password[0] == 0x22 or bool({username[-1], password[-1]} & {0x00, 0x22})):
            return username, password
        ticks -= 1


def refusal(call, *arguments):
    try:
        call(*arguments)
    except msturn.Refused as refused:
        return refused.code
    return None


def media(old, new):
    """Both ways before and after the old client names its active destination."""
    new.permit(old.relayed[0])
    old.send(new.relayed, b"a check")
    check(new.receive() == (old.relayed, b"a check"), "a Send reaches the RFC client from the relayed address")
    new.send(old.relayed, b"back")
    check(old.receive() == (new.relayed, b"back"), "what it answers comes as a Data Indication")
    new.bind_channel(0x4000, old.relayed)
    old.set_destination(new.relayed)
    for name, packet in FOREIGN.items():
        old.send_bare(packet)
        check(new.receive() == (0x4000, packet), f"{name} passes unchanged from the old client")
        new.send_channel(0x4000, packet)
        check(old.receive() == (None, packet), f"{name} passes unchanged to the old client")
    for number in range(1_000):
        payload = number.to_bytes(4, "big") * 40
        old.send_bare(payload)
        check(new.receive() == (0x4000, payload), f"datagram {number} there")
        new.send_channel(0x4000, payload[::-1])
        check(old.receive() == (None, payload[::-1]), f"datagram {number} back")


def closed(server, old):
    """What is not to be had: the server's own ports, and a peer that nobody asked for."""
    check(refusal(old.set_destination, ("127.0.0.1", server.port)) == 403, "the listener is nobody's peer")
    check(refusal(old.set_destination, ("10.0.0.1", 9)) == 403, "nor is a private address")
    old.send(("127.0.0.1", server.port), b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12))
    check(old.receive(0.3) is None, "a Send to the listener goes nowhere, and nobody is told")


def test():
    one, two = keys(), keys()
    with harness.Server(allow=[], more=section(one)) as server:
        token = minted(one, "sip:alice@example.com")
        with msturn.Client(server.address(), *token) as old, server.client() as new:
            old.allocate()
            new.allocate()
            media(old, new)
            proved("a token opens an allocation; 1,000 datagrams and every foreign packet each way")
            closed(server, old)
            proved("the server's own ports and private addresses stay shut")
            wrong = msturn.Client(server.address(), token[0], bytes(20))
            foreign = msturn.Client(server.address(), *minted(two, "sip:alice@example.com"))
            static = msturn.Client(server.address(), harness.USER.encode(), harness.PASSWORD.encode())
            with wrong, foreign, static:
                check(refusal(wrong.allocate) == 401, "a wrong password gets 401")
                check(refusal(foreign.allocate) == 401, "a token of other keys gets 401")
                static.allocate()
                proved("a wrong password and foreign keys are refused; a static user is let in")
            reload.write(server, (section(one), section(two)))
            reload.hang_up(server)
            with msturn.Client(server.address(), *token) as late:
                check(refusal(late.allocate) == 401, "a token of the keys that were taken away gets 401")
            with msturn.Client(server.address(), *minted(two, "sip:bob@example.com")) as bob:
                bob.allocate()
            old.allocate()
            old.send_bare(b"still here")
            check(new.receive() == (0x4000, b"still here"), "the call goes on")
            proved("a reload brings new keys, and leaves the call alone")
            old.allocate(0)
            check(refusal(old.set_destination, new.relayed) == 437, "what was released is over")


if __name__ == "__main__":
    harness.main(test)
