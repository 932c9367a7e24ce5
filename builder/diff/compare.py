"""Everything that differs between two builds, as data; how it is said is `show`'s business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.diff.actions import ActionChange, Pair, Records, action_change, pair_actions
from builder.diff.changes import Change, changes
from builder.diff.files import FileChange, file_changes
from builder.diff.naming import Build
from builder.diff.numbers import NumberChange, measuring_notes, number_changes
from builder.store.store import store_folder

__all__ = ["Comparison", "compare_builds"]


@dataclass(frozen=True)
class Comparison:
    """Two builds and what differs between them; `equal` says whether their results are the same."""

    old: Build
    new: Build
    equal: bool
    recipe: list[Change]
    gates: list[Change]
    actions: list[ActionChange]
    tools: list[Change]
    host: list[Change]
    files: list[FileChange]
    numbers: list[NumberChange]
    notes: list[str]
    same_actions: int
    same_artifacts: int


def compare_builds(old: Build, new: Build, store: str | None) -> Comparison:
    """Compare two builds. Raises StoreError where a store cannot be read."""
    pairs = pair_actions(old.actions, new.actions)
    names = {pair.was: pair.name for pair in pairs}
    records = Records([store_folder(store), *_stores_beside(old), *_stores_beside(new)])
    found = [action_change(pair, (old, new), records) for pair in pairs]
    files, same_artifacts = file_changes(old, new, pairs)
    numbers, notes = _numbers(old, new, names)
    return Comparison(
        old=old,
        new=new,
        equal=_equal(old, new, pairs) and not files,
        recipe=changes(old.manifest["recipe"], new.manifest["recipe"]),
        gates=changes(_gates(old), _gates(new)),
        actions=[change for change in found if change is not None],
        tools=changes(_tools(old), _tools(new)),
        host=changes(old.manifest["host"], new.manifest["host"]),
        files=files,
        numbers=numbers,
        notes=notes,
        same_actions=found.count(None),
        same_artifacts=same_artifacts,
    )


def _equal(old: Build, new: Build, pairs: Sequence[Pair]) -> bool:
    """Say whether every status and every delivered byte is the same, but for measurements, which never are."""
    before, after = _gates(old), _gates(new)
    return (
        old.manifest["status"] == new.manifest["status"]
        and all(before[name]["status"] == after[name]["status"] for name in before.keys() & after.keys())
        and all(pair.same_status and (pair.measured or pair.same_delivered) for pair in pairs)
    )


def _gates(build: Build) -> dict[str, dict[str, Any]]:
    told = ("status", "value", "measured_on")  # limits are the recipe's
    return {gate["name"]: {name: gate[name] for name in told} for gate in build.manifest["gates"]}


def _tools(build: Build) -> dict[str, str]:
    """Return the version of every package that an action ran with, and of builder itself."""
    versions: dict[str, set[str]] = {"builder": {build.manifest["builder"]}}
    for action in build.actions:
        for package, version in action["toolchain"].items():
            versions.setdefault(package, set()).add(version)
    return {package: " and ".join(sorted(found)) for package, found in versions.items()}


def _numbers(old: Build, new: Build, names: Mapping[str, str]) -> tuple[list[NumberChange], list[str]]:
    edited = [build for build in (old, new) if build.report is None]
    if old.report is None or new.report is None:
        return [], [f"{build.folder / 'report.json'} is not as it was written: no numbers from it" for build in edited]
    return number_changes(old.report, new.report, names), measuring_notes(old.report, new.report, names)


def _stores_beside(build: Build) -> list[Path]:
    """Return the store of the project that a build's folder lies in: `outputs/store`, two or three folders up."""
    return [store for up in build.folder.resolve().parents[:3] if ((store := up / "store") / "ac").is_dir()]
