# SPDX-License-Identifier: Apache-2.0
"""A container engine's default seccomp profile as a filter for the kernel.

The profile is the JSON file that Debian's package of the engines' common files brings. An engine reads
it for the capabilities that a container has; here it has none. libseccomp, which apt itself needs, makes
the filter. `deny` names system calls that are refused beyond that, with an errno.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import tempfile
from pathlib import Path

PROFILE = Path("/usr/share/containers/seccomp.json")
PACKAGE = "golang-github-containers-common"

ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_KILL": 0x00000000,
           "SCMP_ACT_TRAP": 0x00030000}
COMPARISONS = {"SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
               "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
UNKNOWN_CALL = -1  # of this libseccomp, or of this machine


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("first", ctypes.c_uint64),
                ("second", ctypes.c_uint64)]


def _action(name: str, number: int | None) -> int:
    action = ACTIONS[name]
    return action | (errno.EPERM if number is None else number) if name == "SCMP_ACT_ERRNO" else action


def _applies(rule: dict) -> bool:
    """Whether a rule is for this architecture and a process without capabilities."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    own = ARCHITECTURES.get(platform.machine(), platform.machine())
    return (not includes.get("caps") and own in includes.get("arches", [own])
            and own not in excludes.get("arches", []) and not includes.get("minKernel"))


def compile_profile(deny: dict[str, int] | None = None) -> bytes:
    """The profile's filter, as the kernel takes it. `deny` maps system calls to errnos."""
    profile = json.loads(PROFILE.read_text())
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
                                               ctypes.POINTER(Comparison)]
    otherwise = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(otherwise)

    def add(name: str, action: int, arguments: list[dict]) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == UNKNOWN_CALL or action == otherwise:
            return
        array = (Comparison * max(len(arguments), 1))(*(
            Comparison(one["index"], COMPARISONS[one["op"]], one["value"], one.get("valueTwo", 0))
            for one in arguments))
        status = library.seccomp_rule_add_array(context, action, number, len(arguments), array)
        if status not in (0, -errno.EEXIST, -errno.EDOM):
            raise OSError(-status, f"libseccomp takes no rule for {name}: {os.strerror(-status)}")

    refused = deny or {}
    for rule in profile["syscalls"]:
        if _applies(rule):
            for name in rule["names"]:
                if name not in refused:
                    add(name, _action(rule["action"], rule.get("errnoRet")), rule.get("args") or [])
    for name, number in refused.items():
        add(name, _action("SCMP_ACT_ERRNO", number), [])
    with tempfile.TemporaryFile() as file:
        status = library.seccomp_export_bpf(context, file.fileno())
        library.seccomp_release(context)
        if status != 0:
            raise OSError(-status, "libseccomp makes no filter of the profile")
        file.seek(0)
        return file.read()
