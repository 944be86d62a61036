# SPDX-License-Identifier: Apache-2.0
"""proto/schema.lock: the wire's numbers and signatures.

One line for each handle type, command and chainable struct: kind, number, name, hash of its wire
signature. Numbers are only ever added. A hash that changes is a change of the wire and shows in
review; guest and host exchange the hashes and use only what is the same on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

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
            if (kind, int(number)) in numbers:
                raise RegistryError(f"schema.lock: number {number} of a {kind} is given twice")
            numbers.add((kind, int(number)))
            lock.entries[(kind, name)] = Entry(kind, int(number), name, digest)
        return lock

    def text(self) -> str:
        order = {"handle": 0, "command": 1, "struct": 2}
        rows = sorted(self.entries.values(), key=lambda e: (order[e.kind], e.number))
        return HEADER + "".join(f"{e.kind} {e.number} {e.name} {e.hash}\n" for e in rows)

    def maximum(self, kind: str) -> int:
        return max((e.number for e in self.entries.values() if e.kind == kind), default=0)

    def _number(self, kind: str, name: str, digest: str, update: bool) -> int:
        entry = self.entries.get((kind, name))
        if entry is None:
            if not update:
                raise RegistryError(f"{kind} {name} has no number: run generate.py --update-lock")
            entry = Entry(kind, self.maximum(kind) + 1, name, digest)
            self.entries[(kind, name)] = entry
        if entry.hash != digest:
            if not update:
                raise RegistryError(
                    f"the wire signature of {kind} {name} changed ({entry.hash} to {digest}): if "
                    "that is meant, run generate.py --update-lock"
                )
            entry.hash = digest
        return entry.number

    def apply(self, model: "Model", update: bool) -> None:
        """Numbers the model's handles, commands and chainable structs."""
        model.handle_numbers = {
            name: self._number("handle", name, "-", update) for name in model.handles
        }
        for command in model.commands:
            if command.on_wire:
                digest = model.signature(command.record)
                command.number = self._number("command", command.name, digest, update)
                command.record.number = command.number
                command.record.hash = digest
        for record in model.records.values():
            record.hash = model.signature(record)
            if record.stype is not None and record.extends:
                record.hash = model.chain_signature(record)
                record.number = self._number("struct", record.name, record.hash, update)
        model.max_command = self.maximum("command")
        model.max_struct = self.maximum("struct")
