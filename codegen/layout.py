# SPDX-License-Identifier: Apache-2.0
"""Sizes and offsets of registry types under the LP64 ABI.

The wire carries struct images as a 64-bit little-endian C compiler lays them out (x86-64 and
AArch64 agree on it). The generator computes that layout here and the generated code asserts it with
`static_assert`, so a disagreement stops the build.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry import Field, Registry, RegistryError, Struct

POINTER = 8

C_TYPES = {
    "char": 1, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4,
    "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "int": 4, "float": 4, "double": 8, "size_t": 8,
}  # fmt: skip


@dataclass
class Placed:
    """A member with its place in the record's image (bytes)."""

    field: Field
    offset: int
    size: int
    element_size: int
    count: int


class Layout:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._cache: dict[str, tuple[int, int]] = {}

    def constant(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        if text in self._registry.constants:
            return self._registry.constants[text]
        raise RegistryError(f"unknown constant {text}")

    def type_size(self, name: str) -> tuple[int, int]:
        """(size, alignment) of a type used by value."""
        if name in C_TYPES:
            return C_TYPES[name], C_TYPES[name]
        if name in self._cache:
            return self._cache[name]
        reg = self._registry
        result: tuple[int, int]
        if name in reg.struct_aliases:
            result = self.type_size(reg.struct_aliases[name])
        elif name in reg.structs:
            size, align, _ = self.place(reg.structs[name].members, reg.structs[name].is_union)
            result = (size, align)
        elif name in reg.handles or name in reg.func_pointers:
            result = (POINTER, POINTER)
        elif name in reg.bitmask_bits:
            size = reg.bitmask_bits[name] // 8
            result = (size, size)
        elif name in reg.enum_bits:
            size = reg.enum_bits[name] // 8
            result = (size, size)
        elif name in reg.base_types:
            result = self.type_size(reg.base_types[name])
        else:
            raise RegistryError(f"unknown type {name}")
        self._cache[name] = result
        return result

    def place(
        self, fields: list[Field], is_union: bool = False, as_parameters: bool = False
    ) -> tuple[int, int, list[Placed]]:
        """Size, alignment and placed members. Array parameters are pointers, as in C."""
        offset = 0
        end = 0
        alignment = 1
        placed = []
        for item in fields:
            if item.bits:
                raise RegistryError(f"bit-field {item.name} has no defined place on the wire")
            if item.pointers or (as_parameters and item.dims):
                element, align, count = POINTER, POINTER, 1
            else:
                element, align = self.type_size(item.type)
                count = 1
                for dim in item.dims:
                    count *= self.constant(dim)
            if is_union:
                offset = 0
            offset = (offset + align - 1) // align * align
            placed.append(Placed(item, offset, element * count, element, count))
            offset += element * count
            end = max(end, offset)
            alignment = max(alignment, align)
        size = (end + alignment - 1) // alignment * alignment
        return size, alignment, placed

    def holes(self, placed: list[Placed], size: int, base: int = 0) -> list[tuple[int, int]]:
        """(offset, bytes) of the padding of a struct, that of structs inside it included."""
        holes = []
        position = 0
        for item in placed:
            if item.offset > position:
                holes.append((base + position, item.offset - position))
            position = item.offset + item.size
            inner = self._registry.structs.get(item.field.type)
            if inner is not None and not inner.is_union and not item.field.pointers:
                _, _, members = self.struct(inner)
                for i in range(item.count):
                    place = base + item.offset + i * item.element_size
                    holes += self.holes(members, item.element_size, place)
        if size > position:
            holes.append((base + position, size - position))
        return holes

    def struct(self, struct: Struct) -> tuple[int, int, list[Placed]]:
        return self.place(struct.members, struct.is_union)
