"""Runs the named tests of one script: `suite.main(globals())`. A test is a function whose name begins with `attack_`."""

import contextlib
import os
import pathlib
import random
import sys
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import craft  # noqa: E402
import harness  # noqa: E402
import place  # noqa: E402
from harness import Skip  # noqa: E402

SEED = int(os.environ.get("ADVERSARY_SEED", "0") or 0) or random.SystemRandom().getrandbits(32)


def dice(name):
    """Randomness of one test, that ADVERSARY_SEED brings back."""
    return random.Random(f"{SEED}/{name}")


def main(names):
    wanted = sys.argv[1:]
    tests = [test for name, test in names.items() if name.startswith("attack_") and (not wanted or name in wanted)]
    script = os.path.basename(sys.argv[0]).removesuffix(".py")
    failed = 0
    print(f"seed: ADVERSARY_SEED={SEED}", flush=True)
    harness.prctl(harness.PR_SET_CHILD_SUBREAPER, 1)
    for test in tests:
        began = time.monotonic()
        craft.ids = dice(f"{script}/{test.__name__}/transactions")
        try:
            with contextlib.ExitStack() as held:
                if place.ON_CABLE:
                    place.lay_cable(held)
                test()
        except Skip as why:
            print(f"skipped: {why}", flush=True)
        except Exception:  # the whole story belongs in the log
            failed += 1
            print(f"FAILED: {script}::{test.__name__} (ADVERSARY_SEED={SEED})", flush=True)
            traceback.print_exc()
        else:
            print(f"passed: {script}::{test.__name__} {time.monotonic() - began:.1f} s", flush=True)
    if not tests:
        print(f"FAILED: {script}: not one test ran")
    harness.leave_nobody()
    sys.exit(1 if failed or not tests else 0)
