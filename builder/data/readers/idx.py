"""IDX files, plain or gzipped: the format of MNIST (http://yann.lecun.com/exdb/mnist, "the IDX file format")."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from builder.data.files import in_portion, locate, sample_and_label_files
from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count", "files", "samples"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class _Header:
    dtype: str
    shape: tuple[int, ...]


def files(data: Data, split: Split) -> list[Path]:
    return sample_and_label_files(data, split)


def count(data: Data, split: Split) -> int:
    path = locate(data, split.path, "file")
    with _open(data, path) as stream:
        return _header(data, path, stream).shape[0]


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield the samples in order, one read from the file at a time, in this machine's byte order."""
    import numpy as np

    path = locate(data, split.path, "file")
    labels = _labels(data, split)
    with _open(data, path) as stream:
        header = _header(data, path, stream)
        if labels is not None and len(labels) != header.shape[0]:
            raise DataError(
                f"data '{data.name}': {header.shape[0]} samples in {split.path}, {len(labels)} labels in {split.labels}"
            )
        dtype = np.dtype(header.dtype)
        size = math.prod(header.shape[1:]) * dtype.itemsize
        for index in range(header.shape[0]):
            stored = _take(data, path, stream, size)
            if in_portion(stored, split):
                value = np.frombuffer(stored, dtype).reshape(header.shape[1:]).astype(dtype.newbyteorder("="))
                yield Sample(f"{split.path}#{index}", value, None if labels is None else labels[index].item())
        _end(data, path, stream)


def _labels(data: Data, split: Split) -> NDArray[Any] | None:
    import numpy as np

    if not split.labels:
        return None
    path = locate(data, split.labels, "file of labels")
    with _open(data, path) as stream:
        header = _header(data, path, stream)
        if len(header.shape) != 1:
            raise DataError(f"data '{data.name}': the labels in {path} have {len(header.shape)} axes, expected 1")
        dtype = np.dtype(header.dtype)
        labels = np.frombuffer(_take(data, path, stream, header.shape[0] * dtype.itemsize), dtype)
        _end(data, path, stream)
        return labels


@contextmanager
def _open(data: Data, path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            yield gzip.GzipFile(fileobj=plain) if zipped else plain  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"data '{data.name}': {path} cannot be read: {error}") from error


def _header(data: Data, path: Path, stream: IO[bytes]) -> _Header:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != bytes(2) or magic[2] not in _DTYPES or magic[3] == 0:
        raise DataError(f"data '{data.name}': {path} is no IDX file: it begins with 0x{magic.hex()}")
    return _Header(_DTYPES[magic[2]], struct.unpack(f">{magic[3]}I", _take(data, path, stream, 4 * magic[3])))


def _take(data: Data, path: Path, stream: IO[bytes], size: int) -> bytes:
    taken = stream.read(size)
    if len(taken) < size:
        raise DataError(f"data '{data.name}': {path} is cut short: {size} bytes expected, {len(taken)} there")
    return taken


def _end(data: Data, path: Path, stream: IO[bytes]) -> None:
    if stream.read(1):
        raise DataError(f"data '{data.name}': {path} goes on after the last sample that its header announces")
