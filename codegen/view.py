# SPDX-License-Identifier: Apache-2.0
"""What the templates see: the model as plain dictionaries, with all C++ spelling decided."""

from __future__ import annotations

import re
from typing import Any

from lengths import Length
from model import Model, Op, Record, RemoteCommand
from policy import CachedRule
from registry import Field, RegistryError

OWNERS = {
    "VkDevice": "Device", "VkQueue": "Queue", "VkPhysicalDevice": "PhysicalDevice",
    "VkInstance": "Instance", "VkCommandBuffer": "CommandBuffer",
}  # fmt: skip
ERRORS = {
    "VK_ERROR_OUT_OF_HOST_MEMORY": "kHostMemory",
    "VK_ERROR_OUT_OF_DEVICE_MEMORY": "kDeviceMemory",
    "VK_ERROR_DEVICE_LOST": "kDeviceLost",
    "VK_ERROR_INITIALIZATION_FAILED": "kInitialization",
}


def _length(length: Length) -> str:
    return (
        f"{{LengthKind::{length.kind}, {length.offset}, {length.inner}, {length.add}, "
        f"{length.divide}}}"
    )


def _is_generated(command: RemoteCommand) -> bool:
    """True if the guest's entry point follows from the registry alone."""
    return command.on_wire and not command.guest_custom and not command.own


def _member(field: Field) -> str:
    """A parameter as a struct member: arrays become pointers, as they are in C."""
    text = field.declaration
    if field.dims:
        text = re.sub(r"\s*\[.*", "", text)
        text = text.replace(field.name, f"* {field.name}") if field.name != "ret" else text
    return text


def _type(field: Field) -> str:
    """A parameter's declaration without its name."""
    return re.sub(rf"\b{field.name}$", "", _member(field)).strip()


class View:
    def __init__(self, model: Model) -> None:
        self.model = model
        wire = [c for c in model.commands if c.on_wire]
        self.records: list[Record] = [c.record for c in wire] + list(model.records.values())
        self.index = {record.name: i for i, record in enumerate(self.records)}
        self.union_index = {name: i for i, name in enumerate(model.unions)}
        self.core_versions = {
            p.name: p.core_version for p in model.registry.providers if p.core_version
        }
        self.extension_index = {e.name: i for i, e in enumerate(model.extensions)}

    # -- records ----------------------------------------------------------------------------------

    def _op(self, record: Record, op: Op, position: int) -> dict[str, Any]:
        if op.kind in ("kHandle", "kHandles"):
            type_number = self.model.handle_numbers[op.type]
        elif op.kind == "kUnion":
            type_number = self.union_index[op.type]
        elif op.kind in ("kRecord", "kRecords", "kRecordPointers"):
            type_number = self.index[op.type]
        else:
            type_number = 0
        flags = {"in": ["kIn"], "out": ["kOut"], "inout": ["kIn", "kOut"]}[op.direction] + op.flags
        if op.required:
            flags = [*flags, "kRequired"]
        present_name = None
        if op.present is not None:
            present_name = f"Present{self.index[record.name]}_{position}"
        return {
            "kind": op.kind,
            "flags": " | ".join(flags),
            "offset": op.offset,
            "type": type_number,
            "count": op.count,
            "size": op.size,
            "length": _length(op.length),
            "inner": _length(op.inner),
            "present": op.present,
            "present_name": present_name,
        }

    def _check_order(self, record: Record) -> None:
        """Lengths that follow a pointer need that pointer decoded first."""
        seen: set[int] = set()
        for op in record.ops:
            for length in (op.length, op.inner):
                if length.kind in ("kPointerU32", "kPointerU64", "kPath", "kSibling"):
                    if length.offset not in seen:
                        raise RegistryError(f"{record.name}.{op.name}: its length comes after it")
            seen.add(op.offset)
        offsets = [op.offset for op in record.ops]
        if offsets != sorted(offsets):
            raise RegistryError(f"{record.name}: operations out of order")

    def _provider(self, name: str) -> str | int:
        version = self.core_versions.get(name)
        if version is not None:
            return f"CoreProvider({version[0]}, {version[1]})"
        return self.extension_index[name]

    def _record(self, record: Record) -> dict[str, Any]:
        self._check_order(record)
        if len(record.ops) > 64:
            raise RegistryError(f"{record.name}: more operations than the decoder's 64")
        return {
            "name": record.name,
            "index": self.index[record.name],
            "alternative": "." in record.name,
            "c_type": record.c_type,
            "size": record.size,
            "number": record.number,
            "stype": record.stype,
            "hash": record.hash,
            "ops": [self._op(record, op, i) for i, op in enumerate(record.ops)],
            # What is written into the program's structs leaves their padding alone.
            "holes": [] if "." in record.name
            else self.model.layout.holes(record.placed, record.size),
            "extends": [self.index[e] for e in record.extends if e in self.index],
            "providers": [self._provider(p) for p in record.providers],
            "asserted": [
                {"name": p.field.name, "offset": p.offset} for p in record.placed
            ],
        }

    # -- commands ---------------------------------------------------------------------------------

    def _create(self, command: RemoteCommand) -> dict[str, Any]:
        for op in command.record.ops:
            if "kNewIds" in op.flags:
                length = next(f for f in command.command.params if f.name == op.name).lengths
                count = length[0] if length else "1"
                return {
                    "create_type": f"k{op.type[2:]}",
                    "create_param": op.name,
                    "create_count": count,
                }
        return {"create_type": None, "create_param": None, "create_count": None}

    def _destroy(self, command: RemoteCommand) -> dict[str, Any]:
        for op in command.record.ops:
            if "kConsumed" in op.flags and op.kind == "kHandle":
                return {"destroy_type": f"k{op.type[2:]}", "destroy_param": op.name}
        return {"destroy_type": None, "destroy_param": None}

    def _command(self, command: RemoteCommand) -> dict[str, Any]:
        params = command.command.params
        returns = command.command.returns
        codes = [ERRORS[c] for c in command.command.error_codes if c in ERRORS]
        members = [_member(p) for p in params]
        if returns != "void":
            members.append(f"{returns} ret{{}}")
        call = []
        for p in params:
            call.append("nullptr" if p.type == "VkAllocationCallbacks" else f"a.{p.name}")
        counts = [
            p.name for p in params
            if p.pointers == 1 and not p.is_const and any(p.name in o.lengths for o in params)
        ]  # fmt: skip
        cached = self.model.policy.cached_rule(command.name)
        generated = _is_generated(command)
        if generated and command.kind == "record" and returns != "void":
            raise RegistryError(f"{command.name}: a recorded command that returns something")
        if cached is not None and cached.creation and returns != "void":
            raise RegistryError(f"{command.name}: cached by creation, and returns something")
        result_offset = 0
        if returns == "VkResult" and command.on_wire:
            result_offset = command.record.placed[-1].offset
        return {
            "name": command.name,
            "names": [f'"{n}"' for n in (command.name, *command.command.aliases)],
            "number": command.number,
            "kind": command.kind,
            "reason": cached.reason if cached else command.reason,
            "cached": cached is not None,
            "creation": cached.creation if cached else None,
            "ask": self._ask(cached),
            "rooms": self._rooms(command),
            "level": command.level,
            "returns": returns,
            "parameters": ", ".join(p.declaration for p in params),
            "types": ", ".join(_type(p) for p in params),
            "members": members,
            "arguments": ", ".join(p.name for p in params),
            "call": ", ".join(call),
            "first": params[0].name if params else "",
            "owner_type": OWNERS.get(params[0].type, "") if params else "",
            "generated": generated,
            "allocator": next(
                (p.name for p in params if p.type == "VkAllocationCallbacks"), "nullptr"
            ),
            "own": command.own,
            "hooked": command.release and not generated,
            "release": command.release,
            "observe": command.observe,
            "reach": self._reach(command),
            "names_memory": command.command.name in self.model.policy.memory_names,
            "writes": f"Writes::k{command.writes.capitalize()}",
            "errors": " | ".join(codes) if codes else "kNoError",
            "counts": counts,
            "invoked": command.on_wire and not command.host_custom and not command.own,
            "table": "DeviceTable" if command.level == "device" else "InstanceTable",
            "from_guest": not (
                command.own and params and params[0].type not in OWNERS
            ),
            "result_offset": result_offset,
            "by_hand": self._by_hand(command),
            "of_host": not self._is_of_windows(command),
            "core_version": self._core_version(command),
            "brought_by": self._extensions_of(command),
            "aliases": command.command.aliases,
            **self._create(command),
            **self._destroy(command),
        }

    def _ask(self, cached: CachedRule | None) -> str:
        """How a call is made whose answer the caller takes, up to its arguments."""
        if cached is None:
            return "owner.session().Call("
        return "AskAbout(owner, " if cached.creation else "Ask(owner, "

    def _rooms(self, command: RemoteCommand) -> list[dict[str, str]]:
        """Counts of output arrays, and when they are only asked for and may be garbage."""
        arrays: dict[str, list[str]] = {}
        params = command.command.params
        for p in params:
            if p.lengths and any(
                o.name == p.lengths[0] and o.pointers == 1 and not o.is_const for o in params
            ):
                arrays.setdefault(p.lengths[0], []).append(f"{p.name} == nullptr")
        return [{"count": count, "when": " && ".join(when)} for count, when in arrays.items()]

    def _reach(self, command: RemoteCommand) -> str:
        """What of mapped memory a command of a command buffer may touch, as a C++ expression."""
        if command.command.name in self.model.policy.copies:
            return "kReachCopies | kReachImages"
        if command.command.name in self.model.policy.draws:
            return "kReachImages | kReachShaders"
        tasks = command.command.tasks
        if tasks and tasks <= {"state", "indirection"}:
            return "kReachNothing"
        if tasks == {"synchronization"}:
            return "kReachImages"
        return "kReachEverything"

    def _is_of_windows(self, command: RemoteCommand) -> bool:
        """True for what only extensions for windows bring, which the host's driver has no part in."""
        guest = {e.name for e in self.model.extensions if e.is_guest}
        names = {p for ps in command.providers.values() for p in ps}
        return command.kind == "local" and names <= guest and any(
            "surface" in name or "swapchain" in name or "present" in name for name in names
        )

    # For docs/coverage.md.

    def _by_hand(self, command: RemoteCommand) -> str:
        guest = command.guest_custom or command.kind == "local" or command.own
        host = command.host_custom and command.on_wire
        return " and ".join(side for side, own in (("guest", guest), ("host", host)) if own)

    def _core_version(self, command: RemoteCommand) -> str:
        """The first core version that has the command, as "1.2"; empty if none has."""
        names = {p for ps in command.providers.values() for p in ps if p.startswith("VK_VERSION_")}
        return min(names)[len("VK_VERSION_") :].replace("_", ".") if names else ""

    def _extensions_of(self, command: RemoteCommand) -> list[str]:
        names = {p for ps in command.providers.values() for p in ps}
        return sorted(name for name in names if not name.startswith("VK_VERSION_"))

    def _left_out_by_reason(self) -> dict[str, list[str]]:
        reasons: dict[str, list[str]] = {}
        for name, reason in sorted(self.model.left_out.items()):
            reasons.setdefault(reason, []).append(name)
        return dict(sorted(reasons.items()))

    def _procs(self) -> list[dict[str, Any]]:
        procs = []
        levels = {"global": "kGlobal", "instance": "kInstance",
                  "physical_device": "kPhysicalDevice", "device": "kDevice"}  # fmt: skip
        for command in self.model.commands:
            if command.own:
                continue
            for name, providers in command.providers.items():
                procs.append(
                    {
                        "name": name,
                        "target": command.name,
                        "throws": not (_is_generated(command) and command.kind == "record"),
                        "level": levels[command.level],
                        "providers": [
                            f"proto::{p}" if isinstance(p, str) else p
                            for p in map(self._provider, providers)
                        ],
                    }
                )
        return sorted(procs, key=lambda p: p["name"])

    # -- everything -------------------------------------------------------------------------------

    def _by_stype(self) -> list[dict[str, Any]]:
        values = self.model.registry.enum_values["VkStructureType"]
        items = [
            {"value": values[r.stype], "index": self.index[r.name], "name": r.name}
            for r in self.records
            if r.stype is not None and r.number
        ]
        return sorted(items, key=lambda item: item["value"])

    def _masked(self) -> list[dict[str, Any]]:
        result = []
        for feature in self.model.policy.masked:
            struct, member = feature.split(".")
            if struct not in self.model.records:
                continue  # of an extension that is left out
            placed = {p.field.name: p for p in self.model.records[struct].placed}
            result.append(
                {"record": self.index[struct], "offset": placed[member].offset, "name": feature}
            )
        return result

    def context(self) -> dict[str, Any]:
        model = self.model
        commands = [self._command(c) for c in model.commands]
        wire = [c for c in commands if c["kind"] not in ("local", "absent")]
        by_number = {c["number"]: c for c in wire}
        record_by_command = {c.number: self.index[c.record.name] for c in model.commands if c.on_wire}
        record_by_struct = {
            r.number: self.index[r.name] for r in model.records.values() if r.number
        }
        return {
            "records": [self._record(r) for r in self.records],
            "unions": [
                {
                    "name": union.name,
                    "index": i,
                    "size": union.size,
                    "cases": [
                        {"value": case.value, "record": self.index[case.record]}
                        for case in union.cases
                    ],
                }
                for i, union in enumerate(model.unions.values())
            ],
            "handles": [
                {
                    "name": name,
                    "number": model.handle_numbers[name],
                    "dispatchable": model.registry.handles[name].dispatchable,
                    "object_type": model.registry.handles[name].object_type,
                }
                for name in model.handles
            ],
            "extensions": model.extensions,
            "left_out_by_reason": self._left_out_by_reason(),
            "masked": self._masked(),
            "masked_reasons": dict(sorted(model.policy.masked.items())),
            "dropped_structs": {
                name: reason
                for name, reason in sorted(model.policy.dropped_structs.items())
                if name in model.registry.structs
            },
            "commands": [c for c in wire],
            "all_commands": commands,
            "numbered": [by_number.get(n) for n in range(1, model.max_command + 1)],
            "command_indices": [
                record_by_command.get(n, 0xFFFF) for n in range(1, model.max_command + 1)
            ],
            "struct_indices": [
                record_by_struct.get(n, 0xFFFF) for n in range(1, model.max_struct + 1)
            ],
            "formats": model.registry.formats,
            "by_stype": self._by_stype(),
            "procs": self._procs(),
        }
