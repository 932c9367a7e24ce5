"""Images listed in a CSV file with the columns `path` (from the root) and, if they are labelled, `label`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from builder.data.files import in_portion, locate, relative, take_turns
from builder.data.images import check_extension, decode
from builder.data.sample import Sample
from builder.errors import DataError, did_you_mean
from builder.specs import Data, Split

__all__ = ["count", "files", "samples"]


def files(data: Data, split: Split) -> list[Path]:
    return sorted({_table(data, split), *(path for path, _ in _rows(data, split))})


def count(data: Data, split: Split) -> int:
    return len(_rows(data, split))


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield the images; labels take turns, so that the first N hold every label that has come up."""
    groups: dict[int | float | None, list[tuple[Path, int | float | None]]] = {}
    for path, label in _rows(data, split):
        groups.setdefault(label, []).append((path, label))
    for path, label in take_turns(groups.values()):
        stored = path.read_bytes()
        if in_portion(stored, split):
            yield Sample(relative(data, path), decode(stored, path), label)


def _table(data: Data, split: Split) -> Path:
    return locate(data, split.path, "CSV file")


def _rows(data: Data, split: Split) -> list[tuple[Path, int | float | None]]:
    table = _table(data, split)
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = rows.fieldnames or []
            if "path" not in columns:
                raise DataError(
                    f"data '{data.name}': {table} has no column 'path'",
                    hint=f"its first line must name the columns path,label; it names {','.join(columns) or 'none'}",
                )
            return [_row(data, table, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data '{data.name}': {table} cannot be read as CSV: {error}") from error


def _row(data: Data, table: Path, line: int, row: dict[str, str | None]) -> tuple[Path, int | float | None]:
    path = locate(data, row["path"] or "", f"file (line {line} of {table.name})")
    if not path.is_file():
        raise DataError(f"data '{data.name}': line {line} of {table} names no file")
    check_extension(data, path)
    return path, _label(data, (row.get("label") or "").strip(), f"line {line} of {table}")


def _label(data: Data, word: str, where: str) -> int | float | None:
    if not word:
        return None
    if word in data.classes:
        return data.classes.index(word)
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        hint = did_you_mean(word, data.classes) if data.classes else "list the names of the classes under data.classes"
        raise DataError(f"data '{data.name}': the label '{word}' in {where} is no class", hint=hint) from None
