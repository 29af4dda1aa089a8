"""SIGHUP on a server at work: what is live takes effect at once, a file with a mistake changes nothing, and a call that
nothing is taken from loses no packet."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import tempfile
import threading
import time

import harness
import stun
from harness import check
from harness import proved
from place import HERE4
from place import HERE4_MORE

DENIED, KEPT = HERE4_MORE[:2]
PACKETS, PAUSE_S = 400, 0.005


class Echo:
    """A peer that sends back what it hears, and can speak first."""

    def __init__(self, host):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(0.1)
        self.address = self.sock.getsockname()
        self.heard, self.ended = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                payload, back = self.sock.recvfrom(2048)
                self.heard += 1
                self.sock.sendto(payload, back)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()
        self.sock.close()


def file_of(server):
    return pathlib.Path(server.folder, "swingbridge.toml")


def write(server, *changes):
    """The server's file with some changes, each (what stands there, what shall). Gives the text."""
    text = server.config()
    for there, instead in changes:
        check(there in text, f"the configuration holds {there!r}")
        text = text.replace(there, instead)
    file_of(server).write_text(text)
    return text


def hang_up(server, word="new configuration in force", timeout_s=5):
    """Sends SIGHUP and waits for the line that tells the end of the reload. Gives what was logged meanwhile."""
    before = len(server.output())
    server.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        logged = server.output()[before:]
        if word in logged:
            return logged
        time.sleep(0.005)
    raise AssertionError(f"after SIGHUP {word!r} was not logged: {server.output()[before:]}")


def reloads(server):
    """What the metrics count: applied, refused."""
    with server.get() as answer:
        text = answer.read().decode()
    words = ("applied", "refused")
    return tuple(int(re.search(rf'swingbridge_reloads_total\{{result="{word}"\}} (\d+)', text)[1]) for word in words)


def refusal(call, *arguments):
    try:
        call(*arguments)
    except stun.Refused as refused:
        return refused.code
    return None


def comes_back(client, number, echo, word, timeout_s=1.0):
    client.received.clear()
    client.send_channel(number, word)
    return client.receive(timeout_s) == (number, word)


def nothing_changed(server, client, echo):
    """A file with mistakes: each is told with its line and cure, and everything is as before."""
    text = write(server, ("[limits]", 'deny = ["everything"]\n[limits]\nallocations_per_user = -1'))
    line = text[: text.index('"everything"')].count("\n") + 1
    logged = hang_up(server, "nothing was changed")
    for part in (f"swingbridge.toml:{line}:", "key=peers.deny", "fix=", f"swingbridge.toml:{line + 2}:", "problems=2"):
        check(part in logged, f"the log tells {part!r}: {logged}")
    check(server.secret not in logged and harness.PASSWORD not in logged, "no secret is in the log")
    check(comes_back(client, 0x4000, echo, b"still here"), "the call goes on")
    with server.client() as other:
        other.allocate()
    file_of(server).unlink()
    check("cannot be read" in hang_up(server, "nothing was changed"), "a file that is gone is told")
    check(reloads(server) == (0, 2), f"two refusals are counted: {reloads(server)}")
    proved("a file with mistakes changes nothing; each mistake is logged with file:line, key and fix, and counted")


def lossless(server, client, echo):
    """A paced stream while the same file is read again several times."""
    write(server)
    client.received.clear()
    heard = echo.heard

    def hear():
        while (raw := client._read(time.monotonic() + 1)) is not None:
            client._keep(raw)

    ear = threading.Thread(target=hear)
    ear.start()
    for index in range(PACKETS):
        client.send_channel(0x4000, index.to_bytes(4, "big") * 40)
        if index % 80 == 40:
            server.process.send_signal(signal.SIGHUP)
        time.sleep(PAUSE_S)
    ear.join()
    check(echo.heard - heard == PACKETS, f"the peer heard all: {echo.heard - heard} of {PACKETS}")
    back = [int.from_bytes(payload[:4], "big") for number, payload in client.received if number == 0x4000]
    check(back == list(range(PACKETS)), f"the client heard all, in order: {len(back)} of {PACKETS}")
    applied = reloads(server)[0]
    check(applied >= 2, f"reloads were carried out meanwhile: {applied}")
    proved(f"{PACKETS} packets each way at {1 / PAUSE_S:.0f}/s through {applied} reloads of the same file: none lost")


def denied_at_once(server, client, gone, kept):
    """A peer that a reload denies: silent both ways the moment the log says so; the other one is not touched."""
    check(comes_back(client, 0x4001, gone, b"before"), "the peer is reached before the reload")
    rule = ("[limits]", f'deny = ["{DENIED}/32"]\n[limits]')
    write(server, rule)
    logged = hang_up(server)
    check("permissions_revoked=1" in logged and "channels_revoked=1" in logged, f"the log counts them: {logged}")
    heard = gone.heard
    check(not comes_back(client, 0x4001, gone, b"by channel", 0.3), "no channel reaches the denied peer")
    client.send(gone.address, b"by indication")
    gone.sock.sendto(b"from the peer", client.relayed)
    check(client.receive(0.3) is None, "nothing of the denied peer reaches the client")
    check(gone.heard == heard, "nothing of the client reaches the denied peer")
    check(refusal(client.permit, DENIED) == 403, "the denied peer gets no permission")
    check(refusal(client.bind_channel, 0x4001, gone.address) == 403, "nor a channel")
    check(comes_back(client, 0x4000, kept, b"the other"), "the other peer is reached as before")
    proved("a peer newly denied loses permission and channel at once, both ways; the other channel stays")
    write(server)
    hang_up(server)
    client.bind_channel(0x4001, gone.address)
    check(comes_back(client, 0x4001, gone, b"again"), "what is allowed again is reached again")
    proved("what is allowed again is reached again")
    return rule


def rotated(server):
    """The secret changes in the middle of a call; a static user goes."""
    old = server.secret
    with server.client(credential=harness.time_limited(old, "carol")) as call, server.client() as static:
        call.allocate()
        static.allocate()
        server.secret = "the-secret-that-comes-after-the-first"
        write(server, (f'users = {{ {harness.USER} = "{harness.PASSWORD}" }}\n', ""))
        hang_up(server)
        check(call.refresh(600) == 600, "the call goes on under the old secret")
        call.permit(KEPT)
        check(static.refresh(600) == 600, "the removed user's call goes on")
        for credential in (harness.time_limited(old, "carol"), (harness.USER, harness.PASSWORD)):
            with server.client(credential=credential) as late:
                check(refusal(late.allocate) == 401, "the old secret and the removed user make no new call")
        with server.client(credential=harness.time_limited(server.secret, "carol")) as new:
            new.allocate()
    proved("a secret changed and a user removed in mid-call: live calls go on, new ones need the new secret")


def restart_only(server):
    """What takes a restart is named, and what is live in the same file takes effect all the same."""
    write(
        server,
        (f'realm = "{harness.REALM}"', 'realm = "another.example"'),
        ("workers = 2", "workers = 1"),
        ("[limits]", "[limits]\nallocations_per_user = 1"),
        ("[log]", '[log]\nlevel = "debug"'),
    )
    logged = hang_up(server)
    named = re.findall(r"needs a restart.* key=(\S+)", logged)
    check(named == ["realm", "relay.workers"], f"keys that take a restart are named: {named}")
    credential = harness.time_limited(server.secret, "dora")
    with server.client(credential=credential) as first, server.client(credential=credential) as second:
        first.allocate()
        check(first.realm == harness.REALM.encode(), "the realm is as it was")
        check(refusal(second.allocate) == 486, "a limit of the same file is in force")
        port = first.sock.getsockname()[1]
    check(f"client={HERE4}:{port}" in server.output(), "the level of the log is in force")
    proved("keys that need a restart are named and ignored; limits and the log's level of the same file take effect")


def test():
    if harness.other_server():
        raise harness.Skip("another server's reload is not ours to judge")
    allow = (f"{DENIED}/32", f"{KEPT}/32")
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(service_manager())
        server = stack.enter_context(harness.Server(allow=allow, admin=True))
        gone, kept = (stack.enter_context(Echo(host)) for host in (DENIED, KEPT))
        client = stack.enter_context(server.client())
        client.allocate()
        client.bind_channel(0x4000, kept.address)
        client.bind_channel(0x4001, gone.address)
        check(comes_back(client, 0x4000, kept, b"hello"), "the call works")
        check(told(manager) == ["READY=1"], "the service manager heard that the relay serves")
        nothing_changed(server, client, kept)
        manager_heard_of_refusals(manager)
        lossless(server, client, kept)
        denied_at_once(server, client, gone, kept)
        rotated(server)
        restart_only(server)


@contextlib.contextmanager
def service_manager():
    """A socket in systemd's place, named to the server by its environment."""
    with tempfile.TemporaryDirectory(prefix="swingbridge-manager-") as folder:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(f"{folder}/notify")
            sock.settimeout(0.5)
            os.environ["NOTIFY_SOCKET"] = f"{folder}/notify"
            try:
                yield sock
            finally:
                del os.environ["NOTIFY_SOCKET"]


def told(manager):
    """Everything that the service manager was told since."""
    states = []
    with contextlib.suppress(TimeoutError):
        while True:
            states.append(manager.recv(4096).decode())
    return states


def manager_heard_of_refusals(manager):
    states = told(manager)
    check(len(states) == 4, f"each reload was told at its beginning and at its end: {states}")
    for begin, end in (states[:2], states[2:]):
        check(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", begin), f"it began: {begin}")
        check(end.startswith("READY=1\nSTATUS=") and "nothing was changed" in end, f"it was refused: {end}")
    proved("the service manager hears READY, RELOADING and what became of a reload")


def without_a_file():
    """A server without a file has nothing to read: a terminal that is closed ends it, as ever."""
    with tempfile.TemporaryDirectory(prefix="swingbridge-interop-") as folder:
        command = [str(harness.binary()), "serve", "--state-dir", folder]
        process = harness.spawn(command, folder, env={"PATH": os.environ["PATH"]})
        try:
            until = time.monotonic() + 15
            err = pathlib.Path(folder, "err")
            while "serving" not in err.read_text() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            if process.poll() is not None:
                return harness.not_proved("without_a_file", "the default ports of this machine are taken")
            time.sleep(0.3)
            process.send_signal(signal.SIGHUP)
            check(process.wait(10) == 0, "SIGHUP without a file ends the relay in order")
        finally:
            harness.stop(process)
    proved("SIGHUP to a server without a file ends it in order")


def whole():
    test()
    without_a_file()


if __name__ == "__main__":
    harness.main(whole)
