"""Runs all samples of a kit on the device, and keeps what came out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from builder.device.calls import compare, run_calls
from builder.device.files import write_json
from builder.device.kit import Given
from builder.device.tensors import nbytes
from builder.device.work import Work

__all__ = ["evaluate"]

_EVERY_S = 5  # of what is said on the way


def evaluate(work: Work, name: str, part: Path) -> dict[str, Any]:
    """Run every sample that the action is given; what was run before a break is not run again. Raises Failed."""
    given, total = work.given, work.given.calls
    calls = work.journal.continued(name, work.used)
    began, before = time.monotonic(), len(list(calls.glob("*.bin")))
    told_at = began
    work.say(f"{name}: {before} of {total} calls were run before" if before else f"{name}: runs {total} calls")

    def told(done: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if done == total or now - told_at >= _EVERY_S:
            told_at, left = now, (now - began) / (done - before) * (total - done)
            work.say(f"{name}: {done} of {total} calls, about {math.ceil(left)} s left")

    run_calls(work, work.engine, calls, total, told)
    near = compare(work, calls)
    count = len(given.tensors("expected"))
    tensors = [_joined(given, calls, index, part / "predictions") for index in range(count)]
    document = {"schema": 1, "split": given.split, "samples": given.samples, "tensors": tensors}
    write_json(part / "predictions" / "tensors.json", document)
    return {"samples": given.samples, "driver": work.driver.name, **near}


def _joined(given: Given, calls: Path, index: int, folder: Path) -> dict[str, Any]:
    """Write one output of all calls, without what filled up the last, and return what it is."""
    outputs, samples = given.tensors("expected"), given.samples
    tensor, start = outputs[index], sum(nbytes(each) for each in outputs[:index])
    batch = tensor["shape"][0] if tensor["batched"] else 1
    left = samples * nbytes(tensor) // batch
    file = folder / "outputs" / f"{index}.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        for call in sorted(calls.glob("*.bin")):
            left -= out.write(call.read_bytes()[start : start + nbytes(tensor)][:left])
    shape = [samples, *tensor["shape"][1 if tensor["batched"] else 0 :]]
    about = {"name": tensor["name"], "role": "output", "dtype": tensor["dtype"]}
    return {**about, "shape": shape, "file": f"outputs/{index}.bin"}
