"""A comparison's report.json: builds of any recipes and times, and the keys in which their recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.digest import canonical
from builder.report.variants import document, make_row

__all__ = ["Compared", "comparison_document"]

Compared = tuple[str, str, Mapping[str, Any]]  # what a build is called, its folder seen from the page, its report
_NAMED = ("model", "data", "target")  # sections whose name says it all where it differs
_TITLES = ("name", "summary")  # keys that call a recipe something and change nothing
_ABSENT, _NO_PARENT = object(), object()


def comparison_document(builds: Sequence[Compared]) -> dict[str, Any]:
    """Return the document of builds, with the keys of their resolved recipes that differ (see `sweep.schema.json`)."""
    recipes = _by_name([{**report["manifest"]["recipe"]} for _, _, report in builds])
    found = dict(_differing(recipes, ""))
    rows = []
    for number, (title, folder, report) in enumerate(builds):
        varies = {key: values[number] for key, values in found.items()}
        own = [f"{key}={value}" for key, value in varies.items() if value is not None]
        rows.append(make_row(number, title, folder, report, varies, own))
    return document("comparison", [], [*found], rows, [])


def _by_name(recipes: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Put a section's name in its place where the builds have several, and leave out what only calls them something."""
    for section in _NAMED:
        parts = [recipe.get(section) for recipe in recipes]
        names = [part.get("name") if isinstance(part, dict) else None for part in parts]
        if len(set(names)) > 1:
            for recipe, name in zip(recipes, names, strict=True):
                recipe[section] = name
    return [{key: value for key, value in recipe.items() if key not in _TITLES} for recipe in recipes]


def _differing(nodes: Sequence[Any], path: str) -> Iterator[tuple[str, list[str | None]]]:
    """Yield each key that differs, with its value in each build in YAML's words; None where a build has it not.

    A step that only some have is one key, and its options differ as those have them.
    """
    known = [node for node in nodes if node is not _NO_PARENT]
    there = [node for node in known if node is not _ABSENT]
    if not all(isinstance(node, Mapping) for node in there):
        if len({canonical(node) for node in there}) > 1 or len(there) < len(known):
            yield path, [None if node in (_ABSENT, _NO_PARENT) else _yaml(node) for node in nodes]
        return
    lacking = _ABSENT
    if len(there) < len(known) and all("step" in node for node in there):
        yield path, [str(node["step"]) if isinstance(node, Mapping) else None for node in nodes]
        lacking = _NO_PARENT
    for name in dict.fromkeys(name for node in there for name in node):
        inner = [node.get(name, _ABSENT) if isinstance(node, Mapping) else lacking for node in nodes]
        yield from _differing(inner, f"{path}.{name}" if path else name)


def _yaml(value: Any) -> str:
    import yaml

    if isinstance(value, str) and value:
        return value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()
