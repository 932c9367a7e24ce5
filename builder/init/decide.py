"""What the model and the data leave open, decided, and the reasons for the comments in the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from builder.data.dataset import expected_count, samples
from builder.data.feeds import predict
from builder.errors import BuilderError, DataError, ModelError
from builder.init.data import ALL, LOOK, Found
from builder.init.geometry import geometries
from builder.init.model import Inspected
from builder.init.roles import Roles, assign
from builder.init.scaling import Scaling, scalings, score
from builder.init.task import Meaning, interpret
from builder.runtimes.onnxruntime import Tensor
from builder.specs import Data, Model, Preprocess, Split, Task

__all__ = ["CALIBRATION", "Decision", "decide"]

CALIBRATION = 128  # samples; more change ranges little
_PLENTY = 2000  # samples from which on a tenth is enough to calibrate with
_EDGES = (0.3, 0.5, 0.2, 0.7, 0.1, 0.9, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Decision:
    """Everything that the files say."""

    model: Model
    data: Data
    roles: Roles
    meaning: Meaning
    scaling: Scaling
    others: list[Scaling]  # that are usual too
    tried: dict[str, float] = field(default_factory=dict)  # scaling -> top-1 accuracy, where labels allowed it
    calibration: int = 0  # samples to calibrate with
    test: int = 0  # samples to test on, about

    @property
    def ready(self) -> bool:
        return not self.roles.unfilled

    @property
    def guessing(self) -> bool:
        """No scaling is clearly better than drawing lots (three standard deviations of chance)."""
        count, chance = min(self.test, LOOK), 1 / max(self.meaning.scores or 1, 1)
        best = max(self.tried.values(), default=1.0)
        return bool(self.tried) and best < chance + 3 * (chance * (1 - chance) / max(count, 1)) ** 0.5


def decide(model: Inspected, found: Found, name: str) -> Decision:
    """Decide what can be decided, by running the model on the first samples.

    Raises ModelError or DataError where no preprocessing brings the samples to the model.
    """
    roles = assign(model, found)
    options, outputs = _geometry(model, found, roles, name)
    meaning = interpret(model.outputs[0], outputs, found)
    spec = Model(name, task=meaning.task, state=roles.state, shapes=_shapes(roles.tensor, found, options))
    data = replace(found.declared(), classes=meaning.classes, preprocess=options, input=roles.input)
    choices = scalings(options, found.samples[0]) if roles.tensor else [Scaling("the values as they are")]
    tried: dict[str, float] = {}
    if meaning.task is Task.CLASSIFICATION and meaning.labelled and len(choices) > 1 and not roles.unfilled:
        for choice in choices:
            tuned = replace(data, preprocess=choice.apply(options))
            tried[choice.words] = score(model.session, spec, tuned, found.tried)
    best = max(choices, key=lambda choice: tried.get(choice.words, 0.0))  # the first of equals
    data = replace(data, preprocess=best.apply(options))
    data, calibration, test = _divide(data, found)
    others = [choice for choice in choices if choice is not best]
    return Decision(spec, data, roles, meaning, best, others, tried, calibration, test)


def _geometry(
    model: Inspected, found: Found, roles: Roles, name: str
) -> tuple[Preprocess, tuple[int | None, ...] | None]:
    """Return the first preprocessing with which the model runs, and its output's shape for one sample."""
    if roles.tensor is None:
        return Preprocess(dtype=roles.dtype), _try(model, found, roles, Preprocess(dtype=roles.dtype), name)
    options = geometries(roles.tensor, found)
    if roles.unfilled:
        return options[0], None
    first: BuilderError | None = None
    for choice in options:
        try:
            return choice, _try(model, found, roles, choice, name)
        except (DataError, ModelError) as error:
            first = first or error
    assert first is not None
    raise first


def _try(model: Inspected, found: Found, roles: Roles, options: Preprocess, name: str) -> tuple[int, ...]:
    data = replace(found.declared(), preprocess=options, input=roles.input)
    spec = Model(name, state=roles.state)
    seen = predict(model.session, spec, data, found.tried, batch=1, limit=1)
    return seen.outputs.shape


def _shapes(tensor: Tensor | None, found: Found, options: Preprocess) -> dict[str, list[int]]:
    """Return the shape to use for an input that leaves more open than the batch."""
    if tensor is None or None not in tensor.shape[1:]:
        return {}
    from builder.data.preprocess import prepare

    data = replace(found.declared(), preprocess=options)
    first = next(prepare(found.samples[0], data)).value
    assert not isinstance(first, dict)
    whole = first.shape if first.ndim == len(tensor.shape) else (tensor.shape[0] or 1, *first.shape)
    return {tensor.name: [int(size) for size in whole]}


def _divide(data: Data, found: Found) -> tuple[Data, int, int]:
    """Return the data in two parts, how many samples to calibrate with, and about how many there are to test on."""
    if found.parted:
        return data, _count(data, "calibration"), expected_count(data, "test")
    part = data.splits[ALL]
    edges: Sequence[float] = _EDGES if found.count < _PLENTY else (0.1,)
    for edge in edges:
        low, high = replace(part, portion=[0.0, edge]), replace(part, portion=[edge, 1.0])
        divided = replace(data, splits={"calibration": low, "test": high})
        calibration = _count(divided, "calibration")
        if calibration and any(True for _ in samples(divided, "test")):
            whole = calibration < CALIBRATION  # all of them were counted
            return divided, calibration, found.count - calibration if whole else round(found.count * (1 - edge))
    raise DataError(
        f"--data: {found.count} samples cannot be divided into some to calibrate with and others to test on",
        "add samples; equal ones always fall on the same side",
    )


def _count(data: Data, part: str) -> int:
    return sum(1 for _ in islice(samples(data, part), CALIBRATION))


def split_words(split: Split) -> str:
    return split.path
