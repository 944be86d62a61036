# SPDX-License-Identifier: Apache-2.0
"""Reads the Khronos registry (vk.xml) into plain records.

This is the only file that knows the registry's XML. The registry ships Python modules that read
it too, but their object model leaves out what a codec needs most (union selectors, handles hidden
in 64-bit integers, strides, bit-field widths) and changes its types between header updates, so the
XML, which the registry's schema document does describe, is read directly.

The same reader takes `vesper.xml`, which describes Vesper's own commands in the registry's format:
they get numbers, codec and tests in the way every Vulkan command does.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


class RegistryError(Exception):
    """The registry holds something that this generator does not understand."""


@dataclass
class Field:
    """A struct member or a command parameter, as the registry writes it."""

    name: str
    type: str
    declaration: str
    pointers: int = 0
    is_const: bool = False
    dims: list[str] = field(default_factory=list)
    bits: int = 0
    lengths: list[str] = field(default_factory=list)
    optional: list[bool] = field(default_factory=list)
    selector: str | None = None
    selection: list[str] = field(default_factory=list)
    stype_value: str | None = None
    object_type: str | None = None
    stride: str | None = None


@dataclass
class Struct:
    name: str
    is_union: bool
    members: list[Field]
    extends: list[str]
    returned_only: bool

    @property
    def stype(self) -> str | None:
        return self.members[0].stype_value if self.members else None


@dataclass
class Command:
    name: str
    returns: str
    params: list[Field]
    success_codes: list[str]
    error_codes: list[str]
    # What a command of a command buffer is: state, action, synchronization, indirection.
    tasks: set[str] = field(default_factory=set)
    aliases: list[str] = field(default_factory=list)


@dataclass
class Handle:
    name: str
    dispatchable: bool
    parent: str | None
    object_type: str


@dataclass
class Require:
    """One <require> block: what it brings, and the expression it depends on, if any."""

    depends: str | None
    types: list[str]
    commands: list[str]


@dataclass
class Provider:
    """A core version or an extension."""

    name: str
    number: int
    core_version: tuple[int, int] | None
    kind: str | None
    platform: str | None
    provisional: bool
    promoted_to: str | None
    spec_version: int
    depends: str | None
    requires: list[Require]


@dataclass
class Format:
    name: str
    block_bytes: int
    block_extent: tuple[int, int, int]
    # Of multi-planar formats: the single-plane format of each plane.
    planes: list[str]


@dataclass
class Registry:
    structs: dict[str, Struct]
    struct_aliases: dict[str, str]
    commands: dict[str, Command]
    command_aliases: dict[str, str]
    handles: dict[str, Handle]
    enum_bits: dict[str, int]
    enum_values: dict[str, dict[str, int]]
    bitmask_bits: dict[str, int]
    base_types: dict[str, str]
    func_pointers: set[str]
    constants: dict[str, int]
    providers: list[Provider]
    formats: list[Format]
    header_version: int = 0

    def struct(self, name: str) -> Struct:
        """The struct with this name or alias."""
        return self.structs[self.struct_aliases.get(name, name)]

    def keep_names(self, known: set[str]) -> None:
        """Gives what was promoted the name among `known` that it had before: that is how the
        policy, the lock and the code written by hand call it. The new name becomes the alias."""
        for command in list(self.commands.values()):
            former = [alias for alias in command.aliases if alias in known]
            if command.name not in known and former:
                aliases = [a for a in (command.name, *command.aliases) if a != former[0]]
                _rename(self.commands, self.command_aliases, command, former[0])
                command.aliases = aliases
        for alias, target in list(self.struct_aliases.items()):
            struct = self.structs.get(target)
            if alias in known and target not in known and struct is not None:
                _rename(self.structs, self.struct_aliases, struct, alias)


def _rename(named: dict, aliases: dict[str, str], item: Struct | Command, name: str) -> None:
    del named[item.name]
    for alias in [a for a, target in aliases.items() if target == item.name]:
        aliases[alias] = name
    aliases.pop(name, None)
    aliases[item.name] = name
    item.name = name
    named[name] = item


def _applies(element: ElementTree.Element, attribute: str = "api") -> bool:
    value = element.get(attribute)
    return value is None or "vulkan" in value.split(",")


def _text(element: ElementTree.Element) -> str:
    """The element's C text without its comments."""
    parts = [element.text or ""]
    for child in element:
        if child.tag != "comment":
            parts.append("".join(child.itertext()))
        parts.append(child.tail or "")
    return re.sub(r"\s+", " ", "".join(parts)).strip()


def _bools(value: str | None) -> list[bool]:
    return [part == "true" for part in value.split(",")] if value else []


def _field(element: ElementTree.Element) -> Field:
    type_element = element.find("type")
    name_element = element.find("name")
    if type_element is None or name_element is None:
        raise RegistryError(f"a member or parameter without type or name: {_text(element)}")
    declaration = _text(element)
    name = name_element.text or ""
    after_name = declaration[declaration.rindex(name) + len(name) :]
    bits = re.match(r"\s*:\s*(\d+)", after_name)
    lengths = element.get("altlen") or element.get("len") or ""
    if element.get("altlen"):
        # altlen writes the irregular lengths as C; only there may a comma be part of C.
        length_list = [element.get("altlen") or ""]
    else:
        length_list = [part for part in lengths.split(",") if part]
    return Field(
        name=name,
        type=type_element.text or "",
        declaration=declaration,
        pointers=declaration.count("*"),
        is_const="const" in declaration.split(type_element.text or "")[0],
        dims=re.findall(r"\[\s*(\w+)\s*\]", after_name),
        bits=int(bits.group(1)) if bits else 0,
        lengths=length_list,
        optional=_bools(element.get("optional")),
        selector=element.get("selector"),
        selection=(element.get("selection") or "").split(",") if element.get("selection") else [],
        stype_value=element.get("values"),
        object_type=element.get("objecttype"),
        stride=element.get("stride"),
    )


def _parse_types(root: ElementTree.Element, registry: Registry) -> None:
    for element in root.iterfind("types/type"):
        if not _applies(element):
            continue
        category = element.get("category")
        name_element = element.find("name")
        name = element.get("name") or (name_element.text if name_element is not None else None)
        if name is None:
            continue
        if category == "define" and name == "VK_HEADER_VERSION":
            registry.header_version = int(_text(element).split()[-1])
        alias = element.get("alias")
        if category in ("struct", "union"):
            if alias:
                registry.struct_aliases[name] = alias
                continue
            registry.structs[name] = Struct(
                name=name,
                is_union=category == "union",
                members=[_field(m) for m in element.iterfind("member") if _applies(m)],
                extends=[e for e in (element.get("structextends") or "").split(",") if e],
                returned_only=element.get("returnedonly") == "true",
            )
        elif category == "handle" and not alias:
            registry.handles[name] = Handle(
                name=name,
                dispatchable="VK_DEFINE_HANDLE" in "".join(element.itertext()),
                parent=element.get("parent"),
                object_type=element.get("objtypeenum") or "",
            )
        elif category == "bitmask":
            type_element = element.find("type")
            is_64 = type_element is not None and type_element.text == "VkFlags64"
            registry.bitmask_bits[name] = 64 if is_64 else 32
            if alias:
                registry.bitmask_bits[name] = 64 if "64" in alias else 32
        elif category == "enum":
            registry.enum_bits.setdefault(name, 32)
        elif category == "basetype":
            type_element = element.find("type")
            if type_element is not None and type_element.text:
                registry.base_types[name] = type_element.text
        elif category == "funcpointer":
            registry.func_pointers.add(name)


def _enum_value(element: ElementTree.Element, extension_number: int) -> int | None:
    if element.get("value") is not None:
        text = (element.get("value") or "").strip("()").rstrip("ULF")
        try:
            return int(text, 0)
        except ValueError:
            return None
    if element.get("bitpos") is not None:
        return 1 << int(element.get("bitpos") or "0")
    if element.get("offset") is not None:
        number = int(element.get("extnumber") or extension_number)
        value = 1000000000 + (number - 1) * 1000 + int(element.get("offset") or "0")
        return -value if element.get("dir") == "-" else value
    return None


def _parse_enums(root: ElementTree.Element, registry: Registry) -> None:
    for element in root.iterfind("enums"):
        name = element.get("name") or ""
        if element.get("type") == "constants":
            for constant in element.iterfind("enum"):
                value = _enum_value(constant, 0)
                if value is not None:
                    registry.constants[constant.get("name") or ""] = value
            continue
        registry.enum_bits[name] = int(element.get("bitwidth") or 32)
        values = registry.enum_values.setdefault(name, {})
        for value_element in element.iterfind("enum"):
            value = _enum_value(value_element, 0)
            if value is not None:
                values[value_element.get("name") or ""] = value


def _parse_commands(root: ElementTree.Element, registry: Registry) -> None:
    for element in root.iterfind("commands/command"):
        if not _applies(element):
            continue
        if element.get("alias"):
            registry.command_aliases[element.get("name") or ""] = element.get("alias") or ""
            continue
        proto = element.find("proto")
        if proto is None:
            raise RegistryError("a command without a prototype")
        name = proto.findtext("name") or ""
        registry.commands[name] = Command(
            name=name,
            returns=proto.findtext("type") or "void",
            params=[_field(p) for p in element.iterfind("param") if _applies(p)],
            success_codes=[c for c in (element.get("successcodes") or "").split(",") if c],
            tasks={t for t in (element.get("tasks") or "").split(",") if t},
            error_codes=[c for c in (element.get("errorcodes") or "").split(",") if c],
        )
    for alias, target in registry.command_aliases.items():
        if target in registry.commands and alias not in registry.commands[target].aliases:
            registry.commands[target].aliases.append(alias)


def _parse_requires(
    element: ElementTree.Element, registry: Registry, extension_number: int
) -> list[Require]:
    result = []
    for block in element.iterfind("require"):
        if not _applies(block):
            continue
        for enum in block.iterfind("enum"):
            extends = enum.get("extends")
            if extends and _applies(enum):
                value = _enum_value(enum, extension_number)
                if value is not None:
                    values = registry.enum_values.setdefault(extends, {})
                    values[enum.get("name") or ""] = value
        result.append(
            Require(
                depends=block.get("depends"),
                types=[t.get("name") or "" for t in block.iterfind("type")],
                commands=[c.get("name") or "" for c in block.iterfind("command")],
            )
        )
    return result


def _parse_providers(root: ElementTree.Element, registry: Registry) -> None:
    for element in root.iterfind("feature"):
        if not _applies(element):
            continue
        major, minor = (element.get("number") or "0.0").split(".")
        registry.providers.append(
            Provider(
                name=element.get("name") or "",
                number=0,
                core_version=(int(major), int(minor)),
                kind=None,
                platform=None,
                provisional=False,
                promoted_to=None,
                spec_version=0,
                depends=None,
                requires=_parse_requires(element, registry, 0),
            )
        )
    for element in root.iterfind("extensions/extension"):
        if "vulkan" not in (element.get("supported") or "").split(","):
            continue
        number = int(element.get("number") or "0")
        spec_version = 1
        for enum in element.iterfind("require/enum"):
            # Not an alias of it, which has no value.
            if (enum.get("name") or "").endswith("_SPEC_VERSION") and enum.get("value"):
                spec_version = int(enum.get("value"), 0)
        registry.providers.append(
            Provider(
                name=element.get("name") or "",
                number=number,
                core_version=None,
                kind=element.get("type"),
                platform=element.get("platform"),
                provisional=element.get("provisional") == "true",
                promoted_to=element.get("promotedto"),
                spec_version=spec_version,
                depends=element.get("depends"),
                requires=_parse_requires(element, registry, number),
            )
        )


def _parse_formats(root: ElementTree.Element, registry: Registry) -> None:
    for element in root.iterfind("formats/format"):
        extent = (element.get("blockExtent") or "1,1,1").split(",")
        registry.formats.append(
            Format(
                name=element.get("name") or "",
                block_bytes=int(element.get("blockSize") or "0"),
                block_extent=(int(extent[0]), int(extent[1]), int(extent[2])),
                planes=[p.get("compatible") or "" for p in element.iterfind("plane")],
            )
        )


def load(paths: list[Path]) -> Registry:
    """Reads and merges registry files; later files may add to earlier ones."""
    registry = Registry({}, {}, {}, {}, {}, {}, {}, {}, {}, set(), {}, [], [])
    for path in paths:
        root = ElementTree.parse(path).getroot()
        _parse_types(root, registry)
        _parse_enums(root, registry)
        _parse_commands(root, registry)
        _parse_providers(root, registry)
        _parse_formats(root, registry)
    return registry
