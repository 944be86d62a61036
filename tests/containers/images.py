# SPDX-License-Identifier: Apache-2.0
"""Building the images of docker/ for real, by buildah with chroot isolation, which needs root and nothing
else: no engine, no registry. Their base is made by debootstrap, of this machine's own mirror, and kept in
the build tree with the layers that were built.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cell

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["buildah", "debootstrap"]
SUITE = "trixie"  # that of the Dockerfiles
BASE = f"localhost/vesper-test-base:{SUITE}"
LIMIT_S = 900


class Failed(Exception):
    """A command failed; its output tells why."""


def run(command: list[str], **more) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT_S, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def mirror() -> str:
    """Where this machine gets its own release from."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    own = release["VERSION_CODENAME"].strip('"')
    for line in run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)",
                     "Created-By: Packages"]).splitlines():
        uri, _, name = line.partition(" ")
        if name == own:
            return uri
    raise Failed(f"apt knows no source of {own}; is there a package list (apt-get update)?")


class Images:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # What it notes of mounts ends with them.
        self._notes = tempfile.TemporaryDirectory(prefix="vesper-images-")
        self._buildah = ["buildah", "--root", str(folder / "storage"), "--runroot", self._notes.name,
                         "--storage-driver", "overlay"]
        self._containers: list[str] = []

    def buildah(self, *words: str) -> str:
        return run([*self._buildah, *words]).strip()

    def make_base(self) -> None:
        if not self.buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            root = self.folder / "base"
            shutil.rmtree(root, ignore_errors=True)
            run(["debootstrap", "--variant=minbase", SUITE, str(root), mirror()])
            for package in (root / "var/cache/apt/archives").glob("*.deb"):
                package.unlink()
            container = self.buildah("from", "scratch")
            self.buildah("add", "--quiet", container, str(root), "/")
            self.buildah("commit", "--quiet", "--rm", container, BASE)
            shutil.rmtree(root)

    def build(self, name: str, context: Path, dockerfile: Path, base: str = BASE) -> str:
        """Builds an image and returns its name."""
        image = f"localhost/{name}"
        self.buildah("bud", "--isolation", "chroot", "--format", "docker", "--layers", "--pull-never",
                     "--build-arg", f"BASE={base}", "--file", str(dockerfile), "--tag", image, str(context))
        return image

    def about(self, image: str) -> dict:
        """What the image says of itself: its User, its Healthcheck, and so on; and its size."""
        about = json.loads(self.buildah("inspect", "--type", "image", image))
        size = run([*self._buildah, "images", "--json", image])
        return {**about["Docker"]["config"], "size": json.loads(size)[0]["size"]}

    def container(self, image: str) -> str:
        name = self.buildah("from", "--pull-never", image)
        self._containers.append(name)
        return name

    def root_of(self, container: str) -> Path:
        return Path(self.buildah("mount", container))

    def command(self, container: str, words: list[str], mounts: dict[Path, str],
                environment: dict[str, str] | None = None) -> list[str]:
        """What runs `words` in a container, as the image's own user and without capabilities."""
        command = [*self._buildah, "run", "--isolation", "chroot", "--cap-drop", "all"]
        for path, place in mounts.items():
            command += ["--volume", f"{path}:{place}"]
        for name, value in (environment or {}).items():
            command += ["--env", f"{name}={value}"]
        return [*command, container, "--", *words]

    def close(self) -> None:
        for name in self._containers:
            self.buildah("rm", name)
        # What a changed package has left without a name.
        subprocess.run([*self._buildah, "rmi", "--prune"], capture_output=True, check=False)
        subprocess.run(["umount", "--lazy", str(self.folder / "storage/overlay")], capture_output=True, check=False)
        self._notes.cleanup()


def why_none() -> str:
    """Why no images can be built here; empty if they can."""
    if os.geteuid() != 0:
        return "building images without an engine needs root"
    return cell.install(PACKAGES)
