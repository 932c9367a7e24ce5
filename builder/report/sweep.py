"""A sweep's report.json, report.html and sweep.csv: one row for each build, each with its own folder beside them."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.report.pareto import mark_front

__all__ = ["sweep_csv", "sweep_document", "write_sweep"]

Unmade = tuple[Sequence[str], str, str]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run (OWASP: CSV Injection)


def write_sweep(folder: Path, reports: Sequence[dict[str, Any]], unmade: Sequence[Unmade] = ()) -> None:
    """Write the comparison of builds whose reports lie in `<folder>/<n>/report.json`.

    `unmade` are the jobs that could not be resolved: their overrides, the error and its hint.
    """
    from builder.report.page import render_sweep

    document = sweep_document(reports, unmade)
    (folder / "report.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render_sweep(document), encoding="utf-8")
    (folder / "sweep.csv").write_text(sweep_csv(document), encoding="utf-8", newline="")


def sweep_document(reports: Sequence[Mapping[str, Any]], unmade: Sequence[Unmade] = ()) -> dict[str, Any]:
    """Return a sweep's report.json: the words that all jobs share, the keys that differ, the builds, the unmade jobs.

    A build is on the `front` where it kept its limits and no other one that did is as accurate and as fast, and better
    in one of the two; on none where they were measured on different machines or by different metrics.
    """
    words = [shlex.split(report["manifest"]["command"])[3:] for report in reports]
    everyone = [*words, *([*job[0]] for job in unmade)]
    common = [word for word in everyone[0] if all(word in others for others in everyone)]
    own = [[word for word in each if word not in common] for each in everyone]
    keys = [*dict.fromkeys(_key(word) for each in own for word in each)]
    builds = [_row(index, report, own[index], keys) for index, report in enumerate(reports)]
    mark_front(builds)
    failed = [
        {"own": words_, "varies": _varies(words_, keys), "error": error, "hint": hint}
        for (_, error, hint), words_ in zip(unmade, own[len(builds) :], strict=True)
    ]
    return {"schema": 1, "common": common, "keys": keys, "builds": builds, "unmade": failed}


def _key(word: str) -> str:
    return word.partition("=")[0]


def _varies(own: Sequence[str], keys: Sequence[str]) -> dict[str, str | None]:
    """Return the value of each key that differs; None for one that this job does not set."""
    said = {_key(word): word.partition("=")[2] or word for word in own}
    return {key: said.get(key) for key in keys}


def _row(index: int, report: Mapping[str, Any], own: list[str], keys: Sequence[str]) -> dict[str, Any]:
    manifest, headline = report["manifest"], report["headline"]
    return {
        "folder": str(index),
        "label": f"[{index}]",
        "name": manifest["name"],
        "target": manifest["target"]["name"],
        "command": manifest["command"],
        "own": own,
        "varies": _varies(own, keys),
        "status": manifest["status"],
        "metric": headline["accuracy"]["unit"],
        "accuracy": headline["accuracy"]["candidate"],
        "latency_ms": headline["latency"]["candidate"],
        "size_mib": headline["size"]["candidate"],
        "memory_mib": headline["memory"]["candidate"],
        "headline": headline,
        "gates": manifest["gates"],
        "errors": [
            f"{action['name']}: {action.get('error') or action['reason']}"
            for action in manifest["actions"]
            if action["status"] == "failed"
        ],
    }


def sweep_csv(document: Mapping[str, Any]) -> str:
    """Return the table of variants as CSV (RFC 4180): one line for each job, numbers as they were measured."""
    figures = ("metric", "accuracy", "latency_ms", "size_mib", "memory_mib")
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["build", "name", "target", "status", "front", *map(_cell, document["keys"]), *figures, "error"])
    for row in document["builds"]:
        values = [row[name] for name in figures]
        known = [row["folder"], row["name"], row["target"], row["status"], "yes" if row["front"] else "no"]
        writer.writerow(map(_cell, [*known, *row["varies"].values(), *values, "; ".join(row["errors"])]))
    for job in document["unmade"]:
        none = [None] * len(figures)
        writer.writerow(map(_cell, [None, None, None, "failed", "no", *job["varies"].values(), *none, job["error"]]))
    return written.getvalue()


def _cell(value: object) -> object:
    """Return a value such that a spreadsheet shows it; a text that it would take for a formula gets an apostrophe."""
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
