"""From a decoded sample to a model input, by the steps that `Preprocess` declares, in its order.

Calibration, evaluation and benchmarks all come through here, so a model sees one and the same input everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, DType, Layout, Preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["prepare"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


def prepare(sample: Sample, data: Data) -> Iterator[Sample]:
    """Yield the model inputs of a decoded sample: one, or for a sound one for each frame.

    Of a sample with several named arrays, the one called `data.input` is prepared and the others go as they are.
    Raises DataError where a step does not fit the sample.
    """
    options = data.preprocess
    for one in _frames(sample, options, data) if options.frame else (sample,):
        where = f"data '{data.name}', sample '{one.name}'"
        if not isinstance(one.value, dict):
            yield replace(one, value=_pipeline(one.value, options, where))
        elif data.input in one.value:
            yield replace(one, value={**one.value, data.input: _pipeline(one.value[data.input], options, where)})
        elif options != Preprocess():
            raise DataError(
                f"{where}: it has the arrays {', '.join(sorted(one.value))}; which is to be preprocessed?",
                hint="set data.input to one of them",
            )
        else:
            yield one


def _pipeline(value: NDArray[Any], options: Preprocess, where: str) -> NDArray[Any]:
    if options.channels or options.resize or options.crop or options.layout is not Layout.AS_READ:
        value = _pixels(value, where)
    if options.channels:
        value = _channels(value, options.channels, where)
    if options.resize:
        value = _resize(value, options.resize)
    if options.crop:
        value = _crop(value, options.crop, where)
    value = _normalize(value, options, where)
    if options.layout is Layout.NCHW:
        value = value.transpose(2, 0, 1)
    return _cast(value, options.dtype, where)


def _pixels(value: NDArray[Any], where: str) -> NDArray[Any]:
    """Return height x width x channels; a grey image gets its channel axis."""
    if value.ndim == 2:
        value = value[:, :, None]
    if value.ndim != 3 or value.shape[2] > 4:
        raise DataError(
            f"{where}: expected an image of height x width x channels, got {_shape(value)}",
            hint="leave channels, resize, crop and layout unset for samples that are not stored as images",
        )
    return value


def _channels(value: NDArray[Any], channels: int, where: str) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    have = value.shape[2]
    if channels == have:
        return value
    if (have, channels) == (1, 3):
        return np.repeat(value, 3, axis=2)
    if (have, channels) != (3, 1):
        raise DataError(f"{where}: cannot make {channels} channels of {have}", hint="channels is 1 (grey) or 3 (RGB)")
    if value.dtype == np.uint8:
        return np.asarray(Image.fromarray(value).convert("L"))[:, :, None]
    grey: NDArray[Any] = (value.astype(np.float32) * np.array(LUMA, np.float32)).sum(axis=2, keepdims=True)
    return grey


def _resize(value: NDArray[Any], size: list[int]) -> NDArray[Any]:
    """Scale with Pillow's bilinear filter, which averages when it makes smaller (antialias).

    One number sizes the shorter side, and the longer one by the truncated ratio, as torchvision's `Resize`.
    """
    import numpy as np
    from PIL import Image

    have_height, have_width = value.shape[:2]
    if len(size) == 1:
        short = min(have_height, have_width)
        height = size[0] if have_height == short else int(size[0] * have_height / short)
        width = size[0] if have_width == short else int(size[0] * have_width / short)
    else:
        height, width = size
    if (height, width) == (have_height, have_width):
        return value
    planes = value if value.dtype == np.uint8 else value.astype(np.float32)  # Pillow's modes L and F
    scaled = [
        np.asarray(Image.fromarray(planes[:, :, channel]).resize((width, height), Image.Resampling.BILINEAR))
        for channel in range(value.shape[2])
    ]
    return np.stack(scaled, axis=2)


def _crop(value: NDArray[Any], size: list[int], where: str) -> NDArray[Any]:
    """Cut from the centre; an odd margin is split as in torchvision's `CenterCrop`."""
    height, width = size
    if value.shape[0] < height or value.shape[1] < width:
        raise DataError(
            f"{where}: {value.shape[0]} x {value.shape[1]} pixels are too few for a crop of {height} x {width}",
            hint="resize to at least as much before it",
        )
    top, left = round((value.shape[0] - height) / 2), round((value.shape[1] - width) / 2)
    return value[top : top + height, left : left + width]


def _normalize(value: NDArray[Any], options: Preprocess, where: str) -> NDArray[Any]:
    """Return (value x scale - mean) / std in float32, or the value itself where none of them is set."""
    import numpy as np

    channels = value.shape[-1] if value.ndim else 1
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if len(numbers) not in {0, 1, channels}:
            raise DataError(
                f"{where}: {name} has {len(numbers)} numbers, the sample {channels} channels",
                hint=f"give one number, or one for each channel, or set data.preprocess.channels: {len(numbers)}",
            )
    if options.scale != 1.0 or options.mean or options.std:
        value = value.astype(np.float32, copy=False)
    if options.scale != 1.0:
        value = value * np.float32(options.scale)
    if options.mean:
        value = value - np.array(options.mean, np.float32)
    if options.std:
        value = value / np.array(options.std, np.float32)
    return value


def _cast(value: NDArray[Any], dtype: DType, where: str) -> NDArray[Any]:
    """Return a contiguous array of the dtype; fractions are rounded to the nearest where it holds whole numbers."""
    import numpy as np

    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and value.size:
        value = np.rint(value) if value.dtype.kind == "f" else value
        low, high = np.iinfo(wanted).min, np.iinfo(wanted).max
        if not (low <= value.min() and value.max() <= high):
            raise DataError(f"{where}: values from {value.min()} to {value.max()} do not fit {dtype}")
    return np.ascontiguousarray(value, wanted)


def _frames(sample: Sample, options: Preprocess, data: Data) -> Iterator[Sample]:
    """Cut a sound into whole frames, each after the last `context` samples before it (zeros at the start).

    A frame is labelled 1 if its centre lies in a segment. What is left after the last whole frame is dropped.
    """
    import numpy as np

    frame, context, wave = options.frame or 0, options.context, sample.value
    if isinstance(wave, dict) or wave.ndim != 1:
        raise DataError(f"data '{data.name}', sample '{sample.name}': only a sound of one channel is cut into frames")
    padded = np.concatenate([np.zeros(context, wave.dtype), wave])
    for index in range(len(wave) // frame):
        start = index * frame
        centre_s = (start + frame / 2) / (options.sample_rate_hz or 1)
        label: int | float | None = sample.label
        if sample.segments is not None:
            label = int(any(low <= centre_s < high for low, high in sample.segments))
        yield Sample(f"{sample.name}#{index}", padded[start : start + context + frame], label, sample.name)


def _shape(value: NDArray[Any]) -> str:
    return f"{value.dtype}[{','.join(str(size) for size in value.shape)}]"
