"""What a device is given to run and to compare with: real inputs as raw numbers, and ONNX Runtime's outputs of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Self

from builder.errors import DataError, ModelError
from builder.outcomes import Reproducible
from builder.override import override
from builder.step import Job, Kind, Result, Step

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from builder.runtimes.onnxruntime import Session

    Feed = dict[str, NDArray[Any]]

__all__ = ["SAMPLES", "Options", "tensors"]

SAMPLES = 256  # trtexec takes seconds for each call
_MADE_UP = 4  # calls, where there is no data


@dataclass
class Options:
    split: str = "test"  # as evaluate's
    samples: int = SAMPLES  # the first so many
    profiles: dict[str, Any] = field(default_factory=dict)  # as compile's: a call has the shape `opt`
    batch: int = 1  # as benchmark's, where nothing else says how many samples are in a call
    seed: int = 0  # of the first call's inputs, where there is no data

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples is at least 1, got {self.samples}")


def _write(options: Options, job: Job) -> Result:
    """Write the inputs of some samples and what both models make of them. Raises DataError, ModelError, StepError.

    A model with state gets the state that the source model had, so that every sample can be compared alone.
    """
    from builder.data.dataset import in_words
    from builder.runtimes.onnxruntime import Session

    models = {role: Session(job.inputs[port] / "model.onnx") for role, port in _ROLES.items()}
    shapes = _shapes(options, job, models["reference"])
    with _Files(job.folder("tensors")) as files:
        rows = calls = 0
        for count, batched, feed in _feeds(options, job, models["reference"], shapes):
            files.add("input", feed, batched)
            for role, session in models.items():
                names = (tensor.name for tensor in session.outputs)
                files.add(role, dict(zip(names, session.run(feed), strict=True)), batched)
            rows, calls = rows + count, calls + 1
            job.progress(rows, max(options.samples, rows), "samples")
        document = {
            "schema": 1,
            "split": options.split if job.data else None,
            "samples": rows,
            "calls": calls,
            "batch": _batch(job, shapes),
            "tensors": files.described(),
        }
    text = json.dumps(document, sort_keys=True, indent=1) + "\n"
    (job.folder("tensors") / "tensors.json").write_text(text, encoding="utf-8")
    shown = in_words(job.data, options.split, rows) if job.data else f"{rows:,}"
    return Result({"samples": shown, "batch": str(document["batch"]), "size": f"{files.bytes / 2**20:.1f} MiB"})


_ROLES = {"expected": "model", "reference": "reference"}  # what an output is to the device: its port


def _shapes(options: Options, job: Job, session: Session) -> dict[str, list[int]]:
    """Return the shape that each input has in one call: what the engine is fastest at."""
    from builder.onnxtools.files import load
    from builder.onnxtools.profiles import find_profiles

    found = find_profiles(load(job.inputs["reference"]), options.profiles, job.model.shapes)
    shapes = {t.name: found[t.name]["opt"] if t.name in found else [n or 1 for n in t.shape] for t in session.inputs}
    free = [t for t in session.inputs if t.name not in job.model.constants]
    taking = [t.name for t in free if t.shape and t.shape[0] is None and shapes[t.name][0] == 1]
    if options.batch > 1 and not taking:
        raise ModelError(f"batch={options.batch}: no input has an open dimension for it", "use batch=1")
    return shapes | {name: [options.batch, *shapes[name][1:]] for name in taking}


def _batch(job: Job, shapes: Mapping[str, list[int]]) -> int:
    if job.model.state:
        return 1
    free = [shape for name, shape in shapes.items() if name not in job.model.constants]
    return next((shape[0] for shape in free if shape), 1)


def _feeds(
    options: Options, job: Job, session: Session, shapes: Mapping[str, list[int]]
) -> Iterator[tuple[int, bool, Feed]]:
    """Yield the inputs of each call, how many samples are in them, and whether its first axis counts these."""
    if job.data is None:
        yield from _made_up(job, session, shapes, options.seed)
        return
    from builder.data.dataset import samples
    from builder.data.feeder import Feeder

    feeder = Feeder(session, job.model, job.data, _batch(job, shapes))
    found = False
    for fed in feeder.run(islice(samples(job.data, options.split), options.samples)):
        found = True
        arrays = fed.samples[0].value
        array = next(iter(arrays.values())) if isinstance(arrays, dict) else arrays
        name = next(iter(arrays)) if isinstance(arrays, dict) else _takes_samples(job, session)
        batched = array.ndim < len(shapes[name])
        feed = {key: _filled(key, value, shapes[key], options) for key, value in fed.feed.items()}
        yield len(fed.samples), batched, feed
    if not found:
        raise DataError(f"data '{job.data.name}': the split '{options.split}' has no samples")


def _takes_samples(job: Job, session: Session) -> str:
    """Return the input that a sample of one array goes to; that there is one, the feeder has seen."""
    named = job.data.input if job.data else ""
    free = (t.name for t in session.inputs if t.name not in job.model.constants and t.name not in job.model.state)
    return named or next(free)


def _made_up(
    job: Job, session: Session, shapes: Mapping[str, list[int]], first: int
) -> Iterator[tuple[int, bool, Feed]]:
    from builder.runtimes.inputs import made_up

    declared, model = dict(shapes), job.model
    for seed in range(first, first + _MADE_UP):
        feed = made_up(session.inputs, shapes=declared, constants=model.constants, states=model.state, seed=seed)
        yield 1, False, feed


def _filled(name: str, array: NDArray[Any], shape: list[int], options: Options) -> NDArray[Any]:
    """Return an input in the shape of a call: the last batch is filled up with its last sample."""
    import numpy as np

    if array.ndim and list(array.shape[1:]) == shape[1:] and 0 < array.shape[0] < shape[0]:
        array = np.concatenate([array, *[array[-1:]] * (shape[0] - array.shape[0])])
    if list(array.shape) != shape:
        raise DataError(
            f"a sample gives input '{name}' the shape {list(array.shape)}, and the engine takes {shape}",
            f"say what it shall take: {_setting(name, [*array.shape], shape, options)}",
        )
    return array


def _setting(name: str, wanted: list[int], shape: list[int], options: Options) -> str:
    """Return what makes a call large enough for a sample: a profile where there is one, else the input's shape."""
    if len(wanted) == len(shape):
        wanted[:1] = [max(pair) for pair in zip(wanted[:1], shape[:1], strict=True)]  # the batch may not be full
    given = options.profiles.get(name)
    if not given:
        return override("model.shapes", name, wanted)
    fits = len(given["min"]) == len(wanted)
    low, high = (given["min"], given["max"]) if fits else (wanted, wanted)
    ends = {"min": [*map(min, low, wanted)], "opt": wanted, "max": [*map(max, high, wanted)]}
    return override("steps.compile.profiles", name, ends)


class _Files:
    """Numbers of many calls, one file for each tensor: little-endian, call after call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._about: dict[tuple[str, str], dict[str, Any]] = {}
        self._open: dict[tuple[str, str], IO[bytes]] = {}
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def add(self, role: str, arrays: Mapping[str, NDArray[Any]], batched: bool) -> None:
        """Append one call's tensors. Raises ModelError where one has another shape than at the call before."""
        for index, (name, array) in enumerate(arrays.items()):
            about: dict[str, Any] = {"name": name, "role": role, "dtype": str(array.dtype), "shape": list(array.shape)}
            about["batched"] = bool(array.ndim and (batched or array.shape[0] == 1))
            known = self._about.setdefault((role, name), {**about, "file": f"{role}/{index}.bin"})
            if known["shape"] != about["shape"]:
                raise ModelError(f"'{name}' is of shape {known['shape']} for one sample, {about['shape']} for another")
            raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            self.bytes += self._file(role, name, known["file"]).write(raw)

    def described(self) -> list[dict[str, Any]]:
        return list(self._about.values())

    def _file(self, role: str, name: str, path: str) -> IO[bytes]:
        if (role, name) not in self._open:
            (self._folder / role).mkdir(exist_ok=True)
            self._open[role, name] = (self._folder / path).open("wb")
        return self._open[role, name]


tensors = Step(
    name="tensors",
    options=Options,
    run=_write,
    rank=79,
    inputs={"model": Kind.ONNX, "reference": Kind.ONNX},
    from_source=("reference",),
    outputs={"tensors": Kind.TENSORS},
    reproducible=Reproducible.PER_CPU,
    packages=("onnxruntime", "numpy", "onnx", "pillow"),
    model_facts=("constants", "state", "shapes"),
    splits=lambda options: (f"{options.split}?",),
    summary="Write real inputs and reference outputs as raw numbers, for a device.",
)
