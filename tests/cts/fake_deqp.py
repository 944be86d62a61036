#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for the conformance program: the last part of a case's name says what it does.

    pass, fail, unsupported   ends in that way
    crash                     kills its process
    hang                      never ends
    vesperfail                passes, but fails where VESPER_SERVER is set
    once                      crashes in the first process that runs it with others, passes alone
    poison                    passes, and its process dies before the next case
    lose                      fails, and so does every later case of the process
    leave                     passes, and its process ends well, but leaves the rest undone
    unknown                   is not run
"""

import os
import signal
import sys
import time

CASES = ["dEQP-VK.fake." + name for name in (
    "a.pass", "b.fail", "c.unsupported", "d.crash", "e.pass", "f.vesperfail", "g.poison", "h.pass")]


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def run(case: str, log, alone: bool, lost: bool) -> bool:
    """Returns whether the device is lost."""
    kind = case.rpartition(".")[2]
    lost = lost or kind == "lose"
    log.write(f"\n#beginTestCaseResult {case}\n<?xml version=\"1.0\"?>\n"
              f"<TestCaseResult CasePath=\"{case}\">\n")
    log.flush()
    if kind == "crash" or (kind == "once" and not alone):
        print("about to crash")
        sys.stdout.flush()
        die()
    if kind == "hang":
        time.sleep(1000)
    failed = lost or kind == "fail" or (kind == "vesperfail" and "VESPER_SERVER" in os.environ)
    status = {"unsupported": "NotSupported"}.get(kind, "Fail" if failed else "Pass")
    log.write(f" <Result StatusCode=\"{status}\">{kind} &amp;\nmore</Result>\n</TestCaseResult>\n"
              "\n#endTestCaseResult\n")
    log.flush()
    if kind == "poison":
        die()
    if kind == "leave":
        sys.exit(0)
    return lost


def main() -> int:
    options = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
    if options.get("deqp-runmode") == "stdout-caselist":
        prefix = options["deqp-case"].rstrip("*")
        print("GROUP: dEQP-VK.fake")
        for case in CASES:
            if case.startswith(prefix):
                print(f"TEST: {case}")
        return 0
    with open(options["deqp-caselist-file"]) as file:
        wanted = file.read().split()
    with open(options["deqp-log-filename"], "w") as log:
        log.write("#sessionInfo releaseName fake\n#beginSession\n")
        lost = False
        for case in sorted(wanted):
            if not case.endswith("unknown"):
                lost = run(case, log, len(wanted) == 1, lost)
        log.write("#endSession\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
