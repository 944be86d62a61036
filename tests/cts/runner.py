# SPDX-License-Identifier: Apache-2.0
"""Runs cases in processes of the conformance program, so that one case costs no other.

The cases of a list are cut into chunks of neighbours, and each of a few threads runs one chunk at a
time in one process. The program writes its log into a pipe, which tells at any time which case is
running and for how long. When the process dies, or when a case takes longer than the limit and the
process is killed, then the case that was running has crashed or timed out, and a new process goes
on with what the chunk has left. The program runs cases in an order of its own; hence what is left is
what has no outcome, not what comes later in the chunk.

A case may also spoil the process for the next one. The outcome of each is the one that was seen
first; `repeat` tells what the case does alone. Through Vesper a case can lose the session and with it
the device while the program lives on, and every later case would fail for that. Hence a process in
which a case ends in another way than expected is not used any further.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from qpa import Begun, Ended, Reader

# Statuses of the runner itself, beside those of the program. The first two are also the program's.
CRASH = "Crash"
TIMEOUT = "Timeout"
MISSING = "Missing"  # the program ended well, but did not run the case

# How long a process may take outside of cases: to start, to find its device, to end.
OVERHEAD_LIMIT_S = 60.0
START = "its start"


# Takes what came of a case; returns whether that was expected.
Recorder = Callable[[str, "Outcome"], bool]


class RunError(Exception):
    """Nothing sensible can be run any more."""


@dataclass(frozen=True)
class Outcome:
    status: str
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Side:
    """How the program finds its Vulkan driver."""

    name: str
    environment: dict[str, str]


@dataclass
class Run:
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)  # processes that ended badly outside of cases


class Runner:
    """Runs cases on one side. `limit_s` is how many seconds a case may take."""

    def __init__(self, deqp: Path, side: Side, work: Path, jobs: int, chunk: int,
                 limit_s: float) -> None:
        self.side = side
        self._deqp = deqp
        self._work = work
        self._jobs = jobs
        self._chunk = chunk
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, cases: list[str], progress: Callable[[int], None] | None = None,
            expected: dict[str, Outcome] | None = None) -> Run:
        """Runs all cases; calls `progress` with the number of those done, from several threads.
        `expected` is what the other side did."""
        chunks = deque(cases[i:i + self._chunk] for i in range(0, len(cases), self._chunk))
        return self._run_chunks(chunks, progress, expected)

    def repeat(self, cases: list[str], times: int) -> dict[str, list[Outcome]]:
        """Runs each case alone in its process, `times` times."""
        runs = [self._run_chunks(deque([case] for case in cases)) for _ in range(times)]
        return {case: [run.outcomes[case] for run in runs] for case in cases}

    def stop(self) -> None:
        """Ends what is running. Any thread may call it."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                kill(process)

    def _run_chunks(self, chunks: deque[list[str]], progress: Callable[[int], None] | None = None,
                    expected: dict[str, Outcome] | None = None) -> Run:
        run = Run()
        errors: list[RunError] = []
        begin = time.monotonic()

        def work() -> None:
            while not errors:
                try:
                    chunk = chunks.popleft()
                except IndexError:
                    return
                try:
                    self._run_chunk(chunk, run, progress, expected or {})
                except RunError as error:
                    errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(min(self._jobs, len(chunks)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        run.seconds = time.monotonic() - begin
        return run

    def _run_chunk(self, chunk: list[str], run: Run, progress: Callable[[int], None] | None,
                   expected: dict[str, Outcome]) -> None:
        left = dict.fromkeys(chunk)
        idle = 0

        def record(case: str, outcome: Outcome) -> bool:
            with self._lock:
                run.outcomes[case] = outcome
            left.pop(case, None)
            if progress:
                progress(len(run.outcomes))
            return case not in expected or expected[case].status == outcome.status

        while left:
            before = len(left)
            with tempfile.TemporaryDirectory(dir=self._work) as folder:
                trouble = self._run_process(list(left), Path(folder), record)
            if trouble:
                with self._lock:
                    run.notes.append(trouble)
            if len(left) < before:
                idle = 0
                continue
            # Nothing came out. The program may have ended well, and then does not know what is left.
            idle += 1
            if not trouble:
                for case in list(left):
                    record(case, Outcome(MISSING, message="the program does not run this case"))
            elif idle == 3:
                raise RunError(f"the conformance program does not come to run cases ({self.side.name}; "
                               f"next was {next(iter(left))}): it {trouble}.")

    def _run_process(self, cases: list[str], folder: Path,
                     record: Recorder) -> str:
        """Runs one process for as long as it goes well. Returns what went wrong, but "" if nothing
        did or if the outcome of a case tells it."""
        (folder / "cases.txt").write_text("".join(f"{case}\n" for case in cases))
        read_end, write_end = os.pipe()
        command = [str(self._deqp), f"--deqp-caselist-file={folder}/cases.txt",
                   f"--deqp-archive-dir={self._deqp.parent}",
                   f"--deqp-log-filename=/dev/fd/{write_end}", "--deqp-log-images=disable",
                   "--deqp-log-shader-sources=disable",
                   f"--deqp-shadercache-filename={folder}/shaders.bin"]
        with open(folder / "output.txt", "wb") as output:
            try:
                with self._lock:
                    if self._stopped:
                        raise RunError("stopped.")
                    process = subprocess.Popen(
                        command, cwd=folder, env=self.side.environment, pass_fds=[write_end],
                        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                        start_new_session=True)
                    self._running.add(process)
            except OSError as error:
                os.close(read_end)
                raise RunError(f"{self._deqp} could not be started: {error}.") from error
            finally:
                os.close(write_end)
        try:
            return self._follow(process, read_end, folder / "output.txt", record)
        finally:
            os.close(read_end)
            kill(process)
            process.wait()
            with self._lock:
                self._running.discard(process)

    def _follow(self, process: subprocess.Popen[bytes], log: int, output: Path,
                record: Recorder) -> str:
        reader = Reader()
        rest = b""
        last_case = START
        since = time.monotonic()
        while True:
            limit = self._limit_s if reader.running else OVERHEAD_LIMIT_S
            ready, _, _ = select.select([log], [], [], max(0.0, since + limit - time.monotonic()))
            if not ready:
                kill(process)
                if reader.running:
                    record(reader.running, Outcome(TIMEOUT, limit, f"took longer than {limit:g} s"))
                    return ""
                return f"did nothing for {limit:g} s after {last_case}"
            data = os.read(log, 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                event = reader.feed(line.decode(errors="replace"))
                if isinstance(event, Begun):
                    since = time.monotonic()
                elif isinstance(event, Ended):
                    now = time.monotonic()
                    if not record(event.case, Outcome(event.status, now - since, event.message)):
                        return ""
                    last_case, since = event.case, now
        return self._end(process, reader, last_case, since, output, record)

    def _end(self, process: subprocess.Popen[bytes], reader: Reader, last_case: str, since: float,
             output: Path, record: Recorder) -> str:
        """The log was closed, so the process is about to end or has died."""
        try:
            code = process.wait(timeout=OVERHEAD_LIMIT_S)
            how = f"exited with status {code}" if code >= 0 else f"died of {signal_name(-code)}"
        except subprocess.TimeoutExpired:
            kill(process)
            code, how = -1, f"did not end within {OVERHEAD_LIMIT_S:g} s"
        said = last_words(output)
        if reader.running:
            record(reader.running, Outcome(CRASH, time.monotonic() - since, f"{how}; {said}"))
            return ""
        # The program's status is 1 when a case failed, which is in the log already.
        if code == 0 or (code == 1 and last_case != START):
            return ""
        return f"{how} after {last_case}; {said}"


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_words(output: Path) -> str:
    """The end of what the process printed, in one line."""
    lines = [line.strip() for line in output.read_text(errors="replace").splitlines()]
    return " / ".join([line for line in lines if line][-4:])[-400:]
