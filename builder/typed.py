"""Plain data to dataclasses and back: checked, with the place of a mistake in the error.

Standard library only, because workers use it too. Supports what options are made of: dataclasses, enums, lists,
string-keyed dicts, optionals, unions of scalars, str, int, float, bool.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from builder.errors import RecipeError, did_you_mean

__all__ = ["from_plain", "to_plain"]

_PLAIN = (str, int, float, bool)

T = TypeVar("T")


def from_plain(cls: type[T], value: object, where: str) -> T:
    """Build a `cls` from dicts, lists and scalars. Raises RecipeError with the key, what was expected and what came."""
    return typing.cast("T", _convert(cls, value, where))


def to_plain(value: Any) -> Any:
    """Return dataclasses as dicts and enums as their words, ready for JSON."""
    if value is None or type(value) in _PLAIN:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name)) for name in _field_names(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


@cache
def _field_names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _convert(hint: Any, value: object, where: str) -> object:  # noqa: PLR0911  a table of kinds
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(hint, value, where)
    if origin is list:
        return _list(hint, value, where)
    if origin is dict:
        return _dict(hint, value, where)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast("type[Any]", hint), value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint, value, where)
    return _scalar(hint, value, where)


def _union(hint: Any, value: object, where: str) -> object:
    members = typing.get_args(hint)
    if value is None and type(None) in members:
        return None
    candidates = [member for member in members if member is not type(None)]
    for member in candidates[:-1]:
        try:
            return _convert(member, value, where)
        except RecipeError:
            continue
    return _convert(candidates[-1], value, where)


def _list(hint: Any, value: object, where: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list", value)
    (item,) = typing.get_args(hint)
    return [_convert(item, element, f"{where}[{index}]") for index, element in enumerate(value)]


def _dict(hint: Any, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "a mapping", value)
    _, item = typing.get_args(hint)
    return {str(key): _convert(item, element, f"{where}.{key}") for key, element in value.items()}


def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _dataclass(cls: type[Any], value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(where, "a mapping", value)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in value:
        if key not in fields:
            raise RecipeError(f"{_in(where)}there is no key '{key}'", did_you_mean(str(key), fields))
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise RecipeError(f"{_inside(where, name)} is missing")
    hints = _hints(cls)
    arguments = {str(key): _convert(hints[str(key)], item, _inside(where, key)) for key, item in value.items()}
    try:
        return cls(**arguments)
    except ValueError as error:  # from a __post_init__ that checks ranges
        raise RecipeError(f"{_in(where)}{error}") from error


def _inside(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _in(where: str) -> str:
    return f"{where}: " if where else ""


def _enum(cls: type[Enum], value: object, where: str) -> Enum:
    words = [str(member.value) for member in cls]
    if isinstance(value, cls):
        return value
    if isinstance(value, str):
        word = value.rpartition(".")[2]  # completion offers Method.entropy
        for member in cls:
            if word in (member.value, member.name):
                return member
        raise RecipeError(f"{where}: expected one of {', '.join(words)}, got '{value}'", did_you_mean(value, words))
    raise _wrong(where, f"one of {', '.join(words)}", value)


def _scalar(hint: Any, value: object, where: str) -> object:
    if hint is bool and isinstance(value, bool):
        return value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise RecipeError(f"{where}: expected at most 64 bits, got a number of {value.bit_length()}")
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint is str and isinstance(value, str):
        if any(ord(character) < 32 and character not in "\n\t" for character in value):
            raise RecipeError(f"{where}: control characters have no place here, got {value!r}")
        return value
    if hint is type(None) and value is None:
        return None
    if hint is str and isinstance(value, int | float):
        raise RecipeError(f"{where}: expected text, got the number {value!r}", f"put it in quotes: '{value}'")
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    raise _wrong(where, names.get(hint, str(hint)), value)


def _wrong(where: str, expected: str, value: object) -> RecipeError:
    return RecipeError(f"{where}: expected {expected}, got {value!r}")
