"""What cannot be meant is refused when it is declared, with the key that says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.errors import RecipeError
from builder.specs import Data, DType, Preprocess, Split, Target, Wheel
from builder.typed import from_plain, to_plain

WHEEL = {"name": "silero-vad", "version": "6.2.3", "member": "silero_vad/data/vad.onnx"}
DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["a", "A9", "zope.interface", "pyannote-audio", "snake_case"])
@pytest.mark.parametrize("version", ["1", "1!2.0.post1", "2.0a1+cpu.1", "v1-1"])
def test_names_and_versions_of_packages_are_taken(name: str, version: str) -> None:
    assert Wheel(name, version, "").name == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("name", bad) for bad in ("", "-r", "--index-url=x", "a b", "a\n", "a/b", "a @ x", "a[b]", "a-", "..")],
        *[("version", bad) for bad in ("", "-1", "1 ; x", "1,>2", "1\n", "1/..", "*", "1 --hash")],
        *[("member", bad) for bad in ("/etc/passwd", "../x", "a/../../x", "..")],
    ],
)
def test_what_is_no_wheel_never_reaches_pip(key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=f"model.wheel: {key}: expected"):
        from_plain(Wheel, WHEEL | {key: value}, "model.wheel")


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"sha256": {"../a.wav": DIGEST}}, "path of a file inside the data, got '../a.wav'"),
        ({"sha256": {"/a.wav": DIGEST}}, "path of a file inside the data, got '/a.wav'"),
        ({"sha256": {"": DIGEST}}, "path of a file inside the data, got ''"),
        ({"sha256": {".": DIGEST}}, "path of a file inside the data, got '.'"),
        ({"sha256": {"a.wav": DIGEST[1:]}}, "64 hexadecimal digits for 'a.wav'"),
        ({"sha256": {"a.wav": DIGEST + "\n"}}, "64 hexadecimal digits for 'a.wav'"),
        ({"wheel": WHEEL}, "sha256 is missing"),
        ({"wheel": WHEEL | {"member": "../x"}, "sha256": {"a": DIGEST}}, "member: expected"),
    ],
)
def test_files_of_data_stay_inside_it_and_are_checked(change: dict[str, Any], phrase: str) -> None:
    good = {"name": "d", "reader": "npz", "wheel": WHEEL, "sha256": {"deep/a.wav": DIGEST}}
    assert from_plain(Data, good, "data").wheel == Wheel(**WHEEL)

    with pytest.raises(RecipeError) as caught:
        from_plain(Data, {"name": "d", "reader": "npz"} | change, "data")

    assert phrase in caught.value.message


@pytest.mark.parametrize("portion", [[], [0.5], [0.6, 0.2], [0.0, 1.5], [0.3, 0.3]])
def test_a_portion_that_is_no_range_is_refused(portion: list[float]) -> None:
    with pytest.raises(RecipeError, match=r"data\.splits\.test: portion is \[low, high\)"):
        from_plain(Split, {"portion": portion}, "data.splits.test")


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"channels": 2}, "channels is 1 (grey) or 3 (RGB), got 2"),
        ({"resize": []}, "resize is [height, width] or [shorter side]"),
        ({"resize": [1, 2, 3]}, "resize is [height, width] or [shorter side]"),
        ({"resize": [0, 4]}, "resize is"),
        ({"crop": [4]}, "crop is [height, width], got [4]"),
        ({"crop": [4, -4]}, "crop is"),
        ({"std": [0.5, 0.0]}, "must not be 0"),
        ({"scale": 0}, "must not be 0"),
        ({"frame": 0}, "frame must be at least 1"),
        ({"context": -1}, "context must be at least 0"),
        ({"sample_rate_hz": 0}, "sample_rate_hz must be at least 1"),
    ],
)
def test_preprocessing_out_of_range_is_refused(options: dict[str, Any], phrase: str) -> None:
    with pytest.raises(RecipeError) as caught:
        from_plain(Preprocess, options, "data.preprocess")

    assert caught.value.message.startswith("data.preprocess: ")
    assert phrase in caught.value.message


@pytest.mark.parametrize(
    ("cls", "key", "word", "near"),
    [
        (Preprocess, "dtype", "flaot32", "float32"),
        (Target, "runtime", "tensort", "tensorrt"),
        (Target, "arch", "arch64", "aarch64"),
    ],
)
def test_a_word_that_is_none_gets_the_nearest_spelling(cls: type[Any], key: str, word: str, near: str) -> None:
    with pytest.raises(RecipeError) as caught:
        from_plain(cls, {"name": "t", key: word} if cls is Target else {key: word}, "here")

    assert caught.value.message.startswith(f"here.{key}: expected one of ")
    assert caught.value.hint == f"did you mean '{near}'?"


def test_words_stay_words_in_json_and_in_comparisons() -> None:
    target = from_plain(Target, {"name": "jetson", "runtime": "tensorrt", "precisions": ["fp16"]}, "target")

    assert target.runtime == "tensorrt"
    assert f"{target.runtime} {DType.FLOAT32}" == "tensorrt float32"
    assert json.loads(json.dumps(to_plain(target)))["precisions"] == ["fp16"]
