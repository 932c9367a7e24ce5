"""Which page a word names."""

from __future__ import annotations

import re
from pathlib import Path

from builder.errors import UsageError, did_you_mean
from builder.outputs import OUTPUTS, no_build
from builder.recipe.locations import shown

__all__ = ["PAGE", "builds_in", "find_page", "find_recipe"]

PAGE = "report.html"
_TIME = re.compile(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?:-(\d+))?")  # as `new_folder` names them
_GATHERED = ("comparisons", "sweeps")  # folders under outputs/ that are no recipe's
_FEW = 5  # times that an error names


def find_page(word: str | None) -> Path:
    """Return the page that a word names: NAME, NAME@TIME, a folder, or the newest. Raises UsageError where none is."""
    if word is None:
        return shown(_newest(*_built_names()).resolve() / PAGE)
    for folder in (OUTPUTS / word.replace("@", "/", 1), Path(word)):
        for place in (folder, *reversed(builds_in(folder))):
            if (place / PAGE).is_file():
                return shown(place.resolve() / PAGE)
    if Path(word).name == PAGE and Path(word).is_file():
        return shown(Path(word).resolve())
    raise _unknown(word)


def builds_in(folder: Path) -> list[Path]:
    """Return the builds in the folder of a recipe, or the sweeps in theirs, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted((each for each in folder.iterdir() if _TIME.fullmatch(each.name) and each.is_dir()), key=_moment)


def _built_names() -> list[str]:
    """Return the recipes that were built here, and `sweeps` and `comparisons` after the first one."""
    return sorted(each.name for each in OUTPUTS.iterdir() if builds_in(each)) if OUTPUTS.is_dir() else []


def find_recipe(word: str | None) -> Path:
    """Return the folder of a recipe's builds; without a word that of the newest build. Raises UsageError."""
    if word is None:
        return OUTPUTS / _newest(*(name for name in _built_names() if name not in _GATHERED)).parent.name
    name = word.rstrip("/").removeprefix(f"{OUTPUTS}/")
    if name in _built_names() and name not in _GATHERED:
        return OUTPUTS / name
    if name in _GATHERED or (OUTPUTS / name.replace("@", "/", 1)).is_dir():
        raise UsageError(f"show: '{word}' is no recipe: --serve shows all builds of one", "name it: --serve NAME")
    raise _unknown(word)


def _moment(folder: Path) -> tuple[str, int]:
    found = _TIME.fullmatch(folder.name)
    assert found is not None
    return found[1], int(found[2] or 1)


def _newest(*names: str) -> Path:
    pages = [[build / PAGE for build in builds_in(OUTPUTS / name) if (build / PAGE).is_file()] for name in names]
    found = [of_one[-1] for of_one in pages if of_one]
    if not found:
        raise UsageError(
            "show: nothing was built here yet",
            "build a recipe: python -m builder recipe=NAME; python -m builder list shows what there is",
        )
    # a number that follows the time tells only which of one recipe's builds is newer
    return max(found, key=lambda page: (_moment(page.parent)[0], page.stat().st_mtime_ns)).parent


def _unknown(word: str) -> UsageError:
    """Return what to say of a word that names no build."""
    name, _, time = word.partition("@")
    times = [build.name for build in builds_in(OUTPUTS / name)]
    if time and times:
        return UsageError(f"show: '{name}' has no build '{time}'", did_you_mean(time, times[-_FEW:]))
    if times or (Path(word) / "manifest.json").is_file():
        return UsageError(f"show: the page of '{word}' is gone: there is no {PAGE}", "build it again")
    return no_build(f"show: there is no build '{word}'", name, _built_names())
