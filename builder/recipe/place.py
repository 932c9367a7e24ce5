"""Where a mistake stands: the override on the command line, or the line of a recipe or of what was chosen in conf/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from builder.errors import RecipeError, UsageError
from builder.recipe.locations import conf_folders, shown
from builder.recipe.sources import loaded_recipes

__all__ = ["with_place"]

_KEY = re.compile(r"^(?:([\w.\[\]-]+): )?(?:there is no key '([^']+)')?")
_WORD = re.compile(r"'([^']+)'")


def with_place(
    error: RecipeError | UsageError, overrides: Sequence[str], choices: Mapping[str, object] | None = None
) -> RecipeError | UsageError:
    """Return the error with the place in front of its message, where the place can be told.

    `choices` says what was chosen of each group of conf/, once that is known.
    """
    if error.message.startswith("on the command line"):
        return error
    place = _place(error.message, overrides, choices or {})
    return type(error)(f"{place}: {error.message}", error.hint) if place else error


def _place(message: str, overrides: Sequence[str], choices: Mapping[str, object]) -> str:
    key = _KEY.match(message)
    path = [part for part in re.split(r"[.\[\]]+", key[1] or "") if part] if key else []
    if key and key[2]:
        path.append(key[2])
    words = _WORD.findall(message)
    override = _override_of_path(".".join(path), overrides) if path else _override_of_word(words, overrides)
    if override:
        return f"on the command line ({override})"
    for file in loaded_recipes.values():
        line = _line_of_path(file, path) if path else _line_of_word(file, words)
        if line:
            return f"{shown(file)}:{line}"
    for file in _chosen(path, choices):
        if line := _line_of_path(file, path[1:]):
            return f"{shown(file)}:{line}"
    return ""


def _chosen(path: Sequence[str], choices: Mapping[str, object]) -> Iterator[Path]:
    """Yield the file in conf/ that the section of a key was taken from."""
    group = path[0] if path else ""
    files = [folder / group / f"{choices[group]}.yaml" for folder in conf_folders() if group in choices]
    yield from (file for file in files if file.is_file())


def _override_of_path(wanted: str, overrides: Sequence[str]) -> str | None:
    """Return the override nearest to a key: it sets it or what is around it; a bare word only chooses."""
    near = [text for text in overrides if _near(text.lstrip("+~").partition("=")[0], wanted)]
    return max(near, key=len, default=None)


def _near(name: str, wanted: str) -> bool:
    return name == wanted or ("." in name and (wanted.startswith(f"{name}.") or name.startswith(f"{wanted}.")))


def _override_of_word(words: Sequence[str], overrides: Sequence[str]) -> str | None:
    return next((text for text in overrides if words and words[0] in re.split(r"[=,\[\]@ ]", text.lstrip("+~"))), None)


def _line_of_path(file: Path, path: Sequence[str]) -> int | None:
    node = yaml.compose(file.read_text(encoding="utf-8"))
    line = None
    for part in path:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        if not isinstance(node, yaml.MappingNode):
            return None
        for key_node, value_node in node.value:
            if key_node.value == part:
                line, node = key_node.start_mark.line + 1, value_node
                break
        else:
            return None
    return line


def _line_of_word(file: Path, words: Sequence[str]) -> int | None:
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if words and re.search(rf"(?<![\w-]){re.escape(words[0])}(?![\w-])", text.partition("#")[0]):
            return number
    return None
