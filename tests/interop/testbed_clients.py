"""Clients that others wrote, in the real laboratory: libnice and webrtc-rs, with themselves and with our own agent (root)."""

import concurrent.futures
import ctypes
import shutil
import subprocess
import sys

import harness
import testbed
from harness import check
from harness import proved

FOLDER = harness.ROOT / "conf/testbed"
LIBNICE = [sys.executable, str(FOLDER / "libnice_client.py")]
WEBRTC_RS = [str(FOLDER / "webrtc_rs_client.sh")]
BUILD_TIMEOUT_S = 1_200
DIRECT, UDP, TCP = "direct", "relayed (udp)", "relayed (tcp)"


def judged(name, cases):
    """Each case is two places, what has to come out, and both programs."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(one, cases))
    for (left, right, wanted, *_), outcome in zip(cases, outcomes):
        check(outcome["expected"] == wanted, f"the table of the documentation says so too: {left}, {right}")
        heard = [program["said"]["heard"] for program in outcome["programs"]]
        check(min(heard) > 50, f"{name}, {left} and {right}: each side heard the other: {outcome['programs']}")
    told = (f"{left} and {right} {wanted}" for left, right, wanted, *_ in cases)
    proved(f"{name}: {', '.join(told)}")


def one(case):
    left, right, wanted, one, other = case
    return testbed.judged(left, right, wanted, programs=["--", *one, "--", *other])


def has_libnice():
    try:
        return bool(ctypes.CDLL("libnice.so.10"))
    except OSError:
        return False


def libnice(own):
    if not has_libnice():
        return harness.not_proved("libnice", "libnice10 is not installed")
    pairs = [("full-cone", "full-cone", DIRECT), ("symmetric", "symmetric", UDP), ("udp-blocked", "full-cone", TCP)]
    judged("libnice and libnice", [(*pair, LIBNICE, LIBNICE) for pair in pairs])
    pairs.append(("udp-blocked", "udp-blocked", TCP))
    judged("libnice and our own agent", [(*pair, LIBNICE, own) for pair in pairs])


def built():
    """Whether the program of webrtc-rs is there, built if it is not yet."""
    if not shutil.which("cargo"):
        return False
    ran = subprocess.run([*WEBRTC_RS, "--build"], capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    check(ran.returncode == 0, f"conf/testbed/webrtc_rs builds\n{ran.stderr[-4000:]}")
    return True


def webrtc_rs(own):
    if not built():
        return harness.not_proved("webrtc_rs", "cargo is not there to build conf/testbed/webrtc_rs")
    pairs = [("full-cone", "full-cone", DIRECT), ("symmetric", "symmetric", UDP)]
    judged("webrtc-rs and webrtc-rs", [(*pair, WEBRTC_RS, WEBRTC_RS) for pair in pairs])
    # It reaches no relay but over UDP; whom it calls may. It stays with what is nominated first, so it is the one to nominate:
    # our agent begins with what works first, and changes to what is better.
    pairs += [("full-cone", "udp-blocked", TCP), ("symmetric", "address-restricted", DIRECT)]
    judged("webrtc-rs and our own agent", [(*pair, WEBRTC_RS, own) for pair in pairs])
    if has_libnice():
        judged("libnice and webrtc-rs", [("symmetric", "port-restricted", UDP, LIBNICE, WEBRTC_RS)])


def test():
    testbed.need()
    own = testbed.testbed("agent")
    libnice(own)
    webrtc_rs(own)


if __name__ == "__main__":
    harness.main(test, timeout_s=500)
