"""What hashing a large file costs beside `hashlib.file_digest`, and copying it beside a copy that is hashed after."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.side_by_side import pairs
from builder.digest import copy_hashed, digest_file

pytestmark = pytest.mark.slow


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A file of 1 GiB in the page cache; it is gone after the test."""
    path = tmp_path / "large"
    write(path, mib=1024)
    yield path
    path.unlink()


def write(path: Path, mib: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
        os.fsync(file.fileno())


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def by_hashlib(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_file(large: Path, benchmark: Any) -> None:
    assert digest_file(large) == by_hashlib(large)

    pairs(
        benchmark,
        "SHA-256 of 1 GiB",
        lambda: timed(lambda: digest_file(large)),
        ("`hashlib.file_digest`", lambda: timed(lambda: by_hashlib(large))),
        rounds=8,
        bound=1.1,
    )


def test_a_copy(tmp_path: Path, benchmark: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "copy"
    write(source, mib=256)  # not more: what is timed is the processor's work, not the disk's

    def ours() -> float:
        target.unlink(missing_ok=True)
        return timed(lambda: copy_hashed(source, target))

    def theirs() -> float:
        target.unlink(missing_ok=True)
        return timed(lambda: (shutil.copyfile(source, target), by_hashlib(target)))

    what, name = "copy of 256 MiB, hashed on the way", "`shutil.copyfile`, then `hashlib.file_digest`"
    pairs(benchmark, what, ours, (name, theirs), rounds=16, bound=1.1)
