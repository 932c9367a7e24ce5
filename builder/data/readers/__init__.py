"""The readers: one module for each way in which samples lie on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from builder.data.sample import Sample
from builder.specs import Data, Reader, Split

__all__ = ["ReaderModule", "reader_of"]


class ReaderModule(Protocol):
    """What a reader is: a module with these functions. Each raises DataError where the files are not as they should."""

    def files(self, data: Data, split: Split) -> list[Path]:
        """Return every file whose content matters, absolute and sorted, by means of the standard library only."""

    def count(self, data: Data, split: Split) -> int:
        """Return how many samples there are before the portion is taken; for progress, so it must be cheap."""

    def samples(self, data: Data, split: Split) -> Iterator[Sample]:
        """Yield the decoded samples of the portion, before preprocessing, holding few of them at a time."""


def reader_of(data: Data) -> ReaderModule:
    """Return what reads a dataset; the others are not imported, since every plan asks."""
    match data.reader:
        case Reader.IMAGE_FOLDER:
            from builder.data.readers import image_folder

            return image_folder
        case Reader.CSV:
            from builder.data.readers import csv_table

            return csv_table
        case Reader.NPZ:
            from builder.data.readers import npz

            return npz
        case Reader.IDX:
            from builder.data.readers import idx

            return idx
        case Reader.WAV_SEGMENTS:
            from builder.data.readers import wav_segments

            return wav_segments
        case Reader.TEXT_PAIRS:
            from builder.data.readers import text_pairs

            return text_pairs
