# SPDX-License-Identifier: Apache-2.0
"""A vesperd of our own, for as long as the cases run."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from runner import RunError

START_LIMIT_S = 20.0


class Server:
    """Starts `vesperd` on the driver of `manifest` and waits until it listens. `transport` is unix or
    tcp; `endpoint` is where guests find it. Its log is in `work`."""

    def __init__(self, vesperd: Path, manifest: Path, transport: str, work: Path,
                 environment: dict[str, str]) -> None:
        self._log = work / "vesperd.log"
        listen = f"unix:{work}/vesper.sock" if transport == "unix" else "tcp:127.0.0.1:0"
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    [str(vesperd), "--listen", listen, "--driver", str(manifest)],
                    env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True)
        except OSError as error:
            raise RunError(f"{vesperd} could not be started: {error}.") from error
        try:
            self.endpoint = self._wait_until_listening()
        except RunError:
            self.stop()
            raise

    def _wait_until_listening(self) -> str:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            match = re.search(r"listening on (\S+)\n", self._log.read_text(errors="replace"))
            if match:
                return match[1]
            self.check()
            time.sleep(0.05)
        raise RunError(f"vesperd did not listen within {START_LIMIT_S:g} s; its log is {self._log}.")

    def check(self) -> None:
        """Raises RunError if the server is no more."""
        if self._process.poll() is not None:
            log = " / ".join(self._log.read_text(errors="replace").splitlines()[-3:])
            raise RunError(f"vesperd ended with status {self._process.returncode}: {log}")

    def complaints(self) -> list[str]:
        """The lines of the log that are more than news."""
        return [line for line in self._log.read_text(errors="replace").splitlines()
                if re.search(r"vesperd\[\d+\] (warning|error|critical): ", line)]

    def stop(self) -> int:
        """Asks the server to end, and makes it if it doesn't; returns its status."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
