"""Runs an engine on the kit's inputs, call by call, and compares what comes out with what came out at home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder.device.driver import Feed
from builder.device.files import remove
from builder.device.kit import Given
from builder.device.stop import Failed
from builder.device.tensors import Distance, nbytes, unpack_values
from builder.device.work import Work

__all__ = ["compare", "distance", "feed_of", "run_calls"]

# How near an engine's outputs are to ONNX Runtime's, as signal to noise; a wrong engine is at 0 dB and below.
_LEAST_DB = {True: 10.0, False: 30.0}  # int8 is rounded at other places; TF32 and fp16 have ten bits


def run_calls(work: Work, engine: Path, calls: Path, total: int, told: Callable[[int], None]) -> None:
    """Run the first so many calls, each into a file of its own; what is there already is left out. Raises Failed."""
    missing = [index for index in range(total) if not _file(calls, index).exists()]
    for start in range(0, len(missing), work.driver.at_once):
        chosen = missing[start : start + work.driver.at_once]
        feeds = [feed_of(work.given, index, calls / f"in{index:06}") for index in chosen]
        passing = [_file(calls, index).with_suffix(".part") for index in chosen]
        work.driver.run(engine, feeds, work.tensors(), passing)
        for index, done in zip(chosen, passing):
            done.rename(_file(calls, index))
            remove(calls / f"in{index:06}")
        told(total - len(missing) + start + len(chosen))


def _file(calls: Path, index: int) -> Path:
    return calls / f"{index:06}.bin"


def feed_of(given: Given, index: int, folder: Path) -> Feed:
    """Write what one call takes into a folder, a file for each input, and return the files."""
    remove(folder)
    folder.mkdir(parents=True)
    feed = {}
    for number, tensor in enumerate(given.tensors("input")):
        file = feed[tensor["name"]] = (folder / f"{number}.bin").resolve()
        file.write_bytes(given.values(tensor, index))
    return feed


def compare(work: Work, calls: Path) -> dict[str, Any]:
    """Say how far the outputs of calls are from the expected ones; see `distance`."""
    near = distance(work, calls)
    return {"snr_db": None if near.snr_db is None else round(near.snr_db, 3), "max_abs_difference": near.max_abs}


def distance(work: Work, calls: Path) -> Distance:
    """Compare the outputs of calls with the expected ones. Raises Failed where the engine computes something else."""
    near = Distance()
    for index, file in enumerate(sorted(calls.glob("*.bin"))):
        content, start = file.read_bytes(), 0
        for tensor in work.given.tensors("expected"):
            dtype, found = tensor["dtype"], content[start : start + nbytes(tensor)]
            start += nbytes(tensor)
            mine, right = unpack_values(found, dtype), unpack_values(work.given.values(tensor, index), dtype)
            near.add(mine, right, tensor["shape"])
    least, snr_db = _LEAST_DB["int8" in work.kit.models["candidate"]["precisions"]], near.snr_db
    if not near.finite:
        raise Failed("the engine computes something else: some outputs are infinite or no numbers")
    if snr_db is not None and snr_db < least:
        raise Failed(
            f"the engine computes something else: its outputs are {snr_db:.1f} dB from those of ONNX Runtime, and "
            f"rounding keeps {least:g} dB and more"
        )
    return near
