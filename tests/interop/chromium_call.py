"""A real call in headless Chromium: video, audio and a data channel between two peer connections, relayed only."""

import json
import os
import shutil
import subprocess
import tempfile

import harness
from harness import check
from harness import proved
from place import NAME
from place import SERVER4

SECONDS = 8
BYTES_MIN, FRAMES_MIN, AUDIO_PACKETS_MIN = 50_000, 30, 100


def minted(server):
    """The iceServers list for the page: what our own `credential` prints for this server, just as it prints it."""
    if harness.other_server():
        username, credential = harness.time_limited(server.secret, "browser")
        return [{"urls": server.url(), "username": username, "credential": credential}]
    command = [str(harness.binary()), "credential", "--secret", server.secret, "--user", "browser"]
    command += ["--host", f"{SERVER4}:{server.port}", "--format", "ice-servers"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    check(ran.returncode == 0, f"swingbridge credential succeeds: {ran.stderr}")
    return json.loads(ran.stdout)


def call(ice_servers, flags=()):
    """What the browser said of its call."""
    profile = tempfile.mkdtemp(prefix="swingbridge-chromium-")
    wanted = {
        "chromium": shutil.which("chromium"),
        "profile": profile,
        "iceServers": ice_servers,
        "seconds": SECONDS,
        # The call lasts until each side has had so much, or half a minute longer.
        "enough": {"bytes": BYTES_MIN, "frames": FRAMES_MIN, "audioPackets": AUDIO_PACKETS_MIN},
        "flags": list(flags),
    }
    script = harness.ROOT / "tests/interop/chromium_call.js"
    environment = dict(os.environ, NODE_PATH=str(harness.ROOT / "target/node_modules"))
    try:
        ran = subprocess.run(
            ["node", str(script)], input=json.dumps(wanted), capture_output=True, text=True, timeout=75, env=environment
        )
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    check(ran.returncode == 0, f"the browser made its call: {ran.stderr[-3000:]}")
    return json.loads(ran.stdout)


def check_side(name, side, protocol):
    said = json.dumps(side)
    check(side["state"] == "connected", f"{name} is connected: {said}")
    for end in ("local", "remote"):
        check(side[end]["candidateType"] == "relay", f"{name}'s {end} candidate is relayed: {said}")
    check(side["local"]["relayProtocol"] == protocol, f"{name} reaches its relay over {protocol}: {said}")
    for way in ("sent", "received"):
        check(side["pair"][way] > BYTES_MIN, f"{name} {way} more than {BYTES_MIN} bytes: {said}")
    check((side["framesDecoded"] or 0) > FRAMES_MIN, f"{name} decoded more than {FRAMES_MIN} frames: {said}")
    check((side["audioPackets"] or 0) > AUDIO_PACKETS_MIN, f"{name} heard {AUDIO_PACKETS_MIN} packets: {said}")


def judge(told, what, protocol="udp"):
    print(json.dumps(told))
    for name, side in told["sides"].items():
        check_side(name, side, protocol)
    check(told["echoed"] == told["messages"], f"every data channel message came back whole: {told['echoed']}")
    one, other = (told["sides"][name] for name in ("one", "other"))
    proved(
        f"Chromium, {what}: relay to relay over {protocol}; {one['pair']['sent']} and {other['pair']['sent']} bytes sent, "
        f"{one['framesDecoded']} and {other['framesDecoded']} frames decoded, "
        f"{one['audioPackets']} and {other['audioPackets']} audio packets, {told['echoed']} messages echoed"
    )


def test():
    harness.need("chromium", "node")
    if not (harness.ROOT / "target/node_modules/playwright-core").is_dir():
        raise harness.Skip("playwright-core is not in target/node_modules")
    with harness.Server(auth="static") as server:
        judge(
            call([{"urls": server.url(), "username": harness.USER, "credential": harness.PASSWORD}]),
            "a static user, loopback peers allowed",
        )
    # No `allow` at all: a live relayed address of the server itself passes, its other addresses do not.
    with harness.Server(auth="secret", allow=()) as server:
        source = "a time-limited credential" if harness.other_server() else "a credential from `swingbridge credential`"
        judge(call(minted(server)), f"{source}, default peer rules")
    with harness.Server(auth="static", streams=True) as server:
        for transport in ("tcp", "tls"):
            url = server.url(NAME if transport == "tls" else SERVER4, transport)
            ice_servers = [{"urls": url, "username": harness.USER, "credential": harness.PASSWORD}]
            # Nobody signed the certificate; the name is checked against it in streams.py.
            judge(call(ice_servers, ["--ignore-certificate-errors"]), url, transport)


if __name__ == "__main__":
    harness.main(test, timeout_s=500)
