# SPDX-License-Identifier: Apache-2.0
"""An X server of our own, without a screen: Xvfb, for as long as one program runs."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from program import Failed, NotRun, Way, stop_group

XVFB_PACKAGES = ("xvfb",)
START_LIMIT_S = 60.0


class Xvfb:
    """Starts Xvfb on a display that it picks, with 24 bits for each pixel; `environment` is for the
    programs. Use it with `with`."""

    def __init__(self, way: Way, size: str = "1024x768") -> None:
        if shutil.which("Xvfb") is None:
            raise NotRun("Xvfb is not installed.")
        reader, writer = os.pipe()
        try:
            with open(way.folder / "xvfb.log", "ab") as log:
                self._process = subprocess.Popen(
                    ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{size}x24", "-nolisten", "tcp",
                     "-fbdir", str(way.folder), "-noreset", "-dpi", "96"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,),
                    start_new_session=True)
        finally:
            os.close(writer)
        self._folder = way.folder
        try:
            self._number = self._read_number(reader)
        except Failed:
            self._stop()
            raise
        finally:
            os.close(reader)
        self.environment = {"DISPLAY": f":{self._number}"}

    @staticmethod
    def _read_number(reader: int) -> str:
        text, deadline = b"", time.monotonic() + START_LIMIT_S
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(reader, 64) if ready else b""
            if not piece:
                raise Failed("Xvfb did not start; its log is xvfb.log.")
            text += piece
        return text.decode().strip()

    def screen(self) -> bytes:
        """The pixels of the screen, from the file in which Xvfb keeps them. What comes before them (XWD's
        header, with the display's number, and colours) is left out."""
        content = (self._folder / "Xvfb_screen0").read_bytes()
        header, colors = (int.from_bytes(content[at:at + 4], "big") for at in (0, 76))
        return content[header + 12 * colors:]

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Xvfb:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


# Stops a program when what it shows is to be looked at, until the file that $VESPER_GO names is there: when
# it destroys its first semaphore, which vkcube does once its device is idle and before it destroys its swapchain;
# or, if it draws with OpenGL, after $VESPER_SWAPS frames. Those move by the time of day, which goes on by 20 ms each time that it
# is asked for.
HOLD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
static void hold(void) {
  fclose(fopen(getenv("VESPER_HELD"), "w"));
  for (int i = 0; i < 6000 && access(getenv("VESPER_GO"), F_OK) != 0; ++i) usleep(10000);
}
void vkDestroySemaphore(void* device, unsigned long semaphore, const void* allocator) {
  void (*real)(void*, unsigned long, const void*) = dlsym(RTLD_NEXT, "vkDestroySemaphore");
  static int is_first = 1;
  if (is_first) hold();
  is_first = 0;
  real(device, semaphore, allocator);
}
void glXSwapBuffers(void* display, unsigned long drawable) {
  void (*real)(void*, unsigned long) = dlsym(RTLD_NEXT, "glXSwapBuffers");
  static int swaps = 0;
  real(display, drawable);
  if (++swaps == atoi(getenv("VESPER_SWAPS"))) hold();
}
int gettimeofday(struct timeval* now, void* zone) {
  static long asked = 0;
  const long at = 20000 * __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
  now->tv_sec = 1000000 + at / 1000000;
  now->tv_usec = at % 1000000;
  return 0;
}
"""


@dataclass
class Hold:
    """A program that is stopped at some moment, with the preloaded library that does it."""

    library: Path
    held: Path
    go: Path

    @staticmethod
    def make(library: Path, way: Way, name: str) -> Hold:
        return Hold(library, way.folder / f"held-{name}", way.folder / f"go-{name}")

    def environment(self, swaps: int = 0) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "VESPER_HELD": str(self.held),
                "VESPER_GO": str(self.go), "VESPER_SWAPS": str(swaps)}

    def screen(self, display: Xvfb, process: subprocess.Popen, limit_s: float = 120.0) -> bytes:
        """What is shown once the program has been stopped."""
        deadline = time.monotonic() + limit_s
        while not self.held.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("the program did not come to where it was to be looked at")
            time.sleep(0.02)
        return settled(display, process)

    def let_go(self) -> None:
        self.go.touch()


def build_hold(folder: Path) -> Path:
    """Compiles what holds programs, to be preloaded."""
    library = folder / "hold.so"
    done = subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", library, "-", "-ldl"], input=HOLD,
                          text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise NotRun(f"gcc could not compile a few lines: {done.stderr.splitlines()[:1]}")
    return library


def settled(display: Xvfb, process: subprocess.Popen, unlike: bytes = b"", quiet_s: float = 1.0,
            limit_s: float = 30.0) -> bytes:
    """The screen once it shows something else than `unlike` and black, and has not changed for `quiet_s`."""
    deadline = time.monotonic() + limit_s
    last, since = b"", time.monotonic()
    while time.monotonic() < deadline and process.poll() is None:
        now = display.screen()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > quiet_s and now != unlike and now.strip(b"\0"):
            return now
        time.sleep(0.1)
    raise Failed("the screen stayed black, or as it was, or never came to rest")


@contextlib.contextmanager
def running(way: Way, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A program that goes on while something else is done with it, and is ended then."""
    began = time.monotonic()
    with open(way.folder / "output", "ab") as output:
        process = subprocess.Popen(command, cwd=way.folder, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output, env=way.environment | environment,
                                   start_new_session=True)
    try:
        yield process
    finally:
        stop_group(process)
        way.seconds += time.monotonic() - began
