"""How samples lie in a folder or file, told from the names that are there."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.data.files import visible
from builder.data.images import EXTENSIONS
from builder.errors import DataError
from builder.report.format import is_number
from builder.specs import Data, Reader, Split

__all__ = ["ALL", "KINDS", "Place", "find_place", "is_utf8"]

ALL = "all"  # the one part of data that is not divided yet
KINDS = f"images ({' '.join(sorted(EXTENSIONS))}), .npz, .npy, .csv with the columns path,label, or IDX files"
_CALIBRATION = ("calibration", "calib", "training", "train")
_TEST = ("testing", "test", "t10k", "validation", "valid", "val")


@dataclass(frozen=True)
class Place:
    """Where samples lie and how they are read; `parts` holds `all`, or `calibration` and `test`."""

    reader: Reader
    root: Path
    parts: dict[str, Split]
    name: str
    classes: list[str] = field(default_factory=list)  # folders, or words in a table; sorted

    @property
    def parted(self) -> bool:
        return ALL not in self.parts

    @property
    def tried(self) -> str:
        """The part whose samples are looked at and tried."""
        return "test" if self.parted else ALL

    def declared(self) -> Data:
        """Return the dataset with no preprocessing."""
        return Data(self.name, self.reader, str(self.root.absolute()), splits=self.parts, classes=self.classes)


def find_place(path: Path, name: str) -> Place:
    """Tell how the samples in a folder or file are to be read. Raises DataError."""
    place = _folder(path, name) if path.is_dir() else _file(path, name)
    for text in (str(place.root), *place.classes):
        if not is_utf8(text):
            raise DataError(f"--data: the name {text!r} is not UTF-8", "give the folder another name")
    return place


def is_utf8(text: str) -> bool:
    """Tell whether a file name can be written into a text file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folder(folder: Path, name: str) -> Place:
    entries = visible(folder)
    if not entries:
        raise DataError(f"--data: {folder} is empty", f"put samples into it: {KINDS}")
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if not entry.is_dir()]
    arrays = [file for file in files if file.suffix in {".npz", ".npy"}]
    idx = [file for file in files if "idx" in file.name and "labels" not in file.name]
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    _refuse_sound(files)
    if idx:
        return Place(Reader.IDX, folder, _idx_parts(idx), name)
    if arrays and not folders:
        return Place(Reader.NPZ, folder, _file_parts(arrays), name)
    if len(tables) == 1 and not [file for file in files if file.suffix.lower() not in {*EXTENSIONS, ".csv"}]:
        return _file(tables[0], name)
    if len(folders) == 1 and not files:
        return _folder(folders[0], name)
    parts = _folder_parts(folders) if not files else {}
    below = [folder / part.path for part in parts.values()] or [folder]
    classes = sorted({entry.name for each in below for entry in visible(each) if entry.is_dir()})
    return Place(Reader.IMAGE_FOLDER, folder, parts or {ALL: Split()}, name, _by_number(classes))


def _file(file: Path, name: str) -> Place:
    _refuse_sound([file])
    if "idx" in file.name:
        return Place(Reader.IDX, file.parent, {ALL: _idx_split(file)}, name)
    if file.suffix in {".npz", ".npy"}:
        return Place(Reader.NPZ, file.parent, {ALL: Split(file.name)}, name)
    if file.suffix.lower() == ".csv":
        return Place(Reader.CSV, file.parent, {ALL: Split(file.name)}, name, _words(file))
    if file.suffix.lower() in EXTENSIONS:
        raise DataError(f"--data: {file} is one image", f"give the folder: --data {file.parent}")
    raise DataError(f"--data: nothing says how {file} is to be read", f"what can be read: {KINDS}")


def _refuse_sound(files: Sequence[Path]) -> None:
    if any(file.suffix.lower() == ".wav" for file in files):
        raise DataError(
            f"--data: {files[0].parent} holds recordings, and no file tells how a model wants them cut into frames",
            "write conf/data/NAME.yaml by hand with reader: wav_segments, frame and sample_rate_hz",
        )


def _folder_parts(folders: Sequence[Path]) -> dict[str, Split]:
    """Recognise train/ and test/; of test/ and val/ the one that has classes."""
    labelled_first = sorted(folders, key=lambda folder: not any(entry.is_dir() for entry in visible(folder)))
    return _two_parts({path.name: Split(path.name) for path in labelled_first}, exact=True)


def _file_parts(files: Sequence[Path]) -> dict[str, Split]:
    if len(files) == 1:
        return {ALL: Split(files[0].name)}
    parts = _two_parts({path.stem: Split(path.name) for path in files}, exact=False)
    if not parts:
        names = ", ".join(path.name for path in files[:4])
        raise DataError(f"--data: which is the data: {names}?", f"name it: --data {files[0]}")
    return parts


def _idx_parts(files: Sequence[Path]) -> dict[str, Split]:
    splits = {path.name: _idx_split(path) for path in files}
    if len(splits) == 1:
        return {ALL: next(iter(splits.values()))}
    parts = _two_parts(splits, exact=False)
    if not parts:
        raise DataError(f"--data: which is the data: {', '.join(splits)}?", f"name it: --data {files[0]}")
    return parts


def _idx_split(path: Path) -> Split:
    labels = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = labels != path.name and (path.parent / labels).is_file()
    return Split(path.name, labels if beside else "")


def _two_parts(splits: dict[str, Split], *, exact: bool) -> dict[str, Split]:
    """Return the parts for calibration and test by their names, or nothing where they are not these two."""

    def one(words: Sequence[str]) -> Split | None:
        for name, split in splits.items():
            low = name.lower()
            if low in words or (not exact and any(word in low for word in words)):
                return split
        return None

    calibration, test = one(_CALIBRATION), one(_TEST)
    if calibration is None or test is None or calibration is test:
        return {}
    return {"calibration": calibration, "test": test}


def _by_number(names: list[str]) -> list[str]:
    """Return class folders in the order of their numbers, where they are numbers."""
    return sorted(names, key=int) if names and all(name.isdecimal() for name in names) else names


def _words(table: Path) -> list[str]:
    """Return the labels of a table where they are words; the reader wants to know them beforehand."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            labels = {(row.get("label") or "").strip() for row in csv.DictReader(stream)} - {""}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--data: {table} cannot be read as CSV: {error}") from error
    return [] if all(is_number(label) for label in labels) else sorted(labels)
