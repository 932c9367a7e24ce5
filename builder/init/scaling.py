"""How pixels may have been scaled in training: no ONNX file says it, labelled samples can tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from builder.data.feeds import predict
from builder.data.sample import Sample
from builder.init.data import LOOK
from builder.runtimes.onnxruntime import Session
from builder.specs import Data, Model, Preprocess

__all__ = ["Scaling", "score", "scalings"]

_BATCH = 8


@dataclass(frozen=True)
class Scaling:
    """A way to scale pixels: (value x scale - mean) / std."""

    words: str
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def apply(self, options: Preprocess) -> Preprocess:
        return replace(options, scale=self.scale, mean=list(self.mean), std=list(self.std))


UNIT = Scaling("pixels from 0 to 1", 1 / 255)
SIGNED = Scaling("pixels from -1 to 1", 1 / 255, (0.5,), (0.5,))
# ImageNet's mean and deviation: torchvision.models, "The inference transforms are available at ..."; timm's default
IMAGENET = Scaling("as torchvision does for ImageNet", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EFFICIENTNET_LITE = Scaling("(pixel - 127) / 128, as EfficientNet-Lite", 1 / 128, (127 / 128,))
RAW = Scaling("pixels from 0 to 255, as they are")


def scalings(options: Preprocess, sample: Sample) -> list[Scaling]:
    """Return the usual scalings for samples of this type, the likeliest first; one, where there is nothing to choose."""
    assert not isinstance(sample.value, dict)
    stored = str(sample.value.dtype)
    if not options.dtype.startswith("float") or not stored.startswith("uint"):
        return [Scaling("the values as they are")]
    if stored != "uint8":
        largest = 2 ** (8 * sample.value.dtype.itemsize) - 1
        return [replace(UNIT, scale=1 / largest)]
    return [UNIT, SIGNED, *([IMAGENET] if options.channels == 3 else []), EFFICIENTNET_LITE, RAW]


def score(session: Session, model: Model, data: Data, part: str) -> float:
    """Return the share of the first samples whose label has the highest score. Raises DataError, ModelError."""
    seen = predict(session, model, data, part, batch=_BATCH, limit=LOOK)
    assert seen.labels is not None
    return float((seen.outputs.argmax(axis=1) == seen.labels).mean())
