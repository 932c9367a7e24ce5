"""The table of several builds: a row for each, with its numbers and the keys in which it differs from the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from builder.outcomes import GateStatus, Status
from builder.report.conditions import conditions
from builder.report.format import is_number
from builder.report.front import finding, mark_front, notes
from builder.report.headline import pair

__all__ = ["document", "label", "limits_kept", "make_row", "number", "table_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run (OWASP: CSV Injection)
_FIGURES = ("metric", "accuracy", "latency_ms", "size_mib", "memory_mib")


def label(number: int) -> str:
    """Return how a build is called in charts and sentences."""
    return f"[{number}]"


def number(row: Mapping[str, Any]) -> int:
    """Return the number of a build or of an unmade job: its place among all jobs of a sweep."""
    return int(row["label"][1:-1])


def make_row(
    place: int, title: str, folder: str, report: Mapping[str, Any], varies: Mapping[str, str | None], own: list[str]
) -> dict[str, Any]:
    """Return the row of a build: `folder` leads from the page to its own, `varies` holds the keys that differ."""
    manifest, headline = report["manifest"], report["headline"]
    measured = report["measurements"].get(headline["latency"]["action"])
    return {
        "folder": folder,
        "label": label(place),
        "title": title,
        "name": manifest["name"],
        "target": manifest["target"]["name"],
        "created": manifest["created"],
        "command": manifest["command"],
        "own": own,
        "varies": dict(varies),
        "status": manifest["status"],
        "source": _source(manifest),
        "conditions": conditions(report),
        "metric": headline["accuracy"]["unit"],
        "accuracy": headline["accuracy"]["candidate"],
        "latency_ms": headline["latency"]["candidate"],
        "latency_interval_ms": pair(measured)[0].get("p50_interval_ms") if measured else None,
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


def _source(manifest: Mapping[str, Any]) -> str | None:
    """Return the digest of the model that a build was made of."""
    outputs = (action["outputs"].get("model") for action in manifest["actions"] if action["name"] == "model")
    return next((output["sha256"] for output in outputs if output), None)


def document(
    kind: str, common: Sequence[str], keys: Sequence[str], rows: list[dict[str, Any]], unmade: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the document of a sweep or a comparison, with the front and the finding; see `sweep.schema.json`.

    A build is on the `front` where it kept its limits and no other one that did is as accurate and as fast, and better
    in one of the two; on none where they were not measured alike.
    """
    mark_front(rows)
    return {
        "schema": 1,
        "kind": kind,
        "finding": finding(rows),
        "notes": notes(rows),
        "common": [*common],
        "keys": [*keys],
        "builds": rows,
        "unmade": unmade,
    }


def limits_kept(document: Mapping[str, Any]) -> str:
    """Say how many builds kept their limits; those of which a gate waits for its target are counted apart."""
    builds = [row for row in document["builds"] if row["status"] != Status.FAILED.word]
    waiting = sum(any(gate["status"] == GateStatus.DEFERRED.word for gate in row["gates"]) for row in builds)
    everyone = len(document["builds"]) + len(document["unmade"])
    deferred = f", {waiting} {'is' if waiting == 1 else 'are'} deferred" if waiting else ""
    return f"{len(builds) - waiting} of {everyone} builds kept their limits{deferred}"


def table_csv(document: Mapping[str, Any]) -> str:
    """Return the table as CSV (RFC 4180): one line for each build, numbers as they were measured."""
    written = io.StringIO()
    writer = csv.writer(written)
    about = ("build", "name", "target", "created", "status", "front")
    measured = ("machine", "threads", "batch")
    writer.writerow([*about, *map(_cell, document["keys"]), *_FIGURES, *measured, "error"])
    rows: list[list[Any]] = []
    for row in document["builds"]:
        known = [number(row), row["title"], row["target"], row["created"], row["status"], _yes(row["front"])]
        taken = [row["headline"]["latency"]["measured_on"], *(row["conditions"][name] for name in measured[1:])]
        values = [*(row[name] for name in _FIGURES), *taken, "; ".join(row["errors"])]
        rows.append([*known, *row["varies"].values(), *values])
    for job in document["unmade"]:
        none = [None] * (len(_FIGURES) + len(measured))
        known = [number(job), None, None, None, "failed", _yes(False)]
        rows.append([*known, *job["varies"].values(), *none, job["error"]])
    writer.writerows(map(_cell, row) for row in sorted(rows, key=itemgetter(0)))
    return written.getvalue()


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _cell(value: object) -> object:
    """Return a value such that a spreadsheet shows it; a text that it would take for a formula gets an apostrophe."""
    if not isinstance(value, str) or not value.startswith(_FORMULA) or is_number(value):
        return value
    return f"'{value}"
