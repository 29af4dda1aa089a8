"""`swingbridge load` against our server in its testbed and with embedded defaults: each mode and each transport gives a full
report, and each way to fail one plain sentence.

LOAD_CALLS and LOAD_SECONDS make the one long run longer: 100 calls for 10 s unless they say otherwise.
"""

import contextlib
import html.parser
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import harness
from harness import check
from harness import proved

CALLS, SECONDS = int(os.environ.get("LOAD_CALLS", "100")), int(os.environ.get("LOAD_SECONDS", "10"))
PAIRS = 200
TESTBED = harness.ROOT / "conf/testbed/loopback.toml"
# What a run may end with: a machine that has something else to do makes the generator late, and it says so.
JUDGED = {"done": 0, "met": 0, "broken": 1, "generator-limited": 1, "stopped": 1}


def make_certificate(folder):
    """A certificate that is its own authority and, unlike those of the other tests, a server's."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", f"{folder}/server.key", "-out", f"{folder}/server.pem", "-days", "30"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)


class Testbed(harness.Server):
    """Our server by the shipped file, on ports of this test and with a certificate."""

    def __init__(self):
        super().__init__(streams=True, admin=True)

    def command(self):
        command = super().command()
        make_certificate(self.folder)
        return command

    def config(self):
        secret = pathlib.Path(self.folder, "secret")
        secret.write_text(self.secret)
        secret.chmod(0o600)
        text = TESTBED.read_text().replace(":3478", f":{self.port}").replace(":9478", f":{self.admin_port}")
        key1, key2 = (pathlib.Path(self.folder, name) for name in ("key1", "key2"))
        for key in (key1, key2):
            key.write_text(f"a key of this test, {key.name}: {self.secret}")
            key.chmod(0o600)
        more = '[[tls.certificates]]\nchain = "server.pem"\nkey = "server.key"\n'
        more += '[mras]\nkeys = [{ key1 = { file = "key1" }, key2 = { file = "key2" } }]\n'
        return text + more


class Page(html.parser.HTMLParser):
    """Wants every element closed, in order, and nothing from outside."""

    VOID = {"meta", "br", "rect", "line", "circle", "polyline", "polygon", "path"}

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.plots = [], "", 0
        self.feed(text)
        check(not self.open, f"all elements are closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        check(tag not in ("script", "link", "img", "iframe"), f"no <{tag}> in the page")
        check(not any(name in ("src", "href") for name, _ in attributes), "nothing from outside")
        self.plots += tag == "svg"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            check(self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}")
            self.open.pop()

    def handle_data(self, data):
        self.text += data


class Ran:
    """One run of the command, with what it left behind."""

    def __init__(self, arguments, secrets=(), timeout_s=120):
        with tempfile.TemporaryDirectory(prefix="swingbridge-load-") as folder:
            files = ["--json", f"{folder}/report.json", "--html", f"{folder}/report.html"]
            ran = subprocess.run(
                [str(harness.binary()), "load", *arguments, *files],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
            self.code, self.out, self.err = ran.returncode, ran.stdout, ran.stderr
            read = lambda name: pathlib.Path(folder, name).read_text() if pathlib.Path(folder, name).exists() else None
            self.json, self.html = read("report.json"), read("report.html")
        for secret in secrets:
            shown = [self.out, self.err, self.json or "", self.html or ""]
            check(not any(secret in text for text in shown), "no secret is shown anywhere")

    def report(self):
        """The JSON of a run that came to a report, checked against the other forms of it."""
        check(self.json is not None, f"there is a report\n{self.out}\n{self.err}")
        report = json.loads(self.json)
        check(report["form"] == "swingbridge-load/1", "the form is named")
        verdict = report["verdict"]
        check(self.code == JUDGED[verdict], f"{verdict} is exit code {JUDGED[verdict]}, not {self.code}\n{self.out}")
        check(self.out.splitlines()[-1].startswith(verdict) or verdict == "broken", "the verdict stands last")
        page = Page(self.html)
        check(page.plots >= 2, "the page has plots")
        check("http" not in self.html.replace("https://", "", 0), "the page refers to nothing outside")
        if verdict == "generator-limited":
            check(self.out.startswith("generator-limited"), "what limits the generator is told first")
            check(all(server["capacity"] is None for server in report["servers"]), "and no capacity is given")
        return report


def steps(report):
    return [step for server in report["servers"] for step in server["steps"]]


def full(report, what):
    """A report with media: all calls came to be, and what was not dropped on this machine arrived."""
    check(steps(report), f"{what}: there are steps")
    for step in steps(report):
        check(step["setup"]["failures"] == {}, f"{what}: nothing failed: {step['setup']['failures']}")
        check(step["stranger_packets"] == 0, f"{what}: no packet came to a call that is not its own")
        for way in ("up", "down"):
            flow = step[way]
            check(flow["sent_packets"] > 0, f"{what}: packets went {way}")
            check(flow["sent_packets"] == flow["received_packets"] + flow["lost_packets"], f"{what}: the sum is right")
            latency = flow["latency"]
            order = [latency[name] for name in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
            check(order == sorted(order), f"{what}: quantiles rise: {order}")
            check(sum(count for _, count in latency["histogram_us"]) == latency["count"], f"{what}: all are counted")
            check(flow["duplicated_packets"] == 0, f"{what}: nothing came twice")
        check(step["timeline"], f"{what}: there is a timeline")
        check(step["generator"]["cpu_ns_per_packet"] > 0, f"{what}: own cost is told")


def lossless(report, what):
    lost = sum(step[way]["lost_packets"] for step in steps(report) for way in ("up", "down"))
    dropped = sum(step["generator"]["dropped_packets"] for step in steps(report))
    check(lost <= dropped, f"{what}: {lost} packets were lost, and {dropped} dropped at the generator")


def brief(calls=10, seconds=2):
    return ["--calls", str(calls), "--for", f"{seconds}s", "--warm-up", "1s"]


def uri(port, transport="udp", host="127.0.0.1"):
    scheme = "turns" if transport == "tls" else "turn"
    return f"{scheme}:{harness.bracketed(host)}:{port}" + ("?transport=tcp" if transport != "udp" else "")


def media(access, port, tls_port, more=(), certificate=None, who="ours"):
    """The same load over each transport, in channels and in indications."""
    for transport in ("udp", "tcp", "tls"):
        trust = ["--authority", certificate] if transport == "tls" else []
        address = uri(tls_port if transport == "tls" else port, transport)
        for framing in ([], ["--indications"]):
            what = f"{who} over {transport}{' in indications' if framing else ''}"
            ran = Ran([address, *access, *brief(), *trust, *framing, *more])
            report = ran.report()
            full(report, what)
            lossless(report, what)
            check(report["plan"]["servers"][0]["carrier"] == transport, f"{what}: the carrier is told")
    proved(f"{who}: a soak over UDP, TCP and TLS, in channels and in indications, loses nothing and reports in full")


def modes(access, port, more=(), who="ours"):
    address = uri(port)
    report = Ran(["ramp", address, *access, "--ramp", "5:5:15", "--for", "2s", "--warm-up", "1s", *more]).report()
    full(report, f"{who}: ramp")
    report = Ran(["capacity", address, *access, *brief(20), "--precision", "20%", *more]).report()
    full(report, f"{who}: capacity")
    if report["verdict"] == "met":
        check(report["servers"][0]["capacity"]["kind"] in ("found", "at_least"), f"{who}: a capacity is given")
    report = Ran(["storm", address, *access, "--calls", "30", "--rounds", "2", "--for", "2s", *more]).report()
    full(report, f"{who}: storm")
    check(len(steps(report)) == 2, f"{who}: each round of the storm is told")
    report = Ran(["churn", address, *access, "--calls", "5", "--for", "3s", "--per-second", "20", *more]).report()
    step = steps(report)[0]
    check(step["setup"]["cycles"] >= 20 and not step["setup"]["failures"], f"{who}: clients come and go: {step['setup']}")
    proved(f"{who}: ramp, capacity, storm and churn give a full report")


def pairs(access, port, who="ours"):
    """As many pairs as a server must bear, all of them under way within four seconds."""
    ran = Ran(["ice", uri(port), *access, "--calls", str(PAIRS), "--per-second", "50"])
    report = ran.report()
    ice = report["servers"][0]["ice"]
    check(ice["connected_pairs"] == ice["pairs"] == PAIRS, f"{who}: all pairs of agents connect: {ice}")
    check(ice["connected_by_kind"] == {"relay/udp-relay/udp": PAIRS}, f"{who}: by their relays: {ice}")
    proved(f"{who}: {PAIRS} pairs of ICE agents connect by relayed addresses, all of them")


def between_nats(testbed, access):
    """Agents behind NATs of the model, on the server's loopback: each pair of places ends as the standards have it."""
    ends = {
        "cgn:full-cone": "direct",
        "symmetric:symmetric": "relayed (udp)",
        "udp-blocked:port-restricted": "relayed (tcp)",
        "open:only-443": "failed",
    }
    asked = [part for places in ends for part in ("--nat", places)]
    ways = [uri(testbed.port), uri(testbed.port, "tcp")]
    times = ["--calls", "8", "--per-second", "8", "--patience", "12s", "--settle", "3s"]
    ran = Ran(["ice", *ways, *access, *asked, *times])
    check("only-443 is let out to none of the given servers" in ran.err, "who cannot connect is told before the run")
    report = ran.report()
    found = {f"{nat['left']}:{nat['right']}": nat for nat in report["servers"][0]["ice"]["nats"]}
    for places, verdict in ends.items():
        nat = found[places]
        wanted = (verdict, 2, 0 if verdict == "failed" else 2, [{"verdict": verdict, "pairs": 2}])
        have = (nat["expected"], nat["pairs"], nat["connected_pairs"], nat["ended"])
        check(have == wanted, f"{places}: {have}, and not {wanted}")
        check(nat["connect"]["count"] == nat["connected_pairs"], f"{places}: each has its time to connect")
    check(report["verdict"] == "met", f"that is what was to be: {report['why']}")
    check("Between NATs" in ran.html and "symmetric" in ran.html, "the page shows it")
    refused = Ran(["ice", "turn:192.0.2.1", *access, "--nat", "all"])
    check(refused.code == 2 and "loopback" in refused.err, f"NATs are on loopback alone: {refused.err}")
    proved("pairs of agents between NATs end as the standards have it, and who cannot connect is told before")


def long_run(testbed, access):
    arguments = [uri(testbed.port), *access, "--calls", str(CALLS), "--for", f"{SECONDS}s", "--warm-up", "2s"]
    arguments += ["--admin", f"127.0.0.1:{testbed.admin_port}", "--objective", "loss<0.1%,failures<0.1%"]
    report = Ran(arguments, [testbed.secret], timeout_s=SECONDS + 60).report()
    full(report, "the long run")
    lossless(report, "the long run")
    step = steps(report)[0]
    wanted = CALLS * 50 * SECONDS
    for way in ("up", "down"):
        sent = step[way]["sent_packets"] + step["generator"]["unsent_packets"]
        check(abs(sent - wanted) <= wanted / 100, f"{sent} packets went {way}, {wanted} were due")
    server = step["server"]
    check(server["cpu_ns_per_packet"] > 0 and server["memory_bytes"] > 1 << 20, f"the server's cost is told: {server}")
    check(any(moment["server_cores"] for moment in step["timeline"]), "and over time")
    proved(f"{CALLS} calls for {SECONDS} s: every packet is accounted for, the server's cost is told")


def one_leg(testbed, access):
    report = Ran([uri(testbed.port), *access, *brief(), "--peer", "local"]).report()
    full(report, "--peer local")
    lossless(report, "--peer local")
    port = harness.free_port()
    peer = subprocess.Popen(
        [str(harness.binary()), "load", "peer", "--listen", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        report = Ran([uri(testbed.port), *access, *brief(), "--peer", f"127.0.0.1:{port}"]).report()
    finally:
        code = harness.stop(peer)
    step = steps(report)[0]
    check(step["round_trip"]["count"] > 0 and step["setup"]["failures"] == {}, "the other peer answers")
    check(code == 0, f"the other peer ends with 0 at SIGTERM, not {code}")
    proved("one leg: peers of this process, and a peer that is a program of its own")


def shapes(testbed, access):
    """Each shape of media, from several addresses, and over IPv6."""
    sources = [part for number in range(2, 6) for part in ("--source", f"127.0.0.{number}")]
    for profile in ("video", "screen", "mixed"):
        report = Ran([uri(testbed.port), *access, *brief(), "--profile", profile, *sources]).report()
        full(report, profile)
        lossless(report, profile)
        check(report["plan"]["traffic"]["profile"] == profile, f"{profile} is told")
    check(len(report["plan"]["sources"]) == 4, "and where it came from")
    for sources in ([], ["--all-candidates"]):
        ran = Ran(["ice", uri(testbed.port), *access, "--calls", "10", *sources, "--source", "127.0.0.7"])
        check(ran.report()["servers"][0]["ice"]["connected_pairs"] == 10, "pairs at an address of their own")
    if harness.has_ipv6():
        for more in ([], ["--peer", "local"], ["--indications"]):
            report = Ran([uri(testbed.port, host="::1"), *access, *brief(), *more]).report()
            full(report, f"IPv6 {more}")
            lossless(report, f"IPv6 {more}")
        ran = Ran(["ice", uri(testbed.port, host="::1"), *access, "--calls", "10"])
        check(ran.report()["servers"][0]["ice"]["connected_pairs"] == 10, "pairs over IPv6")
    else:
        harness.not_proved("load over IPv6", "there is none")
    proved("video, screen and mixed, from four source addresses; over IPv6; ICE from a source address and over IPv6")


def old_dialect(testbed):
    keys = ["--mras-key1-file", f"{testbed.folder}/key1", "--mras-key2-file", f"{testbed.folder}/key2"]
    for transport in ("udp", "tcp"):
        what = f"the old dialect over {transport}"
        ran = Ran([uri(testbed.port, transport), *keys, "--dialect", "legacy", *brief()])
        report = ran.report()
        full(report, what)
        lossless(report, what)
        check(report["plan"]["servers"][0]["carrier"] == f"legacy-{transport}", f"{what}: the carrier is told")
    proved("the old dialect over UDP and pseudo-TLS, with MRAS credentials")


def stopped(testbed, access):
    """Ctrl-C once ends the run early, with a report."""
    command = [str(harness.binary()), "load", uri(testbed.port), *access, "--calls", "5", "--for", "60s", "--json", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("measuring"):
            break
    process.send_signal(2)
    out, _ = process.communicate(timeout=30)
    report = json.loads(out)
    check((process.returncode, report["verdict"]) == (1, "stopped"), f"{process.returncode}, {report['verdict']}")
    check(steps(report)[0]["up"]["received_packets"] > 0, "what was measured until then is told")
    proved("Ctrl-C ends a run early: exit code 1, and a report of what there was")


def says(arguments, code, pattern, secrets=()):
    ran = Ran(arguments, secrets)
    check(ran.code == code, f"{arguments[0]}: exit code {code}, not {ran.code}\n{ran.out}{ran.err}")
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    check(len(errors) == 1 and ran.out == "", f"{arguments[0]}: one sentence, and nothing else\n{ran.out}{ran.err}")
    check(re.search(pattern, errors[0]), f"{arguments[0]}: {pattern!r} is not in {errors[0]!r}")
    check(ran.json is None and ran.html is None, f"{arguments[0]}: no empty report is left behind")


@contextlib.contextmanager
def door(kind, listens=True):
    """A port at which nobody speaks TURN."""
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM and listens:
            held.listen()
        yield held.getsockname()[1]


def failures(testbed, access):
    quick = ["--calls", "2", "--for", "1s", "--warm-up", "0s"]
    port = testbed.port
    wrong = "a-password-that-is-not-right"
    says([uri(port), "--user", "nobody", "--password", wrong, *quick], 2, "credentials.*401", [wrong])
    says([uri(port), "--secret", wrong, *quick], 2, "credentials.*401", [wrong])
    says([uri(port, "tcp"), "--secret", wrong, *quick], 2, "credentials.*401", [wrong])
    with door(socket.SOCK_DGRAM) as mute:
        says([uri(mute), *access, *quick], 1, "does not answer")
    says([uri(harness.free_port()), *access, *quick], 1, "closed|refuse|nobody listens")
    says([uri(harness.free_port(socket.SOCK_STREAM), "tcp"), *access, *quick], 1, "closed|refuse|nobody listens")
    says(["turn:nobody.invalid", *access, *quick], 2, "nobody.invalid cannot be resolved")
    says([uri(port, "tls"), *access, *quick], 1, "certificate")
    says([uri(port, "tls", "127.0.0.1"), *access, *quick, "--authority", "/nowhere.pem"], 2, "nowhere.pem")
    with door(socket.SOCK_STREAM) as mute:
        says([uri(mute, "tls"), *access, *quick, "--insecure"], 1, "TLS|handshake|answer")
    says([uri(port), *access, *quick, "--peer", "10.255.255.1:9"], 2, "10.255.255.1.*403")
    says([uri(port), *access, *quick, "--server-pid", str(2**22 - 1)], 2, "4194303")
    proved("wrong credentials, wrong port, closed port, DNS, certificate, forbidden peer: one sentence each, and its code")


def defaults():
    """Embedded defaults: no file, a secret of its own, a deny-by-default policy."""
    folder = tempfile.mkdtemp(prefix="swingbridge-load-")
    try:
        environment = {"HOME": folder, "XDG_STATE_HOME": folder, "PATH": os.environ["PATH"]}
        process = harness.spawn([str(harness.binary()), "serve", "--state-dir", folder], folder, env=environment)
        try:
            check(harness.answers(process, ("127.0.0.1", 3478)), "it serves")
            secret = next(path for path in pathlib.Path(folder).rglob("*secret*") if path.is_file())
            access = ["--secret-file", str(secret), "--users", "4"]
            report = Ran(["turn:127.0.0.1", *access, *brief(20)], [secret.read_text().strip()]).report()
            full(report, "embedded defaults")
            lossless(report, "embedded defaults")
        finally:
            harness.stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    proved("`swingbridge serve` with embedded defaults bears a load whose peers are its own relays")


def ours():
    with Testbed() as testbed:
        access = ["--secret-file", f"{testbed.folder}/secret", "--users", "20"]
        certificate = f"{testbed.folder}/server.pem"
        media(access, testbed.port, testbed.port, certificate=certificate)
        modes(access, testbed.port, ["--admin", f"127.0.0.1:{testbed.admin_port}"])
        long_run(testbed, access)
        one_leg(testbed, access)
        old_dialect(testbed)
        shapes(testbed, access)
        stopped(testbed, access)
        failures(testbed, access)
        pairs(access, testbed.port)
        between_nats(testbed, access)


def test():
    check(TESTBED.exists(), "the testbed's configuration is shipped")
    ours()
    defaults()


if __name__ == "__main__":
    harness.main(test, timeout_s=590 + SECONDS)
