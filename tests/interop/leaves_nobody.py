"""A test that is ended while its server runs, however and whenever, leaves no process behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import harness
from harness import check
from harness import proved

# A test that tells the numbers of the processes that it has, and then waits: of its server, and of a program whose parent has
# forgotten it. One that is `early` is interrupted while it waits for its server to answer.
PROGRAM = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import harness

def running():
    with harness.Server() as server:
        told = subprocess.run(["sh", "-c", "sleep 300 >/dev/null & echo $!"], stdout=subprocess.PIPE, text=True)
        print(server.process.pid, told.stdout.strip(), flush=True)
        time.sleep(60)

def early():
    harness.answers = lambda process, *_: print(process.pid, flush=True) or time.sleep(60)
    harness.Server().__enter__()

harness.main({"running": running, "early": early}[sys.argv[2]], int(sys.argv[3]))
"""
# How it is, what ends it, its own limit in seconds, and how many of its processes must be gone: whom nobody can tell that the
# test was killed is the forgotten one alone.
CASES = [
    ("running", signal.SIGTERM, 60, 2),
    ("running", signal.SIGKILL, 60, 1),
    ("running", None, 3, 2),
    ("early", signal.SIGTERM, 60, 1),
    ("early", None, 3, 1),
]


def lives(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test():
    for how, by, limit_s, gone in CASES:
        command = [sys.executable, "-c", PROGRAM, str(pathlib.Path(__file__).parent), how, str(limit_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            told = [int(word) for word in process.stdout.readline().split()]
            check(told and all(map(lives, told)), f"its processes run: {told}")
            if by:
                process.send_signal(by)
            # Its output ends with the last process that has it.
            code = process.wait(30)
        check(code == (-by if by == signal.SIGKILL else 1), f"{how}, {by}: it fails, with {code}")
        until = time.monotonic() + 10
        while any(map(lives, told[:gone])) and time.monotonic() < until:
            time.sleep(0.02)
        left = [pid for pid in told[:gone] if lives(pid)]
        for pid in filter(lives, told):
            os.kill(pid, signal.SIGKILL)
        check(not left, f"{how}, {by}: nobody is left: {left}")
        proved(f"a test that is {how} leaves nobody behind, ended by {by.name if by else 'its own limit'}")


if __name__ == "__main__":
    harness.main(test)
