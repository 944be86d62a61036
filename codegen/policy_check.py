# SPDX-License-Identifier: Apache-2.0
"""Whether every name in policy.toml names something, and every rule has an effect.

A misspelt exception would silently be none, so with the registry that proto/schema.lock was made
from each name must be one of that registry's, and a rule for something that travels must have been
applied. The name is the one that the registry gives the thing, not an alias. What a rule names may
belong to an extension that is left out, for being provisional say: then the rule waits for it. With
another registry nothing is checked, for there things may be gone; what was promoted since keeps the
name that it has here (Registry.keep_names).
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Iterable

from policy import Policy
from registry import Registry, RegistryError

if TYPE_CHECKING:
    from model import Model


def check_names(registry: Registry, policy: Policy) -> None:
    """To be called before the names are made use of."""
    _Names(registry, policy).check()


def check_effects(model: "Model") -> None:
    """A rule whose owner is supported must have been applied while the records were built."""
    policy = model.policy
    owners = {*model.records, *model.unions, *(command.name for command in model.commands)}
    tables = {k: keys for k, keys in _member_tables(policy).items() if k != "masked"}
    tables["required"] = policy.required_structs
    for table, keys in tables.items():
        _refuse_idle(
            table, (key for key in keys
                    if key.split(".")[0] in owners and (table, key) not in model.applied_rules)
        )  # fmt: skip
    _refuse_idle("custom.host", (command.name for command in model.commands
                                 if command.host_custom and not command.on_wire))  # fmt: skip
    _refuse_idle("cached", (command.name for command in model.commands
                            if policy.cached_rule(command.name) and command.kind != "call"))  # fmt: skip
    asking = sorted(command.name for command in model.commands
                    if command.kind == "push" and not command.guest_custom)  # fmt: skip
    if asking:
        raise RegistryError(
            f"policy.toml: {', '.join(asking)} is of class 'push', and what is generated asks the host "
            "each time: write it by hand and name it in custom.guest"
        )
    silent = sorted(
        command.name for command in model.commands
        if command.name in policy.draws and command.name not in policy.memory_names
        and any(param.type == "VkBuffer" for param in command.command.params)
    )  # fmt: skip
    if silent:
        raise RegistryError(
            f"policy.toml: memory.draws names {', '.join(silent)}, which has a buffer among its "
            "parameters: put it into memory.names, too"
        )


def _refuse_idle(table: str, keys: Iterable[str]) -> None:
    idle = sorted(keys)
    if idle:
        raise RegistryError(
            f"policy.toml: {table} names {', '.join(idle)}, where the rule has no effect: take it "
            "out"
        )


def _member_tables(policy: Policy) -> dict[str, Iterable[str]]:
    return {
        "conditional": policy.conditional, "lenient": policy.lenient,
        "dropped.members": policy.dropped_members, "layouts": policy.layouts, "opaque": policy.opaque,
        "untyped": policy.untyped, "selections": policy.selections, "masked": policy.masked,
        "inout": policy.inout, "nested_length": policy.nested_lengths, "lengths": policy.lengths,
    }  # fmt: skip


class _Names:
    def __init__(self, registry: Registry, policy: Policy) -> None:
        self._registry = registry
        self._policy = policy

    def check(self) -> None:
        self._check_extensions()
        self._check_commands()
        self._check_types()
        self._check_members()

    def _expect(self, table: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise RegistryError(
                f"policy.toml: {table} names {', '.join(unknown)}, but the registry has no such "
                f"{what}: correct the name or take it out"
            )

    def _check_extensions(self) -> None:
        extensions = {p.name: p for p in self._registry.providers if p.core_version is None}
        instance = {name for name, p in extensions.items() if p.kind == "instance"}
        authors = {name.split("_")[1] for name in extensions}
        self._expect("extensions.authors", "author", self._policy.authors, authors)
        self._expect(
            "extensions.instance", "instance extension", self._policy.instance_extensions, instance
        )
        self._expect("extensions.guest", "extension", self._policy.guest_extensions, extensions)
        self._expect("extensions.excluded", "extension", self._policy.excluded, extensions)

    def _check_commands(self) -> None:
        commands = set(self._registry.commands)
        recorded = {name for name in commands if name.startswith("vkCmd")}
        for table, rules, known in (("class", self._policy.classes, commands),
                                    ("writes", self._policy.writes, recorded)):  # fmt: skip
            for rule in rules:
                for pattern in rule.commands:
                    if not fnmatch.filter(known, pattern):
                        self._expect(f"{table} '{rule.kind}'", "command", [pattern], known)
        cached = [command for rule in self._policy.cached for command in rule.commands]
        for table, names in (("custom.guest", self._policy.custom_guest), ("cached", cached),
                             ("custom.host", self._policy.custom_host),
                             ("memory.release", self._policy.release),
                             ("memory.observe", self._policy.observe),
                             ("memory.copies", self._policy.copies),
                             ("memory.draws", self._policy.draws),
                             ("memory.names", self._policy.memory_names)):  # fmt: skip
            self._expect(table, "command", names, commands)

    def _check_types(self) -> None:
        structs = set(self._registry.structs)
        unions = {name for name, s in self._registry.structs.items() if s.is_union}
        self._expect("dropped_structs", "struct", self._policy.dropped_structs, structs)
        self._expect("required", "struct", self._policy.required_structs, structs)
        self._expect("plain_unions", "union", self._policy.plain_unions, unions)
        self._expect("dropped.types", "struct", self._policy.dropped_types, structs)
        self._expect("untyped", "struct", self._policy.untyped.values(), structs)
        enumerators = {name for values in self._registry.enum_values.values() for name in values}
        selected = [name for names in self._policy.selections.values() for name in names]
        self._expect("selections", "enumerator", selected, enumerators)

    def _check_members(self) -> None:
        fields: dict[str, dict[str, str]] = {}
        for struct in self._registry.structs.values():
            fields[struct.name] = {f.name: f.type for f in struct.members}
        for command in self._registry.commands.values():
            fields[command.name] = {f.name: f.type for f in command.params}
        known = {f"{owner}.{name}" for owner, names in fields.items() for name in names}
        for table, keys in _member_tables(self._policy).items():
            self._expect(table, "member or parameter", keys, known)
        for key, (array, member) in self._policy.nested_lengths.items():
            owner = key.split(".")[0]
            self._expect("nested_length", "parameter", [f"{owner}.{array}"], known)
            self._expect("nested_length", "member", [f"{fields[owner][array]}.{member}"], known)
        for key in self._policy.masked:
            owner, member = key.split(".")
            if fields[owner][member] != "VkBool32":
                raise RegistryError(f"policy.toml: masked names {key}, which is no VkBool32")
