# SPDX-License-Identifier: Apache-2.0
"""Keeps the outcomes of every case in results.json, and takes native ones from there again."""

from __future__ import annotations

import json
from pathlib import Path

from cases import CaseError
from comparison import ListResult
from runner import Outcome, Run


def save(path: Path, about: dict[str, str], results: list[ListResult]) -> None:
    lists = {result.name: {"native": run_to_json(result.native), "vesper": run_to_json(result.vesper)}
             for result in results}
    path.write_text(json.dumps({"about": about, "lists": lists}, indent=1) + "\n")


def load_native(path: Path) -> dict[str, Run]:
    """The native run of each list in a results.json."""
    try:
        lists = json.loads(path.read_text())["lists"]
        return {name: run_from_json(sides["native"]) for name, sides in lists.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{path} is not the results.json of an earlier run: {error!r}.") from error


def run_to_json(run: Run) -> dict[str, object]:
    cases = {case: [o.status, round(o.seconds, 4), *([o.message] if o.status != "Pass" else [])]
             for case, o in run.outcomes.items()}
    return {"seconds": round(run.seconds, 2), "notes": run.notes, "cases": cases}


def run_from_json(value: dict[str, object]) -> Run:
    outcomes = {case: Outcome(*entry) for case, entry in value["cases"].items()}
    return Run(outcomes, value["seconds"], value["notes"])
