"""A sweep's report.json and report.html: one row for each build, each with its own folder beside them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_sweep"]


def write_sweep(folder: Path, reports: Sequence[dict[str, Any]]) -> None:
    """Write the comparison of builds whose reports lie in `<folder>/<n>/report.json`."""
    from builder.report.page import render_sweep

    words = [shlex.split(report["manifest"]["command"])[3:] for report in reports]
    common = [word for word in words[0] if all(word in others for others in words)]
    rows = [
        _row(index, report, [word for word in words[index] if word not in common])
        for index, report in enumerate(reports)
    ]
    document = {"schema": 1, "common": common, "builds": rows}
    (folder / "report.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render_sweep(document), encoding="utf-8")


def _row(index: int, report: dict[str, Any], own: list[str]) -> dict[str, Any]:
    manifest = report["manifest"]
    return {
        "folder": str(index),
        "name": manifest["name"],
        "target": manifest["target"]["name"],
        "command": manifest["command"],
        "own": own,
        "status": manifest["status"],
        "headline": report["headline"],
        "gates": manifest["gates"],
    }
