"""Where the bytes of two files differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ByteDifference", "byte_difference"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ByteDifference:
    """How two files differ: the first offset, how many bytes, and the sizes of both, all in bytes.

    `count` compares offset by offset; where one file is longer, its surplus counts too. A byte that was inserted
    shifts all that follow it, so read `count` as an upper bound of what changed.
    """

    offset: int
    count: int
    sizes: tuple[int, int]


def byte_difference(first: Path, second: Path) -> ByteDifference | None:
    """Return how two files differ, or None where they hold the same bytes.

    Both are read once, in pieces. Raises OSError.
    """
    import numpy as np

    sizes = (first.stat().st_size, second.stat().st_size)
    common, offset, count, position = min(sizes), None, 0, 0
    with first.open("rb") as one, second.open("rb") as two:
        while position < common:
            length = min(_CHUNK, common - position)
            left, right = one.read(length), two.read(length)
            if left != right:
                unequal = np.frombuffer(left, np.uint8) != np.frombuffer(right, np.uint8)
                count += int(np.count_nonzero(unequal))
                offset = position + int(unequal.argmax()) if offset is None else offset
            position += length
    count += abs(sizes[0] - sizes[1])
    return ByteDifference(common if offset is None else offset, count, sizes) if count else None
