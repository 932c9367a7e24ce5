"""The published JSON schemas of manifest.json and report.json."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

__all__ = ["load"]


def load(document: Literal["manifest", "report"]) -> dict[str, Any]:
    """Return a document's JSON schema (draft 2020-12); `report` refers to `manifest` by its `$id`."""
    text = files("builder.report").joinpath("schemas", f"{document}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
