# SPDX-License-Identifier: Apache-2.0
"""proto/schema.lock: the wire's numbers and signatures.

One line for each handle type, command, chainable struct and extension: kind, number, name, hash of
its wire signature. Numbers are only ever added. A hash that changes is a change of the wire and shows in
review; guest and host exchange the hashes and use only what is the same on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Iterable

from registry import RegistryError

if TYPE_CHECKING:
    from model import Model

HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Numbers and signatures of everything on the wire; written by codegen/generate.py --update-lock.
# Numbers are only ever added. A changed hash is a changed wire format: say so in proto/PROTOCOL.md.
"""


@dataclass
class Entry:
    kind: str
    number: int
    name: str
    hash: str


@dataclass
class Lock:
    """`registry` is the header version that the lock was last brought up to date with. A build with
    that registry must agree with the lock in everything. A build with another one leaves out what
    the lock does not know or knows differently, and offers the rest: headers may be newer."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    registry: int = 0
    update: bool = False
    strict: bool = True
    left_out: list[str] = field(default_factory=list)

    def begin(self, header_version: int, update: bool) -> None:
        """To be called before anything is looked up."""
        self.update = update
        self.strict = update or header_version == self.registry
        if update:
            self.registry = header_version

    def names(self) -> set[str]:
        return {name for _, name in self.entries}

    def knows_extension(self, name: str) -> bool:
        return self.update or ("extension", name) in self.entries

    def knows_command(self, names: Iterable[str]) -> bool:
        return self.update or self.strict or any(("command", n) in self.entries for n in names)

    @staticmethod
    def load(path: Path) -> "Lock":
        lock = Lock()
        if not path.exists():
            return lock
        numbers: set[tuple[str, int]] = set()
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            kind, number, name, digest = line.split()
            if kind == "registry":
                lock.registry = int(number)
                continue
            if (kind, int(number)) in numbers:
                raise RegistryError(f"schema.lock: number {number} of a {kind} is given twice")
            numbers.add((kind, int(number)))
            lock.entries[(kind, name)] = Entry(kind, int(number), name, digest)
        return lock

    def text(self) -> str:
        order = {"handle": 0, "command": 1, "struct": 2, "extension": 3}
        rows = sorted(self.entries.values(), key=lambda e: (order[e.kind], e.number))
        return f"{HEADER}registry {self.registry} vk.xml -\n" + "".join(f"{e.kind} {e.number} {e.name} {e.hash}\n" for e in rows)

    def maximum(self, kind: str) -> int:
        return max((e.number for e in self.entries.values() if e.kind == kind), default=0)

    def _number(self, kind: str, names: list[str], digest: str) -> int:
        """The number of what goes by any of these names (a promotion changes the first), or 0 if
        this build has to do without it."""
        name = names[0]
        found = [self.entries[(kind, n)] for n in names if (kind, n) in self.entries]
        if not found and self.update:
            found = [Entry(kind, self.maximum(kind) + 1, name, digest)]
            self.entries[(kind, name)] = found[0]
        if found and (found[0].hash == digest or self.update):
            found[0].hash = digest
            return found[0].number
        if self.strict:
            what = "has no number" if not found else f"changed its signature to {digest}"
            raise RegistryError(f"{kind} {name} {what}: run generate.py --update-lock if that is meant")
        self.left_out.append(f"{kind} {name}")
        return 0

    def apply(self, model: "Model") -> None:
        """Numbers the model's handles, commands and chainable structs."""
        model.handle_numbers = {
            name: self._number("handle", [name], "-") for name in model.handles
        }
        model.handles = [name for name in model.handles if model.handle_numbers[name]]
        for command in model.commands:
            if command.on_wire:
                digest = model.signature(command.record)
                names = [command.name, *command.command.aliases]
                command.number = self._number("command", names, digest)
                command.record.number = command.number
                command.record.hash = digest
        former: dict[str, list[str]] = {}
        for alias, target in model.registry.struct_aliases.items():
            former.setdefault(target, []).append(alias)
        for record in model.records.values():
            record.hash = model.signature(record)
            if record.stype is not None and record.extends:
                record.hash = model.chain_signature(record)
                names = [record.name, *former.get(record.name, [])]
                record.number = self._number("struct", names, record.hash)
        for extension in model.extensions:
            self._number("extension", [extension.name], "-")
        model.max_command = self.maximum("command")
        model.max_struct = self.maximum("struct")
