"""The step `evaluate`, on the real network and its real images."""

from __future__ import annotations

import json
import re
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from builder.errors import BuilderError, DataError, StepError
from builder.specs import Data, Model, Preprocess, Reader, Split, Task
from builder.step import Job
from builder.steps.evaluate import Options, evaluate
from builder.typed import from_plain

CONF = Path(__file__).parents[1] / "conf"
NETWORK = CONF / "assets" / "fashion_mobilenet" / "model.onnx"
IMAGES = Model("network", task=Task.CLASSIFICATION)


@pytest.fixture
def fashion() -> Data:
    data = from_plain(Data, yaml.safe_load((CONF / "data" / "fashion_mnist.yaml").read_text()), "data")
    data.root = str(CONF / "assets" / "fashion_mnist")
    return data


@pytest.fixture
def ports(tmp_path: Path) -> dict[str, Path]:
    """The network, and a copy whose weights have lost all but 5 bits."""
    folders = {"reference": tmp_path / "reference", "model": tmp_path / "model"}
    for folder in folders.values():
        folder.mkdir()
    shutil.copy(NETWORK, folders["reference"] / "model.onnx")
    coarse = onnx.load(NETWORK)
    for tensor in coarse.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim == 4:
            scale = np.abs(weights).max() / 15
            tensor.CopyFrom(numpy_helper.from_array((np.round(weights / scale) * scale).astype("f4"), tensor.name))
    onnx.save(coarse, folders["model"] / "model.onnx")
    return folders


def run(output: Path, ports: dict[str, Path], model: Model, data: Data | None, **options: Any) -> dict[str, Any]:
    evaluate.run(Options(**options), Job(inputs=ports, output=output, model=model, data=data))
    document: dict[str, Any] = json.loads((output / "evaluation" / "evaluation.json").read_text())
    return document


def test_metric_drop_fidelity_and_overlap_are_measured(tmp_path: Path, ports: dict[str, Path], fashion: Data) -> None:
    seen: list[tuple[int, int, str]] = []
    job = Job(inputs=ports, output=tmp_path, model=IMAGES, data=fashion, progress=lambda *step: seen.append(step))

    result = evaluate.run(Options(samples=500, threads=2), job)

    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    top1, near = document["metrics"]["top1"], document["fidelity"]
    assert (document["schema"], document["samples"], document["labelled"]) == (1, 500, True)
    assert document["primary"] == "top1"
    assert 0.7 < top1["reference"] < 1
    assert top1["drop"] == pytest.approx(top1["reference"] - top1["candidate"])
    assert top1["interval"][0] <= top1["drop"] <= top1["interval"][1]
    assert abs(top1["drop"]) <= 1 - near["agreement"] < 1
    assert 3 < near["snr_db"] < 60
    assert near["max_abs_difference"] > 0
    assert document["overlap"] == {"checked": [1024, 10000], "shared": 0}
    assert [step[2] for step in seen] == sorted((step[2] for step in seen), reverse=True)
    assert seen[-1] == (1000, 1000, "candidate")
    assert result.facts["top1"].startswith(f"{top1['reference']:.4f} -> {top1['candidate']:.4f} (")


def test_a_model_beside_itself_is_identical(tmp_path: Path, ports: dict[str, Path], fashion: Data) -> None:
    ports["model"] = ports["reference"]

    document = run(tmp_path, ports, IMAGES, fashion, samples=64)

    assert document["fidelity"]["identical"] is True
    assert document["fidelity"]["snr_db"] is None
    assert document["metrics"]["top1"]["drop"] == 0


def test_equal_runs_write_equal_bytes(tmp_path: Path, ports: dict[str, Path], fashion: Data) -> None:
    written = []
    for name in ("first", "second"):
        run(tmp_path / name, ports, IMAGES, fashion, samples=64)
        written.append((tmp_path / name / "evaluation" / "evaluation.json").read_bytes())

    assert written[0] == written[1]
    assert str(tmp_path).encode() not in written[0]


def test_without_labels_fidelity_is_still_measured(tmp_path: Path, ports: dict[str, Path], fashion: Data) -> None:
    for split in fashion.splits.values():
        split.labels = ""

    document = run(tmp_path, ports, IMAGES, fashion, samples=64)

    assert document["labelled"] is False
    assert document["metrics"] == {}
    assert document["primary"] is None
    assert 0 < document["fidelity"]["agreement"] <= 1
    with pytest.raises(StepError, match="top1 cannot be measured: the data has no labels"):
        run(tmp_path, ports, IMAGES, fashion, samples=64, metrics=["top1"])


def test_evaluating_on_calibration_samples_is_refused(tmp_path: Path, ports: dict[str, Path], fashion: Data) -> None:
    fashion.splits["test"] = fashion.splits["calibration"]

    with pytest.raises(DataError, match="1024 samples of 'test' are in 'calibration' too"):
        run(tmp_path, ports, IMAGES, fashion)


def test_data_with_other_classes_than_the_model_is_refused(
    tmp_path: Path, ports: dict[str, Path], fashion: Data
) -> None:
    fashion.classes.append("Hat")

    with pytest.raises(DataError, match="has 11 classes, the model scores 10"):
        run(tmp_path, ports, IMAGES, fashion, samples=64)


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"metrics": ["f1"]}, "no metric 'f1' for the task classification"),
        ({"split": "tset"}, "no split 'tset'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, ports: dict[str, Path], fashion: Data, options: dict[str, Any], phrase: str
) -> None:
    with pytest.raises(BuilderError) as caught:
        run(tmp_path, ports, IMAGES, fashion, **{"samples": 32, **options})

    assert phrase in caught.value.message


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"metrics": ["top3"]}, "there is no metric 'top3'; did you mean 'top5'?"),
        ({"confidence": 1.0}, "confidence lies between 0 and 1"),
        ({"batch": 0}, "batch is at least 1"),
        ({"split": "calibration"}, "split is 'calibration', which quantize may have seen"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_runs(options: dict[str, Any], phrase: str) -> None:
    with pytest.raises(ValueError, match=re.escape(phrase)):
        Options(**options)


def test_without_data_the_message_says_how_to_choose_some(tmp_path: Path, ports: dict[str, Path]) -> None:
    with pytest.raises(StepError) as caught:
        run(tmp_path, ports, IMAGES, None)

    assert caught.value.hint == "choose one: data=NAME"


def test_it_declares_the_splits_that_it_reads() -> None:
    assert evaluate.splits(Options()) == ("calibration?", "test")


def sigmoid(folder: Path, bias: float) -> Path:
    """Return the folder of a model that turns x + bias into a probability."""
    shift = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.array([bias], np.float32)))
    nodes = [shift, helper.make_node("Add", ["x", "b"], ["s"]), helper.make_node("Sigmoid", ["s"], ["p"])]
    values = [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", 1]) for value in ("x", "p")]
    graph = helper.make_graph(nodes, "toy", values[:1], values[1:])
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder


def test_frames_of_one_recording_are_no_independent_samples(tmp_path: Path) -> None:
    ports = {"reference": sigmoid(tmp_path / "reference", 0.0), "model": sigmoid(tmp_path / "model", 0.4)}
    tone = np.sin(np.arange(1000) / 40)
    with wave.open(str(tmp_path / "a.wav"), "wb") as stream:
        stream.setparams((1, 2, 1000, 0, "NONE", ""))
        stream.writeframes((20000 * tone).astype("<i2").tobytes())
    (tmp_path / "a.csv").write_text("start,end\n0,0.12\n0.3,0.5\n")
    preprocess = Preprocess(sample_rate_hz=1000, frame=1, scale=3.0)
    data = Data(
        "d", Reader.WAV_SEGMENTS, str(tmp_path), splits={"test": Split("a.wav", "a.csv")}, preprocess=preprocess
    )

    metrics = run(tmp_path, ports, Model("m", task=Task.BINARY), data)["metrics"]

    for name in ("f1", "auc", "accuracy"):
        assert metrics[name]["method"].startswith("moving-block bootstrap (Künsch 1989) of 10 samples")
    assert metrics["accuracy"]["interval"][0] < metrics["accuracy"]["drop"] < metrics["accuracy"]["interval"][1]


def test_a_binary_model_is_judged_by_f1_auc_and_accuracy(tmp_path: Path) -> None:
    ports = {"reference": sigmoid(tmp_path / "reference", 0.0), "model": sigmoid(tmp_path / "model", 0.4)}
    labels = np.arange(200) % 2
    scores = (labels - 0.5 + np.random.default_rng(0).normal(size=200)).astype(np.float32)
    np.savez(tmp_path / "a.npz", samples=scores[:, None], labels=labels)
    data = Data("toy", Reader.NPZ, str(tmp_path), splits={"test": Split("a.npz")}, preprocess=Preprocess())

    document = run(tmp_path, ports, Model("m", task=Task.BINARY), data)

    assert list(document["metrics"]) == ["accuracy", "auc", "f1"]
    assert document["primary"] == "f1"
    assert document["overlap"] is None
    assert document["metrics"]["auc"]["drop"] == 0  # a shift keeps the order
    assert document["metrics"]["accuracy"]["reference"] == ((scores >= 0) == labels).mean()
    assert document["metrics"]["accuracy"]["candidate"] == ((scores >= -0.4) == labels).mean()
