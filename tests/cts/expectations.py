# SPDX-License-Identifier: Apache-2.0
"""What is known about cases beforehand: fails.txt, flakes.txt and skips.txt.

All three have a pattern on each line (`*` stands for anything), perhaps with a status behind a comma,
and a comment behind `#`. They say different things:

fails.txt   `CASE,STATUS`: what the real driver does badly without Vesper. It changes nothing but
            the report, which says when the driver has become better or worse.
flakes.txt  `CASE`: cases that end differently from time to time on the real driver alone. They are
            run, but prove nothing, and are listed apart.
skips.txt   `CASE`: not run at all, for instance since the driver hangs in it. `CASE,NotSupported`:
            run, and may be not supported through Vesper although the driver supports it. Each line
            has a comment with the reason, and in parentheses the document that explains it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cases import CaseError, pattern_regex

DOCUMENT = re.compile(r"\((docs/[\w./-]+\.md)(#[\w-]+)?\)")


@dataclass(frozen=True)
class Line:
    pattern: str
    status: str
    reason: str
    regex: re.Pattern[str]

    def matches(self, case: str) -> bool:
        return self.regex.fullmatch(case) is not None


def read_lines(path: Path) -> list[Line]:
    lines = []
    for text in path.read_text().splitlines():
        content, _, reason = text.partition("#")
        if content.strip():
            pattern, _, status = (part.strip() for part in content.partition(","))
            lines.append(Line(pattern, status, reason.strip(), pattern_regex([pattern])))
    return lines


@dataclass
class Expectations:
    fails: list[Line] = field(default_factory=list)
    flakes: list[Line] = field(default_factory=list)
    skips: list[Line] = field(default_factory=list)

    def is_skipped(self, case: str) -> bool:
        return any(not line.status and line.matches(case) for line in self.skips)

    def may_be_not_supported(self, case: str) -> bool:
        return any(line.status and line.matches(case) for line in self.skips)

    def is_flake(self, case: str) -> bool:
        return any(line.matches(case) for line in self.flakes)

    def expected_native(self, case: str) -> str | None:
        """The status that fails.txt gives, if it knows the case."""
        return next((line.status for line in self.fails if line.matches(case)), None)


def read_expectations(folder: Path, root: Path) -> Expectations:
    """Reads the three files in `folder`; documents are looked for under `root`."""
    try:
        result = Expectations(*(read_lines(folder / name)
                                for name in ("fails.txt", "flakes.txt", "skips.txt")))
    except OSError as error:
        raise CaseError(f"the expectations could not be read: {error}.") from error
    for line in result.fails:
        if not line.status:
            raise CaseError(f"fails.txt: '{line.pattern}' lacks its status (as in CASE,Fail).")
    for line in result.skips:
        if line.status not in ("", "NotSupported"):
            raise CaseError(f"skips.txt: '{line.pattern}' may be followed by NotSupported only.")
        document = DOCUMENT.search(line.reason)
        if not document or not (root / document[1]).is_file():
            raise CaseError(f"skips.txt: '{line.pattern}' needs a comment with the reason and a "
                            "document that there is, as in '# too slow (docs/testing.md)'.")
    return result
