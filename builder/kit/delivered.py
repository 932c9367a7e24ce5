"""The kit in a build's folder: written with the build, and written again where somebody changed it."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.device.by_package import PACKAGES
from builder.digest import digest_file
from builder.engine.node import Node
from builder.outcomes import Status
from builder.plan.action import first_alone
from builder.recipe.schema import Recipe
from builder.store.private import private_folder
from builder.store.store import Store

__all__ = ["kit_digests", "kit_is_whole", "why_no_kit", "write_kit", "write_kit_again"]

KIT, KIT_LIST = "kit.tar", "kit/kit.json"


def write_kit(
    folder: Path, manifest: Mapping[str, Any], recipe: Recipe, nodes: Sequence[Node], store: Store
) -> dict[str, Any] | None:
    """Write the kit of a build that waits for a device, and return where it is; None for any other build."""
    if manifest["status"] != Status.DEFERRED.word or not any(node.portable for node in nodes):
        return None
    from builder.kit.pack import pack, wants_kit

    if not wants_kit(recipe, nodes):
        return None
    engine, file = pack(recipe, nodes, store, folder, manifest)["engine"], folder / KIT
    said = {
        "install": PACKAGES[recipe.target.runtime].install(engine["version"]) if engine else "",
        "note": first_alone([node.action for node in nodes]),
    }
    more = {name: words for name, words in said.items() if words}
    return {"path": KIT, "sha256": digest_file(file), "bytes": file.stat().st_size, **more}


def why_no_kit(manifest: Mapping[str, Any], nodes: Sequence[Node]) -> str:
    """Say how to get a kit for a build that waits and has none: all but the engine that it is for; '' for any other."""
    waits = manifest["status"] == Status.DEFERRED.word and not manifest.get("kit")
    return first_alone([node.action for node in nodes]) if waits else ""


def kit_digests(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests by which a manifest notices that its kit was changed; none where it has no kit."""
    if not manifest.get("kit"):
        return {}
    return {KIT: manifest["kit"]["sha256"], KIT_LIST: digest_file(folder / KIT_LIST)}


def kit_is_whole(
    folder: Path, known: Mapping[str, Any], changed: Collection[str], intact: Callable[[str, str], bool]
) -> bool:
    """Return whether a delivered kit, if there is one, is as it was written; `changed` are files that are not."""
    if not known.get("kit"):
        return True
    if {KIT, KIT_LIST} & {*changed}:
        return False
    return all(intact(f"kit/{path}", digest) for path, digest in _kit_files(folder))


def _kit_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a kit, whose list is as it was written, and their digests."""
    for path, entry in json.loads((folder / KIT_LIST).read_bytes())["files"].items():
        yield path, entry["sha256"]


def write_kit_again(folder: Path, known: dict[str, Any], recipe: Recipe, nodes: Sequence[Node], store: Store) -> None:
    """Put a kit in the place of one that somebody changed; the same build gives the same bytes."""
    with private_folder(folder, lambda: f".kit-{secrets.token_hex(4)}.part") as part:
        known["kit"] = write_kit(part, known, recipe, nodes, store)
        shutil.rmtree(folder / "kit", ignore_errors=True)
        (part / "kit").rename(folder / "kit")
        (part / KIT).replace(folder / KIT)
