"""Images in a folder; its sub-folders are the classes, or the names of the files tell them, or there are none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from builder.data.files import in_portion, locate, relative, take_turns, visible
from builder.data.images import check_extension, decode
from builder.data.sample import Sample
from builder.errors import DataError, did_you_mean
from builder.specs import Data, Split

__all__ = ["class_names", "count", "files", "samples"]


def files(data: Data, split: Split) -> list[Path]:
    return sorted(path for path, _ in _images(data, split))


def count(data: Data, split: Split) -> int:
    return len(_images(data, split))


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield the images; classes take turns, so that the first N hold every class."""
    for path, label in _images(data, split):
        stored = path.read_bytes()
        if in_portion(stored, split):
            yield Sample(relative(data, path), decode(stored, path), label)


def class_names(data: Data, split: Split) -> list[str]:
    """Return the classes in the order of their labels: as declared, or the sub-folders' names sorted."""
    if data.label_pattern:
        return data.classes
    found = [path.name for path in visible(_folder(data, split)) if path.is_dir()]
    for name in found if data.classes else ():
        if name not in data.classes:
            raise DataError(
                f"data '{data.name}': the folder '{name}' in {split.path or '.'} is no class",
                hint=did_you_mean(name, data.classes),
            )
    if not data.classes and all(name.isdecimal() for name in found) and found != sorted(found, key=int):
        raise DataError(
            f"data '{data.name}': are the class folders {', '.join(found[:4])}, … labelled by number or by this order?",
            hint="list them under data.classes in the order of the model's outputs",
        )
    return data.classes if data.classes and found else found


def _folder(data: Data, split: Split) -> Path:
    folder = locate(data, split.path, "folder")
    if not folder.is_dir():
        raise DataError(f"data '{data.name}': {folder} is a file", hint="image_folder reads a folder")
    return folder


def _images(data: Data, split: Split) -> list[tuple[Path, int | None]]:
    folder = _folder(data, split)
    if data.label_pattern:
        return [(path, _label(data, path)) for path in _below(data, folder)]
    classes = class_names(data, split)
    if not classes:
        return [(path, None) for path in _below(data, folder)]
    loose = [path for path in visible(folder) if not path.is_dir()]
    if loose:
        raise DataError(
            f"data '{data.name}': {loose[0]} lies beside the class folders", hint="move it into one of them, or away"
        )
    labelled: list[list[tuple[Path, int | None]]] = [
        [(path, label) for path in _below(data, folder / name)]
        for label, name in enumerate(classes)
        if (folder / name).is_dir()
    ]
    return list(take_turns(labelled))


def _label(data: Data, path: Path) -> int:
    """Return the class that a file's name tells, by name or by number."""
    found = re.search(data.label_pattern, path.stem)
    word = (found[1] if found else "") or ""
    if word in data.classes:
        return data.classes.index(word)
    if not word.isdecimal():
        raise DataError(
            f"data '{data.name}': {path.name} has no label where label_pattern '{data.label_pattern}' looks for it",
            hint=did_you_mean(word, data.classes) if word else "move it away, or mend data.label_pattern",
        )
    return int(word)


def _below(data: Data, folder: Path) -> list[Path]:
    """Return the images at any depth, sorted."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    for path in found:
        check_extension(data, path)
    return sorted(found)
