"""report.json: a manifest, what was measured, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import findings
from builder.report.headline import headline, limit_on
from builder.report.sections import finding

__all__ = ["report_document"]


def report_document(
    manifest: dict[str, Any],
    evaluations: dict[str, dict[str, Any]],
    measurements: dict[str, dict[str, Any]],
    *,
    conversion: Mapping[str, Any] | None = None,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    baseline_bytes: int | None,
    candidate_bytes: int | None,
) -> dict[str, Any]:
    """Return report.json: everything that report.html shows.

    `evaluations` and `measurements` map an action's name to its evaluation.json or measurement.json, `conversion` is
    the conversion.json of a model that was exported, `sections` an action's name to its section.json; the bytes are
    those of all files of the source model and of the artifact. The result follows `schemas/report.schema.json`.
    """
    names = findings.Names(manifest)
    found, shown = {}, sections or {}
    for action in manifest["actions"]:
        name, place = action["name"], names.place(names.on_target(action))
        if name in evaluations:
            limit = limit_on(manifest, "max_accuracy_drop", name)
            found[name] = findings.accuracy(names, evaluations[name], limit, place)
        elif name in measurements:
            found[name] = findings.latency(names, measurements[name], place)
        elif name in shown:
            found[name] = finding(names, shown[name])
    return {
        "schema": 1,
        "manifest": manifest,
        "evaluations": evaluations,
        "measurements": measurements,
        "conversion": conversion,
        "sections": shown,
        "verdict": findings.verdict(manifest),
        "findings": found,
        "headline": headline(manifest, evaluations, measurements, baseline_bytes, candidate_bytes),
    }
