#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks whether what the documents point to is there.

    document_links.py ROOT

Checked in every Markdown file of the checkout: links to files and to headings in them, and names of
files in `code` that begin with one of the project's folders. Generated files are left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([\w./-]+)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}")


def documents(root: Path) -> list[Path]:
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(root)) for path in root.glob("[!.]*/**/*.md")]
        names = [name for name in names if not name.startswith("build/")] + ["README.md"]
    return [root / name for name in names if name and (root / name).exists()]


def prose(text: str) -> str:
    """The text without code blocks, whose content is no Markdown."""
    lines = []
    fenced = False
    for line in text.split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            lines.append(line)
    return "\n".join(lines)


def anchors(text: str) -> set[str]:
    """The headings' anchors, as the usual renderers of Markdown name them."""
    found: set[str] = set()
    for match in re.finditer(r"^#+ +(.+?) *$", prose(text), re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        candidate = anchor
        number = 0
        while candidate in found:
            number += 1
            candidate = f"{anchor}-{number}"
        found.add(candidate)
    return found


def problems(root: Path, document: Path, folders: set[str]) -> list[str]:
    text = prose(document.read_text())
    result = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists():
            result.append(f"the link to {target} leads nowhere")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
            result.append(f"{name or 'this document'} has no heading for #{anchor}")
    for name in CODE.findall(text):
        folder, _, rest = name.partition("/")
        is_file = folder in folders and "." in rest and "_gen." not in rest
        if is_file and not PLACEHOLDER.search(rest) and not (root / name).exists():
            result.append(f"there is no file {name}")
    return result


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    skipped = {"build"}
    folders = {p.name for p in root.iterdir() if p.is_dir() and p.name[0] != "."} - skipped
    count = 0
    found = documents(root)
    for document in found:
        for problem in problems(root, document, folders):
            print(f"{document.relative_to(root)}: {problem}")
            count += 1
    print(f"{len(found)} documents, {count} problems")
    return 1 if count or not found else 0


if __name__ == "__main__":
    sys.exit(main())
