# SPDX-License-Identifier: Apache-2.0
"""A container without an engine: namespaces, and the rules that Docker's and Podman's defaults set, made
stricter where the documents promise that less will do.

What runs in a Cell has no capability, the engine's default seccomp profile, no new privileges, a user and
group number that no file knows, a read-only root file system (nothing but what `writable` names can be
written, /tmp included), a /dev/shm of 64 MiB, no network, and a process name space of its own. bubblewrap
makes the namespaces; as its root, since the user must be one that is nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import seccomp_profile

PACKAGES = ["bubblewrap", seccomp_profile.PACKAGE]
USER = 54321
SHARED_MEMORY = 64 << 20
LIMIT_S = 240


class Cell:
    def __init__(self, root: Path = Path("/"), mounts: dict[Path, Path] | None = None,
                 writable: dict[Path, Path] | None = None, devices: dict[Path, Path] | None = None,
                 deny: dict[str, int] | None = None, user: int = USER) -> None:
        """`mounts`, `writable` and `devices` map files of the machine to where they are seen; `deny` is
        what compile_profile() takes."""
        self._filter = tempfile.TemporaryFile()
        self._filter.write(seccomp_profile.compile_profile(deny))
        self._filter.flush()
        self._command = [
            "bwrap", "--die-with-parent", "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts",
            "--hostname", "cell", "--cap-add", "ALL",
            "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev",
            "--size", str(SHARED_MEMORY), "--perms", "1777", "--tmpfs", "/dev/shm"]
        for path, place in (mounts or {}).items():
            self._command += ["--ro-bind", str(path), str(place)]
        for path, place in (writable or {}).items():
            self._command += ["--bind", str(path), str(place)]
        for path, place in (devices or {}).items():
            self._command += ["--dev-bind", str(path), str(place)]
        self._then = ["--", "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                      "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]

    def start(self, command: list[str], environment: dict[str, str] | None = None,
              **more) -> subprocess.Popen:
        """Starts `command` with this environment and little else: there is no HOME unless it is given."""
        words = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8"]
        words += [f"{name}={value}" for name, value in (environment or {}).items()]
        # Opened anew, since bubblewrap reads it to its end.
        rules = os.open(f"/proc/self/fd/{self._filter.fileno()}", os.O_RDONLY)
        try:
            return subprocess.Popen([*self._command, "--seccomp", str(rules), *self._then, *words, *command],
                                    stdin=subprocess.DEVNULL, pass_fds=[rules], cwd="/", **more)
        finally:
            os.close(rules)

    def run(self, command: list[str], environment: dict[str, str] | None = None,
            limit: float = LIMIT_S) -> subprocess.CompletedProcess:
        """Runs `command` to its end; what it prints comes back, both streams apart."""
        process = self.start(command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors += f"\n(killed after {limit} s)"
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def install(packages: list[str]) -> str:
    """Installs what is missing. An empty text, or why it can't be had."""
    missing = [name for name in packages
               if subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", name], capture_output=True,
                         text=True, check=False).stdout != "installed"]
    if not missing:
        return ""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{' '.join(missing)} would have to be installed"
    apt = ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for commands in ([["install"]], [["update"], ["install"]]):
        for words in commands:
            more = ["--no-install-recommends", *missing] if words == ["install"] else []
            done = subprocess.run([*apt, *words, *more], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 0:
            return ""
    return f"{' '.join(missing)} can't be installed: {done.stdout.strip().splitlines()[-1:]}"


def why_none() -> str:
    """Why there can be no cell here; empty if there can."""
    if os.geteuid() != 0:
        return "a user that nobody knows can only be made by root"
    reason = install(PACKAGES)
    if reason:
        return reason
    if not seccomp_profile.PROFILE.exists():
        return f"{seccomp_profile.PACKAGE} brings no {seccomp_profile.PROFILE}"
    tried = Cell().run(["/bin/true"], limit=30)
    return "" if tried.returncode == 0 else f"namespaces can't be had: {tried.stderr.strip()}"
