"""report.html: one page that opens offline and shows report.json."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from builder.report import findings, sections, views
from builder.report import format as words
from builder.report.headline import system

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["dressed", "environment", "render"]

_TONES = {
    "built": "good",
    "passed": "good",
    "failed": "bad",
    "unmeasured": "bad",
    "deferred": "wait",
    "cached": "quiet",
    "skipped": "quiet",
}


def render(report: dict[str, Any]) -> str:
    """Return the page of a report (see `report_document`): self-contained HTML, the same bytes for the same report."""
    templates = environment()
    manifest = report["manifest"]
    names = findings.Names(manifest)
    return templates.get_template("page.html").render(
        report=report,
        manifest=manifest,
        names=names,
        **dressed(templates),
        figures=views.figures(report),
        sections=sections.templates(),
        **sections.contexts(report),
    )


def dressed(templates: Environment) -> dict[str, str]:
    """Return a page's style, its script, and the hash by which its policy lets that one run."""
    script = _source(templates, "sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": _source(templates, "style.css"), "script": script, "script_hash": f"sha256-{digest}"}


@cache
def environment() -> Environment:
    """Return the templates of the page, with the words that they call."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("builder.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        after=str.removeprefix,
        arrows=lambda text: text.replace("->", "\N{RIGHTWARDS ARROW}"),
        bytes=words.size,
        duration=words.duration,
        flatten=lambda facts: list(words.flatten(facts)),
        gate=words.gate_quantity,
        metric=lambda value, name: words.metric(name, value),
        mib=words.mib,
        ms=words.ms,
        number=words.number,
        plain=words.plain,
        points=lambda value, name: words.points(name, value),
        system=system,
        titled=words.metric_title,
        when=words.when,
        tone=_TONES.__getitem__,
    )
    templates.globals.update(missing=findings.missing, near=findings.fidelity)
    return templates


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]
