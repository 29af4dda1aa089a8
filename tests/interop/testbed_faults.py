"""A server that misbehaves in the real laboratory: our own agent and aioice against every fault, and a capture of it (root)."""

import concurrent.futures
import json
import os
import pathlib
import struct
import sys
import tempfile

import harness
import testbed
from harness import check
from harness import proved

FAULTS = harness.ROOT / "conf/testbed/faults"
# Runs that go on at a time: they wait for most of their time.
TOGETHER = 8
# Between symmetric NATs a call keeps its relay; in the open it does without, and so outlives what befalls the relay.
RELAYED, OPEN = "symmetric", "open"
NOT_GRANTED, AGAIN = "no allocate was granted", "further channel-bind requests"
# Each fault: where both stand, what stands in the file for what so that all of it takes minutes, the longest lifetime that the
# server grants (a Refresh has to come within the call, and the next one behind the deadline), and why our agent and aioice fail,
# as docs/testbed.md tells; None: they do not.
CASES = {
    "drop-answer": (RELAYED, {}, None, None, None),
    "delay-answer": (RELAYED, {}, None, None, None),
    "corrupt-answer": (RELAYED, {}, "12s", None, None),
    "stale-nonce": (RELAYED, {}, "12s", None, None),
    "stale-nonce-storm": (RELAYED, {'"60s"': '"10s"'}, "12s", None, None),
    "redirect": (OPEN, {}, None, None, NOT_GRANTED),
    "redirect-loop": (OPEN, {'"60s"': '"10s"'}, None, None, None),
    "new-realm": (OPEN, {}, None, None, NOT_GRANTED),
    # One request for each of the other side's two addresses is not the same request twice.
    "forbidden": (OPEN, {'"60s"': '"10s"', "at_most = 0": "at_most = 1"}, None, None, AGAIN),
    "mismatch": (OPEN, {'"60s"': '"10s"'}, None, None, None),
    "wrong-credentials": (OPEN, {'"60s"': '"10s"'}, None, None, None),
    "quota": (OPEN, {}, None, None, None),
    "capacity": (OPEN, {'"59s"': '"10s"'}, None, None, None),
    "wrong-mac": (RELAYED, {}, "12s", None, None),
    "short-lifetime": (RELAYED, {'"30s"': '"12s"', '"29s"': '"11s"'}, None, None, None),
    "port-change": (RELAYED, {'"60s"': '"8s"'}, "6s", None, None),
    "relay-vanishes": (RELAYED, {'"30s"': '"3s"', '"5m"': '"10s"'}, "6s", NOT_GRANTED, NOT_GRANTED),
    "server-restart": (RELAYED, {'"30s"': '"3s"', '"5m"': '"10s"'}, "6s", NOT_GRANTED, NOT_GRANTED),
    "address-change": (RELAYED, {'"30s"': '"3s"', '"5m"': '"10s"'}, "6s", NOT_GRANTED, NOT_GRANTED),
    "mtu-black-hole": (RELAYED, {'"12m"': '"10s"'}, "6s", None, None),
}
# The points of a capture, by the names of their interfaces.
POINTS = ["left client", "left nat outside", "right client", "right nat outside", "server", "relay", "http proxy"]


def shortened(folder, name):
    """The scenario of the same name with shorter times."""
    text = (FAULTS / f"{name}.toml").read_text()
    for old, new in CASES[name][1].items():
        check(old in text, f"{name} says {old}")
        text = text.replace(old, new)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def run(folder, who, name, programs):
    place, _, lifetime, _, _ = CASES[name]
    if who == "aioice" and name == "forbidden":
        # It asks for a channel only when it sends by its relay.
        place = RELAYED
    more = ["--scenario", str(shortened(folder, name)), "--record", str(folder / f"{who}-{name}")]
    more += ["--lifetime", lifetime] if lifetime else []
    return testbed.run(place, place, *more, programs=programs)


def judged(folder, name, who, code, outcome, printed):
    wanted = CASES[name][3 if who == "own" else 4]
    check(outcome is not None, f"{who}, {name}: there is an outcome: {printed}")
    for side in outcome["faults"]:
        said = f"{who}, {name}, {side['side']}: {printed} {json.dumps(side, indent=1)}"
        check(side["scenario"] == name and side["user"] == f"{name}.{side['side']}", said)
        check(len(side["befallen"]) > 0 and len(side["events"]) > 0, said)
        check(side["passed"] == (wanted is None), said)
        check(wanted is None or wanted in side["why"], said)
    check([side["side"] for side in outcome["faults"]] == ["left", "right"], printed)
    # The call has a verdict of its own; only both make a success.
    is_call_good = outcome["verdict"] != "failed" and all(each["ended"] == {"exit": 0} for each in outcome["programs"])
    check(code == (0 if is_call_good and wanted is None else 1), f"{who}, {name}: {code} {printed}")
    check(who == "aioice" and name == "forbidden" or is_call_good, f"{who}, {name}: the call goes on: {printed}")
    check(("the call is good" in printed) == is_call_good, printed)
    check(("the faults were borne" in printed) == (wanted is None), printed)
    kept = json.loads((folder / f"{who}-{name}/run.json").read_text())
    check(kept == outcome, f"{who}, {name}: run.json is what --json writes")


def every_fault(folder, aioice):
    programs = {"own": [], "aioice": ["--", *aioice, "--", *aioice]}
    # The long ones first.
    names = sorted(CASES, key=lambda name: name != "quota")
    todo = [(who, name) for name in names for who in programs]
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        ran = list(pool.map(lambda each: run(folder, *each, programs[each[0]]), todo))
    for (who, name), (code, outcome, printed) in zip(todo, ran):
        judged(folder, name, who, code, outcome, printed)
    for who, at in (("own", 3), ("aioice", 4)):
        good = sum(1 for case in CASES.values() if case[at] is None)
        proved(f"{who}: {good} of {len(CASES)} faults end as the standard asks, and the others as docs/testbed.md says")


def streams():
    for place, wanted in (("udp-blocked", "relayed (tcp)"), ("only-443", "relayed (tls)")):
        code, outcome, printed = testbed.run(place, "symmetric", "--scenario", "new-realm")
        check((code, outcome["verdict"]) == (0, wanted), f"{place}: {printed}")
        check(all(side["passed"] for side in outcome["faults"]), printed)
    proved("a scenario that is built in, by its name, befalls clients over TCP and TLS too")


def own_scenarios(folder):
    file = folder / "my own.v2.toml"
    file.write_text('[[fault]]\nwhen = { request = "allocate", times = "all" }\ndo = { error = 508 }\n')
    code, outcome, printed = testbed.run("open", "open", "--scenario", str(file), programs=agents("1s"))
    check([side["passed"] for side in outcome["faults"]] == [None, None] and code == 0, f"nothing is expected: {printed}")
    check(all(side["befallen"] for side in outcome["faults"]), printed)
    file.write_text(file.read_text() + '[expect]\nwithin = "2s"\nends = "live"\n')
    code, outcome, printed = testbed.run("open", "open", "--scenario", str(file), programs=agents("3s"))
    check(code == 1 and outcome["verdict"] == "direct", f"the call is good, and the fault was too much: {printed}")
    check("it has no allocation after 2s" in printed and "not borne: left, right" in printed, printed)
    file.write_text('[[fault]]\nwhen = { request = "connect" }\ndo = { error = 403 }\n[expect]\nwithin = "2s"\n')
    code, outcome, printed = testbed.run("open", "open", "--scenario", str(file), programs=agents("1s"))
    check(code == 1 and "nothing befell it" in printed, f"what was not tested has not passed: {printed}")
    code, _, printed = testbed.run("open", "open", "--scenario", "no-such-scenario")
    check(code == 2 and "no-such-scenario" in printed, printed)
    proved("a scenario of one's own applies whatever its name; who fails it, or was spared, fails the run and hears why")


def agents(data):
    return ["--", *testbed.testbed("agent", "--transport", "udp", "--data", data)] * 2


def capture(path):
    """Names of interfaces, and of each packet the interface, the bytes and the comment."""
    data, at, names, packets = path.read_bytes(), 0, [], []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        body = data[at + 8:at + length - 4]
        check(struct.unpack_from("<I", data, at + length - 4)[0] == length, "both lengths of a block are one")
        if kind == 1:
            names.append(options(body[8:])[2].decode())
        elif kind == 6:
            interface, _, _, kept, _ = struct.unpack_from("<IIIII", body)
            words = options(body[20 + (kept + 3) // 4 * 4:]).get(1, b"").decode()
            packets.append((names[interface], body[20:20 + kept], words))
        at += length
    return names, packets


def options(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        found[code] = data[at + 4:at + 4 + length]
        at += 4 + (length + 3) // 4 * 4
    return found


def captured(folder):
    kept = folder / "own-stale-nonce"
    check(sorted(each.name for each in kept.iterdir()) == ["left.log", "right.log", "run.json", "run.pcapng", "server.log"], "")
    names, packets = capture(kept / "run.pcapng")
    check(names == POINTS, f"{names}")
    outcome = json.loads((kept / "run.json").read_text())
    record, events = outcome["record"], outcome["events"]
    times = [event["at_ms"] for event in events]
    check(times == sorted(times), f"events are in the order of time: {times}")
    for side in ("left", "right"):
        told = [(event["what"], event["detail"]) for event in events if event["side"] == side]
        answers = ("allocate: 401", "allocate: granted", "refresh: 438")
        at = [told.index(event) for event in [*(("answer", words) for words in answers), ("ended", "exit code 0")]]
        check(at == sorted(at), f"{side}: what the server answered, in order, and the program's end: {told}")
        kinds = {what for what, _ in told}
        check({"first-packet", "check-heard", "media", "fault", "judged"} <= kinds, f"{side}: {kinds}")
    check(record["packets"] == len(packets) and record["left_out"] == 0, f"{record} {len(packets)}")
    seen = {point: [words for where, _, words in packets if where == point] for point in POINTS}
    check(all(seen[point] for point in POINTS[:6]) and not seen["http proxy"], f"{ {p: len(w) for p, w in seen.items()} }")
    for point in ("left client", "left nat outside", "server"):
        for words in ("Allocate: 401: the first request carries no integrity: expected", "Refresh: 438", "Refresh: granted"):
            check(any(words in each for each in seen[point]), f"{point} says: {words}")
    check(any("goes no further: filtered" in words for words in seen["right nat outside"]), "what a NAT lets not in is told")
    # By the protocol of the IP header: errors of ICMP speak for themselves.
    check(all(words for _, packet, words in packets if packet[9] in (6, 17)), "each packet has its words")
    # Outside of the NAT a packet has another source than inside, and is else the same.
    sources = {point: {packet[12:16] for where, packet, _ in packets if where == point} for point in POINTS}
    check(bytes([10, 1, 0, 2]) in sources["left client"] and bytes([10, 1, 0, 2]) not in sources["left nat outside"], "")
    proved(f"a capture of {len(packets)} packets: both legs, both NATs, the server and its relays, with words for each")


def test():
    harness.need("ip", "unshare")
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise harness.Skip("the laboratory takes root and /dev/net/tun here")
    aioice = [sys.executable, str(testbed.AIOICE)]
    was_there, interfaces = testbed.folders(), testbed.interfaces()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        streams()
        own_scenarios(folder)
        every_fault(folder, aioice)
        captured(folder)
    check(testbed.folders() == was_there and testbed.interfaces() == interfaces, "nothing of it is left")


if __name__ == "__main__":
    harness.main(test, 600)
