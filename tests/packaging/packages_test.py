#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the Debian packages of what is built, looks into them, and installs them for real: by dpkg,
into a copy-on-write copy of this machine's own system that is thrown away. There the service's user
must be there, a sample must draw the same as on the driver itself, and purging must leave nothing.

Exit status 0 if all of that holds, 1 if not, 77 (with the reason) if this machine allows no such copy.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_RUN = 77
LIMIT_S = 300

# What each package has, and nothing else: a pattern for each file.
FILES = {
    "vesper-server": [r"usr/bin/vesperd", r"usr/lib/systemd/system/vesperd\.service",
                      r"usr/lib/sysusers\.d/vesper\.conf", r"usr/share/doc/vesper-server/install\.md"],
    "vesper-icd": [r"usr/lib/[^/]+/vesper/libvesper_icd\.so",
                   r"usr/share/vulkan/icd\.d/vesper_icd\.[^/]+\.json"],
    "vesper-tools": [r"usr/bin/vesper"],
}
DOCUMENTS = [r"usr/share/doc/{}/copyright", r"usr/share/doc/{}/changelog\.gz"]
# Libraries that every Debian since bookworm has under the same name.
LIBRARIES = {"libc6", "libgcc-s1", "libstdc++6", "libvulkan1"}
OTHERS = {"vesper-server": {"systemd | systemd-standalone-sysusers | systemd-sysusers"}}

# Runs in the copy, as its root: $1 is the build tree, the rest are the packages.
INSTALL_AND_USE = r"""
set -eu
build="$1"
shift
export DEBIAN_FRONTEND=noninteractive

apt-get install -y -q --no-install-recommends "$@" >/tmp/apt.log 2>&1 ||
  { apt-get update -q >/tmp/apt.log 2>&1 &&
    apt-get install -y -q --no-install-recommends "$@" >/tmp/apt.log 2>&1; } ||
  { cat /tmp/apt.log; exit 1; }
dpkg -i "$@" >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; exit 1; }  # once more: nothing minds
getent passwd vesper >/dev/null || { echo "there is no user vesper"; exit 1; }
for script in preinst postinst prerm postrm; do
  for file in /var/lib/dpkg/info/vesper-*."$script"; do
    [ ! -e "$file" ] || sh -n "$file"
  done
done

# The service's own command line, as its user. The loader finds the guest driver by itself.
install -d -o vesper -g vesper /run/vesper
setpriv --reuid vesper --regid vesper --clear-groups \
  vesperd --listen unix:/run/vesper/vesper.sock --socket-mode 0660 --driver "$DRIVER" \
  2>/tmp/vesperd.log &
server=$!
export VESPER_SERVER=unix:/run/vesper/vesper.sock
tries=0
until [ -S /run/vesper/vesper.sock ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || { echo "the server does not listen"; cat /tmp/vesperd.log; exit 1; }
  sleep 0.1
done
vesper doctor >/tmp/doctor.log || { cat /tmp/doctor.log; exit 1; }
grep -q 'programs find this driver by themselves' /tmp/doctor.log ||
  { echo "loaders do not find the installed driver"; cat /tmp/doctor.log; exit 1; }
vesper run -- "$build/bin/turntable" --checksums --frames 3 --size 160x120 >/tmp/through
VK_DRIVER_FILES="$DRIVER" VK_ICD_FILENAMES="$DRIVER" \
  "$build/bin/turntable" --checksums --frames 3 --size 160x120 >/tmp/native
cmp /tmp/native /tmp/through || { echo "the sample draws something else"; exit 1; }
kill "$server"
wait "$server"

# And without a service: a private server for one program.
unset VESPER_SERVER
vesper run --driver "$DRIVER" -- "$build/bin/saxpy" >/tmp/private

dpkg --purge vesper-server vesper-icd vesper-tools >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; exit 1; }
left=$(find /usr /etc /var/lib/dpkg/info -name '*vesper*' -newer /tmp/began -not -path "$build/*" || true)
[ -z "$left" ] || { echo "purging left: $left"; exit 1; }
echo "installed, used and purged"
"""

# Runs in a mount namespace of its own: a copy of the system that is written beside it.
MAKE_COPY = r"""
set -eu
scratch="$1"
shift
mount -t tmpfs none "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
for folder in proc dev sys tmp; do
  mount --rbind "/$folder" "$scratch/root/$folder"
done
mount -t tmpfs none "$scratch/root/run"
mkdir -p "$scratch/root/run/lock"
mount -t tmpfs none "$scratch/root/tmp"
touch "$scratch/root/tmp/began"
# The sources may be on another file system than the root folder.
mkdir -p "$scratch/root$SOURCES"
mount --rbind "$SOURCES" "$scratch/root$SOURCES"
for package in "$@"; do
  cp "$package" "$scratch/root/tmp/"
done
"""


def run(command: list[str], **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False, **more)


def why_no_copy() -> str:
    if os.geteuid() != 0:
        return "installing needs root"
    with tempfile.TemporaryDirectory(prefix="vesper-packages-") as scratch:
        tried = run(["unshare", "--mount", "sh", "-c", MAKE_COPY, "copy", scratch],
                    env={**os.environ, "SOURCES": str(ROOT)})
    return "" if tried.returncode == 0 else f"no overlay of this system can be made: {tried.stdout}"


class PackagesTest(unittest.TestCase):
    build_dir: Path
    packages: dict[str, Path]

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = tempfile.TemporaryDirectory(prefix="vesper-packages-")
        made = run([str(ROOT / "scripts" / "package"), "--no-build", "--build-dir", str(cls.build_dir),
                    "--output", cls.scratch.name])
        if made.returncode != 0:
            raise AssertionError(made.stdout)
        cls.packages = {Path(name).name.partition("_")[0]: Path(name) for name in made.stdout.split()}

    @classmethod
    def tearDownClass(cls) -> None:
        cls.scratch.cleanup()

    def field(self, package: str, name: str) -> str:
        return run(["dpkg-deb", "--field", str(self.packages[package]), name]).stdout.strip()

    def test_all_packages_have_one_version_and_architecture(self) -> None:
        self.assertEqual(set(FILES), set(self.packages))
        versions = {self.field(package, "Version") for package in FILES}
        self.assertEqual(1, len(versions))
        own = run(["dpkg", "--print-architecture"]).stdout.strip()
        self.assertEqual({own}, {self.field(package, "Architecture") for package in FILES})
        self.assertIn(versions.pop(), run([str(self.build_dir / "bin/vesper"), "--version"]).stdout)

    def test_packages_hold_what_they_should(self) -> None:
        for package, patterns in FILES.items():
            with self.subTest(package):
                listing = run(["dpkg-deb", "--contents", str(self.packages[package])]).stdout
                wanted = patterns + [pattern.format(package) for pattern in DOCUMENTS]
                found = 0
                for line in listing.splitlines():
                    mode, owner, *_, name = line.split()
                    self.assertEqual("root/root", owner, line)
                    self.assertNotIn("w", mode[5:], line)
                    if mode.startswith("d"):
                        continue
                    self.assertTrue(any(re.fullmatch(rf"\./{pattern}", name) for pattern in wanted), line)
                    found += 1
                self.assertEqual(len(wanted), found, listing)

    def test_packages_depend_on_nothing_that_changes_its_name(self) -> None:
        for package in FILES:
            with self.subTest(package):
                depends = {re.sub(r" \([^)]*\)", "", one.strip())
                           for one in self.field(package, "Depends").split(",")}
                self.assertIn("libc6", depends)
                self.assertLessEqual(depends, LIBRARIES | OTHERS.get(package, set()))

    def test_unit_names_the_installed_server(self) -> None:
        unit = run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -xO '
                    "./usr/lib/systemd/system/vesperd.service", str(self.packages["vesper-server"])]).stdout
        self.assertIn("ExecStart=/usr/bin/vesperd ", unit)
        self.assertIn("file:///usr/share/doc/vesper-server/install.md", unit)

    def test_install_use_and_purge(self) -> None:
        reason = why_no_copy()
        if reason:
            self.skipTest(reason)
        driver = run(["bash", "-c", f'set -eu; source "{ROOT}/scripts/lib.sh"; lavapipe_manifest'])
        self.assertEqual(0, driver.returncode, driver.stdout)
        packages = [str(path) for path in self.packages.values()]
        names = [f"/tmp/{path.name}" for path in self.packages.values()]
        with tempfile.TemporaryDirectory(prefix="vesper-packages-") as scratch:
            # The copy's processes end with it.
            done = run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c",
                        MAKE_COPY + 'exec chroot "$scratch/root" bash -c "$COMMANDS" commands "$BUILD" $NAMES',
                        "copy", scratch, *packages],
                       env={**os.environ, "SOURCES": str(ROOT), "COMMANDS": INSTALL_AND_USE,
                            "BUILD": str(self.build_dir), "NAMES": " ".join(names),
                            "DRIVER": driver.stdout.strip(), "HOME": "/nonexistent"})
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertIn("installed, used and purged", done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", type=Path, required=True)
    PackagesTest.build_dir = parser.parse_args().build_dir.resolve()
    if subprocess.run(["sh", "-c", "command -v dpkg-deb dpkg-shlibdeps >/dev/null"], check=False).returncode != 0:
        print("packages: dpkg-deb or dpkg-shlibdeps was not found: not a Debian, or without dpkg-dev")
        return NOT_RUN
    result = unittest.TextTestRunner(verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromTestCase(PackagesTest))
    if not result.wasSuccessful():
        return 1
    for test, reason in result.skipped:
        print(f"packages: {test} was left out: {reason}")
    return NOT_RUN if result.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
