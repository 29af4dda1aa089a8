"""`swingbridge serve` and not a word more, as an ordinary user with an empty home: it starts, tells how to call, ends."""

import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time

import harness
import stun
from harness import check
from harness import proved

PORT = 3478
NOBODY = 65534


def as_ordinary_user(command):
    """Without root's rights; what already is an ordinary user stays one."""
    if os.getuid() != 0:
        return command
    harness.need("setpriv")
    rights = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *rights, "--", *command]


def port_is_free():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", PORT))
        return True
    except OSError:
        return False


class Home:
    """An empty home with a copy of the binary where anybody may run it."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="swingbridge-home-"))
        self.state = self.path / "state"
        self.binary = self.path / "swingbridge"
        shutil.copyfile(harness.binary(), self.binary)
        self.binary.chmod(0o755)
        self.state.mkdir()
        if os.getuid() == 0:
            os.chown(self.path, NOBODY, NOBODY)
            os.chown(self.state, NOBODY, NOBODY)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, name):
        """The process and the folder of its outputs."""
        folder = self.path / name
        folder.mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.path), "XDG_STATE_HOME": str(self.state)}
        command = as_ordinary_user([str(self.binary), "serve"])
        return harness.spawn(command, str(folder), env=environment), folder

    def secrets(self):
        """Every file of the state directory: its path and what it holds."""
        return {path: path.read_bytes() for path in self.state.rglob("*") if path.is_file()}


def ice_servers(text):
    """The iceServers list in what was printed: the first JSON value in it that has one."""
    for start in re.finditer(r"[\[{]", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start.start() :])
        except ValueError:
            continue
        servers = value.get("iceServers") if isinstance(value, dict) else value
        if isinstance(servers, list) and servers and all(isinstance(each, dict) and "urls" in each for each in servers):
            return servers
    raise AssertionError(f"no iceServers JSON in the output:\n{text}")


def read(folder, *names):
    return "".join((folder / name).read_text(errors="replace") for name in names or ("out", "err"))


def first_call(folder):
    """The printed credential opens an allocation."""
    # The listeners answer a moment before the summary is printed.
    until = time.monotonic() + 5
    while "credential" not in read(folder, "out") and time.monotonic() < until:
        time.sleep(0.05)
    server = next(each for each in ice_servers(read(folder, "out")) if "credential" in each)
    urls = server["urls"] if isinstance(server["urls"], list) else [server["urls"]]
    check(all(re.fullmatch(r"(turn|stun):[^ ?]+(\?transport=(udp|tcp))?", url) for url in urls), f"URLs: {urls}")
    lifetime_s = int(server["username"].split(":")[0]) - time.time()
    check(7.9 * 3600 < lifetime_s <= 8 * 3600 + 5, f"the credential lives 8 hours: {server['username']}")
    with stun.Client(("127.0.0.1", PORT), server["username"], server["credential"]) as client:
        client.allocate()
        client.refresh(0)


def privileged_ports_are_told(text):
    for line in text.splitlines():
        if "privileged" in line.lower():
            ports = [int(number) for number in re.findall(r"(?<!\d)\d{1,5}(?!\d)", line)]
            check(any(0 < port < 1024 for port in ports), f"a line about a privileged port names it: {line}")


def run(home, name):
    """One life: start, call, a second instance refused, end. Gives the state directory's files."""
    process, folder = home.start(name)
    try:
        check(harness.answers(process, ("127.0.0.1", PORT)), "serve without a file starts and answers")
        first_call(folder)
        privileged_ports_are_told(read(folder))
        second, second_folder = home.start(f"{name}-second")
        try:
            check(second.wait(10) == 3, f"a second instance ends with exit code 3, not {second.returncode}")
            check(str(PORT) in read(second_folder), "the second instance names the port that is taken")
        except subprocess.TimeoutExpired:
            raise AssertionError("a second instance on the same port goes on running") from None
        finally:
            harness.stop(second)
        check(harness.answers(process, ("127.0.0.1", PORT), 2), "the first instance is none the worse")
    except BaseException:
        harness.stop(process)
        print(f"---- its output\n{read(folder)[-6000:]}\n----", file=sys.stderr)
        raise
    code = harness.stop(process)
    check(code == 0, f"SIGTERM ends it with exit code 0, not {code}")
    return home.secrets()


def test():
    if harness.other_server():
        raise harness.Skip("another server's command line is not ours to judge")
    check(harness.binary().exists(), f"{harness.binary()} is there: cargo build --release")
    if not port_is_free():
        raise harness.Skip(f"UDP port {PORT} is taken on this machine")
    with Home() as home:
        first = run(home, "first")
        proved("serve without a file starts as an ordinary user; its iceServers JSON opens an allocation for 8 hours")
        proved("a second instance on the same port ends with exit code 3 and names the port; SIGTERM ends with 0")
        check(len(first) > 0, "the generated secret is kept in the state directory")
        for path in first:
            mode = stat.S_IMODE(path.stat().st_mode)
            check(mode == 0o600, f"{path.name} is readable by its owner alone: {mode:o}")
        check(run(home, "second") == first, "the next start uses the same secret")
        proved("the secret is kept, readable by its owner alone, and used again by the next start")


if __name__ == "__main__":
    harness.main(test)
