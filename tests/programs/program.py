# SPDX-License-Identifier: Apache-2.0
"""What the scripts beside this file share: each runs one well-known program on the real driver and
through Vesper, and compares what came out, exactly.

A script says in a class what to install (`packages`), and how to get results out of the program
(`results`, which is called once for each way of running it); `main` does the rest. Results are texts
under names: printed numbers, checksums of frames, logs from which names and times have been taken.
Whatever differs from the native run is a fault.

A script ends with status 0 if all is the same, 1 if something differs or fails, 77 if the program can't
be had or can't run here at all, which is said and never counts as passed.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cts"))

from runner import RunError  # noqa: E402
from server import Server  # noqa: E402

DIFFERENT, NOT_RUN = 1, 77
WAYS = ("native", "unix", "tcp")
# Of the environment, what would get between a program and its driver, or open windows elsewhere.
UNWANTED = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "VK_INSTANCE_LAYERS", "VK_ADD_DRIVER_FILES",
            "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE", "LD_PRELOAD")
# No layer that loads by itself, and no compiled shader of the way that came first.
CLEAN = {"NODEVICE_SELECT": "1", "VK_LOADER_LAYERS_DISABLE": "~implicit~",
         "MESA_SHADER_CACHE_DISABLE": "true", "__GL_SHADER_DISK_CACHE": "0", "LC_ALL": "C.UTF-8"}
# What the server's log says if a program ends without ending Vulkan, as many do.
LEFT = re.compile(r"the connection was lost: |the connection to the guest was lost$")
MOST_LINES_OF_DIFFERENCE = 40
INSTALL_LIMIT_S = 1500


class NotRun(Exception):
    """The program can't be had, or doesn't run here natively either; the sentence says why."""


class Failed(Exception):
    """The program failed, or ended in another way than it should."""


# --- Installing -----------------------------------------------------------------------------------


def installed_version(package: str) -> str:
    """The package's version; empty if it is not installed."""
    query = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Version}\n", package],
                           capture_output=True, text=True, check=False)
    match = re.match(r"installed (\S+)", query.stdout)
    return match[1] if match else ""


def apt(*arguments: str) -> subprocess.CompletedProcess:
    command = ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3",
               *arguments]
    if os.geteuid() != 0:
        command = ["sudo", "-n", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=INSTALL_LIMIT_S,
                          env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def last_complaint(run: subprocess.CompletedProcess) -> str:
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    complaints = [line for line in lines if re.match(r"(E:|sudo:)", line)]
    return (complaints or lines or ["no message"])[-1]


def install(packages: tuple[str, ...], may_install: bool) -> None:
    """Sees that the Debian packages are there, from the sources that the machine knows already."""
    missing = [package for package in packages if not installed_version(package)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotRun(f"{', '.join(missing)} can only be installed on Debian.")
    if not may_install:
        raise NotRun(f"{', '.join(missing)} is not installed.")
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise NotRun(f"root is needed to install {', '.join(missing)}.")
    (ROOT / ".deps").mkdir(exist_ok=True)
    with open(ROOT / ".deps" / "setup.lock", "ab") as lock:  # scripts/setup holds it too
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ("install", "--no-install-recommends", *missing)
        try:
            done = apt(*command)
            if done.returncode != 0:
                apt("update")  # lists that are missing, or too old
                done = apt(*command)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotRun(f"{', '.join(missing)} could not be installed: {error}.") from error
    if done.returncode != 0:
        raise NotRun(f"{', '.join(missing)} could not be installed: {last_complaint(done)}")


class Prefix:
    """Programs of another suite of Debian, unpacked and not installed, with the C library of that suite."""

    def __init__(self, suite: str, folder: Path, packages: tuple[str, ...]) -> None:
        done = subprocess.run([ROOT / "scripts" / "unpack", suite, folder, *packages], capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL, timeout=INSTALL_LIMIT_S)
        if done.returncode != 0:
            raise NotRun(f"{packages[0]} of {suite} could not be fetched: {last_complaint(done)}")
        self.folder = folder
        self._loader = next(iter(sorted(folder.glob("usr/lib*/**/ld-linux-*.so.*"))), None)
        if self._loader is None:
            raise NotRun(f"the C library of {suite} has no loader.")
        self.libraries = self._loader.parent if "-linux-" in self._loader.parent.name else next(
            iter(sorted(folder.glob("usr/lib/*-linux-*"))))

    def command(self, program: str, more: tuple[str, ...] = ()) -> list[str | Path]:
        """What runs a program of the prefix. Libraries come from there, `more` folders of it included, and
        what isn't there from the machine."""
        machine = Path("/usr/lib") / self.libraries.name
        folders = [self.libraries, *(self.libraries / name for name in more), machine, Path("/lib") / machine.name]
        return [self._loader, "--library-path", ":".join(map(str, folders)), self.folder / "usr" / "bin" / program]


# --- Running --------------------------------------------------------------------------------------


@dataclass
class Output:
    status: int
    out: bytes
    err: str

    def text(self) -> str:
        return self.out.decode(errors="replace")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stop_group(process: subprocess.Popen) -> None:
    """Ends a process that leads its group, and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


@dataclass
class Way:
    """One way of running programs: natively, or through Vesper over one of the transports."""

    name: str
    folder: Path
    environment: dict[str, str]
    limit_s: float
    seconds: float = field(default=0.0)

    def run(self, command: list[str | Path], accept: tuple[int, ...] = (0,),
            environment: dict[str, str] | None = None, limit_s: float | None = None) -> Output:
        """Runs a program in the way's folder until it ends. Raises Failed if its status is not among
        `accept`, or if it takes longer than the limit."""
        words = [str(word) for word in command]
        limit_s = limit_s or self.limit_s
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out,
                                           stderr=err, env=self.environment | (environment or {}),
                                           start_new_session=True)
            except OSError as error:
                raise Failed(f"{words[0]} could not be started: {error}.") from error
            timed_out = False
            try:
                process.wait(timeout=limit_s)
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                stop_group(process)
            self.seconds += time.monotonic() - began
            out.seek(0)
            err.seek(0)
            output = Output(process.returncode, out.read(), err.read().decode(errors="replace"))
        last = "\n".join(f"    {line}" for line in output.err.splitlines()[-12:])
        if timed_out:
            raise Failed(f"{words[0]} did not end within {limit_s:g} s.\n{last}")
        if output.status not in accept:
            raise Failed(f"{words[0]} ended with status {output.status}.\n{last}")
        return output


class Program:
    """What a script fills in."""

    packages: tuple[str, ...] = ()
    # For each program that `results` runs; it only turns a hang into a failure.
    limit_s = 120.0

    def version(self) -> str:
        """What is shown as the version: the first package's, if it isn't said better."""
        return installed_version(self.packages[0]) if self.packages else ""

    def prepare(self, folder: Path, build: Path) -> None:
        """Makes what all ways read. `build` is where Vesper is built. Raises NotRun if the program
        can't run here."""

    def results(self, way: Way) -> dict[str, str]:
        """Runs the program and returns what must be equal. Raises Failed, or NotRun if the program
        can't run here whatever the driver."""
        raise NotImplementedError


# --- Comparing ------------------------------------------------------------------------------------


def differences(native: dict[str, str], other: dict[str, str]) -> list[str]:
    """What differs, as lines to show; none if nothing does."""
    shown: list[str] = []
    for name in sorted(native.keys() | other.keys()):
        if native.get(name) == other.get(name):
            continue
        before, after = (results.get(name, "nothing of this name") for results in (native, other))
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "native", "Vesper",
                                          lineterm="", n=1))[2:]
        shown += [f"{name}:", *[f"  {line}" for line in lines[:MOST_LINES_OF_DIFFERENCE]]]
        if len(lines) > MOST_LINES_OF_DIFFERENCE:
            shown.append(f"  ... and {len(lines) - MOST_LINES_OF_DIFFERENCE} lines more")
    return shown


def find_driver() -> Path:
    candidates = [*ROOT.glob(".deps/lavapipe/lvp_icd.json"),
                  *Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")]
    if not candidates:
        raise NotRun("no manifest of lavapipe was found; run scripts/setup, or give --driver.")
    return candidates[0]


def find_guest(build: Path) -> Path:
    found = sorted(build.glob("share/vulkan/icd.d/vesper_icd.*.json"))
    if not found:
        raise NotRun(f"{build} holds no Vesper; build it, or give --build-dir.")
    return found[0].resolve()


def environment_for(manifest: Path, home: Path, **more: str) -> dict[str, str]:
    """The caller's environment, with this driver and with a home folder that nobody has used."""
    home.mkdir(parents=True, exist_ok=True)
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items()
            if name not in UNWANTED and not name.startswith(("VESPER_", "XDG_"))}
    # VESPER_STATS and VESPER_DEBUG are for whoever looks for a fault with these scripts.
    kept |= {name: os.environ[name] for name in ("VESPER_STATS", "VESPER_DEBUG") if name in os.environ}
    return kept | CLEAN | {"VK_DRIVER_FILES": str(manifest), "VK_ICD_FILENAMES": str(manifest),
                           "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)} | more


class Comparison:
    """One script's run: the same program each way."""

    def __init__(self, program: Program, arguments: argparse.Namespace, work: Path) -> None:
        self._program, self._work = program, work
        self._build = arguments.build_dir.resolve()
        self._driver = (arguments.driver or find_driver()).resolve()
        self._guest = find_guest(self._build)
        self._ways = arguments.way or list(WAYS[1:])
        self.outcomes: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.complaints: list[str] = []

    def run(self) -> None:
        self._program.prepare(self._work, self._build)
        try:
            native = self._run_way("native")
        except Failed as failure:
            self._note("native", "failed", str(failure))
            return
        if not native or not all(native.values()):
            self._note("native", "failed", "the native run has no result to compare with")
            return
        self.outcomes["native"] = "ran"
        for name in self._ways:
            try:
                lines = differences(native, self._run_way(name))
            except (Failed, RunError) as failure:
                self._note(name, "failed", str(failure))
                continue
            if lines:
                self._note(name, "different", "\n".join(lines))
            else:
                self.outcomes[name] = "same"

    def _note(self, way: str, outcome: str, text: str) -> None:
        self.outcomes[way] = outcome
        self.complaints.append(f"{way}: {outcome}\n{text}")

    def _run_way(self, name: str) -> dict[str, str]:
        folder = self._work / name
        folder.mkdir()
        native = environment_for(self._driver, self._work / f"home-{name}")
        if name == "native":
            way = Way(name, folder, native, self._program.limit_s)
            results = self._program.results(way)
        else:
            served = self._work / f"server-{name}"
            served.mkdir()
            server = Server(self._build / "bin" / "vesperd", self._driver, name, served, native)
            try:
                environment = environment_for(self._guest, self._work / f"home-{name}",
                                              VESPER_SERVER=server.endpoint)
                way = Way(name, folder, environment, self._program.limit_s)
                results = self._program.results(way)
                server.check()
            finally:
                status = server.stop()
                complaints = [line for line in server.complaints() if not LEFT.search(line)]
                if complaints:
                    self.complaints.append(f"{name}: the server's log says\n" + "\n".join(complaints))
            if complaints:
                raise Failed("the server complained")
            if status != 0:
                raise Failed(f"vesperd ended with status {status} when it was asked to end")
        self.seconds[name] = way.seconds
        return results


def parse_arguments(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "release",
                        help="where Vesper is built (default: build/release)")
    parser.add_argument("--driver", type=Path, metavar="ICD.json",
                        help="manifest of the real driver (default: lavapipe's)")
    parser.add_argument("--way", action="append", choices=WAYS[1:],
                        help="only this transport; may be given twice (default: both)")
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER",
                        help="leave what the program wrote in this new folder")
    return parser.parse_args()


def main(program: Program, about: str) -> None:
    """Runs a script. `about` is its documentation."""
    arguments = parse_arguments(about)
    name = Path(sys.argv[0]).name
    report: dict[str, object] = {"name": name, "version": "", "reason": "", "outcomes": {}, "seconds": {}}
    # Ends through the clean-up of all that has been started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(DIFFERENT))
    work = arguments.keep.resolve() if arguments.keep else Path(tempfile.mkdtemp(prefix="vesper-program-"))
    try:
        if arguments.keep:
            work.mkdir(parents=True)
        install(program.packages, not arguments.no_install)
        report["version"] = program.version()
        comparison = Comparison(program, arguments, work)
        comparison.run()
        report |= {"outcomes": comparison.outcomes, "seconds": comparison.seconds}
        for complaint in comparison.complaints:
            print(complaint)
        same = set(comparison.outcomes.values()) <= {"ran", "same"}
        status = 0 if same and not comparison.complaints else DIFFERENT
    except NotRun as reason:
        report["reason"] = str(reason)
        print(f"{name} was not run: {reason}")
        status = NOT_RUN
    except RunError as failure:
        report["reason"] = str(failure)
        print(f"{name}: {failure}")
        status = DIFFERENT
    finally:
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)
    report["status"] = status
    if arguments.json:
        arguments.json.write_text(json.dumps(report))
    for way, outcome in report["outcomes"].items():
        took = f" in {report['seconds'][way]:.1f} s" if way in report["seconds"] else ""
        print(f"{name} {report['version']}: {way}: {outcome}{took}")
    sys.exit(status)
