"""webrtc-rs's TURN client at our server, our client as a connection of webrtc-rs, and the two in talk with each other by
way of the server. The program is `tests/webrtc`, a package of its own.
"""

import os
import shutil
import subprocess

import harness
from harness import check
from harness import proved

TIMEOUT_S = 120
BUILD_TIMEOUT_S = 1_200


def build():
    """The program, built if it is not yet."""
    if not shutil.which("cargo"):
        raise harness.Skip("cargo is not there to build tests/webrtc")
    target = harness.ROOT / "target/webrtc"
    manifest = harness.ROOT / "tests/webrtc/Cargo.toml"
    command = ["cargo", "build", "--locked", "--manifest-path", str(manifest), "--target-dir", str(target)]
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, env=environment)
    check(built.returncode == 0, f"tests/webrtc builds\n{built.stderr[-4000:]}")
    return target / "debug"


def test():
    program = build() / "swingbridge-webrtc"
    with harness.Server(streams=True) as server:
        command = [str(program), f"127.0.0.1:{server.port}", harness.USER, harness.PASSWORD, harness.REALM]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        check(done.returncode == 0, f"webrtc-rs and our client are served\n{done.stdout}{done.stderr}")
        lines = done.stdout.splitlines()
        check(len(lines) == 2, f"each transport is reported: {lines}")
        for line in lines:
            proved(line)


if __name__ == "__main__":
    harness.main(test)
