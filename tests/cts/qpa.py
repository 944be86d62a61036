# SPDX-License-Identifier: Apache-2.0
"""Reads the log of the conformance program ("QPA") while it is being written.

The log is lines of text. Those that matter here:

    #beginTestCaseResult dEQP-VK.memory.mapping.full
    ... XML; near its end, perhaps over several lines:
    <Result StatusCode="Pass">Pass</Result>
    ... more XML
    #endTestCaseResult

A case whose process notices that it must die ends with `#terminateTestCaseResult Crash` instead. One
whose process dies without noticing has no end at all: then the last `Begun` has no `Ended`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import unescape

BEGIN = "#beginTestCaseResult "
END = "#endTestCaseResult"
TERMINATE = "#terminateTestCaseResult "

RESULT = re.compile(r'<Result StatusCode="(\w+)"\s*(?:/>|>(.*)</Result>)', re.DOTALL)


@dataclass(frozen=True)
class Begun:
    case: str


@dataclass(frozen=True)
class Ended:
    """`status` is one of the program's own words: Pass, Fail, NotSupported, QualityWarning..."""

    case: str
    status: str
    message: str


class Reader:
    """Takes the log line by line and tells what each line means."""

    def __init__(self) -> None:
        self._case: str | None = None
        self._result: list[str] | None = None
        self._status = ""
        self._message = ""

    @property
    def running(self) -> str | None:
        """The case that has begun and not ended."""
        return self._case

    def feed(self, line: str) -> Begun | Ended | None:
        line = line.rstrip("\r\n")
        if line.startswith(BEGIN):
            self._case = line.removeprefix(BEGIN).strip()
            self._result, self._status, self._message = None, "", ""
            return Begun(self._case)
        if self._case is None:
            return None
        if line.startswith(END):
            # Without a result the log was cut or garbled, which is no way to pass.
            if not self._status:
                return self._end("InternalError", "no result in the log")
            return self._end(self._status, self._message)
        if line.startswith(TERMINATE):
            return self._end(line.removeprefix(TERMINATE).strip(), "the program gave up")
        self._read_result(line)
        return None

    def _end(self, status: str, message: str) -> Ended:
        assert self._case is not None
        ended = Ended(self._case, status, message)
        self._case = None
        return ended

    def _read_result(self, line: str) -> None:
        if self._result is None:
            if "<Result StatusCode=" not in line:
                return
            self._result = []
        self._result.append(line)
        match = RESULT.search("\n".join(self._result))
        if match:
            self._status = match[1]
            self._message = unescape(match[2] or "", {"&quot;": '"', "&apos;": "'"}).strip()
            self._result = None
