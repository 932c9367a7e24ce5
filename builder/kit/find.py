"""The kit that a result is of, among those that were delivered here, and the command line of its build."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from builder.digest import canonical, digest_bytes
from builder.errors import TrustError, UsageError
from builder.kit.result import Result
from builder.outputs import OUTPUTS
from builder.recipe.locations import shown
from builder.recipe.schema import Machine
from builder.recipe.trust import check_overrides
from builder.report.manifest import read_manifest
from builder.store.roots import roots

__all__ = ["MACHINE", "overrides_of"]

MACHINE = tuple(field.name for field in fields(Machine))


def overrides_of(result: Result, kit: Path | None, store: Path | None = None) -> list[str]:
    """Return the command line of the build that made the kit; settings of that machine are left out.

    One that was delivered here is what its user typed; any other may set what a recipe may. Raises UsageError where
    there is no such kit, with the project that made it if `store` knows that; TrustError.
    """
    named = _words_of(kit, result.kit) if kit else None
    for place in _kits(result.name) if named is not None or kit is None else ():
        words = _words_of(place, result.kit)
        if words is not None:
            return [*words, *_store_of(place.parent)]
    if kit and named is not None:
        try:
            check_overrides(named, str(shown(kit)))
        except TrustError as error:
            raise TrustError(error.message, "this kit was not made here: import the result where it was") from error
        return named
    raise _absent(result, kit, _project_of(result, store) if store else None)


def _absent(result: Result, kit: Path | None, project: Path | None) -> UsageError:
    """Say of which recipe a result is, and where to import it."""
    of = f"this result is of a build of the recipe '{result.name}' whose kit is {result.kit[:12]}"
    if kit:
        found = f"{shown(kit)} is another one"
    elif any(_kits(result.name)):
        found = f"none of the kits in {OUTPUTS / result.name} is that one"
    else:
        found = f"the project in {Path.cwd()} has no kit of it"
    where = shlex.quote(str(project)) if project else "PROJECT"
    named = "the project that built it" if project is None else "its project"
    hint = f"import it in {named}: cd {where} && python -m builder resume --import {shlex.quote(str(result.archive))}"
    return UsageError(f"{of}; {found}", f"{hint}; or name the kit: resume --import RESULT KIT")


def _project_of(result: Result, store: Path) -> Path | None:
    """Return the folder of the project whose newest build in a store made a result's kit."""
    for _, root in roots(store):
        if root and root.folder.parents[1].name == OUTPUTS.name and _words_of(root.folder / "kit", result.kit):
            return root.folder.parents[2]
    return None


def _words_of(place: Path, digest: str) -> list[str] | None:
    """Return the command line of a kit if it is the one of this digest."""
    document = _kit_document(place)
    if document is None or document["digest"] != digest:
        return None
    words = document.get("overrides")
    words = words if isinstance(words, list) else []
    return [str(word) for word in words if str(word).partition("=")[0] not in (*MACHINE, "target.host")]


def _store_of(folder: Path) -> list[str]:
    """Return the setting that says where a build keeps its results, if its command had one."""
    manifest = read_manifest(folder) or {}
    return [word for word in shlex.split(manifest.get("command", "")) if word.startswith("store=")]


def _kits(name: str) -> list[Path]:
    """Return the kits of a recipe below outputs/, the newest first."""
    found = [*(OUTPUTS / name).glob("*/kit"), *(OUTPUTS / "sweeps").glob("*/*/kit")]
    return sorted(found, key=lambda kit: kit.parent.name if kit.parent.name != "latest" else "", reverse=True)


def _kit_document(place: Path) -> dict[str, Any] | None:
    """Return a kit's kit.json, from its folder or archive; None for one that is not as it was written."""
    import tarfile

    try:
        if place.is_dir():
            content = (place / "kit.json").read_bytes()
        else:
            with tarfile.open(place, "r:") as tar:
                names = [
                    name for name in tar.getnames() if name.rpartition("/")[2] == "kit.json" and name.count("/") < 2
                ]
                file = tar.extractfile(names[0]) if names else None
                content = file.read() if file else b""
        document: dict[str, Any] = json.loads(content)
        stated = {name: value for name, value in document.items() if name != "digest"}
        return document if digest_bytes(canonical(stated)) == document["digest"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, tarfile.TarError):
        return None
