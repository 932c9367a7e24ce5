"""A dataset as everything else sees it: its splits, the files behind them, and their samples as model inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from builder.data.preprocess import prepare
from builder.data.readers import reader_of
from builder.data.sample import Sample
from builder.errors import DataError, did_you_mean
from builder.specs import Data, Reader, Split

__all__ = [
    "Sample",
    "check_no_overlap",
    "class_names",
    "expected_count",
    "in_words",
    "sample_digests",
    "samples",
    "split_files",
]


def split_files(data: Data, splits: Iterable[str]) -> dict[str, list[Path]]:
    """Return, for each split, every file whose content matters: absolute, sorted, by the standard library alone.

    Where a file lies below the root matters too (a folder is a class, and it decides the order of samples).
    Raises DataError for a split that is not declared, and where a file or folder is missing.
    """
    return {name: reader_of(data).files(data, _split(data, name)) for name in splits}


def samples(data: Data, split: str) -> Iterator[Sample]:
    """Yield the samples of a split, preprocessed, a few in memory at a time. Raises DataError on the way."""
    for decoded in reader_of(data).samples(data, _split(data, split)):
        if data.classes and isinstance(decoded.label, int) and not 0 <= decoded.label < len(data.classes):
            raise DataError(
                f"data '{data.name}': the label {decoded.label} of '{decoded.name}' is none of {len(data.classes)} "
                "classes, which are counted from 0"
            )
        yield from prepare(decoded, data)


def expected_count(data: Data, split: str) -> int:
    """Return about how many samples a split has, without reading them (a portion is estimated)."""
    part = _split(data, split)
    low, high = part.portion
    return round(reader_of(data).count(data, part) * (high - low))


def in_words(data: Data, split: str, count: int) -> str:
    """Say how many samples of a split were taken, such as '256 of 10,000'; '60' where these are all."""
    total, estimated = expected_count(data, split), _split(data, split).portion != [0, 1]
    return f"{count:,} of {'about ' if estimated else ''}{total:,}" if count < total else f"{count:,}"


def class_names(data: Data, split: str) -> list[str]:
    """Return the names of the classes in the order of their labels, or nothing where they have none."""
    if data.reader is not Reader.IMAGE_FOLDER:
        return data.classes
    from builder.data.readers import image_folder

    return image_folder.class_names(data, _split(data, split))


def sample_digests(data: Data, split: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each decoded sample and the SHA-256 of its values, shape and dtype.

    A sound counts as one sample, however many frames it is cut into: frames of silence are equal everywhere.
    """
    for sample in reader_of(data).samples(data, _split(data, split)):
        arrays = sample.value if isinstance(sample.value, dict) else {"": sample.value}
        digest = hashlib.sha256()
        for name in sorted(arrays):
            array = arrays[name]
            digest.update(f"{name}:{array.dtype.str}{array.shape}:".encode())
            digest.update(array.tobytes())
        yield sample.name, digest.hexdigest()


def check_no_overlap(data: Data, a: str = "calibration", b: str = "test") -> tuple[int, int]:
    """Return how many samples the two splits have, after checking that no decoded sample is in both.

    Raises DataError that names how many are shared and the first pair.
    """
    names: dict[str, str] = {}
    count_a = count_b = 0
    for name, digest in sample_digests(data, a):
        names.setdefault(digest, name)
        count_a += 1
    shared = []
    for name, digest in sample_digests(data, b):
        count_b += 1
        if digest in names:
            shared.append((names[digest], name))
    if shared:
        raise DataError(
            f"data '{data.name}': {len(shared)} samples of '{b}' are in '{a}' too, the first is '{shared[0][1]}' "
            f"('{shared[0][0]}' in '{a}')",
            hint="take them out of one of them; an accuracy measured on calibration samples says nothing",
        )
    return count_a, count_b


def _split(data: Data, name: str) -> Split:
    if name not in data.splits:
        raise DataError(f"data '{data.name}' has no split '{name}'", hint=did_you_mean(name, data.splits))
    return data.splits[name]
