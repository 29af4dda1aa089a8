"""webrtc-rs's ICE agents behind the virtual NATs of webrtc-util, and our server's core in that network. The program is
`tests/webrtc`, a package of its own.
"""

import subprocess

import harness
import webrtc_rs
from harness import check
from harness import proved

PAIRS = 7


def test():
    program = webrtc_rs.build() / "swingbridge-vnet"
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=75)
    check(done.returncode == 0, f"each pair of NATs ends as it has to\n{done.stdout}{done.stderr}")
    lines = done.stdout.splitlines()
    check(len(lines) == PAIRS, f"each pair is reported: {lines}")
    for line in lines:
        proved(f"webrtc-rs in its own network, {line}")


if __name__ == "__main__":
    harness.main(test)
