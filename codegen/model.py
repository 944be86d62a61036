# SPDX-License-Identifier: Apache-2.0
"""The generator's model: registry plus policy, turned into records and commands.

A struct and a command's argument list are the same thing, a *record*: an image of fixed size and a
list of *operations*, one for each member that is more than bytes (handles, pointers, nested records
that hold some, pNext). Everything the templates print is decided here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace

from layout import Layout, Placed
from lengths import Length, parse_length
from lock import Lock
from policy import Policy
from policy_check import check_effects, check_names
from registry import Command, Field, Provider, Registry, RegistryError, Struct


@dataclass
class Op:
    kind: str
    name: str
    offset: int
    type: str = ""
    size: int = 0
    count: int = 1
    length: Length = field(default_factory=Length)
    inner: Length = field(default_factory=Length)
    direction: str = "in"
    flags: list[str] = field(default_factory=list)
    present: str | None = None
    required: bool = False  # only for the receiver: not a part of the signature

    def signature(self) -> str:
        return "|".join(
            str(part)
            for part in (self.kind, self.offset, self.type, self.size, self.count,
                         self.length.signature(), self.inner.signature(), self.direction,
                         ",".join(sorted(self.flags)))
        )  # fmt: skip


@dataclass
class Record:
    """A struct, a union alternative, or a command's arguments."""

    name: str
    c_type: str
    size: int
    placed: list[Placed]
    ops: list[Op]
    stype: str | None = None
    extends: list[str] = field(default_factory=list)
    returned_only: bool = False
    is_command: bool = False
    number: int = 0
    providers: list[str] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        return not self.ops


@dataclass
class UnionCase:
    value: str
    record: str


@dataclass
class Union:
    name: str
    size: int
    cases: list[UnionCase]


@dataclass
class RemoteCommand:
    command: Command
    kind: str
    reason: str
    record: Record
    number: int
    level: str
    guest_custom: bool
    host_custom: bool
    release: bool
    observe: bool
    writes: str
    providers: dict[str, list[str]]
    own: bool = False

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def on_wire(self) -> bool:
        return self.kind not in ("local", "absent")


@dataclass
class Extension:
    name: str
    spec_version: int
    is_instance: bool
    is_guest: bool


class Model:
    def __init__(self, registry: Registry, policy: Policy, lock: Lock) -> None:
        self.registry = registry
        self.policy = policy
        self.lock = lock
        if lock.strict:
            check_names(registry, policy)
        else:
            registry.keep_names(policy.names() | lock.names())
        self.layout = Layout(registry)
        self.records: dict[str, Record] = {}
        self.unions: dict[str, Union] = {}
        self.commands: list[RemoteCommand] = []
        self.extensions: list[Extension] = []
        self.left_out: dict[str, str] = {}
        self.handles: list[str] = []
        # (table, key) of each rule in policy.toml that had an effect.
        self.applied_rules: set[tuple[str, str]] = set()
        self._supported: dict[str, Provider] = {}
        self._type_providers: dict[str, list[str]] = {}
        self._command_providers: dict[str, list[str]] = {}
        self._pending: list[str] = []
        self._choose_extensions()
        self._collect_provided()
        self.handles = [
            name for name in self.registry.handles if name in self._type_providers
        ]
        self._build_commands()
        self._build_chain_structs()
        if lock.strict:
            check_effects(self)

    # -- what is supported ------------------------------------------------------------------------

    def _choose_extensions(self) -> None:
        for provider in self.registry.providers:
            if provider.core_version is not None:
                self._supported[provider.name] = provider
                continue
            reason = self._why_left_out(provider)
            if reason is not None:
                self.left_out[provider.name] = reason
                continue
            self._supported[provider.name] = provider
            self.extensions.append(
                Extension(
                    provider.name,
                    provider.spec_version,
                    provider.kind == "instance",
                    provider.name in self.policy.guest_extensions,
                )
            )

    def _why_left_out(self, provider: Provider) -> str | None:
        if provider.name in self.policy.excluded:
            return self.policy.excluded[provider.name]
        if not self.lock.strict and not self.lock.knows_extension(provider.name):
            return "newer than proto/schema.lock"
        if provider.platform and provider.name not in self.policy.instance_extensions:
            return f"belongs to the platform '{provider.platform}'"
        if provider.provisional:
            return "provisional"
        if provider.kind == "instance":
            if provider.name in self.policy.instance_extensions:
                return None
            return "an instance extension of a window system, a layer or the loader"
        author = provider.name.split("_")[1]
        if author not in self.policy.authors:
            return "on no driver that the tests run on"
        return None

    def _depends_ok(self, expression: str | None) -> bool:
        if not expression:
            return True
        # Names become True or False, '+' is and, ',' is or; "Struct::member" asks for a feature,
        # which is no matter of what exists.
        def value(match: re.Match[str]) -> str:
            return str("::" in match[0] or match[0] in self._supported)

        python = re.sub(r"[\w:]+", value, expression)
        return bool(eval(python.replace("+", " and ").replace(",", " or "), {}))  # noqa: S307

    def _collect_provided(self) -> None:
        for provider in self._supported.values():
            for require in provider.requires:
                if not self._depends_ok(require.depends):
                    continue
                for name in require.types:
                    canonical = self.registry.struct_aliases.get(name, name)
                    providers = self._type_providers.setdefault(canonical, [])
                    if provider.name not in providers:
                        providers.append(provider.name)
                for name in require.commands:
                    self._command_providers.setdefault(name, []).append(provider.name)

    # -- records ----------------------------------------------------------------------------------

    def record(self, name: str) -> Record:
        """The record of a struct, built on first use."""
        name = self.registry.struct_aliases.get(name, name)
        if name in self.records:
            return self.records[name]
        struct = self.registry.structs[name]
        size, _, placed = self.layout.struct(struct)
        record = Record(
            name=name,
            c_type=name,
            size=size,
            placed=placed,
            ops=[],
            stype=struct.stype,
            extends=[self.registry.struct_aliases.get(e, e) for e in struct.extends],
            returned_only=struct.returned_only,
            providers=self._type_providers.get(name, []),
        )
        self.records[name] = record
        if struct.is_union:
            raise RegistryError(f"union {name} used without a selector or a rule in policy.toml")
        record.ops = self._ops(name, struct.members, placed, in_command=None)
        return record

    def _union(self, name: str) -> str | None:
        """Builds a union that needs operations; None if it is plain bytes."""
        if name in self.policy.plain_unions:
            return None
        if name in self.unions:
            return name
        struct = self.registry.structs[name]
        size, _, placed = self.layout.struct(struct)
        union = Union(name, size, [])
        self.unions[name] = union
        for item in placed:
            if not item.field.selection:
                raise RegistryError(f"union {name}: alternative {item.field.name} has no selection")
            alternative = f"{name}.{item.field.name}"
            record = Record(alternative, name, size, [item], [])
            self.records[alternative] = record
            record.ops = self._ops(name, [item.field], [item], in_command=None)
            values = list(item.field.selection)
            if alternative in self.policy.selections:
                values += self.policy.selections[alternative]
                self.applied_rules.add(("selections", alternative))
            union.cases += [UnionCase(value, alternative) for value in values]
        return name

    def _is_plain_union(self, name: str) -> bool:
        struct = self.registry.structs.get(name)
        return struct is not None and struct.is_union and self._union(name) is None

    def _ops(
        self, owner: str, fields: list[Field], placed: list[Placed], in_command: Command | None
    ) -> list[Op]:
        ops = []
        by_name = {item.field.name: item for item in placed}
        for item in placed:
            op = self._op(owner, item, by_name, in_command)
            if op is None:
                continue
            key = f"{owner}.{item.field.name}"
            if key in self.policy.conditional:
                op.present = self.policy.conditional[key].when
                self.applied_rules.add(("conditional", key))
            if key in self.policy.lenient:
                op.flags.append("kLenient")
                self.applied_rules.add(("lenient", key))
            op.required = self._is_required(owner, item.field, op, in_command)
            ops.append(op)
        return ops

    def _is_required(self, owner: str, f: Field, op: Op, in_command: Command | None) -> bool:
        """Whether null is no valid value where there are elements, as far as the worker itself or
        its first step into the driver would follow it."""
        if op.kind in ("kDropped", "kHandle", "kTypedHandle", "kRecord", "kUnion", "kChain", "kLayout"):
            return False
        if (f.optional and f.optional[0]) or f.type == "VkBaseOutStructure":
            return False
        if owner in self.policy.required_structs:
            self.applied_rules.add(("required", owner))
            return True
        # What Vesper's own commands point to, the worker reads and writes itself.
        return in_command is not None and (
            op.length.kind == "kConstant" or op.kind == "kRecords" or owner.startswith("vesper")
        )

    def _op(
        self, owner: str, item: Placed, by_name: dict[str, Placed], in_command: Command | None
    ) -> Op | None:
        reg, f = self.registry, item.field
        key = f"{owner}.{f.name}"
        if key in self.policy.opaque:
            self.applied_rules.add(("opaque", key))
            return None
        if key in self.policy.dropped_members or f.type in self.policy.dropped_types:
            self.applied_rules.add(("dropped.members", key))
            return Op("kDropped", f.name, item.offset)
        if f.type in reg.func_pointers:
            return Op("kDropped", f.name, item.offset)
        if key in self.policy.layouts:
            self.applied_rules.add(("layouts", key))
            return Op("kLayout", f.name, item.offset)
        is_struct = f.type in reg.structs or f.type in reg.struct_aliases
        canonical = reg.struct_aliases.get(f.type, f.type)
        if f.object_type:
            return Op("kTypedHandle", f.name, item.offset, length=self._at(by_name[f.object_type]))
        array_parameter = in_command is not None and bool(f.dims)
        if f.pointers == 0 and not array_parameter:
            return self._inline_op(owner, item, by_name, is_struct, canonical)
        if f.name == "pNext":
            return Op("kChain", f.name, item.offset, type=owner)
        return self._pointer_op(owner, item, by_name, in_command, is_struct, canonical)

    def _at(self, item: Placed) -> Length:
        kind = {1: "kU8", 2: "kU16", 4: "kU32", 8: "kU64"}[item.size]
        return Length(kind, item.offset)

    def _inline_op(
        self, owner: str, item: Placed, by_name: dict[str, Placed], is_struct: bool, canonical: str
    ) -> Op | None:
        f = item.field
        if f.type in self.registry.handles:
            self._handle(f.type)
            return Op("kHandle", f.name, item.offset, type=f.type, count=item.count)
        if not is_struct:
            return None
        if self.registry.structs[canonical].is_union:
            union = self._union(canonical)
            if union is None:
                return None
            if f.selector is None:
                raise RegistryError(f"{owner}.{f.name}: a union with pointers but no selector")
            return Op("kUnion", f.name, item.offset, type=union,
                      length=self._at(by_name[f.selector]))  # fmt: skip
        record = self.record(canonical)
        if record.plain:
            return None
        return Op("kRecord", f.name, item.offset, type=canonical, count=item.count,
                  size=item.element_size)  # fmt: skip

    def _pointer_op(
        self, owner: str, item: Placed, by_name: dict[str, Placed], in_command: Command | None,
        is_struct: bool, canonical: str,
    ) -> Op:  # fmt: skip
        f = item.field
        key = f"{owner}.{f.name}"
        lengths = list(f.lengths)
        if key in self.policy.lengths:
            lengths = [self.policy.lengths[key]]
            self.applied_rules.add(("lengths", key))
        op = Op("", f.name, item.offset)
        op.direction = self._direction(owner, f, in_command, by_name)
        if f.dims:
            op.length = Length("kConstant", add=item.count if not in_command else
                               self.layout.constant(f.dims[0]))  # fmt: skip
        else:
            op.length = parse_length(lengths[0] if lengths else None, by_name, self)
        if f.type == "char" and "null-terminated" in lengths:
            if f.pointers == 1:
                op.kind = "kString"
            else:
                op.kind = "kStrings"
            return op
        if f.pointers == 2:
            if key in self.policy.nested_lengths:
                array, member = self.policy.nested_lengths[key]
                self.applied_rules.add(("nested_length", key))
                op.inner = self._sibling(by_name[array], member)
            elif len(lengths) > 1 and lengths[1] == "1":
                op.inner = Length("kConstant", add=1)
            else:
                raise RegistryError(f"{key}: an array of pointers without inner length")
            if is_struct and not self.record(canonical).plain:
                if op.inner.kind != "kConstant":
                    raise RegistryError(f"{key}: nested arrays of records with pointers")
                op.kind, op.type = "kRecordPointers", canonical
                op.size = self.record(canonical).size
            else:
                op.kind = "kPlainPointers"
                op.size = self.layout.type_size(canonical)[0]
            return op
        if f.pointers > 2:
            raise RegistryError(f"{key}: too many levels of pointers")
        if f.type == "void":
            if not lengths:
                raise RegistryError(f"{key}: void pointer without a length or a rule")
            op.kind, op.size = "kPlain", 1
        elif f.type in self.registry.handles:
            self._handle(f.type)
            op.kind, op.type, op.size = "kHandles", f.type, 8
        elif is_struct and not self._is_plain_union(canonical) and not self.record(canonical).plain:
            op.kind, op.type, op.size = "kRecords", canonical, self.record(canonical).size
        else:
            op.kind, op.size = "kPlain", self.layout.type_size(canonical)[0]
        return op

    def _sibling(self, array: Placed, member: str) -> Length:
        struct = self.registry.struct(array.field.type)
        size, _, placed = self.layout.struct(struct)
        target = next(p for p in placed if p.field.name == member)
        return Length("kSibling", array.offset, inner=target.offset, add=size)

    def _direction(
        self, owner: str, f: Field, in_command: Command | None, by_name: dict[str, Placed]
    ) -> str:
        if in_command is None:
            return "in"
        if f.is_const or f.dims:
            return "in"
        key = f"{owner}.{f.name}"
        if key in self.policy.inout:
            self.applied_rules.add(("inout", key))
            return "inout"
        is_length = any(
            f.name in other.field.lengths for other in by_name.values() if other.field is not f
        )
        return "inout" if is_length else "out"

    def _handle(self, name: str) -> None:
        if name not in self.handles:
            raise RegistryError(f"handle type {name} is used, but nothing supported brings it")

    # -- commands ---------------------------------------------------------------------------------

    def _level(self, command: Command) -> str:
        first = command.params[0].type if command.params else ""
        if first == "VkPhysicalDevice":
            return "physical_device"
        if first == "VkInstance":
            return "instance"
        if first in ("VkDevice", "VkQueue", "VkCommandBuffer", "VkExternalComputeQueueNV"):
            return "device"
        return "global"

    def _build_commands(self) -> None:
        for command in self.registry.commands.values():
            own = command.name.startswith("vesper")
            names = [command.name, *command.aliases]
            providers = {n: self._command_providers[n] for n in names if n in self._command_providers}
            if not providers and not own:
                continue
            if not self.lock.strict and not self.lock.knows_command(names):
                kinds = {rule.kind for rule in self.policy.matching(names)}
                if not kinds & {"local", "absent"}:
                    self.lock.left_out.append(f"command {command.name}")
                    continue
            rule = self.policy.classify(command.name)
            level = self._level(command)
            if rule.kind in ("local", "absent"):
                record = Record(command.name, command.name, 0, [], [], is_command=True)
            else:
                record = self._command_record(command)
            self.commands.append(
                RemoteCommand(
                    command=command,
                    kind=rule.kind,
                    reason=rule.reason,
                    record=record,
                    number=0,
                    level=level,
                    guest_custom=command.name in self.policy.custom_guest,
                    host_custom=command.name in self.policy.custom_host,
                    release=command.name in self.policy.release,
                    observe=command.name in self.policy.observe,
                    writes=self.policy.written_by(command.name)
                    if command.name.startswith("vkCmd") else "nothing",
                    providers=providers,
                    own=own,
                )
            )

    def _command_record(self, command: Command) -> Record:
        fields = [self._typed(command.name, f) for f in command.params]
        if command.returns != "void":
            fields.append(Field("ret", command.returns, f"{command.returns} ret"))
        size, _, placed = self.layout.place(fields, as_parameters=True)
        record = Record(command.name, f"Args_{command.name}", size, placed, [], is_command=True)
        record.ops = self._ops(command.name, fields, placed, in_command=command)
        creates = re.match(r"(vk|vesper)(Create|Allocate|Register)", command.name)
        destroys = re.match(r"vk(Destroy|Free)(?!.*Lock)", command.name)
        for op in record.ops:
            if op.kind == "kHandles" and op.direction != "in":
                if not creates:
                    raise RegistryError(f"{command.name}.{op.name}: handles come back, but not new")
                op.flags.append("kNewIds")
                op.direction = "out"
        if destroys:
            handle_ops = [op for op in record.ops if op.kind in ("kHandle", "kHandles")]
            handle_ops[-1].flags.append("kConsumed")
        return record

    def _typed(self, owner: str, f: Field) -> Field:
        """The parameter with the type that the policy gives it, if the registry gives none."""
        key = f"{owner}.{f.name}"
        if key not in self.policy.untyped:
            return f
        self.applied_rules.add(("untyped", key))
        return replace(f, type=self.policy.untyped[key])

    def _build_chain_structs(self) -> None:
        """Adds the structs that may extend what the commands use, until nothing new appears."""
        for name in ("VkPhysicalDeviceProperties2", "VkPhysicalDeviceFeatures2", "VkDeviceCreateInfo",
                     "VkQueueFamilyProperties2", "VkPhysicalDeviceMemoryProperties2",
                     "VkInstanceCreateInfo", "VkFenceCreateInfo", "VkMemoryMapInfo",
                     "VkMemoryUnmapInfo", "VkExtensionProperties", "VkPhysicalDeviceGroupProperties",
                     ):  # fmt: skip
            self.record(name)
        changed = True
        while changed:
            changed = False
            for struct in self.registry.structs.values():
                if struct.name in self.records or struct.stype is None:
                    continue
                if struct.name not in self._type_providers:
                    continue
                if struct.name in self.policy.dropped_structs:
                    continue
                extends = [self.registry.struct_aliases.get(e, e) for e in struct.extends]
                if any(e in self.records for e in extends):
                    self.record(struct.name)
                    changed = True

    # -- identity ---------------------------------------------------------------------------------

    def signature(self, record: Record, seen: tuple[str, ...] = ()) -> str:
        """A hash of everything that decides a record's bytes on the wire, nested records included
        but pNext chains not: what may be chained is negotiated struct by struct."""
        parts = [str(record.size), record.stype or ""]
        for op in record.ops:
            parts.append(op.signature())
            nested = []
            if op.kind in ("kRecord", "kRecords", "kRecordPointers"):
                nested = [op.type]
            elif op.kind == "kUnion":
                nested = [case.record for case in self.unions[op.type].cases]
                parts += [case.value for case in self.unions[op.type].cases]
            for name in nested:
                if name not in seen:
                    parts.append(self.signature(self.records[name], (*seen, name)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]

    def chain_signature(self, record: Record) -> str:
        """The signature of a struct in a pNext chain: where it may be chained is part of it, since
        the decoder refuses it anywhere else."""
        roots = sorted(e for e in record.extends if e in self.records)
        text = "\n".join([self.signature(record), *roots])
        return hashlib.sha256(text.encode()).hexdigest()[:8]
