"""Two mappings, key by key: what was added, removed, changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from builder.digest import canonical

__all__ = ["Change", "How", "changes"]


class How(Enum):
    """In which way something is not the same in the second build as in the first."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


@dataclass(frozen=True)
class Change:
    """A value that is not the same; `old` is None where it was added, `new` where it was removed."""

    name: str
    how: How
    old: Any = None
    new: Any = None


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[Change]:
    """Return what differs, mappings inside mappings by their dotted names, in the order of the keys."""
    found: list[Change] = []
    for key in dict.fromkeys([*old, *new]):
        name = f"{prefix}{key}"
        if key not in new:
            found.append(Change(name, How.REMOVED, old=old[key]))
        elif key not in old:
            found.append(Change(name, How.ADDED, new=new[key]))
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += changes(old[key], new[key], f"{name}.")
        elif canonical(old[key]) != canonical(new[key]):  # Python takes 1 and true for equal
            found.append(Change(name, How.CHANGED, old[key], new[key]))
    return found
