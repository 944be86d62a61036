#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What of a serial port's speed is left for Vulkan, in an emulated guest: uploads and round trips of a
Vulkan program beside those of a plain stream through a port of the same device. Emulation distorts
both; the share is what counts."""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/vm"), str(ROOT / "tests/programs")]

import image  # noqa: E402
from machine import Machine  # noqa: E402
from program import environment_for, install  # noqa: E402

MESSAGE = 64
# Enough that starting up, which is subtracted, does not matter.
FRAMES = 400
PACKAGES = ("qemu-system-x86", "vulkan-tools")


def read(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(1 << 20, count - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def answer(listener: socket.socket) -> None:
    """The other end of the plain port: sends messages back, and counts what is uploaded."""
    connection, _ = listener.accept()
    while True:
        try:
            message = read(connection, MESSAGE)
            connection.sendall(message)
            if message.startswith(b"up "):
                read(connection, int(re.match(rb"up (\d+)", message)[1]))
                connection.sendall(message)
        except (EOFError, OSError):
            return


def figures(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(.+)\t([\d.]+)$", text, re.MULTILINE)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", type=Path, required=True)
    parser.add_argument("--driver", type=Path, required=True)
    arguments = parser.parse_args()
    install(PACKAGES, True)
    build = arguments.build_dir.resolve()
    with tempfile.TemporaryDirectory(prefix="vesper-vm-") as folder:
        work = Path(folder)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(work / "raw.sock"))
        listener.listen()
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        server = subprocess.Popen(
            [build / "bin/vesperd", "--listen", f"unix:{work}/vesper.sock", "--driver", arguments.driver],
            env=environment_for(arguments.driver, work / "home"), stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        machine = None
        try:
            guest = image.build("bookworm", build, ("vm_bench",))
            machine = Machine(guest, f"{work}/vesper.sock", 1, work, "guest",
                              ("-chardev", f"socket,id=raw,path={work}/raw.sock,reconnect=1",
                               "-device", "virtserialport,chardev=raw,name=raw"))
            machine.wait_for_boot()
            port = "VESPER_SERVER='serial:/dev/virtio-ports/vesper.*'"
            raw = figures(machine.check("vm_bench raw /dev/virtio-ports/raw"))
            vulkan = figures(machine.check(f"{port} vm_bench vulkan"))
            start = time.monotonic()
            machine.check(f"{port} turntable --checksums --size 96x64 --frames 1")
            begin = time.monotonic()
            machine.check(f"{port} turntable --checksums --size 96x64 --frames {1 + FRAMES}")
            seconds = (time.monotonic() - begin) - (begin - start)
            print(f"Linux {guest.version} in QEMU, software emulation, over virtio-serial")
            print(f"{'':24}{'plain':>10}{'Vulkan':>10}   share")
            for name, ratio in (("upload, MB/s", vulkan["upload, MB/s"] / raw["upload, MB/s"]),
                                ("round trip, us", vulkan["round trip, us"] / raw["round trip, us"])):
                print(f"{name:24}{raw[name]:10.1f}{vulkan[name]:10.1f}{ratio:8.2f}")
            print(f"{'sample, frames/s':24}{'':10}{FRAMES / seconds:10.1f}")
        finally:
            if machine:
                machine.kill()
            server.terminate()
            server.wait()
    return 0


sys.exit(main())
