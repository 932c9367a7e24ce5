"""What a device is given to run: raw inputs of real samples, and what ONNX Runtime makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from projects import small_data, small_model

from builder.errors import DataError
from builder.sources.tensors import Options, tensors
from builder.specs import Data, Model, Reader, Split
from builder.step import Job


def job(folder: Path, model: Path, *, data: Data | None, reference: Path | None = None, **facts: Any) -> Job:
    inputs = {"model": model.parent, "reference": (reference or model).parent}
    return Job(inputs=inputs, output=folder / "out", model=Model("m", **facts), data=data)


def samples(folder: Path, count: int = 7) -> Data:
    small_data(folder / "samples", samples=count)
    return Data("small", Reader.NPZ, root=str(folder / "samples"), splits={"test": Split("test.npz")})


def written(folder: Path) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Return tensors.json, and every tensor as [calls, ...] by role and name."""
    document = json.loads((folder / "out/tensors/tensors.json").read_text())
    arrays = {}
    for tensor in document["tensors"]:
        raw = np.fromfile(folder / "out/tensors" / tensor["file"], tensor["dtype"])
        arrays[tensor["role"], tensor["name"]] = raw.reshape([document["calls"], *tensor["shape"]])
    return document, arrays


def test_inputs_are_the_preprocessed_samples_and_outputs_are_those_of_both_models(tmp_path: Path) -> None:
    model, source = small_model(tmp_path / "a/model.onnx"), small_model(tmp_path / "b/model.onnx", seed=1)
    data = samples(tmp_path)

    tensors.run(Options(samples=5), job(tmp_path, model, data=data, reference=source))

    document, arrays = written(tmp_path)
    with np.load(tmp_path / "samples/test.npz") as real:
        images = real["samples"][:5]
    assert (document["samples"], document["calls"], document["batch"]) == (5, 5, 1)
    np.testing.assert_array_equal(arrays["input", "image"][:, 0], images)
    for role, file in (("expected", model), ("reference", source)):
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        right = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
        np.testing.assert_allclose(arrays[role, "scores"][:, 0], right, rtol=1e-5)


def test_the_last_batch_is_filled_up_with_its_last_sample(tmp_path: Path) -> None:
    model = small_model(tmp_path / "a/model.onnx")
    profile = {"image": {"min": [1, 1, 8, 8], "opt": [4, 1, 8, 8], "max": [8, 1, 8, 8]}}

    tensors.run(Options(profiles=profile), job(tmp_path, model, data=samples(tmp_path)))

    document, arrays = written(tmp_path)
    assert (document["samples"], document["calls"], document["batch"]) == (7, 2, 4)
    assert arrays["input", "image"].shape == (2, 4, 1, 8, 8)
    np.testing.assert_array_equal(arrays["input", "image"][1, 3], arrays["input", "image"][1, 2])
    assert arrays["expected", "scores"].shape == (2, 4, 3)


def test_without_data_inputs_are_made_up(tmp_path: Path) -> None:
    tensors.run(Options(), job(tmp_path, small_model(tmp_path / "a/model.onnx"), data=None))

    document, arrays = written(tmp_path)
    assert (document["split"], document["samples"]) == (None, 4)
    assert len({call.tobytes() for call in arrays["input", "image"]}) == 4


def test_a_model_with_state_gets_the_state_that_the_source_had(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "before"], ["y"]), helper.make_node("Identity", ["y"], ["after"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "before", "y", "after")]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:])
    (tmp_path / "a").mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a/model.onnx"
    )
    (tmp_path / "samples").mkdir()
    np.savez(tmp_path / "samples/test.npz", samples=np.ones((3, 2), np.float32))
    data = Data("d", Reader.NPZ, root=str(tmp_path / "samples"), splits={"test": Split("test.npz")})

    tensors.run(Options(), job(tmp_path, tmp_path / "a/model.onnx", data=data, state={"before": "after"}))

    document, arrays = written(tmp_path)
    assert document["batch"] == 1
    states, outputs = arrays["input", "before"][:, 0, 0], arrays["expected", "y"][:, 0, 0]
    assert outputs.tolist() == (states + 1).tolist()
    assert states[0] == 0


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    model, data, made = small_model(tmp_path / "a/model.onnx"), samples(tmp_path), []
    for name in ("1", "2"):
        tensors.run(Options(), job(tmp_path / name, model, data=data))
        folder = tmp_path / name / "out/tensors"
        made.append({file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()})

    assert made[0] == made[1]


def test_a_sample_that_the_engine_does_not_take_is_named(tmp_path: Path) -> None:
    model = small_model(tmp_path / "a/model.onnx")
    small_data(tmp_path / "samples")
    np.savez(tmp_path / "samples/test.npz", samples=np.zeros((3, 1, 9, 9), np.float32))
    data = Data("small", Reader.NPZ, root=str(tmp_path / "samples"), splits={"test": Split("test.npz")})

    with pytest.raises(DataError) as error:
        tensors.run(Options(), job(tmp_path, model, data=data))

    assert "9" in error.value.message
