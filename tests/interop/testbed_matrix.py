"""The same pairs of places in both laboratories: our own agents with real packets, and in virtual time (root)."""

import json
import pathlib
import subprocess
import tempfile

import harness
import testbed
from harness import check
from harness import proved

# Each way out of a network, and each way in which two mappings can meet: 49 pairs.
PLACES = ["full-cone", "port-restricted", "symmetric", "cgn", "udp-blocked", "only-443", "http-proxy"]
PAIRS_MIN = 36
TOGETHER = 4


def matrix(*more):
    """What `testbed matrix` reports of all pairs, once each, and its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "matrix.json")
        command = testbed.testbed("matrix", "--places", ",".join(PLACES), "--seeds", "1", "--json", str(file), *more)
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        check(file.exists(), f"there is a report: {ran.stdout}{ran.stderr}")
        return json.loads(file.read_text()), ran.returncode, ran.stdout + ran.stderr


def words(verdict):
    return verdict["word"] if verdict["relay"] is None else f"{verdict['word']} ({verdict['relay']})"


def verdicts(report):
    """Of each pair in its order: how its call ended, and how it had to."""
    ended = {}
    for cell in report["cells"]:
        check(len(cell["calls"]) == 1, f"each pair called once: {cell}")
        ended[cell["left"], cell["right"]] = (words(cell["calls"][0]["verdict"]), words(cell["expected"]))
    return ended


def test():
    testbed.need()
    virtual, code, printed = matrix("--lab", "virtual")
    check(code == 0 and virtual["lab"] == "virtual", f"in virtual time each pair ends as it has to: {printed}")
    agent = testbed.testbed("agent", "--data", "3s")
    real, code, printed = matrix("--lab", "real", "--together", str(TOGETHER), "--", *agent, "--", *agent)
    seen, wanted = verdicts(real), verdicts(virtual)
    check(list(seen) == [(left, right) for left in PLACES for right in PLACES], "the pairs stand in the order of the places")
    check(len(seen) >= PAIRS_MIN and real["lab"] == "real", f"{len(seen)} pairs with real packets")
    wrong = {pair: ended for pair, ended in seen.items() if ended != wanted[pair] or ended[0] != ended[1]}
    check(not wrong, f"both laboratories agree, and with the documentation: {wrong}\n{printed}")
    check(code == 0 and real["as_expected"], f"so says the exit code: {code}\n{printed}")
    # What was sent arrived, and not what the agents say of it.
    for cell in real["cells"]:
        pair = cell["calls"][0]["traffic"][0]
        heard = [pair[way]["packets"] for way in ("from_left", "from_right")]
        # By the last 25 of each side the road is known.
        check(min(heard) >= 25, f"{cell['left']} and {cell['right']}: data both ways: {heard}")
    kinds = sorted({ended for ended, _ in seen.values()})
    check(len(kinds) == 5, f"every way to end well is there: {kinds}")
    proved(f"{len(seen)} pairs of places end the same in both laboratories, and as they have to: {', '.join(kinds)}")


if __name__ == "__main__":
    harness.main(test, timeout_s=500)
