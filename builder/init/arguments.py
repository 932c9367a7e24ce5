"""The command line of `init`, and the name that everything it writes goes by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.arguments import Arguments
from builder.errors import UsageError, did_you_mean
from builder.init.place import is_utf8

__all__ = ["Request", "parse"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_WORDS = {"false", "hydra", "n", "no", "null", "off", "on", "true", "unset", "y", "yes"}  # YAML and Hydra read them
_USAGE = "python -m builder init --model my.onnx --data ./images"


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    model: Path
    data: Path
    name: str
    force: bool


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the command line; return None where help was asked for and printed. Raises UsageError."""
    known = _parser().read(arguments)
    if known is None:
        return None
    for option in ("model", "data"):
        if not getattr(known, option):
            raise UsageError(f"init: --{option} is missing", f"write {_USAGE}")
    model = Path(known.model)
    _check_model(model)
    name = known.name if known.name is not None else name_of(model)
    return Request(model, Path(known.data), _checked(name), known.force)


def name_of(model: Path) -> str:
    """Return a file's name as small letters, digits, - and _: 'My Net (v2).onnx' -> 'my_net_v2'."""
    name = re.sub(r"[^a-z0-9_-]+", "_", model.stem.lower()).strip("_-")
    return name if name and _is_word(name) else f"model_{name}".rstrip("_")


def _parser() -> Arguments:
    parser = Arguments(
        "init",
        example=_USAGE,
        description="Look at an ONNX model and at data, and write conf/model/NAME.yaml, conf/data/NAME.yaml, "
        "recipes/NAME.yaml and recipes/NAME_jetson.yaml into this folder, ready to build.",
        epilog="Images lie in one folder for each class, or unlabelled in a single one; train/ and test/ are "
        "recognised. Or give an .npz or .npy, a .csv with the columns path,label, or IDX files.",
    )
    parser.add_argument("--model", metavar="FILE", help="the model, an ONNX file")
    parser.add_argument("--data", metavar="PATH", help="a folder of samples, or a file of them")
    parser.add_argument("--name", help="of the model, its data and the recipe; else from the model's file")
    parser.add_argument("--force", action="store_true", help="write over files that are there already")
    return parser


def _check_model(model: Path) -> None:
    if not is_utf8(str(model)):
        raise UsageError(f"--model: the name {str(model)!r} is not UTF-8", "give the file another name")
    if model.is_dir():
        inside = sorted(model.glob("*.onnx"))
        raise UsageError(f"--model: {model} is a folder", f"write --model {inside[0] if inside else 'FILE.onnx'}")
    if not model.is_file():
        near = [path.name for path in model.parent.glob("*.onnx")] if model.parent.is_dir() else []
        raise UsageError(f"--model: there is no file {model}", did_you_mean(model.name, near) if near else "")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name: expected small letters, digits, - and _, starting with a letter or digit, got '{name}'",
            f"write --name {name_of(Path(name + '.onnx'))}",
        )
    if not _is_word(name):
        raise UsageError(f"--name: '{name}' means something else on a command line", f"write --name model_{name}")
    return name


def _is_word(name: str) -> bool:
    """Tell whether YAML and Hydra read a name as text and not as a number, a truth value or nothing."""
    if name in _WORDS:
        return False
    for read in (float, lambda text: int(text, 0)):
        try:
            read(name)
        except ValueError:
            continue
        return False
    return True
