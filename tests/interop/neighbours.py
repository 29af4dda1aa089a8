"""Another program has unconnected sockets at ports of the relay range, at 127.0.0.1 and at the relay address: on no tier
does it lose a datagram while calls come and go, and its ports are never given to a client."""

import contextlib
import json
import signal
import subprocess
import sys

import harness
import media
import stun
import tiers
from harness import check
from harness import proved

# So few that all of them are given out.
FIRST_PORT, PORTS = 23_000, 24
ROUNDS, PAUSE_S = 400, 0.005
OTHER = "127.0.0.1"

# The other program: binds what it is told, says so, and sends each datagram back to where it came from.
PROGRAM = """
import json, selectors, socket, sys
ready = selectors.DefaultSelector()
for host, port in json.loads(sys.argv[1]):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    ready.register(sock, selectors.EVENT_READ)
print("bound", flush=True)
while True:
    for key, _ in ready.select():
        data, source = key.fileobj.recvfrom(65535)
        key.fileobj.sendto(b"heard " + data, source)
"""


@contextlib.contextmanager
def another_program(ground, addresses):
    command = ground.command(sys.executable, "-c", PROGRAM, json.dumps(addresses))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            check(process.stdout.readline() == "bound\n", "the other program has its ports")
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def each_is_heard(ground, addresses):
    """Datagrams one after the other; each is answered, or it was lost on one of the two ways."""
    for host, port in addresses:
        # Nobody but its own machine reaches 127.0.0.1.
        near = ground.there() if host == OTHER else contextlib.nullcontext()
        source = OTHER if host == OTHER else ground.peer_host
        with near:
            sock = media.bound(source)
        with sock:
            for number in range(ROUNDS):
                word = number.to_bytes(4, "big")
                sock.sendto(word, (host, port))
                try:
                    answer, from_where = sock.recvfrom(64)
                except TimeoutError:
                    raise AssertionError(f"datagram {number} to {host}:{port} is lost") from None
                # One that is bound to every address answers from whichever the kernel likes.
                check((answer, from_where[1]) == (b"heard " + word, port), f"its own answer: {answer} of {from_where}")


def takes_every_port(server, taken):
    """Clients until there is no port left: which ones did they get?"""
    got = set()
    with contextlib.ExitStack() as clients:
        for _ in range(PORTS + 1):
            client = clients.enter_context(server.client())
            try:
                got.add(client.allocate()[1])
            except stun.Refused as refused:
                check(refused.code == 508, f"without a port it is 508, not {refused.code}")
                break
        else:
            raise AssertionError("more allocations than ports")
        check(not got & taken, f"no client got a port of the other program: {got & taken}")
    return got


def on_tier(ground):
    ports = range(FIRST_PORT, FIRST_PORT + PORTS)
    changes = [(f'ports = "{harness.PORTS[0]}-{harness.PORTS[-1]}"', f'ports = "{ports[0]}-{ports[-1]}"')]
    at_relay = [(ground.server_host, port) for port in ports[:4]] + [("0.0.0.0", ports[4])]
    addresses = at_relay + [(OTHER, port) for port in ports[5:8]]
    reached = [(ground.server_host if host == "0.0.0.0" else host, port) for host, port in addresses]
    with another_program(ground, addresses), contextlib.ExitStack() as held:
        server = held.enter_context(tiers.Server(ground, admin=True, changes=changes))
        calls = [media.Call(server) for _ in range(6)]
        ears = held.enter_context(media.Ears())
        for call in calls:
            held.callback(call.close)
            for sock, hear in call.ears():
                ears.add(sock, hear)

        def speak():
            for call in calls:
                call.to_peer()
                call.to_client()

        with media.Mouth(speak, PAUSE_S):
            each_is_heard(ground, reached)
            got = takes_every_port(server, {port for _, port in at_relay})
            each_is_heard(ground, reached)
        missing = ears.hear_all(lambda: sum(call.sent() - call.heard() for call in calls))
        check(missing == 0, f"and calls lose nothing either: {missing}")
        own = {port for _, port in addresses} - {port for _, port in at_relay}
        used = got | {call.client.relayed[1] for call in calls}
        check(own & used, "what is bound at another address may be given at the relay address")
        check(len(used) >= PORTS - len(at_relay) - 1, f"all others were given out: {len(used)}")
    proved(f"{ground.tier}: {2 * ROUNDS} datagrams to each of {len(addresses)} sockets of another program, none lost beside "
           f"{sum(call.sent() for call in calls)} of calls, and none of its {len(at_relay)} ports at the relay address given out")


def test():
    tiers.each(on_tier)


if __name__ == "__main__":
    harness.main(test, cable=False)
