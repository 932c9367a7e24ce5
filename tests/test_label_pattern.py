"""Images whose file names tell their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builder.data.dataset import class_names, samples
from builder.errors import DataError
from builder.specs import Data, Reader, Split


def images(folder: Path, *names: str) -> Path:
    draw = np.random.default_rng(0)
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(file)
    return folder


def data(root: Path, pattern: str, *classes: str) -> Data:
    return Data(
        "d", Reader.IMAGE_FOLDER, str(root), splits={"test": Split()}, classes=[*classes], label_pattern=pattern
    )


def test_a_number_in_the_name_is_the_class(tmp_path: Path) -> None:
    root = images(tmp_path, "imagenet_00_243.png", "imagenet_01_7.png", "deeper/imagenet_02_99.png")

    found = {sample.name: sample.label for sample in samples(data(root, "_([0-9]+)$"), "test")}

    assert found == {"imagenet_00_243.png": 243, "imagenet_01_7.png": 7, "deeper/imagenet_02_99.png": 99}
    assert class_names(data(root, "_([0-9]+)$"), "test") == []


def test_a_class_may_be_told_by_name(tmp_path: Path) -> None:
    root = images(tmp_path, "cat-1.png", "dog-1.png")
    named = data(root, "^([a-z]+)-", "dog", "cat")

    assert [(sample.name, sample.label) for sample in samples(named, "test")] == [("cat-1.png", 1), ("dog-1.png", 0)]
    assert class_names(named, "test") == ["dog", "cat"]


@pytest.mark.parametrize(
    ("file", "message", "hint"),
    [("dogg-1.png", "dogg-1.png has no label", "did you mean 'dog'?"), ("1.png", "1.png has no label", "move it away")],
)
def test_a_file_that_tells_no_class_is_named(tmp_path: Path, file: str, message: str, hint: str) -> None:
    root = images(tmp_path, "cat-1.png", file)

    with pytest.raises(DataError, match=message) as raised:
        list(samples(data(root, "^([a-z]+)-", "dog", "cat"), "test"))

    assert hint in raised.value.hint


def test_a_number_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the label 2 of 'a_2.png' is none of 2 classes"):
        list(samples(data(images(tmp_path, "a_2.png"), "_([0-9]+)$", "dog", "cat"), "test"))


@pytest.mark.parametrize("pattern", ["_[0-9]+$", "([0-9]+)_([0-9]+)", "(["])
def test_a_pattern_has_one_group(pattern: str) -> None:
    with pytest.raises(ValueError, match="label_pattern: expected a regular expression with one group"):
        Data("d", Reader.IMAGE_FOLDER, label_pattern=pattern)
