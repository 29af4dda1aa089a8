"""Two agents of libnice in the mode of Office Communicator 2007 R2 call each other, relayed candidates alone."""

import base64
import json
import pathlib
import subprocess
import tempfile

import harness
from harness import Skip, check, proved

# Half of them leave before the pause, and the pause holds two refreshes of an allocation of so many seconds.
COUNT, LIFETIME_S, HOLD_S = 1_000, 16, 18
TRANSPORTS = ["udp"]


def built(folder):
    """The driver, which is a C program: libnice's data callback cannot be reached from Python."""
    harness.need("cc", "pkg-config")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "nice"], capture_output=True, text=True)
    if flags.returncode != 0:
        raise Skip("libnice-dev is not installed")
    program = pathlib.Path(folder, "libnice_call")
    source = pathlib.Path(__file__).with_name("libnice_call.c")
    command = ["cc", "-O1", "-Wall", "-Werror", "-o", str(program), str(source), *flags.stdout.split()]
    subprocess.run(command, check=True)
    return program


def call(program, server, transport, *, password=harness.PASSWORD, count=COUNT, hold_s=0):
    """What the driver said, and its exit code."""
    encoded = [base64.b64encode(text.encode()).decode() for text in (harness.USER, password)]
    command = [str(program), "127.0.0.1", str(server.port), transport, *encoded, str(count), str(hold_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(transport, done.stdout.strip(), done.stderr.strip(), flush=True)
    return json.loads(done.stdout), done.returncode


def test():
    with tempfile.TemporaryDirectory() as folder:
        program = built(folder)
        with harness.Server() as server:
            for transport in TRANSPORTS:
                said, code = call(program, server, transport)
                check(code == 0 and said["got"] == [COUNT, COUNT], f"{transport}: {said}")
                check(said["twice"] == 0, f"{transport}: no datagram came twice")
                proved(f"libnice, {transport}: {COUNT} datagrams each way, none lost, none twice")
                said, code = call(program, server, transport, password="wrong")
                check(code == 3 and said["all_ms"] < 1_000, f"{transport}: a wrong password is known: {said}")
                proved(f"libnice, {transport}: a wrong password fails within a second")
        with harness.Server(limits={"allocation_lifetime_max": f"{LIFETIME_S}s"}) as server:
            said, code = call(program, server, "udp", hold_s=HOLD_S)
            check(code == 0 and said["got"] == [COUNT, COUNT], f"after {HOLD_S} s: {said}")
            proved(f"libnice, udp: the call holds for {HOLD_S} s at lifetimes of {LIFETIME_S} s")


if __name__ == "__main__":
    harness.main(test)
