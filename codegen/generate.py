#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates Vesper's codec and glue from the Khronos registry.

    generate.py --registry DIR --out DIR          write all generated files
    generate.py --registry DIR --list-inputs      what the output depends on, one path a line
    generate.py --list-outputs                    what is written, relative to --out
    generate.py --registry DIR --update-lock      give numbers to new commands, structs and handles
    generate.py --registry DIR --coverage FILE    write docs/coverage.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import jinja2  # noqa: E402

import policy as policy_module  # noqa: E402
import registry as registry_module  # noqa: E402
from lock import Lock  # noqa: E402
from model import Model  # noqa: E402
from registry import RegistryError  # noqa: E402
from view import View  # noqa: E402

OUTPUTS = [
    "proto/handle_types_gen.h",
    "proto/records_gen.h",
    "proto/records_gen.cpp",
    "proto/formats_gen.cpp",
    "client_icd/entry_points_gen.h",
    "client_icd/entry_points_gen.cpp",
    "client_icd/proc_table_gen.cpp",
    "server/host_tables_gen.h",
    "server/host_tables_gen.cpp",
    "tests/mock_vulkan_gen.cpp",
]
LOCK = HERE.parent / "proto" / "schema.lock"


def inputs(registry_dir: Path) -> list[Path]:
    return [
        registry_dir / "vk.xml", HERE / "vesper.xml", HERE / "policy.toml", LOCK,
        *sorted(HERE.glob("*.py")), *sorted((HERE / "templates").rglob("*.j2")),
    ]  # fmt: skip


def write_if_changed(path: Path, text: str) -> None:
    """Leaves an unchanged file alone, so that nothing is rebuilt for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--list-inputs", action="store_true")
    parser.add_argument("--list-outputs", action="store_true")
    parser.add_argument("--update-lock", action="store_true")
    parser.add_argument("--coverage", type=Path)
    options = parser.parse_args()
    if options.list_outputs:
        print("\n".join(OUTPUTS))
        return 0
    if options.registry is None:
        parser.error("--registry is needed")
    if options.list_inputs:
        print("\n".join(str(path) for path in inputs(options.registry)))
        return 0
    try:
        registry = registry_module.load([options.registry / "vk.xml", HERE / "vesper.xml"])
        lock = Lock.load(LOCK)
        lock.begin(registry.header_version, options.update_lock)
        model = Model(registry, policy_module.load(HERE / "policy.toml"), lock)
        lock.apply(model)
        if lock.left_out:
            print(
                f"generate.py: the registry is 1.4.{registry.header_version}, schema.lock knows "
                f"1.4.{lock.registry}; left out: {', '.join(lock.left_out)}",
                file=sys.stderr,
            )
        if options.update_lock:
            LOCK.write_text(lock.text())
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        view = View(model).context()
        if options.out is not None:
            for name in OUTPUTS:
                text = environment.get_template(name + ".j2").render(view)
                write_if_changed(options.out / name, text)
        if options.coverage is not None:
            text = environment.get_template("docs/coverage.md.j2").render(view)
            write_if_changed(options.coverage, text)
    except RegistryError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
