"""Which preprocessing brings a sample to the shape and type of a model's input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from builder.data.fit import fits
from builder.data.sample import Sample
from builder.errors import ModelError
from builder.init.data import Found
from builder.runtimes.interface import Tensor
from builder.specs import DType, Layout, Preprocess

__all__ = ["geometries"]

_CHANNELS = (1, 3)
_STRIDE = 32  # networks halve an image five times, as a rule; one of another size may not fit
_MARGIN = 256 / 224  # the shorter side before the centre is cut out, as in torchvision's ImageNet evaluation


def geometries(tensor: Tensor, found: Found) -> list[Preprocess]:
    """Return the preprocessings that may fit, the likeliest first; they are tried on the model in this order.

    Raises ModelError where the samples are images and the input takes none.
    """
    value = found.first.value
    assert not isinstance(value, dict)
    if not found.images and (fits(value.shape, tensor.shape[1:]) or fits(value.shape, tensor.shape)):
        return [Preprocess(dtype=_dtype(tensor))]
    if value.ndim not in {2, 3} or len(tensor.shape) not in {3, 4}:
        return [Preprocess(dtype=_dtype(tensor))] if not found.images else _refuse(tensor)
    axes = tensor.shape[1:] if len(tensor.shape) == 4 else (tensor.shape[0] or 1, *tensor.shape[1:])
    layouts = list(_layouts(axes, found.first)) or _refuse(tensor)
    return [
        replace(layout, resize=resize, crop=crop, dtype=_dtype(tensor))
        for layout in layouts
        for resize, crop in _sizes(axes[1:] if layout.layout is Layout.NCHW else axes[:2], found)
    ]


def _refuse(tensor: Tensor) -> list[Preprocess]:
    raise ModelError(
        f"the model's input '{tensor.name}' is {tensor.words}, and no axis of it is the 1 or 3 channels of an image",
        "give samples as the model takes them: an .npz with the array 'samples', and 'labels' if there are any",
    )


def _dtype(tensor: Tensor) -> DType:
    try:
        return DType(tensor.dtype)
    except ValueError:
        raise ModelError(
            f"the model's input '{tensor.name}' takes {tensor.dtype}, and samples can be {', '.join(DType)}"
        ) from None


def _layouts(axes: tuple[int | None, ...], sample: Sample) -> Iterator[Preprocess]:
    """Yield layout and channels: those that the model fixes, else what its open axes leave possible."""
    places = ((Layout.NCHW, axes[0]), (Layout.NHWC, axes[2]))
    for layout, size in places:
        if size in _CHANNELS:
            yield Preprocess(channels=size, layout=layout)
    if any(size in _CHANNELS for _, size in places):
        return
    assert not isinstance(sample.value, dict)
    own = sample.value.shape[2] if sample.value.ndim == 3 else 1
    for layout, size in places:
        for channels in (own, *(count for count in _CHANNELS if count != own)) if size is None else ():
            yield Preprocess(channels=channels if channels in _CHANNELS else None, layout=layout)


def _sizes(wanted: tuple[int | None, ...], found: Found) -> Iterator[tuple[list[int] | None, list[int] | None]]:
    """Yield resize and crop: none where every image is as the model wants it."""
    common = next(iter(found.sizes))
    height, width = (want or have for want, have in zip(wanted, common, strict=True))
    if set(found.sizes) == {(height, width)}:
        yield None, None
    elif all(have_height * width == have_width * height for have_height, have_width in found.sizes):
        yield [height, width], None
    elif height == width and None not in wanted:
        yield [round(height * _MARGIN)], [height, width]
    else:
        yield [height, width], None
    if None in wanted:
        yield [want or _round_up(have) for want, have in zip(wanted, common, strict=True)], None


def _round_up(size: int) -> int:
    return -(-size // _STRIDE) * _STRIDE
