"""Starts a TURN server on loopback for one test, and always stops it again.

SWINGBRIDGE_INTEROP_SERVER=coturn puts Debian's coturn in the place of our server: the tests can so be judged without
it. SWINGBRIDGE_BIN names another binary than target/release/swingbridge.
"""

import base64
import contextlib
import ctypes
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

import place
import stun

ROOT = pathlib.Path(__file__).resolve().parents[2]
USER, PASSWORD, REALM = "alice", "correct-horse-battery", "interop.example"
PORTS = range(50_000, 60_000)
SKIPPED = 77
PATH_VARIABLE = place.PATH_VARIABLE
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Skip(Exception):
    """The test cannot be run here; the text says why."""


def binary():
    return pathlib.Path(os.environ.get("SWINGBRIDGE_BIN") or ROOT / "target/release/swingbridge")


def other_server():
    """The name of the server that stands in for ours, or None."""
    name = os.environ.get("SWINGBRIDGE_INTEROP_SERVER") or "swingbridge"
    if name not in ("swingbridge", "coturn"):
        raise SystemExit(f"SWINGBRIDGE_INTEROP_SERVER={name}: swingbridge or coturn")
    return None if name == "swingbridge" else name


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port(kind=socket.SOCK_DGRAM):
    """A port that is free on both loopback addresses and is no relay port."""
    for _ in range(200):
        with contextlib.ExitStack() as held:
            first = held.enter_context(socket.socket(socket.AF_INET, kind))
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port in PORTS:
                continue
            if has_ipv6():
                second = held.enter_context(socket.socket(socket.AF_INET6, kind))
                try:
                    second.bind(("::1", port))
                except OSError:
                    continue
            return port
    raise RuntimeError("no free port on loopback")


def free_port_of_both():
    """A port that is free for UDP and for TCP."""
    for _ in range(50):
        port = free_port()
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
            held.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free for both")


def make_certificate(folder, name="server", hosts=("localhost",)):
    """A self-signed certificate for these names and for loopback; gives the files of chain and key."""
    need("openssl")
    chain, key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    own = dict.fromkeys(("127.0.0.1", "::1", place.SERVER4, place.SERVER6))
    names = ",".join([*(f"DNS:{host}" for host in hosts), *(f"IP:{address}" for address in own)])
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", chain, "-days", "30", "-subj", f"/CN={hosts[0]}"]
    command += ["-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return chain, key


def time_limited(secret, user, lifetime_s=3600):
    """The user name and password of a credential that ends by itself."""
    name = f"{int(time.time()) + lifetime_s}:{user}"
    mac = hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()
    return name, base64.b64encode(mac).decode()


class Server:
    """A running server. `with Server() as server:` yields it when it answers and stops it at the end."""

    def __init__(
        self,
        *,
        allow=(f"{place.HERE4}/32", f"{place.HERE6}/128"),
        auth="static",
        log=None,
        limits=None,
        admin=False,
        more_auth=(),
        handed=None,
        external=None,
        more="",
        mobility=False,
        streams=False,
    ):
        self.allow, self.auth, self.log = list(allow), auth, log or {}
        self.limits = limits or {}
        # What a 1:1 NAT would show for each of our addresses.
        self.external = external or {}
        self.more_auth, self.handed = list(more_auth), handed
        self.more = more
        self.mobility = mobility
        self.secret = secrets.token_urlsafe(24)
        # Over TCP and TLS too, with the certificate `server.pem` in the folder.
        self.streams = streams
        self.port = free_port_of_both() if streams else free_port()
        self.admin_port = free_port(socket.SOCK_STREAM) if admin else None
        self.hosts = [place.SERVER4] + ([place.SERVER6] if has_ipv6() else [])
        self.path, self.interfaces = os.environ.get(PATH_VARIABLE), place.INTERFACES
        self.listens_to_signals = not other_server()
        self.exit_code = None

    def address(self, host=place.SERVER4):
        return host, self.port

    def url(self, host=place.SERVER4, transport="udp"):
        scheme, transport = ("turns", "tcp") if transport == "tls" else ("turn", transport)
        return f"{scheme}:{bracketed(host)}:{self.port}?transport={transport}"

    def client(self, host=place.SERVER4, credential=(USER, PASSWORD)):
        return stun.Client(self.address(host), *credential)

    def config(self):
        """Our server's configuration file."""
        listen = ", ".join(f'"{bracketed(host)}:{self.port}"' for host in self.hosts)
        relays = ", ".join(self.relay(host) for host in self.hosts)
        allow = ", ".join(f'"{prefix}"' for prefix in self.allow if ":" not in prefix or has_ipv6())
        handed = f', {{ credential = "{self.handed}" }}' if self.handed else ""
        lines = [
            f'realm = "{REALM}"',
            "[listen]",
            f"udp = [{listen}]",
            f"stream = [{listen if self.streams else ''}]",
            *(["[[tls.certificates]]", 'chain = "server.pem"', 'key = "server.key"'] if self.streams else []),
            "[relay]",
            f"addresses = [{relays}]",
            f'ports = "{PORTS[0]}-{PORTS[-1]}"',
            "workers = 2",
            *([f'path = "{self.path}"'] if self.path else []),
            *([f"kernel_interfaces = {json.dumps(self.interfaces)}"] if self.interfaces else []),
            "[auth]",
            f'secrets = ["{self.secret}"{handed}]',
            f'users = {{ {USER} = "{PASSWORD}" }}',
            *self.more_auth,
            f"mobility = {str(self.mobility).lower()}",
            "[peers]",
            'default = "public"',
            f"allow = [{allow}]",
            "[limits]",
        ]
        lines += [f'{key} = "{value}"' for key, value in self.limits.items()]
        lines.append("[log]")
        lines += [f'{key} = "{value}"' for key, value in self.log.items()]
        admin = f"127.0.0.1:{self.admin_port}" if self.admin_port else "off"
        lines += ["[admin]", f'listen = "{admin}"']
        return "\n".join(lines) + "\n" + self.more

    def relay(self, host):
        """One relay address of the configuration file."""
        if host not in self.external:
            return f'"{host}"'
        return f'{{ bind = "{host}", external = "{self.external[host]}" }}'

    def command(self):
        if other_server() == "coturn":
            return self.coturn_command()
        program = binary()
        if not program.exists():
            raise RuntimeError(f"{program} is not there: cargo build --release")
        if self.streams:
            make_certificate(self.folder)
        file = pathlib.Path(self.folder, "swingbridge.toml")
        file.write_text(self.config())
        file.chmod(0o600)
        return self.command_there(str(program), "serve", "--config", str(file))

    def command_there(self, *words):
        """A command as it is run on the server's side."""
        return place.command(*words)

    def there(self):
        """Sockets made within are on the server's side."""
        return place.there()

    def get(self, path="/metrics", timeout_s=5):
        """A page of the door for metrics."""
        with self.there():
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=timeout_s)

    def coturn_command(self):
        """coturn knows static users or time-limited credentials, but never both in one process."""
        program = shutil.which("turnserver")
        if not program:
            raise Skip("coturn's turnserver is not installed")
        command = [program, "-n", "--no-cli", "--no-dtls", "--log-file=stdout", "--simple-log", "-v"]
        if self.streams:
            chain, key = make_certificate(self.folder)
            # It has a port of its own for TLS, and like ours takes both on either.
            command += [f"--cert={chain}", f"--pkey={key}", f"--tls-listening-port={free_port_of_both()}"]
        else:
            command.append("--no-tls")
        command += [f"--pidfile={self.folder}/pid", f"--userdb={self.folder}/db", f"--realm={REALM}"]
        command += [f"--listening-port={self.port}", f"--min-port={PORTS[0]}", f"--max-port={PORTS[-1]}"]
        for host in self.hosts:
            command += [f"--listening-ip={host}", f"--relay-ip={host}", f"--allowed-peer-ip={host}"]
        command.append("--allow-loopback-peers")
        command += ["--mobility"] if self.mobility else []
        if self.auth == "static":
            return command + ["--lt-cred-mech", f"--user={USER}:{PASSWORD}"]
        return command + ["--use-auth-secret", f"--static-auth-secret={self.secret}"]

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="swingbridge-interop-")
        try:
            self.process = spawn(self.command(), self.folder)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            if self.is_open():
                return self
        except BaseException:
            self.__exit__(RuntimeError, None, None)
            raise
        self.__exit__(RuntimeError, None, None)
        raise RuntimeError("the server was started and did not answer")

    def is_open(self):
        """Waits until it answers at each of its doors."""
        if not answers(self.process, self.address()):
            return False
        # The door for connections opens after that for datagrams, and the one for metrics last.
        if self.admin_port:
            with self.there():
                opened = opens(self.process, ("127.0.0.1", self.admin_port))
        else:
            opened = not self.streams or opens(self.process, self.address())
        # Workers answer before anybody listens to signals; SIGTERM would end it as if it had no handler.
        return opened and (not self.listens_to_signals or listens_to(self.process, signal.SIGTERM))

    def __exit__(self, failure, *_):
        self.exit_code = stop(self.process)
        # coturn has no handler for the signal.
        clean = self.exit_code == (-signal.SIGTERM if other_server() == "coturn" else 0)
        if failure or not clean:
            print("---- the server's log\n" + self.output()[-6000:] + "\n----", file=sys.stderr)
        self.final_output = self.output()
        shutil.rmtree(self.folder, ignore_errors=True)
        if not failure and not clean:
            raise AssertionError(f"after SIGTERM the server ended with {self.exit_code}, not 0")

    def memory(self):
        """Bytes that the server made its own. Pages of files, which it gives back after its start and which come again with
        the code that is used, are not among them."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon:"))

    def output(self):
        """Everything it has printed, on both of its outputs."""
        if not os.path.isdir(self.folder):
            return self.final_output
        return "".join(pathlib.Path(self.folder, name).read_text(errors="replace") for name in ("out", "err"))


def prctl(*arguments):
    if ctypes.CDLL(None, use_errno=True).prctl(*arguments, *[0] * (5 - len(arguments))):
        raise OSError(ctypes.get_errno(), "prctl")


def ends_with_us():
    """What a process does before it becomes another: that one is killed when the thread that made it is gone."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, folder, **more):
    """Starts a program with its outputs in the files `out` and `err` of the folder. The main thread does, for it is killed when
    its maker is gone, however that ends."""
    with open(f"{folder}/out", "ab") as out, open(f"{folder}/err", "ab") as err:
        more.setdefault("preexec_fn", ends_with_us)
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **more)


def answers(process, address, timeout_s=15):
    """Whether it answers a Binding request before the time is up or it ends."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        if stun.binding(address, 0.3):
            return True
        time.sleep(0.1)
    return False


def opens(process, address, timeout_s=15):
    """Whether it takes a connection before the time is up or it ends."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(address, 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def listens_to(process, number, timeout_s=15):
    """Whether it has a handler for this signal before the time is up or it ends."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        if int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1:
            return True
        time.sleep(0.01)
    return False


def stop(process, timeout_s=5):
    """SIGTERM, and SIGKILL if that is not heard. Gives the exit code; negative is the signal that ended it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def bracketed(host):
    return f"[{host}]" if ":" in host else host


def need(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Skip(f"not installed: {', '.join(missing)}")


def check(condition, claim):
    """One assertion, with the sentence that it proves."""
    if not condition:
        raise AssertionError(claim)


def proved(claim):
    print(f"proved: {claim}", flush=True)


def not_proved(part, why):
    """A named skip of one part of a test; tests/run reads this line."""
    print(f"skipped: {part}: {why}", flush=True)


def children():
    """The processes that this one has started, and those left to it by them."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def leave_nobody(rounds=50):
    """Ends whatever this process has started and has not ended."""
    for _ in range(rounds):
        # What a child has started becomes ours with its end.
        for child in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
        if not children():
            return


# Seconds after which a test hangs: several times what the longest of those that do not say otherwise takes on a quiet machine.
HANGS_S = 300


def main(test, timeout_s=HANGS_S, cable=True):
    """Runs a test: exit code 0 passed, 1 failed, 77 cannot be run here. A test that hangs fails; none leaves a process behind.
    With `cable`, one for a path in the kernel is run at the far end of a cable to its server."""

    def give_up():
        raise TimeoutError(f"the test took longer than {timeout_s} s")

    def on_alarm(*_):
        give_up()

    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.alarm(timeout_s)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    code = 1
    try:
        with contextlib.ExitStack() as held:
            if cable and place.ON_CABLE:
                place.lay_cable(held)
            test()
        code = 0
    except Skip as why:
        print(why)
        code = SKIPPED
    except BaseException:  # the whole story belongs in the log
        traceback.print_exc()
    signal.alarm(0)
    leave_nobody()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still wait for what will not come are not waited for.
    os._exit(code)
