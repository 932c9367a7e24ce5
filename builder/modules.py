"""Where the code of modules lies, found without importing them, and whether a version says what it is.

Standard library only: the planner reads this code for the keys, and workers check that it is what they run.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["code_file", "find_below", "find_top", "is_installed"]

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STDLIB = Path(os.__file__).parent


def find_top(name: str) -> ModuleSpec | None:
    """Return where a module or package of no package lies; None for a name that is neither."""
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # `__main__`
        return None


def find_below(name: str, folders: Iterable[str]) -> ModuleSpec | None:
    """Return where a module lies, given the folders of its package; None for a name that is no module."""
    portions: list[str] = []
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(name) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += spec.submodule_search_locations or () if spec else ()
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def code_file(spec: ModuleSpec) -> Path | None:
    """Return the file that a module is loaded from; None for one that is built in, and for a namespace package."""
    return Path(spec.origin) if spec.has_location and spec.origin else None


def is_installed(top: ModuleSpec) -> bool:
    """Return whether a top-level module is the interpreter's, or an installer put it where it is."""
    folders = list(top.submodule_search_locations or ())
    if not folders and not top.has_location:
        return True
    return _holds_installed(os.path.dirname(folders[0] if folders else top.origin or ""))  # noqa: PTH120  text


@cache
def _holds_installed(place: str) -> bool:
    """Return whether modules in a folder have versions: `pip install --target` leaves its notes beside them."""
    folder = Path(place)
    if folder.is_relative_to(_STDLIB) or not _INSTALLED.isdisjoint(folder.parts):
        return True
    return any(folder.glob("*.dist-info"))
