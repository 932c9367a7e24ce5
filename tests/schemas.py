"""The published schema of report.json, ready to check what a build wrote."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from builder.report import schema

__all__ = ["validator"]


def validator() -> Draft202012Validator:
    """Return the validator of a whole report.json, the manifest in it too."""
    manifest = schema.load("manifest")
    registry: Registry[Any] = Registry().with_resources([(manifest["$id"], Resource.from_contents(manifest))])
    return Draft202012Validator(schema.load("report"), registry=registry)
