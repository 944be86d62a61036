# SPDX-License-Identifier: Apache-2.0
"""Which cases are run: lists of names, chosen from all that the conformance program knows.

lists.toml names the lists. A list takes all cases that its patterns match, or a number of them at
even distances: of `total` cases in the program's own order, those at `i * total // count` for `i`
from 0. The same program therefore always gives the same list.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable


class CaseError(Exception):
    pass


def pattern_regex(patterns: Iterable[str]) -> re.Pattern[str]:
    """Matches whole names against patterns in which `*` stands for anything, dots included."""
    parts = [".*".join(re.escape(part) for part in pattern.split("*")) for pattern in patterns]
    return re.compile("|".join(f"(?:{part})" for part in parts) if parts else r"(?!)")


@dataclass
class CaseList:
    name: str
    patterns: list[str]
    without: list[str] = field(default_factory=list)
    count: int | None = None  # None: all of them
    default: bool = True      # run unless other lists are asked for

    def choose(self, known: list[str]) -> list[str]:
        """The cases of this list, out of all that there are."""
        wanted, unwanted = pattern_regex(self.patterns), pattern_regex(self.without)
        cases = [case for case in known if wanted.fullmatch(case) and not unwanted.fullmatch(case)]
        return cases if self.count is None else every_nth(cases, self.count)


def every_nth(cases: list[str], count: int) -> list[str]:
    if count >= len(cases):
        return cases
    return [cases[i * len(cases) // count] for i in range(count)]


def read_lists(path: Path) -> list[CaseList]:
    """The lists of lists.toml."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CaseError(f"{path} could not be read: {error}.") from error
    lists = []
    for entry in document.get("list", []):
        unknown = set(entry) - {"name", "cases", "without", "count", "default"}
        count = entry.get("count")
        if unknown or not entry.get("name") or not entry.get("cases"):
            raise CaseError(f"{path}: a list has a name, cases, count and perhaps without: {entry}.")
        if count != "all" and (not isinstance(count, int) or count < 1):
            raise CaseError(f"{path}: the count of '{entry['name']}' is neither 'all' nor positive.")
        lists.append(CaseList(entry["name"], entry["cases"], entry.get("without", []),
                              None if count == "all" else count,
                              entry.get("default", True)))
    if len({one.name for one in lists}) != len(lists):
        raise CaseError(f"{path}: two lists have the same name.")
    return lists


def read_case_file(path: Path) -> CaseList:
    """A file with a name or a pattern on each line; # begins a comment."""
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise CaseError(f"{path} could not be read: {error}.") from error
    return CaseList(path.stem, [line for line in lines if line])


def selectors(patterns: Iterable[str]) -> list[str]:
    """What to ask the program for: the top-level groups that the patterns can reach, since building
    the whole tree takes long."""
    found = set()
    for pattern in patterns:
        parts = pattern.split("*")[0].split(".")
        found.add(".".join(parts[:2]) + ("*" if len(parts) < 3 and "*" in pattern else ".*"))
    return sorted(found)


def known_cases(deqp: Path, environment: dict[str, str], work: Path,
                patterns: Iterable[str]) -> list[str]:
    """All cases that the program has and the patterns can reach, in its own order."""
    cases: list[str] = []
    for selector in selectors(patterns):
        command = [str(deqp), "--deqp-runmode=stdout-caselist", f"--deqp-case={selector}",
                   f"--deqp-archive-dir={deqp.parent}", f"--deqp-log-filename={work}/cases.qpa"]
        try:
            output = subprocess.run(command, cwd=work, env=environment, check=True, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        except OSError as error:
            raise CaseError(f"{deqp} could not be started: {error}.") from error
        except subprocess.CalledProcessError as error:
            raise CaseError(f"{deqp} could not list {selector}: {error.output[-500:]}") from error
        cases += [line.removeprefix("TEST: ").strip() for line in output.splitlines()
                  if line.startswith("TEST: ")]
    return list(dict.fromkeys(cases))
