"""The command line of `cache`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from builder.errors import UsageError, did_you_mean
from builder.store.gc import Limits
from builder.store.store import store_folder

__all__ = ["HELP", "Request", "Verb", "parse"]

_GIB = 1 << 30
_DAY_S = 24 * 60 * 60
HELP = """\
usage: python -m builder cache [gc|verify] [settings]

  cache           how much the store holds, and what the newest builds need of it
  cache gc        remove what nothing can use any more; with a limit also results, the least recently used first
  cache verify    read every byte of the store, of the newest builds' folders, and of what this machine remembers of
                  them; repair what can be repaired and name the rest

  store=FOLDER       another store than BUILDER_STORE or outputs/store
  output=json        one JSON document on stdout
  max_size_gib=N     gc: remove results until all of them take at most N GiB
  max_age_days=N     gc: remove results that no build used for N days
  dry_run=true       gc: only say what would go

What the newest build of each recipe and the newest sweep of each project need is never removed, nor what a running
build may use. Exit code: 0 all is well or was repaired, 1 verify lost something that must be built again (or the store
cannot be used), 2 the command is wrong.\
"""


class Verb(Enum):
    """What to do with the store."""

    SIZE = ""
    GC = "gc"
    VERIFY = "verify"


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    verb: Verb
    store: Path
    named: bool  # the store, on the command line
    json: bool
    limits: Limits = field(default_factory=Limits)
    dry_run: bool = False


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return None
    words = [word for word in arguments if "=" not in word]
    verb = _verb(words)
    settings: dict[str, Any] = {}
    for word in arguments:
        if "=" in word:
            name, _, text = word.partition("=")
            settings[name] = _value(verb, name, text)
    return Request(
        verb,
        store_folder(settings.get("store")),
        named="store" in settings,
        json=settings.get("output", False),
        limits=Limits(settings.get("max_size_gib"), settings.get("max_age_days")),
        dry_run=settings.get("dry_run", False),
    )


def _verb(words: Sequence[str]) -> Verb:
    if not words:
        return Verb.SIZE
    known = [verb.value for verb in Verb if verb.value]
    if words[0] not in known:
        raise UsageError(f"cache: there is no '{words[0]}'", did_you_mean(words[0], [*known, *_SETTINGS]))
    if len(words) > 1:
        raise UsageError(f"cache {words[0]}: nothing says what '{words[1]}' is", f"write {words[1]}=...")
    return Verb(words[0])


def _value(verb: Verb, name: str, text: str) -> Any:
    known = [setting for setting in _SETTINGS if verb is Verb.GC or setting in _EVERYWHERE]
    if name in known:
        return _SETTINGS[name](name, text)
    if name in _SETTINGS:
        raise UsageError(f"cache: only 'gc' has a setting '{name}'", f"write python -m builder cache gc {name}={text}")
    raise UsageError(f"cache: there is no setting '{name}'", did_you_mean(name, known))


def _folder(_name: str, text: str) -> str:
    if not text:
        raise UsageError("cache: store: expected a folder, got nothing")
    return text


def _is_json(_name: str, text: str) -> bool:
    if text not in ("text", "json"):
        raise UsageError(f"cache: output: expected text or json, got '{text}'", did_you_mean(text, ("text", "json")))
    return text == "json"


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        unit = "days" if name == "max_age_days" else "GiB"
        raise UsageError(f"cache: {name}: expected a number of {unit}, 0 or more, got '{text}'", f"write {name}=30")
    return number


def _bytes(name: str, text: str) -> int:
    return round(_number(name, text) * _GIB)


def _seconds(name: str, text: str) -> float:
    return _number(name, text) * _DAY_S


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"cache: {name}: expected true or false, got '{text}'", f"write {name}=true")
    return text.lower() == "true"


_EVERYWHERE = ("store", "output")
_SETTINGS: dict[str, Callable[[str, str], Any]] = {
    "store": _folder,
    "output": _is_json,
    "max_size_gib": _bytes,
    "max_age_days": _seconds,
    "dry_run": _flag,
}
