#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Guest and server in containers that allow no more than the engines' defaults do, and less (cell.py):
the samples draw and compute the same as on the driver itself, the guest takes the way that is left to it
and says why, and integration tests of memory pass.

Exit status 0 if so, 1 if not, 77 (with the reason) if this machine allows no such containers.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import cell
from cell import Cell

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_RUN = 77
TURNTABLE = ["turntable", "--frame", "17", "--frames", "4", "--checksums", "--size", "320x240"]
# No layer that loads by itself, and no compiled shader of another run.
CLEAN = {"VK_LOADER_LAYERS_DISABLE": "~implicit~", "NODEVICE_SELECT": "1"}
# What the memory of a program can go wrong by first.
PROGRAMS = ["device_memory", "fork", "memory_merge", "memory_stress"]
NO_MEMFD = {"memfd_create": errno.EPERM}


class Relay:
    """Passes bytes between two Unix sockets, and nothing but bytes, as the relays do through which engines
    on other systems bring a socket into their containers."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(str(self._target))
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    # What comes with the bytes is dropped by not being asked for.
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)


class ConfinedTest(unittest.TestCase):
    build_dir: Path
    driver: str

    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vesper-containers-")
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o1777)

    def serve(self, deny: dict[str, int] | None = None) -> Path:
        """Starts a server in a cell in which only its socket's folder can be written, and returns the
        socket."""
        path, log = self.folder / "vesper.sock", self.folder / "log"
        with log.open("w") as output:
            # Like an image's process, without a home; and as another user than the guest.
            server = Cell(writable={self.folder: self.folder}, deny=deny, user=cell.USER + 1).start(
                [str(self.build_dir / "bin/vesperd"), "--listen", f"unix:{path}", "--socket-mode", "0666",
                 "--driver", self.driver], CLEAN, stdout=output, stderr=output)

        def stop() -> None:
            server.kill()
            server.wait()
        self.addCleanup(stop)
        deadline = time.monotonic() + 60
        while "listening on" not in log.read_text():
            self.assertIsNone(server.poll(), log.read_text())
            self.assertLess(time.monotonic(), deadline, log.read_text())
            time.sleep(0.02)
        return path

    def run_as_guest(self, command: list[str], path: Path, environment: dict[str, str] | None = None,
                     deny: dict[str, int] | None = None,
                     devices: dict[Path, Path] | None = None) -> subprocess.CompletedProcess:
        manifest, = (self.build_dir / "share/vulkan/icd.d").glob("vesper_icd.*.json")
        variables = {**CLEAN, "VESPER_SERVER": f"unix:{path}", "VK_DRIVER_FILES": str(manifest),
                     "VK_ICD_FILENAMES": str(manifest), "VESPER_DEBUG": "log", **(environment or {})}
        return Cell(deny=deny, devices=devices).run(
            [str(self.build_dir / "bin" / command[0]), *command[1:]], variables)

    def guest(self, command: list[str], path: Path, **more) -> subprocess.CompletedProcess:
        done = self.run_as_guest(command, path, **more)
        self.assertEqual(0, done.returncode, done.stderr + (self.folder / "log").read_text())
        return done

    def run_natively(self, command: list[str],
                     deny: dict[str, int] | None = None) -> subprocess.CompletedProcess:
        return Cell(deny=deny).run([str(self.build_dir / "bin" / command[0]), *command[1:]],
                                   {**CLEAN, "VK_DRIVER_FILES": self.driver, "VK_ICD_FILENAMES": self.driver})

    def native(self, command: list[str]) -> str:
        done = self.run_natively(command)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertNotEqual("", done.stdout)
        return done.stdout

    def expect_same(self, path: Path, **more) -> str:
        """The samples give what they give natively; returns what the driver logged."""
        self.assertEqual(self.native(TURNTABLE), self.guest(TURNTABLE, path, **more).stdout)
        done = self.guest(["saxpy"], path, **more)
        self.assertEqual(self.native(["saxpy"]), done.stdout)
        return done.stderr

    def test_defaults(self) -> None:
        log = self.expect_same(self.serve())
        self.assertIn("commands pass through shared rings", log)

    def test_userfaultfd_is_denied_so_memory_is_compared(self) -> None:
        log = self.expect_same(self.serve(), environment={"VESPER_MEMORY": "shadow"})
        self.assertRegex(log, r"mapped memory: compare; .*userfaultfd: Operation not permitted")

    def test_every_home(self) -> None:
        path = self.serve()
        for environment in ({}, {"HOME": "/"}, {"HOME": "/nonexistent"}, {"HOME": ""},
                            {"XDG_CACHE_HOME": "/var/cache"}, {"VESPER_CACHE_DIR": "/tmp/cache"}):
            with self.subTest(environment):
                done = self.guest(["saxpy"], path, environment=environment)
                self.assertEqual(self.native(["saxpy"]), done.stdout)

    def test_guest_without_files_in_memory(self) -> None:
        log = self.expect_same(self.serve(), deny=NO_MEMFD)
        self.assertIn("commands pass through the connection: memfd_create failed", log)

    def test_server_without_files_in_memory(self) -> None:
        path = self.serve(NO_MEMFD)
        self.guest(["vesper", "doctor"], path)
        if self.run_natively(["saxpy"], NO_MEMFD).returncode == 0:
            self.expect_same(path)
        else:
            # The driver itself can't do without them. Its worker's end is all that comes of it.
            self.assertNotEqual(0, self.run_as_guest(["saxpy"], path).returncode)
            self.guest(["vesper", "doctor"], path)

    def test_socket_that_passes_no_descriptors(self) -> None:
        relay = Relay(self.folder / "relay.sock", self.serve())
        self.addCleanup(relay.close)
        log = self.expect_same(relay.path)
        self.assertIn("commands pass through the connection: no file of the guest's came", log)

    def test_userfaultfd_by_its_device(self) -> None:
        path, device = self.serve(), Path("/dev/userfaultfd")
        shadow = {"VESPER_MEMORY": "shadow"}
        if not device.exists():
            self.skipTest(f"this kernel has no {device}")
        # One that this user may open, as an engine's --device and a rule for its mode make it.
        own = self.folder / "userfaultfd"
        os.mknod(own, 0o666 | stat.S_IFCHR, device.stat().st_rdev)
        own.chmod(0o666)
        log = self.expect_same(path, environment=shadow, devices={own: device})
        outside = subprocess.run([str(self.build_dir / "bin/vesper"), "doctor", "--server", f"unix:{path}"],
                                 capture_output=True, text=True, check=False).stdout
        kernel_can = "ok    async," in outside
        self.assertIn(f"mapped memory: {'async' if kernel_can else 'compare'}", log)

    def diagnosis(self, path: Path, **more) -> str:
        return self.run_as_guest(["vesper", "doctor"], path, environment={"container": "cell"}, **more).stdout

    def test_doctor(self) -> None:
        path = self.serve()
        said = self.diagnosis(path)
        self.assertNotIn("FAIL", said)
        self.assertIn("ok    this is a container (cell), of user 54321", said)
        self.assertIn("userfaultfd: Operation not permitted\n        -> container engines' seccomp profiles "
                      "deny it, which costs a comparison", said)
        self.assertIn("--device /dev/userfaultfd", said)
        self.assertIn("/dev/shm has 64 MiB", said)
        self.assertIn("not remembered on disk: there is no HOME", said)

        said = self.diagnosis(path, deny=NO_MEMFD)
        self.assertNotIn("FAIL", said)
        self.assertIn("warn  no files in memory (memfd_create: Operation not permitted)", said)
        self.assertIn("-> allow memfd_create in the seccomp profile", said)

    def test_doctor_without_permission(self) -> None:
        path = self.serve()
        path.chmod(0o600)
        said = self.diagnosis(path)
        self.assertIn(f"-> user 54321 may not write to {path}: start vesperd with --socket-mode 0660", said)
        path.chmod(0o660)
        said = self.diagnosis(path)
        self.assertIn("but its group may: run this container with --group-add 54322", said)
        self.folder.chmod(0o700)
        said = self.diagnosis(path)
        self.assertIn(f"-> user 54321 may not enter {self.folder}", said)

    def test_doctor_on_a_read_only_system(self) -> None:
        said = self.run_as_guest(["vesper", "doctor"], self.serve(),
                                 environment={"container": "cell", "HOME": "/var"}).stdout
        self.assertIn("not remembered on disk: /var/.cache/vesper: Read-only file system", said)
        self.assertIn("--volume vesper-cache:/cache", said)

    def test_integration_programs(self) -> None:
        for name in PROGRAMS:
            for environment in ({}, {"VESPER_MEMORY": "compare"}):
                with self.subTest(name, **environment):
                    # Not over /tmp: Vesper may be built there.
                    done = Cell(writable={self.folder: self.folder}).run(
                        [str(self.build_dir / f"bin/{name}_integration_test"), "--gtest_brief=1"],
                        {**CLEAN, "TMPDIR": str(self.folder), **environment})
                    self.assertEqual(0, done.returncode, done.stdout + done.stderr)


def why_not(build_dir: Path) -> str:
    reason = cell.why_none()
    if reason:
        return reason
    tried = Cell().run([str(build_dir / "bin/vesper"), "--version"])
    return "" if tried.returncode == 0 else f"other users can't enter {build_dir}: {tried.stderr.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", type=Path, required=True)
    parser.add_argument("case", nargs="*", help="names of tests (default: all)")
    arguments = parser.parse_args()
    ConfinedTest.build_dir = arguments.build_dir.resolve()
    reason = why_not(ConfinedTest.build_dir)
    if reason:
        print(f"containers: not run: {reason}")
        return NOT_RUN
    ConfinedTest.driver = subprocess.run(
        ["bash", "-c", f'set -eu; source "{ROOT}/scripts/lib.sh"; lavapipe_manifest'],
        capture_output=True, text=True, check=True).stdout.strip()
    loader = unittest.defaultTestLoader
    suite = (loader.loadTestsFromNames([f"test_{name}" for name in arguments.case], ConfinedTest)
             if arguments.case else loader.loadTestsFromTestCase(ConfinedTest))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for case, reason in result.skipped:
        print(f"containers: {case} was not run: {reason}")
    if not result.wasSuccessful():
        return 1
    return NOT_RUN if result.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
