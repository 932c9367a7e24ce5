"""A setting as one word of a command line, for hints: pasted into a shell it says what it means to."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

__all__ = ["override"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")  # a part of a dotted key, in Hydra's grammar
_ESCAPED = re.compile(r"[\\()\[\]{}:=, ]")  # what else can be a key in braces, after a backslash
_OTHER = re.compile(r"(?:\d+|[A-Za-z_][A-Za-z0-9_\\()\[\]{}:=, /.%*@?|+-]*)")


def override(section: str, name: str, value: Any) -> str:
    """Return the word that sets `section.name`, whether it is there already or not.

    A name that Hydra's command line has no spelling for is a line of a recipe: YAML.
    """
    if _PLAIN.fullmatch(name):
        return shlex.quote(f"++{section}.{name}={_spelt(value)}")
    if _OTHER.fullmatch(name):
        escaped = _ESCAPED.sub(r"\\\g<0>", name)
        return shlex.quote(f"++{section}={{{escaped}: {_spelt(value)}}}")
    nested = {name: value}
    for part in reversed(section.split(".")):
        nested = {part: nested}
    return f"in the recipe: {json.dumps(nested)[1:-1]}"


def _spelt(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_spelt(item)}' for key, item in value.items())}}}"
    return f"[{', '.join(map(_spelt, value))}]" if isinstance(value, list | tuple) else str(value)
