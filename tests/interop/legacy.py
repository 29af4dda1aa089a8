"""Clients of the old dialect, over UDP, TCP, pseudo-TLS and TLS, and of RFC 8656 exchange media through one server; every
client by raw sockets."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import struct
import subprocess
import tempfile
import threading
import time

import harness
import msturn
import reload
import streams
import stun
import tcp_relay
from place import HERE4
from place import SERVER4
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
    check(refusal(old.set_destination, (SERVER4, server.port)) == 403, "the listener is nobody's peer")
    check(refusal(old.set_destination, ("10.0.0.1", 9)) == 403, "nor is a private address")
    old.send((SERVER4, server.port), b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12))
    check(old.receive(0.3) is None, "a Send to the listener goes nowhere, and nobody is told")


def over(server, transport):
    """A client of the old dialect."""
    proof = server.address(), harness.USER.encode(), harness.PASSWORD.encode()
    if transport == "udp":
        return msturn.Client(*proof)
    tls = streams.trusting(f"{server.folder}/server.pem") if transport == "tls" else None
    return msturn.Stream(*proof, pseudo=transport == "pseudo-TLS", tls=tls)


def new_over(server, transport):
    """A client of RFC 8656."""
    if transport == "udp":
        return server.client()
    return streams.Stream(server, tls=streams.trusting(f"{server.folder}/server.pem") if transport == "tls" else None)


class DatagramsOnly(harness.Server):
    """A server that relays no connections: whoever comes by one gets a relayed port of UDP, and reaches browsers."""

    def config(self):
        return super().config().replace("[limits]\n", "[limits]\nconnections_per_allocation = 0\n")


def with_others(server):
    for transport, other in (("tcp", "udp"), ("tcp", "tls"), ("pseudo-TLS", "tls"), ("tls", "tcp")):
        with over(server, transport) as old, new_over(server, other) as new:
            old.allocate()
            new.allocate()
            media(old, new)
            closed(server, old)
            for refreshed in (b"after a refresh", b"after another"):
                before = old.relayed
                old.allocate(30)
                check(old.relayed == before, "a refresh gives the same relayed address")
                old.send_bare(refreshed)
                check(new.receive() == (0x4000, refreshed), "the call goes on")
        proved(f"a client over {transport} and one of RFC 8656 over {other}: 1,000 datagrams and every foreign packet")
    among_themselves(server, [b""])


def among_themselves(server, more=()):
    """Two clients of the old dialect, whose relayed ports are each other's peers."""
    with over(server, "pseudo-TLS") as one, over(server, "tls") as other:
        one.allocate()
        other.allocate()
        # The first one knocks in vain, for the other has not sent to it; then the other one's attempt is let in.
        one.set_destination(other.relayed)
        other.set_destination(one.relayed)
        # What looks like a message of the dialect is data too where the frame says so.
        foreign = [*FOREIGN.values(), msturn.encode(msturn.ALLOCATE, []), msturn.frame(2, b"no frame"), *more]
        for packet in foreign:
            other.send_bare(packet)
            check(one.receive() == (None, packet), "one way")
            one.send_bare(packet)
            check(other.receive() == (None, packet), "and back")
    proved("two of the old dialect: bare packets of every kind, its own messages among them, pass unchanged both ways")


def heard(client, count):
    """So many bytes from the active destination."""
    got = b""
    while len(got) < count:
        peer, data = client.receive(10)
        check(peer is None, "bare")
        got += data
    return got


def by_connections(server):
    """Relayed ports of TCP: peers dialled and let in, forbidden ones never, and a stream of bytes both ways."""
    with over(server, "tcp") as client, socket.create_server((HERE4, 0)) as listener:
        client.allocate()
        listener.settimeout(10)
        peer = listener.getsockname()
        client.send(peer, b"a check")
        far, source = listener.accept()
        check(source == client.relayed, "a Send opens a connection from the relayed port")
        check(far.recv(100) == b"a check", "and its data is the first that comes on it")
        far.sendall(b"answer")
        check(client.receive() == (peer, b"answer"), "what comes back has the peer's name on it")
        client.set_destination(peer)
        blob = secrets.token_bytes(200_000)
        sender = threading.Thread(target=far.sendall, args=(blob,))
        sender.start()
        check(heard(client, len(blob)) == blob, "200,000 bytes to the client, none lost")
        sender.join()
        receiver = []
        reading = threading.Thread(target=lambda: receiver.append(far.recv(len(blob), socket.MSG_WAITALL)))
        reading.start()
        for at in range(0, len(blob), 1_000):
            client.send_bare(blob[at : at + 1_000])
        reading.join()
        check(receiver == [blob], "200,000 bytes to the peer, none lost")
        with socket.create_connection(client.relayed) as caller:
            caller.sendall(b"from another port")
            check(client.receive(10) == (caller.getsockname(), b"from another port"), "a permitted peer may connect")
        far.close()
        for forbidden in (client.relayed, ("10.0.0.1", 9), ("0.0.0.0", 9), ("169.254.169.254", 80)):
            check(refusal(client.set_destination, forbidden) == 403, f"{forbidden} is nobody's peer")
            client.send(forbidden, b"x")
        client.allocate()
    proved("a port of TCP dials, listens, carries 200,000 bytes each way, and reaches no forbidden peer")
    with over(server, "tcp") as client:
        client.allocate()
        try:
            with socket.create_connection(client.relayed) as caller:
                check(caller.recv(10) == b"never", "unreachable")
        except ConnectionResetError:
            pass
    proved("whom the client has not sent to is reset")


def spoken(server, pieces):
    """What comes back of a connection that says these pieces, until the server ends it or is silent."""
    with socket.create_connection(server.address(), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        sock.settimeout(1)
        heard = b""
        try:
            while more := sock.recv(65_536):
                heard += more
            return heard, True
        except ConnectionResetError:
            return heard, True
        except TimeoutError:
            return heard, False


def first_allocate(number):
    version = (msturn.MS_VERSION, struct.pack("!I", 1))
    return msturn.frame(2, msturn.encode(msturn.ALLOCATE, [version], bytes([number]) * 16))


def answered(heard):
    """The transaction ids of the 401s in these frames."""
    found = []
    while heard:
        size = struct.unpack("!H", heard[2:4])[0]
        answer = msturn.decode(heard[4 : 4 + size])
        check(heard[0] == 2 and answer.kind == msturn.NOT_ALLOCATED, "an answer in a control frame")
        found.append(answer.transaction[0])
        heard = heard[4 + size :]
    return found


def raw_streams(server):
    asked = b"".join(first_allocate(number) for number in range(20))
    for pieces in ([asked], [bytes([byte]) for byte in asked], [asked[:33], asked[33:50], asked[50:]]):
        heard, ended = spoken(server, pieces)
        check(answered(heard) == list(range(20)) and not ended, "however it is split, 20 answers in their order")
    hello = [bytes([byte]) for byte in msturn.CLIENT_HELLO + asked]
    heard, _ = spoken(server, hello)
    check(msturn.is_server_hello(heard[:83]), "the hello, byte by byte, gets its 83 bytes")
    check(answered(heard[83:]) == list(range(20)), "and what stands behind it its answers")
    proved("frames split at every byte and many in one segment, behind the hellos too")
    good = first_allocate(1)
    garbage = {
        "no length, as libnice's second connection": b"\x03\x00" + good[4:],
        "a length of nothing": b"\x02\x00\x00\x00" + good[4:],
        "a length that its message does not fill": b"\x02\x00\x00\x25" + good[4:] + b"\x00",
        "a length past its message": b"\x02\x00\xff\xff" + good[4:],
        "a reserved byte": b"\x02\x01" + good[2:],
        "no cookie": good[:24] + bytes(8) + good[32:],
        "no frame at all": good[4:],
        "an unknown frame": b"\x04" + good[1:],
    }
    for what, said in garbage.items():
        check(spoken(server, [said]) == (b"", True), f"{what}, as first words: closed without a byte")
        if what.startswith("no length"):
            # On a connection that speaks already this is a data frame of three bytes, and then nothing.
            said += good
        heard, ended = spoken(server, [good, said])
        check(ended and answered(heard) == [1], f"{what}, later: closed without another byte")
    proved(f"{len(garbage)} kinds of malformed frames close the connection quietly")
    check(answered(spoken(server, [good])[0]) == [1], "the next one is served")


def with_connections_of_the_other_dialect(server):
    """A client of the old dialect and one of RFC 6062, both over TCP, each dialling the other once."""
    with over(server, "pseudo-TLS") as old, tcp_relay.Stream(server) as new:
        old.allocate()
        new.allocate_tcp()
        new.permit(old.relayed[0])
        old.set_destination(new.relayed)
        peer, connection = new.attempt()
        check(peer == old.relayed, "the RFC client is told who came")
        data, early = new.bind(connection)
        exchange_bytes(old, data, early)
    with over(server, "tls") as old, tcp_relay.Stream(server, transport="tls") as new:
        old.allocate()
        new.allocate_tcp()
        old.send((HERE4, 9), b"a permission")
        # Carried out in their order: it is permitted when this is answered.
        check(refusal(old.set_destination, old.relayed) == 403, "nobody is his own peer")
        data, early = new.bind(new.connect(old.relayed))
        data.sendall(b"hello")
        check(old.receive(10) == (new.relayed, b"hello"), "who connects is let in, and named")
        old.set_destination(new.relayed)
        exchange_bytes(old, data, early)
    proved("a client of the old dialect and one of RFC 6062 dial each other, and carry a megabyte each way")


def exchange_bytes(old, data, early):
    blob = secrets.token_bytes(1_000_000)
    data.settimeout(20)
    sending = threading.Thread(target=lambda: [old.send_bare(blob[at : at + 1_000]) for at in range(0, len(blob), 1_000)])
    sending.start()
    got = early
    while len(got) < len(blob):
        got += data.recv(65_536)
    sending.join()
    check(got == blob, "a megabyte to the RFC client, none of it lost")
    sending = threading.Thread(target=data.sendall, args=(blob,))
    sending.start()
    check(heard(old, len(blob)) == blob, "a megabyte to the old client, none of it lost")
    sending.join()
    data.close()


def test():
    with DatagramsOnly(allow=[], streams=True) as server:
        raw_streams(server)
        with_others(server)
    with harness.Server(allow=[], streams=True) as server:
        among_themselves(server)
    with harness.Server(allow=[f"{HERE4}/32"], streams=True) as server:
        by_connections(server)
        with_connections_of_the_other_dialect(server)
    tokens()


def tokens():
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
