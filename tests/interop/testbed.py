"""The real laboratory: calls between places, our own agents and aioice in it, and nothing of it left afterwards (root)."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import harness
from harness import check
from harness import proved

AIOICE = harness.ROOT / "conf/testbed/aioice_client.py"
TUN = "/dev/net/tun"
# Each answer that a client can come to, with the pairs of places that show it. All of them: `testbed matrix --lab real`.
OWN = [
    ("open", "open", "direct"),
    ("full-cone", "port-restricted", "direct"),
    ("cgn", "cgn", "direct"),
    ("symmetric", "address-restricted", "direct"),
    ("symmetric", "port-restricted", "relayed (udp)"),
    ("symmetric", "symmetric", "relayed (udp)"),
    ("udp-blocked", "open", "relayed (tcp)"),
    ("only-443", "udp-blocked", "relayed (tls)"),
    ("http-proxy", "symmetric", "relayed (proxy)"),
    ("http-proxy", "http-proxy", "relayed (proxy)"),
]
# With NATs of the kernel: each behaviour that it has, and each wall.
BY_KERNEL = [
    ("full-cone", "port-restricted", "direct"),
    ("full-cone", "symmetric", "direct"),
    ("symmetric", "symmetric", "relayed (udp)"),
    ("cgn", "address-restricted", "direct"),
    ("udp-blocked", "port-restricted", "relayed (tcp)"),
    ("only-443", "http-proxy", "relayed (proxy)"),
]
FILTERED, WALLED = "filtered: nothing was sent to this address before", "the firewall lets it not out"
# How each place looks to RFC 5780: whether there is a NAT, mapping, filtering, hairpinning; nothing where UDP does not leave.
KINDS = {
    "open": (False, None, "endpoint-independent", None),
    "full-cone": (True, "endpoint-independent", "endpoint-independent", True),
    "address-restricted": (True, "endpoint-independent", "address-dependent", True),
    "port-restricted": (True, "endpoint-independent", "address-and-port-dependent", True),
    "symmetric": (True, "address-and-port-dependent", "address-and-port-dependent", None),
    "cgn": (True, "endpoint-independent", "address-and-port-dependent", True),
    "udp-blocked": None,
    "only-443": None,
    "http-proxy": None,
}


def testbed(*arguments):
    return [str(harness.binary()), "testbed", *arguments]


def run(left, right, *more, programs=(), timeout_s=170):
    """One call: exit code, what the routers saw, what was printed."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "outcome.json")
        command = testbed("run", "--left", left, "--right", right, "--json", str(file), *more, *programs)
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
        outcome = json.loads(file.read_text()) if file.exists() else None
    return ran.returncode, outcome, ran.stdout + ran.stderr


def judged(left, right, wanted, *more, programs=()):
    code, outcome, printed = run(left, right, *more, programs=programs)
    check(outcome is not None, f"{left} and {right}: there is an outcome: {printed}")
    said = f"{left} and {right}: {outcome['verdict']}, exit code {code}: {printed} {outcome['programs']}"
    check(outcome["verdict"] == wanted and code == 0, said)
    return outcome


def own_agents():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda case: judged(*case), OWN))
    for (left, right, wanted), outcome in zip(OWN, outcomes):
        check(outcome["expected"] == wanted, f"the table of the documentation says so too: {left}, {right}")
        for program in outcome["programs"]:
            check(program["said"]["heard"] > 50, f"each side heard the other: {program}")
    proved(f"our own agents: {len(OWN)} pairs of places end as they have to, by what the routers saw")


def discovered(kinds, *more):
    """What our own client finds of each place in turn, two at a time."""
    programs = ["--", *testbed("agent", "--discover"), "--", *testbed("agent", "--discover")]
    places = [*kinds, "open"] if len(kinds) % 2 else [*kinds]
    for left, right in zip(places[::2], places[1::2]):
        _, outcome, printed = run(left, right, *more, programs=programs)
        for place, program in zip((left, right), outcome["programs"]):
            said, kind = program["said"], kinds.get(place, KINDS[place])
            found = tuple(said[name] for name in ("nat", "mapping", "filtering", "hairpin"))
            check(said["reach"] == ("full" if kind else "silent"), f"{place}: {said} {printed}")
            check(found == (kind or (None,) * 4), f"{place}: {said} {printed}")


def discovery():
    discovered(KINDS)
    proved(f"RFC 5780: our own client recognises {len(KINDS)} places by mapping, filtering and hairpinning")


def kernel_nats():
    """The NATs next to the programs are nftables' here, and the calls end as they do with the model."""
    harness.need("nft")
    agent = testbed("agent", "--data", "2s")

    def call(case):
        return judged(*case, "--nat", "kernel", programs=["--", *agent, "--", *agent])

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(call, BY_KERNEL))
    for (left, right, wanted), outcome in zip(BY_KERNEL, outcomes):
        check(outcome["nats"] == "kernel" and outcome["expected"] == wanted, f"{left} and {right}: {outcome['nats']}")
        for place, side in ((left, "left"), (right, "right")):
            stopped = {gate["fate"]: gate["packets"] for gate in outcome["gates"] if gate["side"] == side}
            check((stopped.get(WALLED, 0) > 0) == (KINDS[place] is None), f"what a wall stops is counted: {place}: {stopped}")
            if place == "symmetric":
                check(stopped.get(FILTERED, 0) > 0, f"what a filter stops is counted: {place}: {stopped}")
    # The kernel turns no packet around; behind a carrier it is the carrier's NAT that does.
    kinds = {place: (*KINDS[place][:3], False) for place in ("full-cone", "address-restricted", "port-restricted")}
    discovered(kinds | {"symmetric": KINDS["symmetric"], "cgn": KINDS["cgn"]}, "--nat", "kernel")
    proved(f"NATs of the kernel: {len(BY_KERNEL)} pairs of places end as with the model, and 5 places look as they should")


def routes():
    """What a client finds in its network: one interface, and one way out."""
    show = ["sh", "-c", "echo \"[$(ip -j -4 address), $(ip -j route)]\""]
    _, outcome, printed = run("cgn", "http-proxy", programs=["--", *show, "--", *show])
    for program in outcome["programs"]:
        check(program["said"] is not None, f"a client may look at its network: {program} {printed}")
        addresses, ways = program["said"]
        names = [each["ifname"] for each in addresses]
        check(names == ["lo", "eth0"], f"one interface beside loopback: {names}")
        default = [way["dev"] for way in ways if way["dst"] == "default"]
        check(default == ["eth0"], f"one default route, by it: {ways}")
    proved("each client has one interface, and a default route by it")


def bad_lines():
    more = ("--loss", "3%", "--delay", "30ms", "--jitter", "10ms", "--reorder", "2%", "--duplication", "2%", "--seed", "7")
    outcome = judged("port-restricted", "port-restricted", "direct", *more)
    lost = outcome["lost_on_the_lines"]
    check(min(lost) > 0, f"both lines lost something: {lost}")
    after = outcome["connected_after_ms"]
    check(after > 4 * 30, f"a call takes more than two round trips, which are 120 ms each: {after}")
    code, outcome, printed = run("open", "open", "--loss", "100%", "--", *testbed("agent", "--patience", "4s"), "--", "true")
    check(code == 1 and outcome["verdict"] == "failed", f"a line that loses everything connects nobody: {printed}")
    proved("lines lose, delay, reorder and repeat packets; a call over them connects, and over a dead one does not")


def wrong_programs():
    code, outcome, printed = run("open", "open", "--timeout", "2s", programs=["--", "sleep", "600", "--", "true"])
    check(code == 1 and outcome["verdict"] == "failed", printed)
    check([program["ended"] for program in outcome["programs"]] == ["hung", {"exit": 0}], f"{outcome['programs']}")
    code, _, printed = run("open", "open", programs=["--", "/no/such/program", "--", "true"])
    check(code == 2 and "/no/such/program" in printed, printed)
    liar = ["--", "sh", "-c", "echo '{\"connected\": true}'", "--", "true"]
    code, outcome, _ = run("open", "open", programs=liar)
    check((code, outcome["verdict"]) == (1, "failed"), "a program that only says so has not connected")
    proved("a program that hangs is ended, one that is not there is named, and one that lies is not believed")


def aioice():
    def client(transport="udp"):
        return [sys.executable, str(AIOICE), "--transport", transport]

    cases = [
        ("full-cone", "full-cone", "direct", "udp"),
        ("symmetric", "symmetric", "relayed (udp)", "udp"),
        ("udp-blocked", "full-cone", "relayed (tcp)", "tcp"),
        ("only-443", "open", "relayed (tls)", "tls"),
    ]
    for left, right, wanted, transport in cases:
        judged(left, right, wanted, programs=["--", *client(transport), "--", *client()])
    proved("aioice: " + ", ".join(f"{left} and {right} {wanted}" for left, right, wanted, _ in cases))
    judged("port-restricted", "symmetric", "relayed (udp)", programs=["--", *testbed("agent"), "--", *client()])
    proved("our own agent and aioice call each other")


def folders():
    return set(pathlib.Path(tempfile.gettempdir()).glob("swingbridge-testbed-*"))


def interfaces():
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return sorted(re.findall(r"^\d+: ([^:@]+)", listed, re.M))


def processes(folder):
    """Processes of the run in this folder, by what they were called with or what they found in their environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words:
                found.append(int(entry.name))
    return found


def begun():
    """A call that would go on for minutes, as soon as its programs run, and its folder."""
    before = folders()
    programs = ["--", "sleep", "500", "--", "sleep", "500"]
    command = testbed("run", "--left", "symmetric", "--timeout", "9m", *programs)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until = time.monotonic() + 60
    while True:
        new = folders() - before
        if new and all((next(iter(new)) / name).exists() for name in ("left.log", "right.log")):
            # unshare, the process of the run, the server, both programs.
            if len(processes(next(iter(new)))) >= 5:
                return process, next(iter(new))
        check(time.monotonic() < until and process.poll() is None, "a call can be begun")
        time.sleep(0.05)


def gone(folder):
    until = time.monotonic() + 20
    while processes(folder) and time.monotonic() < until:
        time.sleep(0.05)
    check(not processes(folder), f"no process of the run is left: {processes(folder)}")
    check(not folder.exists(), "nor its folder")


def clean(*more):
    return subprocess.run(testbed("clean", *more), capture_output=True, text=True, timeout=60)


def leftovers():
    before = interfaces()
    was_there = folders()
    code, _, printed = run("cgn", "open", programs=["--", "true", "--", "true"])
    check(code == 1 and folders() == was_there, f"a call without data has failed, and leaves nothing: {printed}")
    process, folder = begun()
    check(interfaces() == before, "no interface of the laboratory is in this network")
    check("left" in clean().stdout and folder.exists(), "a call that goes on is left alone")
    process.send_signal(signal.SIGINT)
    check(process.wait(30) == 1, "Ctrl-C ends a call, which has not succeeded then")
    gone(folder)
    proved("after its end and after Ctrl-C nothing of a call is left")

    process, folder = begun()
    process.kill()
    process.wait()
    cleaned = clean()
    check(cleaned.returncode == 0 and str(folder) in cleaned.stdout, cleaned.stdout + cleaned.stderr)
    gone(folder)

    process, folder = begun()
    # Another end of the leash, so that nobody in it can notice that the caller is gone.
    first = json.loads((folder / "state.json").read_text())["processes"][1]["pid"]
    leash = os.open(f"/proc/{first}/fd/0", os.O_WRONLY)
    process.kill()
    process.wait()
    check(len(processes(folder)) >= 5, "it goes on without its caller")
    cleaned = clean()
    check(cleaned.returncode == 0 and "with 1 processes" in cleaned.stdout, cleaned.stdout + cleaned.stderr)
    gone(folder)
    os.close(leash)
    check(interfaces() == before, "nor an interface")
    process, folder = begun()
    check(clean("--all").returncode == 0, "--all ends calls that go on")
    gone(folder)
    process.wait(30)
    proved("after kill -9 `testbed clean` leaves nothing, whatever the run was doing")


# A place for the device that a user may open or not, seen by what is started in it alone; then an ordinary user.
STRANGER = """
set -eu
mount -t tmpfs -o mode=755 none /dev/net
[ "$MODE" = none ] || mknod -m "$MODE" /dev/net/tun c 10 200
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


def stranger(folder, mode, *command):
    """What became of a command of an ordinary user, for whom /dev/net/tun has this mode, or is not there."""
    environment = os.environ | {"HOME": folder, "TMPDIR": folder, "MODE": mode}
    started = ["unshare", "--mount", "sh", "-c", STRANGER, "sh", *command]
    ran = subprocess.run(started, capture_output=True, text=True, timeout=100, cwd=folder, env=environment)
    return ran.returncode, ran.stdout + ran.stderr


def user_namespace():
    """The laboratory of somebody who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        program = shutil.copy(harness.binary(), folder)
        os.chmod(program, 0o755)
        code, printed = stranger(folder, "666", "unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "true")
        if code != 0:
            return harness.not_proved("user-namespace", f"users may not make namespaces here: {printed.strip()}")
        run = [program, "testbed", "run", "--left", "symmetric", "--right", "udp-blocked"]
        code, printed = stranger(folder, "666", *run)
        check(code == 0 and "symmetric - udp-blocked: relayed (tcp)" in printed, f"a user's call: {code} {printed}")
        code, printed = stranger(folder, "666", *run, "--nat", "kernel")
        check(code == 0 and "relayed (tcp)" in printed, f"a user's call by NATs of the kernel: {code} {printed}")
        for mode, why in (("600", "Permission denied"), ("none", "No such file")):
            code, printed = stranger(folder, mode, *run)
            told = f"`{TUN}` cannot be opened: {why}" in printed and "help: run it as root, or" in printed
            check(code == 3 and told, f"without the device: {code} {printed}")
        # As where an administrator forbids it: the user is one of a namespace that may have no other within.
        forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        within = ["unshare", "--user", "--map-user=1000", "--keep-caps", "sh", "-c", forbid, "sh"]
        code, printed = stranger(folder, "666", *within, *run)
        check(code == 3 and "unshare failed" in printed, f"without namespaces: {code} {printed}")
        check("help: run it as root, or let users make namespaces" in printed, f"and what helps: {printed}")
        check(os.listdir(folder) == [os.path.basename(program)], f"nothing is left of it: {os.listdir(folder)}")
    proved("an ordinary user has a laboratory in a user namespace, or is told what it takes")


def need(*more):
    """What the laboratory takes, and these programs."""
    harness.need("ip", "unshare", "setpriv", *more)
    if os.geteuid() != 0 or not os.access(TUN, os.R_OK | os.W_OK):
        raise harness.Skip(f"the laboratory takes root and {TUN} here")


def test():
    need()
    leftovers()
    wrong_programs()
    routes()
    own_agents()
    bad_lines()
    discovery()
    kernel_nats()
    user_namespace()
    aioice()


if __name__ == "__main__":
    harness.main(test, 600)
