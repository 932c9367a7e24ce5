"""summary.md of a sweep: its finding and a line for each job, in GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import format as words
from builder.report.summary import code, table, text
from builder.report.variants import limits_kept, number

__all__ = ["variants_summary"]

_FIGURES = ("Size", "Accuracy", "Latency, median", "Memory, peak")


def variants_summary(document: Mapping[str, Any]) -> str:
    """Return a sweep's finding and table as Markdown; what a recipe or a command line brought in is shown as it is."""
    builds, unmade, keys = document["builds"], document["unmade"], document["keys"]
    first = 2 + len(keys)
    head = ["Build", *(code(key, cell=True) for key in keys), "Status", *_FIGURES, "Message"]
    jobs = {number(row): _build(row) for row in builds} | {number(job): _unmade(job) for job in unmade}
    rows = [jobs[place] for place in sorted(jobs)]
    parts = [
        f"## Sweep: {limits_kept(document)}",
        f"**{text(document['finding'])}.**",
        *map(text, document["notes"]),
        "\n".join(table(head, rows, range(first, first + len(_FIGURES)))),
        f"All with {code(' '.join(document['common']))}." if document["common"] else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _build(row: Mapping[str, Any]) -> list[str]:
    status = row["status"] if row["status"] != "failed" else "**failed**"
    figures = [
        words.mib(row["size_mib"]),
        words.metric(row["metric"], row["accuracy"]),
        words.ms(row["latency_ms"]),
        words.mib(row["memory_mib"]),
    ]
    broken = [gate["message"] for gate in row["gates"] if gate["status"] in ("failed", "unmeasured")]
    front = ["on the front"] if row["front"] else []
    said = "; ".join(text(each) for each in (*front, *row["errors"], *broken))
    return [text(f"{row['label']} {row['title']}"), *_values(row), status, *map(text, figures), said]


def _unmade(job: Mapping[str, Any]) -> list[str]:
    return [text(job["label"]), *_values(job), "**failed**", *[words.NOTHING] * len(_FIGURES), text(job["error"])]


def _values(row: Mapping[str, Any]) -> list[str]:
    return [words.NOTHING if value is None else code(value, cell=True) for value in row["varies"].values()]
