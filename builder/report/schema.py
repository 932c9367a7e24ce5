"""The published JSON schemas of manifest.json, of a build's report.json, and of that of a sweep or comparison."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

__all__ = ["load"]

_FOLDER = files("builder.report").joinpath("schemas")


def load(document: Literal["manifest", "report", "sweep"]) -> dict[str, Any]:
    """Return a document's JSON schema (draft 2020-12); they refer to each other by their `$id`.

    What a section of the page shows follows the schema of its name in `sections/`, which stands in `report`'s `$defs`.
    """
    schema = _read(f"{document}.schema.json")
    if document == "report":
        found = sorted(each.name for each in _FOLDER.joinpath("sections").iterdir() if each.name.endswith(".json"))
        known = {name.removesuffix(".schema.json"): _read(f"sections/{name}") for name in found}
        schema["$defs"] |= {f"section_{name}": each for name, each in known.items()}
        schema["properties"]["sections"]["additionalProperties"]["allOf"] += [_where(name) for name in known]
    return schema


def _where(section: str) -> dict[str, Any]:
    said = {"properties": {"section": {"const": section}}}
    return {"if": said, "then": {"$ref": f"#/$defs/section_{section}"}}


def _read(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(_FOLDER.joinpath(path).read_text(encoding="utf-8"))
    return schema
