"""What the model and the data leave open, decided, and the reasons for the comments in the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from builder.data.dataset import expected_count, samples
from builder.data.feeds import predict
from builder.data.preprocess import prepare
from builder.errors import BuilderError, DataError, ModelError
from builder.init.data import LOOK, Found
from builder.init.geometry import geometries
from builder.init.model import Inspected
from builder.init.place import ALL
from builder.init.roles import Roles, assign
from builder.init.scaling import Scaling, scalings, score, shaped
from builder.init.task import Meaning, interpret
from builder.specs import Data, Model, Preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CALIBRATION", "Decision", "decide"]

CALIBRATION = 128  # samples; more change ranges little
_TRIED = 16  # samples to see whether the model runs on them
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
    tried: dict[str, float]  # scaling -> top-1 accuracy, where labels allowed it
    looked: int  # samples that were tried
    calibration: int  # samples to calibrate with
    test: int  # samples to test on, about

    @property
    def ready(self) -> bool:
        return not self.roles.unfilled

    @property
    def guessing(self) -> bool:
        """No scaling is clearly better than drawing lots (three standard deviations of chance)."""
        chance = 1 / max(self.meaning.scores or 1, 2)  # one score is a yes or no
        best = max(self.tried.values(), default=1.0)
        return bool(best < chance + 3 * (chance * (1 - chance) / self.looked) ** 0.5)


def decide(model: Inspected, found: Found, name: str) -> Decision:
    """Decide what can be decided, by running the model on the first samples.

    Raises ModelError or DataError where no preprocessing brings the samples to the model.
    """
    roles = assign(model, found)
    options, outputs = _geometry(model, found, roles, name)
    meaning = interpret(model.outputs[0], outputs, found)
    spec = Model(name, task=meaning.task, state=roles.state, shapes=_shapes(model, found, roles, options))
    data = replace(found.declared(), classes=meaning.classes, preprocess=options, input=roles.input)
    choices = scalings(options, found.first)
    tried: dict[str, float] = {}
    if meaning.labelled and len(choices) > 1 and outputs is not None:
        once = replace(data, preprocess=shaped(options, found.first))
        inputs = list(islice(samples(once, found.tried), LOOK))
        tried = {each.words: score(model.session, spec, data, each, inputs) for each in choices}
    best = max(choices, key=lambda each: tried.get(each.words, 0.0))  # the first of equals
    divided, calibration, test = _divide(best.apply(data), found)
    others = [each for each in choices if each is not best]
    looked = len(found.labels)
    return Decision(spec, divided, roles, meaning, best, others, tried, looked, calibration, test)


def _geometry(model: Inspected, found: Found, roles: Roles, name: str) -> tuple[Preprocess, NDArray[Any] | None]:
    """Return the first preprocessing with which the model runs, and what it gave; None where it cannot run yet."""
    options = geometries(roles.tensor, found) if roles.tensor else [Preprocess()]
    if roles.unfilled:
        return options[0], None
    first: BuilderError | None = None
    for choice in options:
        data = replace(found.declared(), preprocess=choice, input=roles.input)
        spec = Model(name, state=roles.state)
        try:
            return choice, predict(model.session, spec, data, found.tried, batch=1, limit=_TRIED).outputs
        except (DataError, ModelError) as error:
            first = first or error
    assert first is not None
    raise first


def _shapes(model: Inspected, found: Found, roles: Roles, options: Preprocess) -> dict[str, list[int]]:
    """Return the shapes to use for inputs that take samples and leave more open than the batch."""
    first = next(prepare(found.first, replace(found.declared(), preprocess=options))).value
    arrays = first if isinstance(first, dict) else {roles.tensor.name: first} if roles.tensor else {}
    shapes = {}
    for tensor in model.inputs:
        if tensor.name in arrays and None in tensor.shape[1:]:
            have = arrays[tensor.name].shape
            whole = have if len(have) == len(tensor.shape) else (tensor.shape[0] or 1, *have)
            shapes[tensor.name] = [int(size) for size in whole]
    return shapes


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
