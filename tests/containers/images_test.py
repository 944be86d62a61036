#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the images of docker/ from packages of what is built, and lets a sample in the guest's container
draw on the server in the other: in containers of buildah's, and once more in what the documents promise to be
enough (cell.py): a read-only root file system, no capability, a user that no file knows.

Exit status 0 if the pictures are the same, 1 if not, 77 (with the reason) if this machine builds no images.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import cell
import images
from cell import Cell
from images import ROOT, Images

NOT_RUN = 77
TURNTABLE = ["/mnt/turntable", "--frame", "17", "--frames", "4", "--checksums", "--size", "320x240"]
LAVAPIPE = "/usr/share/vulkan/icd.d/lvp_icd.json"
SAMPLES_ENVIRONMENT = {"LD_LIBRARY_PATH": "/mnt", "VK_LOADER_LAYERS_DISABLE": "~implicit~"}
NATIVE = {**SAMPLES_ENVIRONMENT, "VK_DRIVER_FILES": LAVAPIPE}
MEBIBYTE = 1 << 20


class ImagesTest(unittest.TestCase):
    build_dir: Path
    images: Images

    @classmethod
    def setUpClass(cls) -> None:
        cls._scratch = tempfile.TemporaryDirectory(prefix="vesper-images-")
        scratch = Path(cls._scratch.name)
        # The context is what a checkout's would be after scripts/package.
        context = scratch / "context"
        packages = context / "build/packages"
        packages.mkdir(parents=True)
        shutil.copy(ROOT / ".dockerignore", context)
        images.run([str(ROOT / "scripts/package"), "--no-build", "--build-dir", str(cls.build_dir),
                    "--output", str(packages)])
        cls.samples = scratch / "samples"
        cls.samples.mkdir()
        for name in ("turntable", "saxpy"):
            shutil.copy(cls.build_dir / "bin" / name, cls.samples)
        # No image is to have it for the sample's sake.
        png, = (line.split()[2] for line in images.run(["ldd", str(cls.samples / "turntable")]).splitlines()
                if "libpng" in line)
        shutil.copy(png, cls.samples)
        scratch.chmod(0o755)

        cls.server_image, cls.guest_image, cls.icd_image = (
            cls.images.build(f"vesper-{name}", context, ROOT / f"docker/{name}.Dockerfile")
            for name in ("server", "guest", "icd"))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.images.close()
        cls._scratch.cleanup()

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="vesper-images-")
        self.addCleanup(folder.cleanup)
        self.volume = Path(folder.name)
        self.volume.chmod(0o1777)

    def start_server(self, start) -> None:
        """Starts the image's own command through `start(command, **more)`, and waits for its socket."""
        about = self.images.about(self.server_image)
        log = self.volume / "log"
        with log.open("w") as output:
            server = start([*about["Entrypoint"], *about["Cmd"]], stdout=output, stderr=output)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        deadline = time.monotonic() + 60
        while "listening on" not in log.read_text():
            self.assertIsNone(server.poll(), log.read_text())
            self.assertLess(time.monotonic(), deadline, log.read_text())
            time.sleep(0.02)

    def in_container(self, container: str, words: list[str], mounts: dict[Path, str],
                     environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(self.images.command(container, words, mounts, environment),
                              capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
        log = self.volume / "log"
        self.assertEqual(0, done.returncode, done.stdout + done.stderr + (log.read_text() if log.exists() else ""))
        return done.stdout

    def native(self, server: str) -> str:
        pixels = self.in_container(server, TURNTABLE, {self.samples: "/mnt:ro"}, NATIVE)
        self.assertEqual(4, pixels.count("frame "), pixels)
        return pixels

    def test_guest_and_server_in_two_containers(self) -> None:
        server = self.images.container(self.server_image)
        guest = self.images.container(self.guest_image)
        self.start_server(lambda words, **more: subprocess.Popen(
            self.images.command(server, words, {self.volume: "/run/vesper"}), stdin=subprocess.DEVNULL, **more))
        mounts = {self.volume: "/run/vesper:ro", self.samples: "/mnt:ro"}
        self.assertEqual(self.native(server), self.in_container(guest, TURNTABLE, mounts, SAMPLES_ENVIRONMENT))
        self.in_container(guest, ["/mnt/saxpy"], mounts, SAMPLES_ENVIRONMENT)
        said = self.in_container(guest, ["vesper", "doctor"], mounts)
        self.assertIn("ok    programs find this driver by themselves", said)
        self.assertIn("llvmpipe", self.in_container(guest, ["vulkaninfo", "--summary"], mounts))
        # The health checks.
        self.assertIn("llvmpipe", self.in_container(guest, ["vesper", "ping"], mounts))
        self.assertIn("llvmpipe", self.in_container(server, ["vesper", "ping"], {self.volume: "/run/vesper"}))

    def test_images_confined_as_far_as_promised(self) -> None:
        server = self.images.container(self.server_image)
        guest = self.images.container(self.guest_image)
        run_vesper, samples = Path("/run/vesper"), {self.samples: Path("/mnt")}
        native = self.native(server)
        self.start_server(Cell(self.images.root_of(server), writable={self.volume: run_vesper},
                               user=cell.USER + 1).start)
        place = Cell(self.images.root_of(guest), mounts={self.volume: run_vesper, **samples})
        environment = {**SAMPLES_ENVIRONMENT, "VESPER_SERVER": "unix:/run/vesper/vesper.sock"}
        drawn = place.run(TURNTABLE, environment)
        self.assertEqual(native, drawn.stdout, drawn.stderr + (self.volume / "log").read_text())
        self.assertEqual(0, place.run(["/mnt/saxpy"], environment).returncode)
        self.assertEqual(0, place.run(["vesper", "doctor"], environment).returncode)

    def test_driver_copied_into_an_image_of_ones_own(self) -> None:
        with tempfile.TemporaryDirectory(prefix="vesper-images-") as folder:
            dockerfile = Path(folder) / "Dockerfile"
            dockerfile.write_text("ARG BASE\n"
                                  f"FROM {self.icd_image} AS vesper-icd\n"
                                  "FROM ${BASE}\n"
                                  "COPY --from=vesper-icd / /\n")
            # The server's, since it has the loader, and a driver for a private server.
            image = self.images.build("vesper-own", Path(folder), dockerfile, base=self.server_image)
        own = self.images.container(image)
        mounts = {self.samples: "/mnt:ro"}
        through = self.in_container(own, ["vesper", "run", "--driver", LAVAPIPE, "--", *TURNTABLE], mounts,
                                    {**SAMPLES_ENVIRONMENT, "VESPER_SERVER": ""})
        self.assertEqual(self.native(own), through)

    def test_images_are_modest(self) -> None:
        for image in (self.server_image, self.guest_image):
            about = self.images.about(image)
            user = about["User"].partition(":")[0]
            self.assertTrue(user.isdigit() and int(user) != 0, f"{image} runs as '{user}'")
            self.assertEqual(["CMD", "vesper", "ping"], about["Healthcheck"]["Test"])
        for image, limit in ((self.server_image, 450), (self.guest_image, 160), (self.icd_image, 8)):
            size = self.bytes_of(self.images.root_of(self.images.container(image))) / MEBIBYTE
            print(f"{image}: {size:.0f} MiB")
            self.assertLess(size, limit, image)

    @staticmethod
    def bytes_of(root: Path) -> int:
        return int(images.run(["du", "--summarize", "--bytes", "--one-file-system", str(root)]).split()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", type=Path, required=True)
    ImagesTest.build_dir = parser.parse_args().build_dir.resolve()
    reason = images.why_none() or cell.why_none()
    if reason:
        print(f"images: not run: {reason}")
        return NOT_RUN
    if "VESPER_OWN_MOUNTS" not in os.environ:
        # What buildah mounts is gone with this process, however it ends.
        os.environ["VESPER_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    ImagesTest.images = Images(ImagesTest.build_dir / "containers")
    try:
        ImagesTest.images.make_base()
    except images.Failed as failure:
        print(f"images: not run: a base can't be had here: {failure}")
        return NOT_RUN
    result = unittest.TextTestRunner(verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromTestCase(ImagesTest))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
