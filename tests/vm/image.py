# SPDX-License-Identifier: Apache-2.0
"""A small Linux guest: Debian's kernel and busybox, and of this build and this machine what runs a
Vulkan program through Vesper. All of it is an initramfs, so that a guest has no disk and a new one
is like the last."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from program import NotRun, apt

HERE = Path(__file__).resolve().parent
KERNEL_PACKAGE = "linux-image-cloud-amd64"
# What they need is found out. Modules that a kernel has built in are not missed.
MODULES = ("virtio_pci", "virtio_console", "vsock_loopback")
PROGRAMS = ("turntable", "vesper", "vm_relay", "vsock_stream_test")
FOLDERS = ("bin", "dev", "etc", "home", "lib", "lib64", "modules", "proc", "run", "sys", "tmp", "usr",
           "usr/bin", "usr/lib", "usr/share", "usr/share/vulkan", "usr/share/vulkan/icd.d")


@dataclass
class Image:
    kernel: Path
    initramfs: Path
    version: str  # of the kernel


class _Packages:
    """Where packages come from: this machine's own sources, or the same with the name of another
    release of Debian in them, which apt keeps in a folder of ours."""

    def __init__(self, release: str, work: Path) -> None:
        own = _release_of_this_machine()
        self._options = ["-q", "-o", "APT::Sandbox::User=root"]
        self._is_private = release != own
        if not self._is_private:
            return
        folder = work / f"apt-{release}"
        for name in ("sources", "lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for source in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
            if source.suffix in (".list", ".sources") and source.exists():
                text = re.sub(rf"\b{own}\b", release, source.read_text())
                (folder / "sources" / source.name).write_text(text)
        self._options += ["-o", "Dir::Etc::sourcelist=/dev/null",
                          "-o", f"Dir::Etc::sourceparts={folder}/sources",
                          "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache",
                          "-o", "Acquire::Languages=none"]

    def _update(self) -> None:
        if self._is_private:
            subprocess.run(["apt-get", *self._options, "update"], capture_output=True, check=False)
        else:
            apt("update")

    def dependency(self, package: str, pattern: str) -> str:
        """The package that this one depends on whose name looks like this."""
        for fresh in (False, True):
            if fresh:
                self._update()
            depends = subprocess.run(["apt-cache", *self._options, "depends", package],
                                     capture_output=True, text=True, check=False).stdout
            match = re.search(rf"Depends: ({pattern})", depends)
            if match:
                return match[1]
        raise NotRun(f"the package sources know no {package}.")

    def unpack(self, packages: list[str], folder: Path) -> None:
        command = ["apt-get", *self._options, "download", *packages]
        fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if fetched.returncode != 0:
            self._update()
            fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if fetched.returncode != 0:
            raise NotRun(f"{', '.join(packages)} could not be downloaded: {fetched.stderr.strip()[-200:]}")
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
            package.unlink()


def _release_of_this_machine() -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if match is None:
        raise NotRun("guests are made of Debian's packages, and this is no Debian.")
    return match[1]


def _debian(release: str, work: Path) -> Path:
    """The kernel of the release, and busybox, unpacked; kept for the next time."""
    kept = next(iter(sorted(work.glob(f"{release}-linux-image-*[!w]"))), None)
    if kept is not None:
        return kept
    packages = _Packages(release, work)
    kernel = packages.dependency(KERNEL_PACKAGE, r"linux-image-\S+")
    fresh = work / f"{release}-{kernel}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    packages.unpack([kernel, "busybox-static"], fresh)
    return fresh.rename(work / f"{release}-{kernel}")


def _libraries(program: Path) -> set[Path]:
    """What the program loads when it starts."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def _modules(release: Path) -> dict[str, bytes]:
    """The modules and what they need, in the order in which they can be loaded."""
    found = {path.name.partition(".")[0].replace("-", "_"): path for path in release.rglob("*.ko*")}
    loaded: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in found and name not in loaded:
            data = found[name].read_bytes()
            data = lzma.decompress(data) if found[name].suffix == ".xz" else data
            needed = re.search(rb"\0depends=([^\0]*)\0", data)
            for other in needed[1].decode().split(",") if needed else ():
                load(other)
            loaded[name] = data

    for name in MODULES:
        load(name)
    return loaded


class _Archive:
    """An initramfs: a cpio archive in the form `newc`, not compressed, as the guest is slow."""

    def __init__(self, file) -> None:
        self._file = file
        self._count = 0

    def _add(self, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._file.write(head + b"\0" * (-len(head) % 4))
        self._file.write(data + b"\0" * (-len(data) % 4))

    def folder(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, data: bytes, mode: int = 0o755) -> None:
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        self._add(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def end(self) -> None:
        self._add("TRAILER!!!", 0, b"")


def _stripped(path: Path, scratch: Path) -> bytes:
    """A program or library without what debuggers need."""
    if subprocess.run(["strip", "-o", scratch, path], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return path.read_bytes()
    return scratch.read_bytes()


def build(release: str, build_dir: Path, more: tuple[str, ...] = ()) -> Image:
    """The image of a guest with the kernel of this release of Debian, from the last time if nothing in it
    has changed. `more`: programs of the build beside the usual ones."""
    work = build_dir / "vm"
    work.mkdir(parents=True, exist_ok=True)
    debian = _debian(release, work)
    programs = {f"usr/bin/{name}": build_dir / "bin" / name for name in (*PROGRAMS, *more)}
    programs["usr/bin/vulkaninfo"] = Path(shutil.which("vulkaninfo") or "/usr/bin/vulkaninfo")
    programs["usr/lib/libvesper_icd.so"] = build_dir / "lib" / "libvesper_icd.so"
    for name, path in programs.items():
        if not path.exists():
            raise NotRun(f"{path} is missing, which is {name} of the guest.")
    libraries = set().union(*(_libraries(path) for path in programs.values()))
    # Trixie's packages have it below usr.
    installed = next(iter(debian.glob("**/lib/modules/*")))
    kernel = next((debian / "boot").glob("vmlinuz-*"))

    sources = [*programs.values(), *libraries, HERE / "init", HERE / "image.py", kernel]
    state = "\n".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sorted(sources))
    stamp = hashlib.sha256(state.encode()).hexdigest()[:16]
    image = Image(kernel, work / f"guest-{release}-{stamp}.cpio", installed.name)
    if image.initramfs.exists():
        return image
    for old in work.glob(f"guest-{release}-*.cpio"):
        old.unlink()
    fresh = work / f"guest.{os.getpid()}"
    scratch = work / f"stripped.{os.getpid()}"
    with open(fresh, "wb") as file:
        archive = _Archive(file)
        for folder in FOLDERS:
            archive.folder(folder)
        archive.device("dev/console", 5, 1)
        archive.file("init", (HERE / "init").read_bytes())
        archive.file("bin/busybox", next(debian.glob("**/bin/busybox")).read_bytes())
        archive.file("etc/passwd", b"root:x:0:0::/home:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n", 0o644)
        modules = _modules(installed)
        archive.file("etc/modules", "".join(f"{name}.ko\n" for name in modules).encode(), 0o644)
        for name, data in modules.items():
            archive.file(f"modules/{name}.ko", data, 0o644)
        archive.file(f"usr/share/vulkan/icd.d/vesper_icd.{os.uname().machine}.json",
                     b'{"file_format_version": "1.0.1", "ICD": {"library_path": '
                     b'"/usr/lib/libvesper_icd.so", "api_version": "1.4.0"}}\n', 0o644)
        for name, path in programs.items():
            archive.file(name, _stripped(path, scratch))
        # All where the loader looks by itself; it has its own name in every program.
        for path in sorted(libraries):
            inside = f"lib64/{path.name}" if path.name.startswith("ld-linux") else f"usr/lib/{path.name}"
            archive.file(inside, _stripped(path.resolve(), scratch))
        archive.end()
    scratch.unlink(missing_ok=True)
    fresh.rename(image.initramfs)
    return image
