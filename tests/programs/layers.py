# SPDX-License-Identifier: Apache-2.0
"""The validation layer, above the guest driver and above the host's: it must say nothing that it doesn't
say natively.

Above the guest driver it sees what it sees natively, if handles, answers and order are right. Above the
host's driver it sees what Vesper makes of the program; a message that is only there means that something
got lost, or was added, on the way.

What is compared are the messages' kinds (VUID, or hazard) with the command that they are about. Debian's
layer may be older than the driver: then it doesn't know some structs, and says so natively as well, and
it must leave handles as they are, since commands that it doesn't know pass with the handles that it made.
"""

from __future__ import annotations

import re
from pathlib import Path

from program import Failed, NotRun, Program, Way

LAYER = "VK_LAYER_KHRONOS_validation"
SETTINGS = """\
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.log_filename = stdout
khronos_validation.report_flags = error,warn,perf
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
khronos_validation.validate_sync = true
khronos_validation.disables = VK_VALIDATION_FEATURE_DISABLE_UNIQUE_HANDLES_EXT
khronos_validation.unique_handles = false
"""
SERVER_LOG = "--- log of vesperd ---"
MESSAGE = re.compile(r"\[ ((?:VUID|UNASSIGNED|SYNC|BestPractices)[\w-]+) \]")
ABOUT = re.compile(r"\| MessageID = \w+ \| (vk\w+)")

# What may be said on the host only, and why.
EXPECTED_ON_HOST = {
    "VUID-VkPhysicalDeviceProperties2-pNext-pNext": "a layer older than the driver; a session asks once",
    "VUID-VkPhysicalDeviceFeatures2-pNext-pNext": "the same",
    "VUID-VkDeviceCreateInfo-pNext-pNext": "the same",
    # Formats and usages that it doesn't know; the guest has the host asked about all of them.
    "VUID-VkPhysicalDeviceImageFormatInfo2-format-parameter": "a layer older than the driver",
    "VUID-VkPhysicalDeviceImageFormatInfo2-usage-parameter": "the same",
    "VUID-VkPhysicalDeviceSparseImageFormatInfo2-format-parameter": "the same",
    "VUID-vkGetPhysicalDeviceFormatProperties2-format-parameter": "the same",
    # docs/adr/0030-guest-and-device-share-pages.md
    "VUID-vkBindImageMemory-memory-02729": "an image that begins preinitialised can't be one for imported "
                                           "memory, and is bound to it as it is",
    "UNASSIGNED-VkSemaphore-state-timeout": "'most likely a validation bug', the layer says itself; it comes "
                                            "when the machine is busy",
}


def kinds(text: str) -> set[str]:
    """The messages in what a program has printed."""
    found = set()
    for line in text.splitlines():
        name = MESSAGE.search(line)
        if name:
            about = ABOUT.search(line)
            found.add(f"{name[1]} {about[1]}" if about else name[1])
    return found


class Validated(Program):
    """Runs samples and end-to-end tests, each with the layer in the guest and then on the host."""

    packages = ("vulkan-validationlayers",)
    limit_s = 400.0
    # Patterns of names of programs.
    tests: tuple[str, ...] = ()

    def prepare(self, folder: Path, build: Path) -> None:
        binaries = build / "bin"
        self._commands = [[binaries / "saxpy"],
                          [binaries / "turntable", "--frame", "17", "--frames", "4", "--size", "320x240",
                           "--checksums"],
                          [binaries / "peak", "--rounds", "16", "--invocations", "4", "--megabytes", "4"]]
        found = {path for test in self.tests for path in binaries.glob(f"{test}_integration_test")}
        self._commands += [[path, "--gtest_brief=1"] for path in sorted(found)]
        for command in self._commands:
            if not command[0].exists():
                raise NotRun(f"{command[0].name} has not been built.")
        (folder / "vk_layer_settings.txt").write_text(SETTINGS)
        self._settings = folder
        # What the native runs said; a program that crashes the layer there is not compared.
        self._native: dict[str, set[str]] = {}
        self._crashed: set[str] = set()

    def results(self, way: Way) -> dict[str, str]:
        results = {}
        for command in self._commands:
            name = command[0].name
            if name in self._crashed:
                continue
            try:
                results |= self._messages(way, name, command)
            except Failed as failure:
                if way.name != "native" or "status -11" not in str(failure):
                    raise
                self._crashed.add(name)
        if self._crashed:
            print(f"natively the layer crashes in {', '.join(sorted(self._crashed))}")
        return results

    def _messages(self, way: Way, name: str, command: list) -> dict[str, str]:
        environment = {"VK_LAYER_SETTINGS_PATH": str(self._settings),
                       "VESPER_TEST_TARGET": "native" if way.name == "native" else "vesper",
                       "VESPER_TEST_TRANSPORT": "tcp" if way.name == "tcp" else "unix"}
        is_test = name.endswith("_test")
        in_guest = way.run(command, environment=environment | {"VK_INSTANCE_LAYERS": LAYER},
                           accept=(0, 1) if is_test else (0,))
        said = kinds(in_guest.text() + in_guest.err)
        if way.name == "native":
            self._native[name] = said
        results = {f"{name}, status": str(in_guest.status),
                   f"{name}, in the guest": "\n".join(sorted(said)) or "nothing"}
        if is_test:
            only_there: set[str] = set()
            if way.name == "unix":
                on_host = way.run(command, environment=environment | {"VESPER_TEST_SERVER_LAYERS": LAYER},
                                  accept=(0, 1))
                log = (on_host.text() + on_host.err).partition(SERVER_LOG)[2]
                only_there = {kind for kind in kinds(log) if kind.split()[0] not in EXPECTED_ON_HOST}
                only_there -= self._native[name]
            results[f"{name}, on the host only"] = "\n".join(sorted(only_there)) or "nothing"
        return results
