"""Texts, and how alike some pairs of them are: a table of pairs, or one text a line and a matrix of scores.

A .csv or .tsv names the columns first, second and score. Of any other file each line is a text, and `labels` is a file
with a square matrix of numbers: what stands above the diagonal counts, and `nan` is a pair that nobody scored.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.data.files import in_portion, locate, sample_and_label_files
from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, Split

__all__ = ["count", "files", "samples"]

_TABLES = {".csv": ",", ".tsv": "\t"}
_COLUMNS = ("first", "second", "score")


def files(data: Data, split: Split) -> list[Path]:
    return sample_and_label_files(data, split)


def count(data: Data, split: Split) -> int:
    return len(_read(data, split).texts)


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield each text once, as the bytes of its UTF-8; a pair stands at the text that comes first."""
    import numpy as np

    found = _read(data, split)
    for number, text in enumerate(found.texts):
        stored = text.encode()
        if in_portion(stored, split):
            scores = tuple((f"{split.path}#{other}", score) for other, score in found.pairs[number])
            yield Sample(f"{split.path}#{number}", np.frombuffer(stored, np.uint8), scores=scores)


@dataclass(frozen=True)
class _Texts:
    """Texts, and for each one those that it is compared with, by number, and the scores."""

    texts: list[str]
    pairs: list[list[tuple[int, float]]]


def _read(data: Data, split: Split) -> _Texts:
    path = locate(data, split.path, "file of texts")
    if path.suffix.lower() in _TABLES:
        return _from_table(data, path)
    texts = [line.removesuffix("\r") for line in _text(data, path).removesuffix("\n").split("\n")]
    if not split.labels:
        return _Texts(texts, [[] for _ in texts])
    scores = _matrix(data, locate(data, split.labels, "file of scores"), len(texts))
    return _Texts(texts, [_scored(row, at + 1) for at, row in enumerate(scores)])


def _scored(row: list[float], after: int) -> list[tuple[int, float]]:
    return [(other, row[other]) for other in range(after, len(row)) if not math.isnan(row[other])]


def _from_table(data: Data, path: Path) -> _Texts:
    rows = csv.DictReader(io.StringIO(_text(data, path), newline=""), delimiter=_TABLES[path.suffix.lower()])
    if not set(_COLUMNS) <= set(rows.fieldnames or ()):
        raise DataError(
            f"data '{data.name}': {path} has no columns {', '.join(_COLUMNS)}",
            hint=f"its first line must name them; it names {', '.join(rows.fieldnames or ()) or 'none'}",
        )
    found, numbers = _Texts([], []), dict[str, int]()
    for row in rows:
        first, second = (_number(found, numbers, row[column] or "") for column in _COLUMNS[:2])
        where = f"line {rows.line_num} of {path}"
        found.pairs[first].append((second, _score(data, row["score"] or "", where)))
    return found


def _number(found: _Texts, numbers: dict[str, int], text: str) -> int:
    """Return the number of a text; equal texts are one."""
    if text not in numbers:
        numbers[text] = len(found.texts)
        found.texts.append(text)
        found.pairs.append([])
    return numbers[text]


def _matrix(data: Data, path: Path, size: int) -> list[list[float]]:
    lines = [line for line in _text(data, path).splitlines() if line.strip()]
    rows = [
        [_score(data, word, f"line {at + 1} of {path}") for word in line.replace(",", " ").split()]
        for at, line in enumerate(lines)
    ]
    if len(rows) != size or any(len(row) != size for row in rows):
        raise DataError(
            f"data '{data.name}': {path} is no matrix of {size} x {size} numbers, one row for each text",
            hint=f"it has {len(rows)} rows of {min(map(len, rows), default=0)} to {max(map(len, rows), default=0)}",
        )
    return rows


def _score(data: Data, word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise DataError(f"data '{data.name}': the score '{word}' in {where} is no number") from None


def _text(data: Data, path: Path) -> str:
    try:
        return path.read_bytes().decode(data.encoding).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except LookupError:
        raise DataError(f"data '{data.name}': there is no encoding '{data.encoding}'", hint="such as utf-8") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data '{data.name}': {path} cannot be read as {data.encoding}: {error}",
            hint="set data.encoding to what it was written in, such as latin-1",
        ) from error
