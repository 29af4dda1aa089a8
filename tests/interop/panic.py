"""A panic in one worker: the calls of the others lose nothing, its own go on without a word from their clients, and the
fourth in a minute ends the server. Judges a binary with the feature `fault-injection`, which signals make panic."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import harness
import place
import stun
from harness import check
from harness import proved
from place import HERE4_MORE

CALLS, PACKETS, PAUSE_S = 8, 600, 0.004
CHANNEL = 0x4000
PEER, OTHER = HERE4_MORE[:2]
ALLOW = (f"{PEER}/32", f"{OTHER}/32")
# What the loop had in its hands when it fell: a batch, and what stood in it of one call is little.
LOST_MAX = 16


class Call:
    """A client with a channel to a peer; both number what they send."""

    def __init__(self, server, worker):
        self.client, self.worker = server.client(), worker
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((PEER, 0))
        self.peer.settimeout(0.2)
        self.client.allocate()
        self.client.bind_channel(CHANNEL, self.peer.getsockname())
        self.at_peer, self.at_client = [], []
        self.ended = False

    def speak(self, index):
        word = index.to_bytes(4, "big") * 8
        self.client.send_channel(CHANNEL, word)
        self.peer.sendto(word, self.client.relayed)

    def hear_peer(self):
        while not self.ended:
            try:
                self.at_peer.append(int.from_bytes(self.peer.recv(2048)[:4], "big"))
            except TimeoutError:
                pass

    def hear_client(self):
        while not self.ended:
            raw = self.client._read(time.monotonic() + 0.2)
            if raw and raw[0] & 0xC0 == 0x40:
                self.at_client.append(int.from_bytes(raw[4:8], "big"))

    def close(self):
        self.client.sock.close()
        self.peer.close()


def fault_binary():
    """The binary that SWINGBRIDGE_FAULT_BIN names, or one that is built now."""
    if os.environ.get("SWINGBRIDGE_FAULT_BIN"):
        return os.environ["SWINGBRIDGE_FAULT_BIN"]
    features = "fault-injection,dtls,acme"
    cargo = ["cargo", "build", "--locked", "--profile", "fault", "--features", features, "--bin", "swingbridge"]
    built = subprocess.run(cargo, cwd=harness.ROOT, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise AssertionError(f"the binary cannot be built: {built.stderr[-2000:]}")
    return str(harness.ROOT / "target/fault/swingbridge")


def metrics(server):
    with server.get() as answer:
        return answer.read().decode()


def of_workers(server, name, labels=""):
    """The values of a metric, by worker."""
    found = re.findall(rf'^{name}\{{worker="(\d+)"{labels}\}} (\d+)$', metrics(server), re.M)
    return {int(worker): int(value) for worker, value in found}


def is_healthy(server):
    try:
        with server.get("/health") as answer:
            return answer.status == 200
    except OSError:
        return False


def until(claim, look, timeout_s=10):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if look():
            return
        time.sleep(0.01)
    raise AssertionError(f"it never came that {claim}")


def call(server):
    """A call, and the worker that carries it: the one that a relay socket was opened at."""
    before = of_workers(server, "swingbridge_relay_sockets")
    made = Call(server, None)
    after = of_workers(server, "swingbridge_relay_sockets")
    [made.worker] = [worker for worker in after if after[worker] != before[worker]]
    return made


def calls_on_both(server):
    """As many calls as there shall be, some on each worker."""
    made = []
    while len(made) < CALLS or {one.worker for one in made} != {0, 1}:
        check(len(made) < 64, "the kernel gives calls to both workers")
        made.append(call(server))
    return made


def one_panic(server, calls, hit):
    """Live media on all calls, both ways, while worker `hit` panics in the middle of it."""
    for one in calls:
        one.at_peer, one.at_client, one.ended = [], [], False
    ears = [threading.Thread(target=ear) for one in calls for ear in (one.hear_peer, one.hear_client)]
    [ear.start() for ear in ears]
    for index in range(PACKETS):
        if index == PACKETS // 3:
            server.process.send_signal(signal.SIGUSR1)
        if index == PACKETS // 3 + 5 and place.ON_CABLE:
            # The worker meets no media: the kernel has it. This comes up.
            struck = next(one for one in calls if one.worker == hit)
            struck.client.sock.send(stun.encode(stun.BINDING, stun.REQUEST, []))
        for one in calls:
            one.speak(index)
        time.sleep(PAUSE_S)
    until("the panic is counted", lambda: of_workers(server, "swingbridge_worker_panics_total")[hit] == 1)
    everything = list(range(PACKETS))
    lost_in_all = 0
    time.sleep(0.5)
    for one in calls:
        one.ended = True
    [ear.join() for ear in ears]
    for one in calls:
        for side, heard in (("peer", one.at_peer), ("client", one.at_client)):
            check(len(heard) == len(set(heard)), f"a {side} hears nothing twice")
            # What waits for a worker is overtaken when the kernel takes the call over again, and nothing else is.
            late = sum(one_index < before for before, one_index in zip(heard, heard[1:]))
            late_max = LOST_MAX if place.ON_CABLE and one.worker == hit else 0
            check(late <= late_max, f"a {side} hears all in order: {late} were overtaken")
            missing = sorted(set(everything) - set(heard))
            if one.worker != hit:
                check(not missing, f"a {side} of the other worker heard all; {missing} is missing")
                continue
            lost_in_all += len(missing)
            check(len(missing) <= LOST_MAX, f"a {side} of the worker that fell lost {len(missing)}: {missing}")
            check(not missing or missing[-1] < PACKETS - 100, f"its media came back: {missing}")
    return lost_in_all


def contained(server):
    calls = calls_on_both(server)
    hosts = [one for one in calls if one.worker == 0]
    lost = one_panic(server, calls, 0)
    proved(f"of {len(calls)} calls the {len(calls) - len(hosts)} of the other worker lost no packet, either way")
    proved(f"the {len(hosts)} calls of the worker that panicked went on, without a request, and lost {lost} packets in all")

    log = server.output()
    for part in ("injected fault: over a packet", "at=src/relay/fault.rs:", "thread=worker-0", "worker has its table again"):
        check(part in log, f"the log tells {part!r}")
    check(harness.PASSWORD not in log and server.secret not in log, "no secret is in the log")
    check(of_workers(server, "swingbridge_worker_panics_total") == {0: 1, 1: 0}, "one panic of one worker is counted")
    check(set(of_workers(server, "swingbridge_worker_live").values()) == {1} and is_healthy(server), "it is healthy")
    proved("the panic is logged with thread, place and words, and counted; /health says ok")

    for one in calls:
        one.client.received.clear()
        check(one.client.refresh(600) == 600, "a Refresh is granted")
        one.client.permit(OTHER)
        one.client.received.clear()
    more = [call(server) for _ in range(8)]
    check(0 in {one.worker for one in more}, "the worker that panicked takes new allocations")
    proved("Refresh, CreatePermission and new Allocates work on it")

    # The next: in the middle of an Allocate, whose client just asks again.
    server.process.send_signal(signal.SIGUSR2)
    panics = lambda: sum(of_workers(server, "swingbridge_worker_panics_total").values())
    struck = []
    # Until the kernel has given one to the worker that is to be hit.
    while len(struck) < 6 or (panics() < 2 and len(struck) < 40):
        struck.append(call_struck(server))
    until("a panic over a command is counted", lambda: panics() == 2)
    for one in calls + more + struck:
        one.client.received.clear()
        one.client.send_channel(CHANNEL, b"over")
        check(heard(one, b"over"), "every call goes on")
        one.client.refresh(0)
        one.close()
    until("every port is free", lambda: "swingbridge_ports{state=\"used\"} 0" in metrics(server))
    proved("a panic over a command is outlived too: it is carried out after all, and every port comes free in the end")
    carried = re.findall(r"allocation ended.*to_peer_packets=(\d+)", server.output())
    check(sum(int(count) for count in carried) >= 2 * PACKETS, "what was counted before the panic is in the final counters")
    whole = [int(count) for count in carried if int(count) >= PACKETS - LOST_MAX]
    check(len(whole) == len(calls), f"of each call all is counted: {carried}")
    proved("no counter is lost with the table")


def call_struck(server):
    return Call(server, None)


def heard(one, word):
    """Whether the peer hears it, after what waits in its socket."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            if one.peer.recv(2048) == word:
                return True
        except TimeoutError:
            pass
    return False


def the_fourth_ends_it(server):
    with server.client() as client:
        client.allocate()
        for panics in range(1, 5):
            before = server.output().count("injected fault")
            server.process.send_signal(signal.SIGUSR1)
            end = time.monotonic() + 10
            while server.output().count("injected fault") == before and server.process.poll() is None:
                check(time.monotonic() < end, "the worker panics")
                # A new source each time: the kernel gives it to this worker or that.
                harness.stun.binding(server.address(), 0.02)
            if panics < 4:
                until("it serves on", lambda: harness.stun.binding(server.address(), 0.3) is not None)
    check(server.process.wait(10) == 1, f"the exit code is 1: {server.process.returncode}")
    check("panicked more than 3 times within" in server.output(), "it says why")
    proved("the fourth panic in a minute ends the server with exit code 1 and the reason")


def test():
    os.environ["SWINGBRIDGE_BIN"] = fault_binary()
    with harness.Server(admin=True, allow=ALLOW) as server:
        check("FAULT INJECTION IS COMPILED IN" in server.output(), "such a binary says so")
        contained(server)
    # Not by `with`, which wants exit code 0 of a server: this one ends by itself.
    server = harness.Server(admin=True, allow=ALLOW).__enter__()
    try:
        the_fourth_ends_it(server)
    finally:
        harness.stop(server.process)
        shutil.rmtree(server.folder, ignore_errors=True)
    plain = pathlib.Path(harness.ROOT / "target/release/swingbridge")
    if plain.exists():
        check(b"FAULT INJECTION" not in plain.read_bytes(), "the released binary has nothing of it")
        proved("the released binary has nothing of the fault injection")


if __name__ == "__main__":
    harness.main(test)
