"""The files as text."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.init.data import Found
from builder.init.decide import CALIBRATION, Decision
from builder.init.model import Inspected
from builder.init.scaling import Scaling
from builder.specs import Preprocess, Split, Task

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["describe_data", "paths", "render", "visible_text"]

_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ -]*|\.")
_WIDTH = 110
_FEW = 20
_MANY = 5000


class _Lines(str):
    """Text whose line breaks are meant."""

    __slots__ = ()


def paths(name: str) -> list[Path]:
    """Return the files that `init` writes, from the working directory."""
    return [
        Path(f"conf/model/{name}.yaml"),
        Path(f"conf/data/{name}.yaml"),
        Path(f"recipes/{name}.yaml"),
        Path(f"recipes/{name}_jetson.yaml"),
    ]


def render(name: str, model: Inspected, found: Found, decision: Decision) -> dict[Path, str]:
    """Return the text of each file."""
    context = _context(name, model, found, decision)
    templates = ("model.yaml", "data.yaml", "recipe.yaml", "jetson.yaml")
    return {
        path: _environment().get_template(template).render(context)
        for path, template in zip(paths(name), templates, strict=True)
    }


def visible_text(value: object) -> object:
    """Return text with everything that could end a comment or steer a terminal shown as an escape."""
    if not isinstance(value, str) or isinstance(value, _Lines) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)


def describe_data(found: Found) -> str:
    """Return what the data is, in a line."""
    if not found.images:
        return f"{found.count:,} samples in {', '.join(split.path for split in found.parts.values())}"
    suffixes = sorted({file.suffix.lower() for file in found.files} - {".csv"})
    what = "class folders" if found.reader.value == "image_folder" else "kinds of labels"
    classes = f"{len(found.classes)} {what}" if found.classes else "no class folders"
    return f"{found.count:,} images ({' '.join(suffixes)}), {classes}, {_sizes(found)}"


def _context(name: str, model: Inspected, found: Found, decision: Decision) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "found": found,
        "decision": decision,
        "spec": decision.model,
        "data": decision.data,
        "roles": decision.roles,
        "meaning": decision.meaning,
        "scaling": decision.scaling,
        "plain": Preprocess(),
        "path": _shown(model.path),
        "root": _shown(found.root),
        "size": size(model.bytes),
        "summary": describe_data(found),
        "sizes_words": _sizes(found),
        "sample_words": "a decoded image" if found.images else "a stored array",
        "input_words": f"the input {decision.roles.tensor.name}, {decision.roles.tensor.words}"
        if decision.roles.tensor
        else "the model's inputs",
        "calibration_words": _about(decision.calibration, CALIBRATION),
        "test_words": f"{decision.test:,}" if decision.calibration < CALIBRATION else f"about {decision.test:,}",
        "few": found.count < _FEW,
        "many": found.parted and found.count - decision.test > _MANY,
        "metric": "F1" if decision.meaning.task is Task.BINARY else "top-1",
        "calibration_comment": _calibration_comment(decision),
        "drop_comment": _drop_comment(decision),
        "size_limit": max(0.1, math.ceil(model.bytes / 2**20 * 0.4 * 10) / 10),
    }


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.2f} MB"


def _about(count: int, most: int) -> str:
    return f"{most} or more" if count >= most else str(count)


def _calibration_comment(decision: Decision) -> str:
    if decision.calibration < CALIBRATION:
        return f" # all that there are; {CALIBRATION} or more are usual"
    return " # the first of the calibration part; another number runs this step again"


def _drop_comment(decision: Decision) -> str:
    if decision.meaning.task is not Task.CLASSIFICATION or decision.test >= 200:
        return ""
    return f"; one sample of {decision.test} is {100 / max(decision.test, 1):.1f} points"


def _sizes(found: Found) -> str:
    """Return '28 x 28 pixels', or the commonest sizes."""
    shown = [f"{height} x {width}" for height, width in found.sizes]
    if not shown:
        return ""
    if len(shown) == 1:
        return f"{shown[0]} pixels"
    return f"of {len(shown)} sizes, most often {shown[0]} pixels (height x width)"


def _shown(path: Path) -> str:
    """Return a path relative to the working directory if it lies inside, else absolute."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links that the user chose
    inside = absolute.is_relative_to(Path.cwd())
    relative = absolute.relative_to(Path.cwd()) if inside else absolute
    return str(absolute if str(relative).startswith("~") else relative)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("builder.init"),
        autoescape=False,  # noqa: S701  it is YAML: the filter `yaml` quotes values, `finalize` keeps comments whole
        undefined=StrictUndefined,
        finalize=visible_text,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        yaml=_yaml, split=_split, scaling=_scaling, capitalized=lambda text: text[:1].upper() + text[1:]
    )
    return environment


def _yaml(value: Any) -> str:
    """Return a value as YAML in one line, a long list in several; `${` would be OmegaConf's interpolation."""
    import yaml

    if isinstance(value, list | tuple):
        return _list([_yaml(item) for item in value])
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value.replace("${", "\\${"), ensure_ascii=not value.isprintable())


def _list(items: Sequence[str]) -> str:
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{item},"
    text = "\n  ".join(lines).rstrip(",")
    return f"[{text}]" if len(lines) == 1 else _Lines(f"[\n  {text}\n]")


def _split(split: Split) -> str:
    parts = [f"path: {_yaml(split.path)}"] if split.path else []
    parts += [f"labels: {_yaml(split.labels)}"] if split.labels else []
    parts += [f"portion: {split.portion}"] if split.portion != [0.0, 1.0] else []
    return f"{{{', '.join(parts)}}}"


def _scaling(scaling: Scaling) -> str:
    parts = [f"scale: {scaling.scale}"] if scaling.scale != 1 else []
    parts += [f"mean: {_yaml(scaling.mean)}"] if scaling.mean else []
    parts += [f"std: {_yaml(scaling.std)}"] if scaling.std else []
    return f"{'   '.join(parts) or 'none of scale, mean and std'}   ({scaling.words})"
