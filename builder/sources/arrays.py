"""Arrays in a `.npz` file whose bytes are the same from every Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["write_arrays"]

_LARGE = 1 << 31  # what zip needs its 64-bit form for


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, for `numpy.load`.

    `numpy.savez` asks zipfile for the 64-bit form of every member, and its header is another one since Python 3.11.4.
    """
    from zipfile import ZipFile, ZipInfo

    from numpy.lib.format import write_array

    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = ZipInfo(f"{name}.npy")  # of 1980: no time gets in
            with archive.open(member, "w", force_zip64=array.nbytes >= _LARGE) as stream:
                write_array(stream, array, allow_pickle=False)
