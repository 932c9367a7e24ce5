"""From a decoded sample to a model input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from builder.data.dataset import samples
from builder.data.preprocess import prepare
from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, Layout, Preprocess, Reader
from builder.typed import from_plain

CONF = Path(__file__).parents[1] / "conf"


def prepared(array: NDArray[Any], **options: Any) -> NDArray[Any]:
    data = Data("toy", Reader.NPZ, preprocess=Preprocess(**options))
    (sample,) = prepare(Sample("one", array), data)
    assert isinstance(sample.value, np.ndarray)
    return sample.value


def noise(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_nothing_set_changes_only_the_dtype() -> None:
    image = noise(5, 4)

    result = prepared(image)

    assert result.dtype == np.float32
    assert np.array_equal(result, image)


def test_resize_is_that_of_pillow_on_the_whole_image() -> None:
    image = noise(37, 51, 3)
    expected = np.asarray(Image.fromarray(image).resize((20, 10), Image.Resampling.BILINEAR))

    assert np.array_equal(prepared(image, resize=[10, 20], dtype="uint8"), expected)


def test_one_number_resizes_the_shorter_side() -> None:
    assert prepared(noise(30, 40, 3), resize=[15]).shape == (15, 20, 3)
    assert prepared(noise(40, 30, 3), resize=[15]).shape == (20, 15, 3)
    assert prepared(noise(40, 30, 3), resize=[32]).shape == (int(32 * 40 / 30), 32, 3)


def test_floating_point_images_are_resized_without_rounding() -> None:
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[None, :, None].repeat(4, axis=0)

    result = prepared(ramp, resize=[4, 4])

    assert result.shape == (4, 4, 1)
    assert np.all(np.diff(result[0, :, 0]) > 0.1)


def test_crop_is_taken_from_the_centre() -> None:
    image = noise(6, 7, 3)

    assert np.array_equal(prepared(image, crop=[4, 3], dtype="uint8"), image[1:5, 2:5])


def test_the_order_is_resize_then_crop_then_numbers_then_layout() -> None:
    image = noise(20, 20, 3)
    small = np.asarray(Image.fromarray(image).resize((12, 12), Image.Resampling.BILINEAR))[2:10, 2:10]
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = ((small / 255 - mean) / std).transpose(2, 0, 1)

    result = prepared(image, resize=[12], crop=[8, 8], scale=1 / 255, mean=mean, std=std, layout=Layout.NCHW)

    assert result.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)


def test_a_grey_image_gets_a_channel_axis() -> None:
    assert prepared(noise(5, 4), layout=Layout.NCHW).shape == (1, 5, 4)
    assert prepared(noise(5, 4), layout=Layout.NHWC).shape == (5, 4, 1)
    assert prepared(noise(5, 4), channels=3, layout=Layout.NCHW).shape == (3, 5, 4)


def test_colour_becomes_grey_as_in_pillow() -> None:
    image = noise(5, 4, 3)
    expected = np.asarray(Image.fromarray(image).convert("L"))

    assert np.array_equal(prepared(image, channels=1, dtype="uint8")[:, :, 0], expected)
    assert np.abs(prepared(image.astype(np.float32), channels=1)[:, :, 0] - expected).max() <= 1


def test_rounding_to_whole_numbers_and_what_does_not_fit() -> None:
    assert prepared(np.array([0.4, 0.6, -3.5]), dtype="int8").tolist() == [0, 1, -4]
    with pytest.raises(DataError, match=r"values from 0\.0 to 300\.0 do not fit uint8"):
        prepared(np.array([0.0, 300.0]), dtype="uint8")


@pytest.mark.parametrize(
    ("shape", "options", "phrase", "hint"),
    [
        ((5, 4, 3), {"mean": [0.5, 0.5]}, "mean has 2 numbers, the sample 3 channels", "channels: 2"),
        ((5, 4), {"std": [0.5, 0.5, 0.5], "layout": Layout.NCHW}, "std has 3 numbers", "channels: 3"),
        ((5, 4, 3), {"crop": [9, 9]}, "5 x 4 pixels are too few", "resize"),
        ((3, 50, 40), {"resize": [9]}, "expected an image of height x width x channels", "unset"),
        ((5, 4, 2), {"channels": 3}, "cannot make 3 channels of 2", "1 (grey) or 3"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(
    shape: tuple[int, ...], options: dict[str, Any], phrase: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        prepared(noise(*shape), **options)

    assert phrase in caught.value.message
    assert hint in caught.value.hint
    assert "'one'" in caught.value.message


def test_of_several_arrays_the_declared_input_is_prepared() -> None:
    value = {"image": noise(5, 4), "ids": np.array([1, 2])}
    data = Data("toy", Reader.NPZ, input="image", preprocess=Preprocess(scale=0.5))

    (sample,) = prepare(Sample("one", value), data)

    assert isinstance(sample.value, dict)
    assert sample.value["image"].dtype == np.float32
    assert sample.value["ids"].dtype == np.int64
    with pytest.raises(DataError, match="which is to be preprocessed"):
        list(prepare(Sample("one", value), Data("toy", Reader.NPZ, preprocess=Preprocess(scale=0.5))))


def test_fashion_mnist_is_preprocessed_as_in_training() -> None:
    data = from_plain(Data, yaml.safe_load((CONF / "data" / "fashion_mnist.yaml").read_text()), "data")
    data.root = str(CONF / "assets" / "fashion_mnist")
    raw = Data("raw", Reader.IDX, data.root, splits=data.splits)

    ours = np.stack([np.asarray(sample.value) for sample in samples(data, "calibration")])
    pixels = np.stack([np.asarray(sample.value) for sample in samples(raw, "calibration")])

    assert ours.shape == (1024, 1, 28, 28)
    np.testing.assert_allclose(ours[:, 0], (pixels / 255 - 0.5) / 0.5, atol=2e-7)
