"""Arrays are written with the same bytes by every Python, and read by numpy."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from builder.sources.arrays import write_arrays

# As Python 3.11.2, 3.11.7 and 3.13.0 write it, which `numpy.savez` does not do alike.
DIGEST = "9691e544b516ff0504486d3116655f3432c09f13d8779945efe6d9c65a8ed783"


def test_the_bytes_are_those_of_every_python(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"0/X": np.arange(100.0).reshape(10, 10), "0/label": np.arange(5, dtype="<i8")})

    assert sha256((tmp_path / "a.npz").read_bytes()).hexdigest() == DIGEST


def test_numpy_reads_them_back(tmp_path: Path) -> None:
    arrays = {"0/X": np.eye(3, dtype=np.float32), "words": np.array(["a", "bc"]), "none": np.zeros((0, 2))}
    write_arrays(tmp_path / "a.npz", arrays)

    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found.files == [*arrays]
        assert all(
            np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items()
        )
