# SPDX-License-Identifier: Apache-2.0
"""A virtual machine, emulated in software, and a shell in it."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import time
from pathlib import Path

from image import Image
from program import Failed

# They only turn a hang into a failure.
BOOT_LIMIT_S = 180.0
COMMAND_LIMIT_S = 180.0


class Machine:
    """Starts QEMU with `ports` serial ports, vesper.0 and on, which it connects to the socket of a
    server. `more` are options of QEMU."""

    def __init__(self, image: Image, server: str, ports: int, work: Path, name: str,
                 more: tuple[str, ...] = ()) -> None:
        self.name = name
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
                   "-smp", "2", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none",
                   "-kernel", image.kernel, "-initrd", image.initramfs,
                   "-append", "console=ttyS0 quiet random.trust_cpu=on", "-serial", "stdio",
                   "-device", "virtio-serial-pci", *more]
        for i in range(ports):
            command += ["-chardev", f"socket,id=c{i},path={server},reconnect=1",
                        "-device", f"virtserialport,chardev=c{i},name=vesper.{i}"]
        self._errors = open(work / f"{name}.qemu", "wb")
        self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=self._errors,
                                         start_new_session=True)
        self._log = open(work / f"{name}.console", "wb")
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._count = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._log.write(line)
            self._log.flush()
            self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def _next_line(self, deadline: float, what: str) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Failed(f"{self.name}: {what} took too long.") from None
        if line is None:
            raise Failed(f"{self.name}: QEMU ended during {what}; see {self._errors.name}.")
        if "Kernel panic" in line:
            raise Failed(f"{self.name}: the kernel panicked during {what}.")
        return line

    def wait_for_boot(self) -> None:
        deadline = time.monotonic() + BOOT_LIMIT_S
        while "the guest is up" not in self._next_line(deadline, "the boot"):
            pass

    def begin(self, command: str) -> None:
        """Has the shell run a command; finish() waits for it."""
        self._count += 1
        os.write(self._process.stdin.fileno(), f"{command}\n".encode())

    def finish(self, what: str = "a command") -> tuple[int, str]:
        """The status and the output of the last command."""
        deadline = time.monotonic() + COMMAND_LIMIT_S
        output = []
        while True:
            line = self._next_line(deadline, what)
            match = re.search(rf"(.*)=== {self._count} (\d+)$", line)
            if match:
                return int(match[2]), "\n".join(output + ([match[1]] if match[1] else []))
            output.append(line)

    def run(self, command: str) -> tuple[int, str]:
        self.begin(command)
        return self.finish(f"`{command}`")

    def check(self, command: str) -> str:
        """The output of a command that must succeed."""
        status, output = self.run(command)
        if status != 0:
            raise Failed(f"{self.name}: `{command}` ended with status {status}: {output[-800:]}")
        return output

    def reboot(self) -> None:
        """At once, whatever runs."""
        os.write(self._process.stdin.fileno(), b"reboot -f\n")
        self._count = 0
        self.wait_for_boot()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()
