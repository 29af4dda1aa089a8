"""The planes are separate: while nobody answers requests, because the control thread is held or the whole process sleeps,
media that was granted flows without a loss, what was granted for a while ends on time, and requests are answered afterwards."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import time

import harness
import media
import stun
import tiers
from harness import check
from harness import proved

CALLS, PAUSE_S, HOLD_S = 6, 0.005, 5.0
# How long what is granted last may be used: it ends in the middle of the hold.
SHORT_S = 3
# A packet is judged by the clock of when it was read.
LATE_S = 0.25
# How long calls flow before anything stops: until the kernel knows the ways of their packets.
WARM_S = 3
# Packets of each next hop that XDP leaves to the sockets meanwhile, so that the kernel confirms the neighbour.
LENT_MAX = 8
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x4000_0000


def ptrace(request, task):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, task, None, None) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x})")


def control_of(process):
    tasks = pathlib.Path(f"/proc/{process.pid}/task").iterdir()
    [control] = [int(task.name) for task in tasks if (task / "comm").read_text().strip() == "control"]
    return control


def state_of(process, task):
    return pathlib.Path(f"/proc/{process.pid}/task/{task}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def control_held(process):
    """The control thread alone stands still."""
    control = control_of(process)
    try:
        ptrace(PTRACE_SEIZE, control)
    except PermissionError as why:
        raise harness.Skip(f"a thread cannot be held: {why}") from why
    ptrace(PTRACE_INTERRUPT, control)
    os.waitpid(control, WALL)
    try:
        yield
        check(state_of(process, control) == "t", "the control thread stood still to the end")
        others = [state_of(process, int(task.name)) for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()]
        check(others.count("t") == 1, f"and it alone: {others}")
    finally:
        ptrace(PTRACE_DETACH, control)


@contextlib.contextmanager
def process_stopped(process):
    """No thread of the process runs."""
    process.send_signal(signal.SIGSTOP)
    try:
        until = time.monotonic() + 5
        while state_of(process, process.pid) != "T":
            check(time.monotonic() < until, "the process stops")
            time.sleep(0.01)
        yield
        check(state_of(process, process.pid) == "T", "the process stood still to the end")
    finally:
        process.send_signal(signal.SIGCONT)


class Watched:
    """What is granted to a client for a short time: its peer sends the time, again and again."""

    def __init__(self, server, by_channel):
        self.peer = media.bound(server.ground.peer_host)
        self.client = server.client()
        self.client.allocate()
        for sock in (self.peer, self.client.sock):
            tiers.roomy(sock)
        if by_channel:
            self.client.bind_channel(media.CHANNEL, self.peer.getsockname())
        else:
            self.client.permit(server.ground.peer_host)
        # The server's clock read at the latest now when it was granted.
        self.granted_by = time.monotonic()
        self.sent = []
        self.by_channel, self.came = by_channel, []

    def speak(self):
        now = time.monotonic()
        self.peer.sendto(struct.pack("!d", now), self.client.relayed)
        self.sent.append(now)

    def hear(self):
        raw = self.client.sock.recv(2048)
        data = raw[4:] if self.by_channel else stun.decode(raw).attributes[stun.ATTR_DATA]
        self.came.append(struct.unpack("!d", data[:8])[0])

    def judge(self, held_at):
        ends = self.granted_by + SHORT_S + LATE_S
        late = [stamp for stamp in self.came if stamp > ends]
        check(not late, f"nothing passes after its time: {len(late)} of {len(self.came)}")
        check(any(stamp > held_at for stamp in self.came), "something passed during the hold, while it had time")
        check(sum(stamp > ends for stamp in self.sent) > 50, "much was sent after its time")

    def close(self):
        self.client.sock.close()
        self.peer.close()


def reload_with(server, limits):
    """From here on what is granted lasts so long."""
    server.limits = limits
    pathlib.Path(server.folder, "swingbridge.toml").write_text(server.config())
    before = server.output().count("new configuration in force")
    server.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 5
    while server.output().count("new configuration in force") == before:
        check(time.monotonic() < until, "the reload is told")
        time.sleep(0.01)


def challenged(server):
    """A newcomer who was told realm and nonce, which workers do by themselves."""
    client = server.client()
    answer = client.exchange(client.written(stun.ALLOCATE, [(stun.REQUESTED_TRANSPORT, bytes([17, 0, 0, 0]))]))
    value = answer.attributes[stun.ERROR_CODE]
    check(value[2] * 100 + value[3] == 401, "a newcomer is challenged")
    client.heed(answer)
    return client


def posted(asker, newcomer, peer_host):
    """Requests of which nobody waits for the answer: (client, request)."""
    lifetime, transport = struct.pack("!I", 600), bytes([17, 0, 0, 0])
    channel = struct.pack("!HH", 0x4001, 0)
    requests = [
        (asker, asker.written(stun.REFRESH, [(stun.LIFETIME, lifetime)])),
        (asker, asker.written(stun.CREATE_PERMISSION, peers=[(peer_host, 0)])),
        (asker, asker.written(stun.CHANNEL_BIND, [(stun.CHANNEL_NUMBER, channel)], peers=[(peer_host, 4_000)])),
        (newcomer, newcomer.written(stun.ALLOCATE, [(stun.REQUESTED_TRANSPORT, transport)])),
    ]
    for client, request in requests:
        client.sock.send(request)
    return requests


def nobody_answered(client):
    client.sock.setblocking(False)
    try:
        return not client.sock.recv(2048, socket.MSG_PEEK)
    except BlockingIOError:
        return True


def are_answered(requests):
    for client in {client for client, _ in requests}:
        waiting = {request[8:20] for at, request in requests if at is client}
        until = time.monotonic() + 10
        while waiting:
            raw = client._read(until)
            check(raw is not None, "every request that was sent during the hold is answered")
            answer = stun.decode(raw, client.key)
            check(answer.kind == stun.SUCCESS, f"and with success: {answer}")
            waiting.discard(answer.transaction)


def calls_on_both(server, held):
    """Calls that every worker has some of."""
    calls = []
    while len(calls) < CALLS or not all(server.of_workers("swingbridge_relay_sockets").values()):
        check(len(calls) < 64, "the kernel gives calls to both workers")
        calls.append(media.Call(server))
        held.callback(calls[-1].close)
    return calls


def through(server, hold, asleep):
    """Everything that must be so while `hold` lasts; with `asleep` nobody reads sockets meanwhile."""
    with contextlib.ExitStack() as held:
        calls = calls_on_both(server, held)
        asker = held.enter_context(server.client())
        asker.allocate()
        newcomer = challenged(server) if asleep else None
        limits = {"permission_lifetime": f"{SHORT_S}s", "channel_lifetime": f"{SHORT_S}s"}
        reload_with(server, limits)

        ears = held.enter_context(media.Ears())
        watched = [] if asleep else [Watched(server, True), Watched(server, False)]
        for one in watched:
            held.callback(one.close)
            ears.add(one.client.sock, one.hear)
        for call in calls:
            for sock, hear in call.ears():
                ears.add(sock, hear)

        def speak():
            for call in calls:
                call.to_peer()
                call.to_client()
            for one in watched:
                one.speak()

        with media.Mouth(speak, PAUSE_S):
            if asleep:
                time.sleep(WARM_S)
                watched.append(Watched(server, True))
                held.callback(watched[0].close)
                ears.add(watched[0].client.sock, watched[0].hear)
            before = sum(call.sent() for call in calls)
            with hold(server.process):
                held_at = time.monotonic()
                newcomer = newcomer or challenged(server)
                held.callback(newcomer.sock.close)
                requests = posted(asker, newcomer, server.ground.peer_host)
                time.sleep(HOLD_S)
                check(nobody_answered(asker) and nobody_answered(newcomer), "nobody answers requests meanwhile")
                during = sum(call.sent() for call in calls) - before
                if asleep:
                    waiting = lost_of(calls, ears, 2)
                    most = LENT_MAX if server.ground.tier == "xdp" else 0
                    check(waiting <= most, f"media arrives though the process sleeps: {waiting} packets do not")
            are_answered(requests)
        lost = lost_of(calls, ears)
        check(lost == 0, f"no packet of {during} during the hold, and none after it, is lost: {lost} are")
        for call in calls:
            check(call.at_peer_from == {call.client.relayed}, "peers hear the relayed address alone")
        for one in watched:
            one.judge(held_at)
        proved(f"{server.ground.tier}: {during} packets of {len(calls)} calls on both workers while {hold.__name__} for 5 s, "
               f"none lost; what ran out was over on time; {len(requests)} requests answered afterwards")


def lost_of(calls, ears, timeout_s=10):
    sent = [(call.sent_to_peer, call.sent_to_client) for call in calls]

    def missing():
        return sum(
            len(set(range(to_peer)) - call.at_peer) + len(set(range(to_client)) - call.at_client)
            for call, (to_peer, to_client) in zip(calls, sent)
        )

    return ears.hear_all(missing, timeout_s)


def on_tier(ground):
    with tiers.Server(ground, admin=True) as server:
        through(server, control_held, False)
    if ground.tier in tiers.IN_KERNEL:
        with tiers.Server(ground, admin=True) as server:
            through(server, process_stopped, True)


def test():
    tiers.each(on_tier)


if __name__ == "__main__":
    harness.main(test, cable=False)
