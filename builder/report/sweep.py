"""A sweep's report.json, its views and sweep.csv: one row for each build, each with its own folder beside them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.recipe.compose import Unmade
from builder.report.variants import document, label, make_row

__all__ = ["sweep_document", "write_sweep"]


def write_sweep(folder: Path, reports: Mapping[int, Mapping[str, Any]], unmade: Sequence[Unmade] = ()) -> None:
    """Write the comparison of builds whose reports lie in `<folder>/<n>/report.json`, where n is their place.

    `unmade` are the jobs that could not be resolved, each with a place of its own.
    """
    from builder.report.junit import sweep_junit
    from builder.report.variants_page import pages
    from builder.report.variants_summary import variants_summary

    found = sweep_document(reports, unmade)
    views = {"summary.md": variants_summary(found), "junit.xml": sweep_junit([*reports.values()], found)}
    for name, text in (pages(found) | views).items():
        (folder / name).write_text(text, encoding="utf-8", newline="")


def sweep_document(reports: Mapping[int, Mapping[str, Any]], unmade: Sequence[Unmade] = ()) -> dict[str, Any]:
    """Return a sweep's report.json: words that all jobs share, keys that differ, the builds and the unmade jobs."""
    words = [shlex.split(report["manifest"]["command"])[3:] for report in reports.values()]
    everyone = [*words, *([*job.overrides] for job in unmade)]
    common = [word for word in everyone[0] if all(word in others for others in everyone)]
    own = [[word for word in each if word not in common] for each in everyone]
    keys = [*dict.fromkeys(_key(word) for each in own for word in each)]
    rows = [
        make_row(place, report["manifest"]["name"], str(place), report, _varies(said, keys), said)
        for (place, report), said in zip(reports.items(), own, strict=False)
    ]
    failed = [
        {
            "label": label(job.number),
            "own": said,
            "varies": _varies(said, keys),
            "error": job.error.message,
            "hint": job.error.hint,
        }
        for job, said in zip(unmade, own[len(rows) :], strict=True)
    ]
    return document("sweep", common, keys, rows, failed)


def _key(word: str) -> str:
    return word.partition("=")[0]


def _varies(own: Sequence[str], keys: Sequence[str]) -> dict[str, str | None]:
    """Return the value of each key that differs; None for one that this job does not set."""
    said = {_key(word): word.partition("=")[2] or word for word in own}
    return {key: said.get(key) for key in keys}
