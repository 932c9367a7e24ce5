"""What a recipe may not do: recipes are data, so they name no code, no machine and no host.

Only text is looked at, before Hydra merges anything, and every recipe that is inherited passes here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from builder.errors import TrustError

__all__ = ["MACHINE", "check_overrides", "check_recipe"]

MACHINE = ("store", "jobs", "offline", "output", "strict", "fresh", "verbosity", "keep_going", "locked")

_TRUSTED = {
    **dict.fromkeys(MACHINE, "is a setting of the machine"),
    "model.code": "names code",
    "data.code": "names code",
    "model.url": "names a host to connect to",
    "data.url": "names a host to connect to",
    "target.host": "names a host to connect to",
    "data.root": "is a path of one machine",
}
_PLAIN_INTERPOLATION = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
# What a recipe may refer to: its own words and options, never a section that conf/ or the machine has a part in.
_HARMLESS = re.compile(
    r"name|summary|(model|data|target)\.name|(steps|gates)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+|gates\.\w+"
)
_ALLOWED = "a recipe may use ${name}, ${summary}, ${model.name}, ${steps.STEP.OPTION} and ${gates.GATE}"
_SECTION = re.compile(r"model|data|target|gates|limits|steps|steps\.[^.]+")
_STEP_PACKAGE = re.compile(r"steps\.[a-z0-9][a-z0-9_-]*")
_HINT = "set it in conf/, on the command line or in the environment; recipes are data and may come from anyone"


def check_recipe(content: object, header: dict[str, str | None], where: str) -> None:
    """Raise TrustError if the parsed recipe or its `# @package` header reaches for more than a recipe's own."""
    package = header.get("package")
    if package not in (None, "_global_"):
        raise TrustError(f"{where}: a recipe's package must be _global_, got '{package}'", _HINT)
    for path, value in _walk(content, ""):
        _check_key(path, where)
        if isinstance(value, str):
            _check_text(path, value, where)
    if isinstance(content, dict):
        _check_defaults(content.get("defaults") or [], where)


def check_overrides(words: Sequence[str], where: str) -> None:
    """Raise TrustError if a command line that came from elsewhere reaches for more than a recipe's own."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
    except (HydraException, RecursionError) as error:
        raise TrustError(f"{where}: its command line cannot be read: {' '.join(str(error).split())}") from error
    for override in overrides:
        name, value = override.key_or_group, override.value()
        path = name.replace("/", ".")
        for inner, item in ((path, value), *_walk(value, path)):
            _check_key(inner, where)
            if isinstance(item, str):
                _check_text(inner, item, where)
        if "." not in name:  # a choice of a group, as in a recipe's defaults
            _check_defaults([{f"{name}@{override.package}" if override.package else name: value}], where)


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield every key's path with its value; items of a list count under the list's path."""
    if isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            yield inner, item
            yield from _walk(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield path, item
            yield from _walk(item, path)


def _check_key(path: str, where: str) -> None:
    last = path.rsplit(".", maxsplit=1)[-1]
    if last == "_target_" or path.endswith("._target_"):
        raise TrustError(f"{where}: '{path}' names code, which a recipe cannot", _HINT)
    if not path.startswith("defaults.") and "hydra" in re.split(r"[ /@.]", path):
        raise TrustError(f"{where}: '{path}' reaches Hydra's own configuration, which a recipe cannot", _HINT)
    for forbidden, why in _TRUSTED.items():
        if path == forbidden or path.startswith(f"{forbidden}."):
            raise TrustError(f"{where}: '{path}' {why}, so a recipe cannot set it", _HINT)


def _check_text(path: str, value: str, where: str) -> None:
    if "${" in value and _SECTION.fullmatch(path):
        raise TrustError(f"{where}: '{path}: {value}' takes a whole section from elsewhere", "write its keys out")
    for name in _PLAIN_INTERPOLATION.findall(value):
        if not _HARMLESS.fullmatch(name):
            raise TrustError(f"{where}: '{path}: {value}' asks for what may be the machine's", _ALLOWED)
    if "${" in _PLAIN_INTERPOLATION.sub("", value):
        raise TrustError(
            f"{where}: '{path}: {value}' asks for more than another value of the recipe",
            f"a key may not depend on the environment unseen; {_ALLOWED}",
        )


def _check_defaults(defaults: object, where: str) -> None:
    for entry in defaults if isinstance(defaults, list) else [defaults]:
        texts = _texts(entry)
        for text in texts:
            if "hydra" in re.split(r"[ /@.]", text):
                raise TrustError(f"{where}: 'defaults: {text}' reaches Hydra's own configuration", _HINT)
            if ".." in text.split("/") or text.startswith("file:") or "://" in text:
                raise TrustError(f"{where}: 'defaults: {text}' leaves the configuration folders", _HINT)
            package = text.partition("@")[2]
            if package and not _STEP_PACKAGE.fullmatch(package):
                raise TrustError(f"{where}: 'defaults: {text}' puts it where a recipe may not write", _HINT)


def _texts(entry: object) -> list[str]:
    if isinstance(entry, dict):
        return [text for key, value in entry.items() for text in (str(key), *_texts(value))]
    if isinstance(entry, list):
        return [text for item in entry for text in _texts(item)]
    return [str(entry)]
