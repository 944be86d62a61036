# SPDX-License-Identifier: Apache-2.0
"""policy.toml as typed tables. A table or key that nobody asks for is an error: a misspelt
exception must not be silently without effect."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path

from registry import RegistryError

KINDS = ("local", "absent", "record", "post", "call", "push")
# What a recorded command may write. A command that no rule names may write everything.
WRITES = ("nothing", "exact", "descriptors", "shaders", "everything")


@dataclass
class ClassRule:
    kind: str
    commands: list[str]
    reason: str


@dataclass
class CachedRule:
    commands: list[str]
    creation: str | None
    reason: str


@dataclass
class Conditional:
    when: str
    reason: str


@dataclass
class Policy:
    authors: list[str]
    instance_extensions: list[str]
    guest_extensions: list[str]
    excluded: dict[str, str]
    classes: list[ClassRule]
    cached: list[CachedRule]
    custom_guest: set[str]
    custom_host: set[str]
    release: set[str]
    observe: set[str]
    copies: set[str]
    draws: set[str]
    memory_names: set[str]
    writes: list[ClassRule]
    conditional: dict[str, Conditional]
    lenient: set[str]
    required_structs: set[str]
    dropped_types: set[str]
    dropped_members: set[str]
    dropped_structs: dict[str, str]
    layouts: set[str]
    opaque: set[str]
    untyped: dict[str, str]
    selections: dict[str, list[str]]
    plain_unions: set[str]
    masked: dict[str, str]
    inout: set[str]
    nested_lengths: dict[str, tuple[str, str]]
    lengths: dict[str, str]

    def names(self) -> set[str]:
        """The structs and commands that the rules name."""
        members = [
            *self.conditional, *self.lenient, *self.dropped_members, *self.layouts, *self.opaque,
            *self.untyped, *self.selections, *self.masked, *self.inout, *self.nested_lengths, *self.lengths,
        ]  # fmt: skip
        return {
            *(member.split(".")[0] for member in members), *self.custom_guest, *self.custom_host,
            *self.release, *self.observe, *self.copies, *self.draws, *self.memory_names,
            *self.required_structs, *self.dropped_types, *self.dropped_structs, *self.plain_unions, *self.untyped.values(),
            *(command for rule in (*self.classes, *self.writes, *self.cached) for command in rule.commands),
        }  # fmt: skip

    def matching(self, commands: list[str]) -> list[ClassRule]:
        """The rules that name one of the commands or fit it by pattern."""
        return [
            rule
            for rule in self.classes
            if any(fnmatch.fnmatchcase(c, pattern) for pattern in rule.commands for c in commands)
        ]

    def classify(self, command: str) -> ClassRule:
        """The rule for a command."""
        best = self._best(self.classes, command)
        if best is None:
            raise RegistryError(f"policy.toml: {command} has no class")
        return best

    def written_by(self, command: str) -> str:
        """What a recorded command may write: one of WRITES."""
        best = self._best(self.writes, command)
        return "everything" if best is None else best.kind

    def cached_rule(self, command: str) -> CachedRule | None:
        """The rule for a command whose answer is remembered."""
        return next((rule for rule in self.cached if command in rule.commands), None)

    def _best(self, rules: list[ClassRule], command: str) -> ClassRule | None:
        """An exact name wins over a pattern, a longer one over a shorter."""
        best: tuple[int, int, ClassRule] | None = None
        for rule in rules:
            for pattern in rule.commands:
                if pattern == command:
                    key = (1, len(pattern))
                elif fnmatch.fnmatchcase(command, pattern):
                    key = (0, len(pattern.replace("*", "")))
                else:
                    continue
                if best is not None and best[:2] == key and best[2].kind != rule.kind:
                    raise RegistryError(f"policy.toml: two classes fit {command} equally well")
                if best is None or key > best[:2]:
                    best = (*key, rule)
        return None if best is None else best[2]


def _take(table: dict, key: str, where: str):
    if key not in table:
        raise RegistryError(f"policy.toml: {where} lacks '{key}'")
    return table.pop(key)


def load(path: Path) -> Policy:
    data = tomllib.loads(path.read_text())
    extensions = _take(data, "extensions", "the file")
    excluded = {
        name: entry["reason"]
        for entry in _take(extensions, "excluded", "[extensions]")
        for name in entry["names"]
    }
    classes = []
    for entry in _take(data, "class", "the file"):
        if entry["kind"] not in KINDS:
            raise RegistryError(f"policy.toml: class '{entry['kind']}' is not one of {KINDS}")
        classes.append(ClassRule(entry["kind"], entry["commands"], entry["reason"]))
    writes = []
    for entry in _take(data, "writes", "the file"):
        if entry["kind"] not in WRITES:
            raise RegistryError(f"policy.toml: writes '{entry['kind']}' is not one of {WRITES}")
        writes.append(ClassRule(entry["kind"], entry["commands"], entry["reason"]))
    custom = _take(data, "custom", "the file")
    memory = _take(data, "memory", "the file")
    dropped = _take(data, "dropped", "the file")
    result = Policy(
        authors=_take(extensions, "authors", "[extensions]"),
        instance_extensions=_take(extensions, "instance", "[extensions]"),
        guest_extensions=_take(extensions, "guest", "[extensions]"),
        excluded=excluded,
        classes=classes,
        custom_guest=set(_take(custom, "guest", "[custom]")),
        custom_host=set(_take(custom, "host", "[custom]")),
        release=set(_take(memory, "release", "[memory]")),
        observe=set(_take(memory, "observe", "[memory]")),
        copies=set(_take(memory, "copies", "[memory]")),
        draws=set(_take(memory, "draws", "[memory]")),
        memory_names=set(_take(memory, "names", "[memory]")),
        writes=writes,
        cached=[
            CachedRule(entry["commands"], entry.get("creation"), entry["reason"])
            for entry in _take(data, "cached", "the file")
        ],
        conditional={
            member: Conditional(entry["when"], entry["reason"])
            for entry in _take(data, "conditional", "the file")
            for member in entry["members"]
        },
        lenient=set(_take(data, "lenient", "the file")["members"]),
        required_structs=set(_take(data, "required", "the file")["structs"]),
        dropped_types=set(_take(dropped, "types", "[dropped]")),
        dropped_members=set(_take(dropped, "members", "[dropped]")),
        dropped_structs={
            name: entry["reason"]
            for entry in _take(data, "dropped_structs", "the file")
            for name in entry["names"]
        },
        layouts=set(_take(data, "layouts", "the file")["members"]),
        opaque=set(_take(data, "opaque", "the file")["members"]),
        untyped=_take(data, "untyped", "the file"),
        selections=_take(data, "selections", "the file"),
        plain_unions=set(_take(data, "plain_unions", "the file")["names"]),
        masked={
            feature: entry["reason"]
            for entry in _take(data, "masked", "the file")
            for feature in entry["features"]
        },
        inout=set(_take(data, "inout", "the file")["params"]),
        nested_lengths={
            param: (entry["array"], entry["member"])
            for entry in _take(data, "nested_length", "the file")
            for param in entry["params"]
        },
        lengths=_take(data, "lengths", "the file"),
    )
    if data or extensions:
        raise RegistryError(f"policy.toml: unknown tables or keys {[*data, *extensions]}")
    return result
