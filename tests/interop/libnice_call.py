"""Two agents of libnice in the mode of Office Communicator 2007 R2 call each other, relayed candidates alone."""

import asyncio
import base64
import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading

import aioice_echo
import chromium_call
import harness
import legacy
from place import HERE4
from place import NAME
from place import SERVER4
from harness import Skip, check, proved

# Half of them leave before the pause, and the pause holds two refreshes of an allocation of so many seconds.
COUNT, LIFETIME_S, HOLD_S = 1_000, 16, 18
# Its "tls" is pseudo-TLS. Over a connection it opens a second one, whose frames have no length; they are closed quietly.
TRANSPORTS = ["udp", "tcp", "tls"]


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


STATIC = (harness.USER.encode(), harness.PASSWORD.encode())


def call(program, server, transport, *, credential=STATIC, count=COUNT, hold_s=0):
    """What the driver said, and its exit code."""
    encoded = [base64.b64encode(part).decode() for part in credential]
    command = [str(program), SERVER4, str(server.port), transport, *encoded, str(count), str(hold_s), HERE4]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(transport, done.stdout.strip(), done.stderr.strip(), flush=True)
    return json.loads(done.stdout), done.returncode


@contextlib.contextmanager
def calling(server):
    """A call of two aioice agents through the same port, again and again; yields its thread."""
    enough, failures = threading.Event(), []
    done = strays = 0

    def run():
        nonlocal done, strays
        try:
            while not enough.is_set():
                try:
                    asyncio.run(aioice_echo.call(server, SERVER4, (harness.USER, harness.PASSWORD)))
                except AssertionError as failure:
                    # libnice gives nothing back: at a port of its that the kernel gives out again, all is data of the old
                    # dialect for as long as that allocation lives. It is one port of thousands.
                    if "has relayed candidates" not in str(failure) or strays == 1:
                        raise
                    strays += 1
                    continue
                done += 1
        except BaseException as failure:  # told below, in the thread that judges
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        enough.set()
        thread.join(60)
    check(not failures and done > 0, f"{done} calls of the other dialect, {failures}")


def beside_a_browser(program):
    """Chromium calls over TLS, and libnice in all its ways meanwhile, on one port."""
    modules = harness.ROOT / "target/node_modules/playwright-core"
    if not (shutil.which("chromium") and shutil.which("node") and modules.is_dir()):
        return harness.not_proved("libnice_call:browser", "Chromium, node or playwright-core is not installed")
    with harness.Server(streams=True) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        url = server.url(NAME, "tls")
        ice_servers = [{"urls": url, "username": harness.USER, "credential": harness.PASSWORD}]
        browser = pool.submit(chromium_call.call, ice_servers, ["--ignore-certificate-errors"])
        done = conflicts = 0
        while not browser.done():
            for transport in TRANSPORTS:
                said, code = call(program, server, transport, count=100)
                # Where the machine is slow, libnice may answer its own first check with a role conflict (49 bytes), and over a
                # connection it makes no second one.
                if transport != "udp" and said["error"] == "a component failed" and not conflicts:
                    conflicts += 1
                    continue
                check(code == 0 and said["twice"] == 0, f"{transport}, beside a browser: {said}")
                done += not browser.done()
        chromium_call.judge(browser.result(), f"beside {done} calls of libnice", "tls")
        check(done >= len(TRANSPORTS), "libnice called in each of its ways while the browser did")


def test():
    with tempfile.TemporaryDirectory() as folder:
        program = built(folder)
        with harness.Server(streams=True) as server:
            for transport in TRANSPORTS:
                said, code = call(program, server, transport)
                check(code == 0 and said["got"] == [COUNT, COUNT], f"{transport}: {said}")
                check(said["twice"] == 0, f"{transport}: no datagram came twice")
                proved(f"libnice, {transport}: {COUNT} datagrams each way, none lost, none twice")
                said, code = call(program, server, transport, credential=(STATIC[0], b"wrong"))
                check(code == 3 and said["all_ms"] < 1_000, f"{transport}: a wrong password is known: {said}")
                proved(f"libnice, {transport}: a wrong password fails within a second")
        pair = legacy.keys()
        with harness.Server(streams=True, more=legacy.section(pair)) as server:
            token = legacy.minted(pair, "sip:alice@example.com")
            said, code = call(program, server, "udp", credential=token)
            check(code == 0 and said["got"] == [COUNT, COUNT], f"with a token: {said}")
            check(said["twice"] == 0, "no datagram came twice")
            for transport in ("tcp", "tls"):
                said, code = call(program, server, transport, credential=token, count=100)
                check(code == 0 and said["got"] == [100, 100], f"with a token over {transport}: {said}")
            for number in range(20):
                said, code = call(program, server, "udp", credential=legacy.minted(pair, f"user {number}"), count=2)
                check(code == 0, f"token {number}: {said}")
            proved(f"libnice with MRAS tokens, udp: {COUNT} datagrams each way, and 20 calls with 20 tokens")
            proved("libnice with an MRAS token over TCP and pseudo-TLS: 100 datagrams each way")
            for cut, expected in ((False, 0), (True, 3)):
                said, code = call(program, server, "udp", credential=legacy.handmade(pair, cut), count=2)
                check(code == expected, f"a token made by another program, cut by libnice: {cut}: {said}")
            proved("a token of another program opens a call; one that libnice cuts does not, and none such is minted")
            said, code = call(program, server, "udp", credential=(token[0], bytes(range(1, 21))))
            check(code == 3 and said["all_ms"] < 1_000, f"a wrong password of a token is known: {said}")
            with calling(server) as browser:
                said, code = call(program, server, "udp", credential=token, hold_s=2)
                check(code == 0 and said["got"] == [COUNT, COUNT], f"beside another call: {said}")
                check(browser.is_alive(), "the other call goes on all the while")
            proved("an agent of RFC 8656 calls through the same port at the same time")
        with harness.Server(streams=True, limits={"allocation_lifetime_max": f"{LIFETIME_S}s"}) as server:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                calls = [pool.submit(call, program, server, transport, hold_s=HOLD_S) for transport in TRANSPORTS]
            for transport, (said, code) in zip(TRANSPORTS, [done.result() for done in calls]):
                check(code == 0 and said["got"] == [COUNT, COUNT], f"{transport}, after {HOLD_S} s: {said}")
                check(said["twice"] == 0, f"{transport}: no datagram came twice")
                proved(f"libnice, {transport}: the call holds for {HOLD_S} s at lifetimes of {LIFETIME_S} s")
        beside_a_browser(program)


if __name__ == "__main__":
    harness.main(test)
