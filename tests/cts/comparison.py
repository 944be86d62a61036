# SPDX-License-Identifier: Apache-2.0
"""Says what the two runs of a list mean, and prints it.

What counts is what the real driver does: a case that passes natively has to pass through Vesper, and
one that is supported natively has to be supported. Everything else that is not the same is listed,
but proves nothing against Vesper: cases that the driver itself fails, or passes only sometimes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from expectations import Expectations
from runner import CRASH, TIMEOUT, Outcome, Run

PASSED = ("Pass", "QualityWarning", "CompatibilityWarning", "Waiver")
NOT_SUPPORTED = "NotSupported"

COLUMNS = ("passed", "not supported", "failed", "crashed", "timed out")


def column(status: str) -> str:
    if status in PASSED:
        return "passed"
    return {NOT_SUPPORTED: "not supported", CRASH: "crashed", TIMEOUT: "timed out"}.get(
        status, "failed")


@dataclass
class Difference:
    case: str
    native: Outcome
    vesper: Outcome
    # What the case did alone, afterwards.
    native_again: list[Outcome] = field(default_factory=list)
    vesper_again: list[Outcome] = field(default_factory=list)

    def text(self) -> str:
        again = ""
        if self.native_again:
            again = (f"; alone: natively {' '.join(o.status for o in self.native_again)}, "
                     f"through Vesper {' '.join(o.status for o in self.vesper_again)}")
        lines = [f"{self.case}: natively {self.native.status}, "
                 f"through Vesper {self.vesper.status}{again}"]
        for name, outcome in (("natively", self.native), ("Vesper", self.vesper)):
            if outcome.message and outcome.status != "Pass":
                lines.append(f"    {name}: {' '.join(outcome.message.split())}")
        return "\n".join(lines)


@dataclass
class ListResult:
    """What came of one list."""

    name: str
    native: Run
    vesper: Run
    skipped: int = 0
    differences: list[Difference] = field(default_factory=list)  # held against Vesper
    excused: list[Difference] = field(default_factory=list)      # allowed by skips.txt
    native_bad: list[Difference] = field(default_factory=list)   # the driver does not pass, or not always


def is_worse(native: str, vesper: str) -> bool:
    """Whether the status through Vesper is held against it, given the native one."""
    if native == vesper or vesper == "Pass":
        return False
    return native in PASSED or native == NOT_SUPPORTED or vesper == NOT_SUPPORTED


def compare(name: str, native: Run, vesper: Run, expectations: Expectations) -> ListResult:
    result = ListResult(name, native, vesper)
    for case, outcome in native.outcomes.items():
        difference = Difference(case, outcome, vesper.outcomes[case])
        natively, remotely = outcome.status, difference.vesper.status
        if is_worse(natively, remotely) and not expectations.is_flake(case):
            allowed = remotely == NOT_SUPPORTED and expectations.may_be_not_supported(case)
            (result.excused if allowed else result.differences).append(difference)
        elif natively != remotely or column(natively) not in ("passed", "not supported"):
            result.native_bad.append(difference)
    return result


def set_flaky_apart(result: ListResult) -> None:
    """After the cases that differ have been repeated: those that the driver does not pass each time
    are no evidence."""
    differences, result.differences = result.differences, []
    for difference in differences:
        steady = all(again.status == difference.native.status for again in difference.native_again)
        (result.differences if steady else result.native_bad).append(difference)


def count(run: Run) -> dict[str, int]:
    counts = dict.fromkeys(COLUMNS, 0)
    for outcome in run.outcomes.values():
        counts[column(outcome.status)] += 1
    return counts


def table(results: list[ListResult]) -> str:
    """The table in Markdown: two lines for each list."""
    rows = [["list", "driver", "cases", *COLUMNS, "skipped", "differences", "time"]]
    for result in results:
        for side, run in (("native", result.native), ("Vesper", result.vesper)):
            counts = count(run)
            rows.append([result.name if side == "native" else "", side, str(len(run.outcomes)),
                         *(str(counts[name]) for name in COLUMNS), str(result.skipped),
                         "" if side == "native" else str(len(result.differences)),
                         f"{run.seconds:.1f} s"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(cells) + " |")
        if number == 0:
            rules = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
            lines.append("| " + " | ".join(rules) + " |")
    return "\n".join(lines)


def account(results: list[ListResult], expectations: Expectations) -> str:
    """Every case that differs, and every one that the driver does not pass, with what is known."""
    sections = []
    for result in results:
        sections += section(f"{result.name}: DIFFERENT through Vesper", result.differences)
        sections += section(f"{result.name}: not supported through Vesper, as skips.txt says",
                            result.excused)
        sections += section(f"{result.name}: the driver itself does not pass, or not always",
                            result.native_bad)
        sections += notes(f"{result.name}: processes that ended badly, natively", result.native.notes)
        sections += notes(f"{result.name}: processes that ended badly, through Vesper",
                          result.vesper.notes)
        sections += notes(f"{result.name}: the driver and fails.txt disagree",
                          surprises(result.native, expectations))
    return "\n".join(sections)


def section(title: str, differences: list[Difference]) -> list[str]:
    return notes(title, [difference.text() for difference in differences])


def notes(title: str, lines: list[str]) -> list[str]:
    return [f"## {title} ({len(lines)})", "", *lines, ""] if lines else []


def surprises(native: Run, expectations: Expectations) -> list[str]:
    """Where the native run is not as fails.txt says. Nobody is to blame for that, but the file
    should follow."""
    lines = []
    for case, outcome in native.outcomes.items():
        expected = expectations.expected_native(case)
        bad = column(outcome.status) not in ("passed", "not supported")
        if expectations.is_flake(case):
            continue
        if expected and outcome.status != expected:
            lines.append(f"{case}: {outcome.status}, but {expected} in fails.txt")
        elif bad and not expected:
            lines.append(f"{case}: {outcome.status}, and not in fails.txt")
    return lines
