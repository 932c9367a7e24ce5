"""What there is in a folder or file of samples: how many, of which sizes, with which labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.data.dataset import expected_count, split_files
from builder.data.files import visible
from builder.data.images import EXTENSIONS
from builder.data.readers import reader_of
from builder.data.sample import Sample
from builder.errors import DataError, did_you_mean
from builder.init.place import KINDS, Place, find_place
from builder.specs import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LOOK", "Found", "find_data"]

LOOK = 64  # samples that are decoded, and tried
_SIZES = 2000  # images whose size is looked at


@dataclass(frozen=True, kw_only=True)
class Found(Place):
    """Data as it is, with nothing decided."""

    files: list[Path]
    count: int  # of samples, in all parts
    first: Sample  # decoded
    labels: list[int | float | None]  # of the first ones
    sizes: dict[tuple[int, int], int]  # (height, width) of images -> how many, the commonest first

    @property
    def images(self) -> bool:
        return self.reader in {Reader.IMAGE_FOLDER, Reader.CSV}


def find_data(path: Path, name: str) -> Found:
    """Tell how the samples in a folder or file are to be read, and read the first of them. Raises DataError."""
    if not path.exists():
        near = [each.name for each in visible(path.parent)] if path.parent.is_dir() else []
        raise DataError(f"--data: there is no {path}", did_you_mean(path.name, near) if near else "")
    try:
        found = _look(find_place(path, name))
    except OSError as error:
        raise DataError(f"--data: cannot read {error.filename or path}: {error.strerror}") from error
    if found is None:
        raise DataError(f"--data: there is no sample in {path}", f"put some there: {KINDS}")
    return found


def _look(place: Place) -> Found | None:
    data = place.declared()
    files = sorted({file for each in split_files(data, place.parts).values() for file in each})
    labels: list[int | float | None] = []
    shapes: Counter[tuple[int, int]] = Counter()
    first = None
    for sample in islice(reader_of(data).samples(data, place.parts[place.tried]), LOOK):
        first = first or sample
        labels.append(sample.label)
        shapes.update(_size(sample.value))
    if first is None:
        return None
    sizes = Counter(_image_sizes(files)) if place.reader in {Reader.IMAGE_FOLDER, Reader.CSV} else shapes
    return Found(
        **vars(place),
        files=files,
        count=sum(expected_count(data, part) for part in place.parts),
        first=first,
        labels=labels,
        sizes=dict(sizes.most_common()),
    )


def _size(value: NDArray[Any] | dict[str, NDArray[Any]]) -> list[tuple[int, int]]:
    return [(value.shape[0], value.shape[1])] if not isinstance(value, dict) and value.ndim in {2, 3} else []


def _image_sizes(files: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of images, of 2,000 at most, from their headers alone."""
    from PIL import Image

    images = [file for file in files if file.suffix.lower() in EXTENSIONS]
    for file in images[:: max(1, len(images) // _SIZES)]:
        try:
            with Image.open(file) as image:
                yield image.height, image.width
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file} cannot be read as an image: {error}", "the file is damaged or no image") from error
