"""The published schemas of report.json, ready to check what a build, a sweep or a comparison wrote."""

from __future__ import annotations

from typing import Any, Literal

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from builder.report import schema

__all__ = ["validator"]


def validator(document: Literal["report", "sweep"] = "report") -> Draft202012Validator:
    """Return the validator of a whole report.json, the manifest in it too."""
    others = [schema.load("manifest"), schema.load("report")]
    known = [(each["$id"], Resource.from_contents(each)) for each in others]
    registry: Registry[Any] = Registry().with_resources(known)
    return Draft202012Validator(schema.load(document), registry=registry)
