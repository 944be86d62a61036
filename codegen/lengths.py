# SPDX-License-Identifier: Apache-2.0
"""The registry's length expressions, parsed into the few shapes that the codec evaluates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry import RegistryError

if TYPE_CHECKING:
    from layout import Placed
    from model import Model


@dataclass
class Length:
    """How many elements a pointer points to: (value at `offset` + add) / divide.

    kConstant  `add` elements
    kU8…kU64   an unsigned integer of that width in the record's image
    kPointerU32/kPointerU64  the integer that the pointer in the image points to
    kPath      a u32 at `inner` in the struct that the pointer in the image points to
    kSibling   a u32 at `inner` in element i (of `add` bytes) of the array at the pointer
    """

    kind: str = "kConstant"
    offset: int = 0
    inner: int = 0
    add: int = 1
    divide: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("kConstant", "kSibling") and self.add == 1:
            self.add = 0

    def signature(self) -> str:
        return f"{self.kind}:{self.offset}:{self.inner}:{self.add}:{self.divide}"


def parse_length(text: str | None, by_name: dict[str, "Placed"], model: "Model") -> Length:
    if text is None or text == "1" or text == "null-terminated":
        return Length()
    if text in by_name:
        item = by_name[text]
        if item.field.pointers:
            width = model.layout.type_size(item.field.type)[0] * 8
            return Length(f"kPointerU{width}", item.offset)
        return Length(f"kU{item.size * 8}", item.offset)
    match = re.fullmatch(r"\(?(\w+)(?: \+ (\d+)\))? / (\d+)", text)
    if match:
        base = parse_length(match[1], by_name, model)
        return Length(base.kind, base.offset, add=int(match[2] or 0), divide=int(match[3]))
    match = re.fullmatch(r"(\w+)->(\w+)", text)
    if match and match[1] in by_name:
        item = by_name[match[1]]
        struct = model.registry.struct(item.field.type)
        _, _, placed = model.layout.struct(struct)
        for target in placed:
            if target.field.name == match[2]:
                return Length("kPath", item.offset, inner=target.offset)
    match = re.fullmatch(r"(\d+)\s*\*\s*(\w+)", text)
    if match:
        return Length("kConstant", add=int(match[1]) * model.layout.constant(match[2]))
    raise RegistryError(f"length expression '{text}' is not understood")
