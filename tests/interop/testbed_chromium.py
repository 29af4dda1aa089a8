"""Chromium calls Chromium in the real laboratory, each in a network of its own (root)."""

import os

import harness
import testbed
from harness import proved

CLIENT = harness.ROOT / "conf/testbed/chromium_client.js"
CASES = [
    ("full-cone", "full-cone", "direct"),
    ("symmetric", "symmetric", "relayed (udp)"),
    ("udp-blocked", "full-cone", "relayed (tcp)"),
]


def test():
    testbed.need("chromium", "node")
    modules = harness.ROOT / "target/node_modules"
    if not (modules / "playwright-core").is_dir():
        raise harness.Skip("playwright-core is not in target/node_modules")
    os.environ["NODE_PATH"] = str(modules)
    for left, right, wanted in CASES:
        programs = ["--", "node", str(CLIENT), "--", "node", str(CLIENT)]
        outcome = testbed.judged(left, right, wanted, "--timeout", "2m", programs=programs)
        said = [program["said"] for program in outcome["programs"]]
        harness.check(all(side["heard"] > 20 for side in said), f"each side heard the other: {said}")
        proved(f"Chromium, {left} and {right}: {wanted}, as the routers saw it; it says {said[0]['local']}")


if __name__ == "__main__":
    harness.main(test, timeout_s=400)
