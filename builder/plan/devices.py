"""Which device's result is meant, where one or more have sent theirs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from builder.errors import RecipeError, did_you_mean
from builder.specs import Target
from builder.store.devices import Entry
from builder.typed import to_plain

__all__ = ["choose", "in_words", "label_of", "setting"]

# Words that Hydra's grammar takes as they are: no number, and not one of true, false, null, nan and inf alone.
_PLAIN = re.compile(r"(?!(true|false|null|nan|inf)$)[A-Za-z][A-Za-z0-9_.@-]*( [A-Za-z0-9_.@-]+)*", re.IGNORECASE)
_DIGITS = 8  # of the digest of a device's facts, where its name alone does not tell it from another


def choose(entries: Sequence[Entry], target: Target) -> Entry | None:
    """Return the entry of the only device, or of the one that `target.device` names; None where there is none.

    A device that is not what the target says counts for nothing. Raises RecipeError where several could be meant, or
    none is called so.
    """
    if not entries:
        return None
    from builder.device.machine import misfit  # it can start programs: no build without devices needs that

    entries = [entry for entry in entries if misfit(to_plain(target), entry.device) is None]
    if not entries:
        return None
    labels = {label_of(entry, entries): entry for entry in entries}
    meant = [entry for label, entry in labels.items() if target.device in ("", entry.name, label, _full(entry))]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise RecipeError(f"target.device: nothing came from '{target.device}'", did_you_mean(target.device, labels))
    several = sorted(label for label, entry in labels.items() if entry in meant)
    raise RecipeError(
        f"{len(several)} devices sent results for target '{target.name}': {', '.join(map(repr, several))}",
        f"name one: {shlex.quote(setting(several[0]))}",
    )


def in_words(entry: Entry, *, made: str) -> str:
    """Say where and when: `measured on Jetson Orin, 2026-11-21`."""
    return f"{made} on {entry.name}, {entry.taken_at[:10]}"


def label_of(entry: Entry, entries: Sequence[Entry]) -> str:
    """Return a device's name, with more where another one has the same: it runs other software, or another mode."""
    namesakes = [each for each in entries if each.name == entry.name]
    return entry.name if len(namesakes) == 1 else _full(entry)


def _full(entry: Entry) -> str:
    return f"{entry.name}@{entry.identity[:_DIGITS]}"


def setting(label: str) -> str:
    """Return the word of a command line that names a device, quoted where Hydra would read something else."""
    return f"target.device={label}" if _PLAIN.fullmatch(label) else f"target.device='{label}'"
