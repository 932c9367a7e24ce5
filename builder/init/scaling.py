"""How pixels may have been scaled in training: no ONNX file says it, labelled samples can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from builder.data.feeder import Feeder
from builder.data.preprocess import prepare
from builder.data.sample import Sample
from builder.measure.metrics import THRESHOLD
from builder.runtimes.onnxruntime import Session
from builder.specs import Data, DType, Model, Preprocess, Task

__all__ = ["Scaling", "scalings", "score"]

_BATCH = 8


@dataclass(frozen=True)
class Scaling:
    """A way to scale pixels: (value x scale - mean) / std."""

    words: str
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def apply(self, data: Data) -> Data:
        """Return the dataset with this scaling."""
        options = replace(data.preprocess, scale=self.scale, mean=list(self.mean), std=list(self.std))
        return replace(data, preprocess=options)


UNIT = Scaling("pixels from 0 to 1", 1 / 255)
SIGNED = Scaling("pixels from -1 to 1", 1 / 255, (0.5,), (0.5,))
# ImageNet's mean and deviation: torchvision.models, "The inference transforms are available at ..."; timm's default
IMAGENET = Scaling("ImageNet, as torchvision", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EFFICIENTNET_LITE = Scaling("(pixel - 127) / 128, as EfficientNet-Lite", 1 / 128, (127 / 128,))
RAW = Scaling("pixels from 0 to 255, as they are")


def scalings(options: Preprocess, sample: Sample) -> list[Scaling]:
    """Return the usual scalings for samples of this type, the likeliest first; one where none is to choose."""
    stored = "" if isinstance(sample.value, dict) else str(sample.value.dtype)
    if not options.dtype.startswith("float") or not stored.startswith("uint"):
        return [Scaling("the values as they are")]
    if stored != "uint8":
        return [replace(UNIT, scale=1 / (2 ** int(stored.removeprefix("uint")) - 1))]
    return [UNIT, SIGNED, *([IMAGENET] if options.channels == 3 else []), EFFICIENTNET_LITE, RAW]


def shaped(options: Preprocess, sample: Sample) -> Preprocess:
    """Return the part of a preprocessing that comes before scaling, so that it is done once for all that are tried."""
    stored = DType.FLOAT32 if isinstance(sample.value, dict) else DType(str(sample.value.dtype))
    return Preprocess(options.channels, options.resize, options.crop, dtype=stored)


def score(session: Session, model: Model, data: Data, scaling: Scaling, inputs: Sequence[Sample]) -> float:
    """Return how often the model is right on shaped samples. Raises DataError, ModelError."""
    import numpy as np

    rest = Preprocess(layout=data.preprocess.layout, dtype=data.preprocess.dtype)
    tuned = scaling.apply(replace(data, preprocess=rest))
    feeder = Feeder(session, model, tuned, _BATCH)
    ready = chain.from_iterable(prepare(sample, tuned) for sample in inputs)
    outputs = np.concatenate([feeder.rows(fed.outputs[0], len(fed.samples)) for fed in feeder.run(ready)])
    decisions = outputs.reshape(-1) >= THRESHOLD if model.task is Task.BINARY else outputs.argmax(axis=1)
    return float((decisions == np.array([sample.label for sample in inputs])).mean())
