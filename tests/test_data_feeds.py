"""From a dataset to a model's inputs: batches, constants, state, and what is said where they do not fit."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper

from builder.data.dataset import samples
from builder.data.feeder import Feeder
from builder.data.feeds import predict
from builder.errors import DataError, ModelError
from builder.runtimes.onnxruntime import Session
from builder.specs import Data, DType, Model, Preprocess, Reader, Split
from builder.typed import from_plain

CONF = Path(__file__).parents[1] / "conf"
FLOAT = TensorProto.FLOAT
Shape = Sequence[int | str]


def session(folder: Path, nodes: list[onnx.NodeProto], inputs: dict[str, Shape], outputs: dict[str, Shape]) -> Session:
    def infos(values: dict[str, Shape]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in values.items()]

    graph = helper.make_graph(nodes, "toy", infos(inputs), infos(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return Session(folder / "model.onnx")


def doubler(folder: Path, *shape: int | str) -> Session:
    """A model that doubles its input."""
    return session(folder, [helper.make_node("Add", ["x", "x"], ["y"])], {"x": shape}, {"y": shape})


def summing(folder: Path) -> Session:
    """A model whose output and next state are `gain` x the sum of all inputs of the sequence so far."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "state"], ["total"]),
        helper.make_node("Identity", ["total"], ["next"]),
    ]
    return session(folder, nodes, {"x": ["n", 1], "state": ["n", 1], "gain": []}, {"total": ["n", 1], "next": ["n", 1]})


def stored(folder: Path, dtype: str = "float32", **arrays: NDArray[Any]) -> Data:
    np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
    return Data(
        "toy", Reader.NPZ, str(folder), splits={"test": Split("a.npz")}, preprocess=Preprocess(dtype=DType(dtype))
    )


SUMMING = Model("summing", constants={"gain": 2.0}, state={"state": "next"})


@pytest.mark.parametrize("axis", ["n", 1, 4])
def test_every_sample_gets_its_own_row_whatever_the_batch_of_the_model(tmp_path: Path, axis: int | str) -> None:
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    data = stored(tmp_path, samples=rows, labels=np.arange(10))
    seen: list[tuple[int, int]] = []

    result = predict(
        doubler(tmp_path, axis, 2), Model("m"), data, "test", batch=3, progress=lambda *step: seen.append(step)
    )

    assert np.array_equal(result.outputs, 2 * rows)
    assert result.labels is not None
    assert result.labels.tolist() == list(range(10))
    assert seen[-1] == (10, 10)
    assert len(seen) == {"n": 4, 1: 10, 4: 3}[axis]


def test_samples_that_bring_the_models_first_axis_go_in_one_by_one(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 1, 4)

    result = predict(doubler(tmp_path, 1, 4), Model("m"), stored(tmp_path, samples=rows), "test")

    assert np.array_equal(result.outputs, 2 * rows[:, 0])
    assert result.labels is None


def test_limit_takes_the_first_samples(tmp_path: Path) -> None:
    data = stored(tmp_path, samples=np.ones((10, 2), np.float32))

    assert len(predict(doubler(tmp_path, "n", 2), Model("m"), data, "test", batch=4, limit=5).outputs) == 5


def test_named_arrays_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"])]
    subtract = session(tmp_path, nodes, {"a": ["n", 1], "b": ["n", 1]}, {"y": ["n", 1]})
    column = np.arange(3, dtype=np.float32)[:, None]
    data = stored(tmp_path, b=column, a=10 * column)
    data.preprocess = Preprocess()

    assert predict(subtract, Model("m"), data, "test").outputs[:, 0].tolist() == [0, 9, 18]


def frames(folder: Path, recordings: dict[str, list[int]]) -> Data:
    for name, values in recordings.items():
        with wave.open(str(folder / name), "wb") as stream:
            stream.setparams((1, 2, 8000, 0, "NONE", ""))
            stream.writeframes(np.array(values, "<i2").tobytes())
    preprocess = Preprocess(sample_rate_hz=8000, frame=1, scale=32768.0)
    return Data("sound", Reader.WAV_SEGMENTS, str(folder), input="x", splits={"test": Split()}, preprocess=preprocess)


def test_state_is_carried_through_a_sequence_and_starts_anew_in_the_next(tmp_path: Path) -> None:
    data = frames(tmp_path, {"a.wav": [1, 2, 3], "b.wav": [10, 20]})

    result = predict(summing(tmp_path), SUMMING, data, "test")

    assert result.outputs[:, 0].tolist() == [2, 6, 12, 20, 60]
    assert result.sequences == ["a.wav", "a.wav", "a.wav", "b.wav", "b.wav"]


def test_feeds_hold_the_states_that_really_occur(tmp_path: Path) -> None:
    data = frames(tmp_path, {"a.wav": [1, 2, 3], "b.wav": [10]})

    feeds = [fed.feed for fed in Feeder(summing(tmp_path), SUMMING, data).run(samples(data, "test"))]

    assert [feed["state"].tolist() for feed in feeds] == [[[0]], [[2]], [[6]], [[0]]]
    assert {feed["gain"].item() for feed in feeds} == {2.0}
    assert all(feed.keys() == {"x", "gain", "state"} for feed in feeds)


def test_open_axes_of_states_and_constants_are_as_the_model_declares(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "s"], ["xs"]), helper.make_node("Add", ["xs", "c"], ["y"])]
    nodes.append(helper.make_node("Identity", ["s"], ["next"]))
    shapes: dict[str, Shape] = {"x": ["n", 3], "s": ["b", "d"], "c": ["m"]}
    network = session(tmp_path, nodes, shapes, {"y": ["n", 3], "next": ["b", "d"]})
    data = stored(tmp_path, samples=np.ones((2, 3), np.float32))
    data.input = "x"
    model = Model("m", constants={"c": 1.0}, state={"s": "next"}, shapes={"s": [1, 3], "c": [3]})

    feeds = [fed.feed for fed in Feeder(network, model, data).run(samples(data, "test"))]
    model.shapes["s"] = [3]

    assert [(feed["s"].shape, feed["c"].tolist()) for feed in feeds] == 2 * [((1, 3), [1, 1, 1])]
    with pytest.raises(ModelError, match="'s' has 2 dimensions, and the model's `shapes` gives 1"):
        predict(network, model, data, "test")


def test_samples_without_a_sequence_share_no_state(tmp_path: Path) -> None:
    data = stored(tmp_path, samples=np.ones((3, 1), np.float32))

    assert predict(summing(tmp_path), SUMMING, data, "test").outputs[:, 0].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("expected", "got", "dtype", "hint"),
    [
        ([1, 3, 8, 8], [8, 8, 3], "float32", "layout: NCHW"),
        ([1, 8, 8, 3], [3, 8, 8], "float32", "layout: NHWC"),
        ([1, 1, 8, 8], [8, 8], "float32", "layout: NCHW, which adds the channel axis"),
        ([1, 3, 8, 8], [1, 8, 8], "float32", "channels: 3 and layout: NCHW"),
        ([1, 3, 8, 8], [3, 9, 9], "float32", "resize: [8, 8]"),
        (["n", 3, 8, 8], [3, 8, 8], "uint8", "dtype: float32"),
        (["n", 5], [4], "float32", "in the shape that the model takes"),
        (["n", 5], [3, 8, 8], "float32", "is data.input the right one?"),
    ],
)
def test_a_sample_that_does_not_fit_names_both_shapes_and_the_remedy(
    tmp_path: Path, expected: list[int | str], got: list[int], dtype: str, hint: str
) -> None:
    data = stored(tmp_path, dtype, samples=np.zeros([2, *got], dtype))

    with pytest.raises(DataError) as caught:
        predict(doubler(tmp_path, *expected), Model("m"), data, "test")

    shape = ", ".join("?" if isinstance(size, str) else str(size) for size in expected)
    assert f"takes float32[{shape}]" in caught.value.message
    assert f"{dtype}[{', '.join(map(str, got))}]" in caught.value.message
    assert hint in caught.value.hint


def test_all_remedies_together_make_an_image_fit(tmp_path: Path) -> None:
    """Follow the hints until there is none: each one leads on."""
    data = stored(tmp_path, "uint8", samples=np.zeros((2, 9, 9), np.uint8))
    hints = []
    for _ in range(5):
        try:
            predict(doubler(tmp_path, "n", 3, 8, 8), Model("m"), data, "test")
            break
        except DataError as error:
            hints.append(error.hint)
            if "resize" in error.hint:
                data.preprocess.resize = [8, 8]
            elif "channels" in error.hint:
                data.preprocess.channels = 3
            elif "layout" in error.hint:
                data.preprocess.layout = type(data.preprocess.layout)("NCHW")
            else:
                data.preprocess.dtype = DType.FLOAT32

    assert len(hints) == 4


def test_which_input_takes_the_samples_must_be_clear(tmp_path: Path) -> None:
    data = stored(tmp_path, samples=np.ones((3, 1), np.float32))
    with pytest.raises(DataError) as unclear:
        predict(summing(tmp_path), Model("m"), data, "test")
    data.input = "stat"
    with pytest.raises(DataError) as unknown:
        predict(summing(tmp_path), Model("m"), data, "test")

    assert "x, state, gain" in unclear.value.message
    assert "data.input=NAME" in unclear.value.hint
    assert unknown.value.hint == "did you mean 'state'?"


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (Model("m", constants={"gian": 1.0}), "did you mean 'gain'?"),
        (Model("m", state={"stat": "next"}), "did you mean 'state'?"),
        (Model("m", state={"state": "nxt"}), "did you mean 'next'?"),
    ],
)
def test_constants_and_states_that_the_model_lacks_are_refused(tmp_path: Path, model: Model, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        predict(summing(tmp_path), model, stored(tmp_path, samples=np.ones((3, 1), np.float32)), "test")

    assert caught.value.hint == hint


def test_a_split_without_samples_is_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, samples=np.ones((0, 2), np.float32))

    with pytest.raises(DataError, match="'test' has no samples"):
        predict(doubler(tmp_path, "n", 2), Model("m"), data, "test")


def test_the_real_network_gets_its_real_images() -> None:
    data = from_plain(Data, yaml.safe_load((CONF / "data" / "fashion_mnist.yaml").read_text()), "data")
    data.root = str(CONF / "assets" / "fashion_mnist")
    network = Session(CONF / "assets" / "fashion_mobilenet" / "model.onnx")

    whole = predict(network, Model("m"), data, "test", limit=200)
    feds = Feeder(network, Model("m"), data, batch=1).run(islice(samples(data, "calibration"), 8), outputs=False)

    assert whole.labels is not None
    assert (whole.outputs.argmax(axis=1) == whole.labels).mean() > 0.75
    assert [fed.feed["image"].shape for fed in feds] == 8 * [(1, 1, 28, 28)]


def test_silero_vad_declares_what_its_data_needs() -> None:
    model = from_plain(Model, yaml.safe_load((CONF / "model" / "silero_vad.yaml").read_text()), "model")
    data = from_plain(Data, yaml.safe_load((CONF / "data" / "vad_sample.yaml").read_text()), "data")

    assert model.state == {"state": "stateN"}
    assert data.preprocess.context + (data.preprocess.frame or 0) == 576
    assert data.wheel is not None
    assert {data.splits["test"].path, data.splits["test"].labels} == set(data.sha256)
