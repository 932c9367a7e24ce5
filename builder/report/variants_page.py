"""report.html of a sweep or a comparison: one page that opens offline and shows its report.json."""

from __future__ import annotations

import json
from typing import Any

from builder.report import pareto, views
from builder.report.conditions import machine_words
from builder.report.page import dressed, environment
from builder.report.variants import limits_kept, number, table_csv

__all__ = ["pages", "render_variants"]

_TITLES = {"sweep": "Sweep", "comparison": "Comparison"}


def pages(document: dict[str, Any]) -> dict[str, str]:
    """Return what lies in the folder of a sweep or a comparison, by file: the same bytes for the same document."""
    return {
        "report.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "report.html": render_variants(document),
        f"{document['kind']}.csv": table_csv(document),
    }


def render_variants(document: dict[str, Any]) -> str:
    """Return the page of a sweep's or a comparison's report.json (see `variants.document`): self-contained HTML."""
    rows = [{**build, "figures": views.figures(build), "taken": machine_words(build)} for build in document["builds"]]
    templates = environment()
    return templates.get_template("sweep.html").render(
        kind=document["kind"],
        title=_TITLES[document["kind"]],
        builds=rows,
        rows=sorted([*rows, *document["unmade"]], key=number),
        kept=limits_kept(document),
        common=document["common"],
        keys=document["keys"],
        chart=pareto.chart(rows),
        finding=document["finding"],
        notes=document["notes"],
        **dressed(templates),
    )
