"""The toolchains that `conf/toolchain/` describes: the user's own, then ours; each with its lock beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from builder.errors import RecipeError, did_you_mean
from builder.recipe.locations import conf_folders, shown
from builder.toolchains.spec import HOST, Locked, Toolchain
from builder.typed import from_plain

__all__ = ["check_name", "find_locked", "find_toolchain", "lock_file", "toolchain_names"]


def toolchain_names() -> list[str]:
    """Return the name of every toolchain there is but the host's."""
    return sorted({file.stem for folder in conf_folders() for file in (folder / "toolchain").glob("*.yaml")})


def check_name(name: str, where: str) -> None:
    """Raise RecipeError for a toolchain that nobody described."""
    if name != HOST and name not in (known := toolchain_names()):
        raise RecipeError(f"{where}: there is no toolchain '{name}'", did_you_mean(name, [HOST, *known]))


def find_toolchain(name: str) -> Toolchain:
    """Read a toolchain's description. Raises RecipeError that names the file and the key."""
    check_name(name, "toolchain")
    file = _file(name)
    try:
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{shown(file)}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, dict):
        raise RecipeError(f"{shown(file)}: a toolchain is a mapping of keys, got {node!r}")
    if node.get("name", name) != name:
        raise RecipeError(f"{shown(file)}: name: a toolchain has the name of its file, got '{node['name']}'")
    return from_plain(Toolchain, {**node, "name": name}, str(shown(file)))


def find_locked(name: str) -> Locked:
    """Read a toolchain with its lock. Raises RecipeError where that is missing, damaged or out of date."""
    from builder.toolchains.lock import check, parse

    toolchain, file = find_toolchain(name), lock_file(name)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"toolchain {name} has no lock that can be read at {shown(file)}",
            f"python -m builder toolchain lock {name}",
        ) from error
    lock = parse(text, str(shown(file)))
    check(toolchain, lock)
    return Locked(toolchain, replace(lock, sources=tuple(toolchain.sources)), text)


def lock_file(name: str) -> Path:
    """Return where the lock of a toolchain lies: beside its description."""
    return _file(name).with_suffix(".lock")


def _file(name: str) -> Path:
    """Return the description of a toolchain. Raises RecipeError where somebody would replace one of ours."""
    files = [folder / "toolchain" / f"{name}.yaml" for folder in conf_folders()]
    ours, *others = [file for file in files if file.is_file()]
    if others:
        raise RecipeError(f"{shown(others[0])}: there is a built-in toolchain {name} already", "give it another name")
    return ours
