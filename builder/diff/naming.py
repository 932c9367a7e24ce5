"""Which build a word names, and what that build left on disk."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.digest import digest_bytes
from builder.errors import StoreError, UsageError, did_you_mean
from builder.outcomes import Status
from builder.outputs import OUTPUTS, no_build
from builder.recipe.locations import shown
from builder.report.manifest import read_manifest

__all__ = ["Build", "find", "find_two"]

_MANIFEST = "manifest.json"
_SCHEMA = 1
_PARTS = {"headline", "manifest", "measurements"}  # of a report, which are compared
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?:-(\d+))?")
_GOOD = (Status.BUILT.word, Status.DEFERRED.word)
_FEW = 5  # times that an error names


@dataclass(frozen=True)
class Build:
    """A build on disk; `report` is None where report.json is not as a build of this version wrote it."""

    label: str
    folder: Path
    manifest: dict[str, Any]
    report: dict[str, Any] | None

    @property
    def actions(self) -> list[dict[str, Any]]:
        return list(self.manifest["actions"])


def find_two(words: Sequence[str]) -> tuple[Build, Build]:
    """Return the two builds that words name; a recipe's name alone is its newest build and the one before.

    Raises UsageError where a word names no build, StoreError for a manifest that is not as it was written.
    """
    if len(words) == 2:
        return find(words[0]), find(words[1])
    name = words[0]
    if _times(name):
        return find(f"{name}@previous"), find(f"{name}@latest")
    find(name)
    raise UsageError(
        f"nothing says what '{name}' is compared with",
        "name a second build; only the name of a recipe can stand alone",
    )


def find(word: str) -> Build:
    """Return the build that a word names: NAME, NAME@TIME, NAME@previous, or a folder. Raises as `find_two`."""
    folder = shown(_locate(word.rstrip("/") or word).resolve())
    manifest = _manifest(folder)
    return Build(_label(folder), folder, manifest, _report(folder, manifest))


def _locate(word: str) -> Path:
    path = Path(word).parent if Path(word).name == _MANIFEST else Path(word)
    name, *which = re.split(r"[@/]", word, maxsplit=1)
    if _times(name) and not (which and _is_build(path)):
        return _of_recipe(name, which[0] if which else "latest")
    for folder in (path, OUTPUTS / word):
        if _is_build(folder):
            return folder
    raise _unknown(word, name)


def _of_recipe(name: str, which: str) -> Path:
    times = _times(name)
    if which in ("latest", "previous"):
        return OUTPUTS / name / (_latest(name, times) if which == "latest" else _previous(name, times))
    if which in times:
        return OUTPUTS / name / which
    near = difflib.get_close_matches(which, [*times, "latest", "previous"], n=1)
    raise UsageError(f"'{name}' has no build '{which}'", did_you_mean(which, near or times[-_FEW:]))


def _latest(name: str, times: Sequence[str]) -> str:
    newest = (OUTPUTS / name / "latest").resolve().name
    if newest not in times:
        raise UsageError(f"no build of '{name}' ended built or deferred", f"name one: {name}@{times[-1]}")
    return newest


def _previous(name: str, times: Sequence[str]) -> str:
    newest = _latest(name, times)
    for time in reversed(times[: times.index(newest)]):
        if _manifest(OUTPUTS / name / time)["status"] in _GOOD:
            return time
    others = ", ".join(f"{name}@{time}" for time in times[-_FEW:] if time != newest)
    raise UsageError(
        f"'{name}' has no build before {newest} that ended built or deferred",
        f"name two builds; there is also {others}" if others else "build it again with a change, or name two builds",
    )


def _times(name: str) -> list[str]:
    """Return the folders of a recipe's builds, the oldest first; none where it is no recipe's name."""
    folder = OUTPUTS / name
    if not _NAME.fullmatch(name) or not folder.is_dir():
        return []
    found = [match for each in folder.iterdir() if (match := _TIME.fullmatch(each.name)) and _is_build(each)]
    return [match[0] for match in sorted(found, key=lambda match: (match[1], int(match[2] or 1)))]


def _is_build(folder: Path) -> bool:
    return (folder / _MANIFEST).is_file()


def _unknown(word: str, name: str) -> UsageError:
    for folder in (Path(word), OUTPUTS / word):
        if word and folder.is_dir():
            inside = sorted(path.parent for path in folder.glob(f"*/{_MANIFEST}"))
            hint = f"name one inside it: {inside[0]}" if inside else "a build lies in outputs/NAME/TIME"
            return UsageError(f"{folder} is not the folder of one build: it has no {_MANIFEST}", hint)
    names = [each.name for each in OUTPUTS.iterdir() if _times(each.name)] if OUTPUTS.is_dir() else []
    names = names or [str(path.parent) for path in sorted(OUTPUTS.glob(f"sweeps/*/*/{_MANIFEST}"))[-_FEW:]]
    return no_build(f"there is no build '{word}'", name, names)


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        raise StoreError(
            f"{folder / _MANIFEST} is not as a build wrote it: it was changed or damaged, or is somebody else's",
            "name another build, or build it again",
        )
    if manifest["schema"] != _SCHEMA:
        raise StoreError(
            f"{folder / _MANIFEST} follows schema {manifest['schema']}, this version reads {_SCHEMA}",
            "compare them with the version of builder that wrote them",
        )
    return manifest


def _report(folder: Path, manifest: dict[str, Any]) -> dict[str, Any] | None:
    try:
        content = (folder / "report.json").read_bytes()
    except OSError:
        return None
    if digest_bytes(content) != manifest.get("pages", {}).get("report.json"):
        return None
    report: dict[str, Any] = json.loads(content)
    return report if report.get("schema") == _SCHEMA and report.keys() >= _PARTS else None


def _label(folder: Path) -> str:
    """Return a word that names the build again: NAME@TIME, or its folder."""
    final = folder.resolve()
    ours = final.parent.parent == OUTPUTS.resolve() and _TIME.fullmatch(final.name)
    return f"{final.parent.name}@{final.name}" if ours else str(folder)
