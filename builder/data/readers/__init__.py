"""The readers: one module for each way in which samples lie on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from builder.data.readers import csv_table, idx, image_folder, npz, wav_segments
from builder.data.sample import Sample
from builder.specs import Data, Reader, Split

__all__ = ["READERS", "ReaderModule"]


class ReaderModule(Protocol):
    """What a reader is: a module with these functions. Each raises DataError where the files are not as they should."""

    def files(self, data: Data, split: Split) -> list[Path]:
        """Return every file whose content matters, absolute and sorted, by means of the standard library only."""

    def count(self, data: Data, split: Split) -> int:
        """Return how many samples there are before the portion is taken; for progress, so it must be cheap."""

    def samples(self, data: Data, split: Split) -> Iterator[Sample]:
        """Yield the decoded samples of the portion, before preprocessing, holding few of them at a time."""


READERS: dict[Reader, ReaderModule] = {
    Reader.IMAGE_FOLDER: image_folder,
    Reader.CSV: csv_table,
    Reader.NPZ: npz,
    Reader.IDX: idx,
    Reader.WAV_SEGMENTS: wav_segments,
}
