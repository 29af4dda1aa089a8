"""`swingbridge load` against coturn, whatever the server of the other scripts is: each mode and transport that coturn has gives a
full report, and a comparison with ours tells how the two stand to each other.
"""

import shutil

import harness
import load
from harness import check
from harness import proved


class Coturn(harness.Server):
    """Debian's coturn, whatever the environment says."""

    def __init__(self, **more):
        super().__init__(**more)
        self.listens_to_signals = False

    def command(self):
        command = self.coturn_command()
        load.make_certificate(self.folder)
        return command

    def __exit__(self, failure, *more):
        # It has no handler for SIGTERM.
        self.exit_code = harness.stop(self.process)
        self.final_output = self.output()
        shutil.rmtree(self.folder, ignore_errors=True)


def test():
    with Coturn(streams=True, auth="secret") as server:
        access = ["--secret", server.secret]
        load.media(access, server.port, server.port, certificate=f"{server.folder}/server.pem", who="coturn")
        load.modes(access, server.port, ["--server-pid", str(server.process.pid)], who="coturn")
        with load.Testbed() as testbed:
            both = ["--secret", testbed.secret, "--secret", server.secret]
            servers = [load.uri(testbed.port), load.uri(server.port)]
            report = load.Ran(["compare", *servers, *both, *load.brief(), "--rounds", "2"]).report()
            load.full(report, "compare")
            check([len(side["steps"]) for side in report["servers"]] == [2, 2], "each has its rounds")
            if report["verdict"] != "generator-limited":
                check(report["comparison"]["ratios"], "and how they stand to each other is told")
            proved("ours and coturn compared, round by round")
        load.pairs(access, server.port, who="coturn")


if __name__ == "__main__":
    harness.main(test, timeout_s=500)
