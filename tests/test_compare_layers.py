"""The step `compare_layers`: errors that numpy computes too, and what the page says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from projects import Project
from schemas import validator
from test_loadgen import page_of
from test_report_page import cpu_int8

from builder.errors import DataError, StepError
from builder.measure.layers.errors import compared
from builder.onnxtools.origin import layer_name
from builder.onnxtools.stands_for import merged, stand_ins
from builder.report.findings import Names
from builder.report.sections.layer_errors import finding
from builder.specs import Data, Model, Reader, Split
from builder.step import Job
from builder.steps.compare_layers import Options, compare_layers

# Multiples of powers of two throughout: float32 sums are exact, so numpy's are ONNX Runtime's.
RANDOM = np.random.default_rng(5)
IMAGES = (RANDOM.integers(-40, 40, (20, 4)) / 16).astype(np.float32)
W = (RANDOM.integers(-60, 60, (4, 3)) / 64).astype(np.float32)
V = (RANDOM.integers(-8, 8, (3, 2)) / 8).astype(np.float32)
X_SCALE, W_SCALE, H_SCALE = 1 / 16, 1 / 16, 1 / 4
TENSORS = {"x": X_SCALE, "w": W_SCALE, "h": H_SCALE}


def pair(name: str, *, weight: bool = False) -> list[Any]:
    """Return the nodes that round a tensor to integers and back."""
    parameters = [f"{name}_scale", f"{name}_zero"]
    nodes = [] if weight else [helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_quantized"])]
    return [*nodes, helper.make_node("DequantizeLinear", [f"{name}_quantized", *parameters], [f"{name}_dequantized"])]


def network(folder: Path, *, quantized: bool, prefix: str = "") -> Path:
    """Write x -> x W = h -> relu(h) = r -> r V = y, of which the quantized one rounds x, W and h."""
    x, w, h = ("x_dequantized", "w_dequantized", "h_dequantized") if quantized else ("x", "w", "h")
    nodes = [
        helper.make_node("MatMul", [x, w], ["h"], "first"),
        helper.make_node("Relu", [h], [f"{prefix}r"], "activation"),
        helper.make_node("MatMul", [f"{prefix}r", "v"], [f"{prefix}y"], "second"),
        helper.make_node("Shape", [f"{prefix}y"], [f"{prefix}size"], "size"),
    ]
    constants: dict[str, Any] = {"v": V}
    if quantized:
        nodes = [*pair("x"), *pair("w", weight=True), nodes[0], *pair("h"), *nodes[1:]]
        constants |= {f"{name}_scale": np.float32(scale) for name, scale in TENSORS.items()}
        constants |= {f"{name}_zero": np.int8(0) for name in TENSORS}
        constants["w_quantized"] = np.rint(W / W_SCALE).astype(np.int8)
    else:
        nodes.append(helper.make_node("Neg", ["h"], ["gone"], "gone"))
        constants["w"] = W
    outputs = [
        helper.make_tensor_value_info(f"{prefix}y", TensorProto.FLOAT, ["batch", 2]),
        helper.make_tensor_value_info(f"{prefix}size", TensorProto.INT64, [2]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder


@pytest.fixture
def ports(tmp_path: Path) -> dict[str, Path]:
    return {
        "reference": network(tmp_path / "reference", quantized=False),
        "model": network(tmp_path / "model", quantized=True),
    }


@pytest.fixture
def data(tmp_path: Path) -> Data:
    np.savez(tmp_path / "test.npz", samples=IMAGES)
    return Data("images", Reader.NPZ, root=str(tmp_path), splits={"test": Split("test.npz")})


def run(output: Path, ports: dict[str, Path], data: Data | None, **options: Any) -> dict[str, Any]:
    output.mkdir()
    compare_layers.run(Options(**options), Job(inputs=ports, output=output, model=Model("network"), data=data))
    document: dict[str, Any] = json.loads((output / "section" / "section.json").read_text())
    return document


def rounded(values: Any, scale: float) -> Any:
    return np.clip(np.rint(values / scale), -128, 127) * scale


def db(signal: Any, other: Any) -> float:
    return float(10 * np.log10((signal**2).sum() / ((signal - other) ** 2).sum()))


def test_the_error_of_each_tensor_is_the_one_that_numpy_computes(
    tmp_path: Path, ports: dict[str, Path], data: Data
) -> None:
    found = {each["tensor"]: each for each in run(tmp_path / "out", ports, data)["tensors"]}

    x, w, v = (values.astype(np.float64) for values in (IMAGES, W, V))
    before = {"x": x, "h": x @ w, "r": np.maximum(x @ w, 0), "y": np.maximum(x @ w, 0) @ v}
    h = rounded(rounded(x, X_SCALE) @ rounded(w, W_SCALE), H_SCALE)
    after = {"x": rounded(x, X_SCALE), "h": h, "r": np.maximum(h, 0), "y": np.maximum(h, 0) @ v}
    assert list(found) == ["x", "h", "r", "y"]
    for name in ("h", "r", "y"):
        one, two = before[name], after[name]
        cosine = (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum())
        assert found[name]["snr_db"] == pytest.approx(db(one, two), abs=1e-5)
        assert found[name]["cosine"] == pytest.approx(cosine, abs=1e-9)
        assert found[name]["max_abs_difference"] == pytest.approx(np.abs(one - two).max(), abs=1e-9)
        assert (found[name]["exact"], found[name]["values"]) == (False, one.size)


def test_an_exact_tensor_has_no_signal_to_noise_and_says_so(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    found = run(tmp_path / "out", ports, data)["tensors"][0]

    assert (found["tensor"], found["layer"], found["rounded"]) == ("x", None, True)
    assert (found["snr_db"], found["exact"], found["max_abs_difference"]) == (None, True, 0.0)
    assert "Infinity" not in (tmp_path / "out" / "section" / "section.json").read_text()


def test_each_layer_has_the_error_of_its_own_weight_beside_it(
    tmp_path: Path, ports: dict[str, Path], data: Data
) -> None:
    found = {each["layer"]: each for each in run(tmp_path / "out", ports, data)["tensors"]}

    own = db(W.astype(np.float64), rounded(W.astype(np.float64), W_SCALE))
    assert found["first"]["weight_snr_db"] == pytest.approx(own, abs=1e-5)
    assert found["second"]["weight_snr_db"] is None
    assert (found["first"]["operator"], found["first"]["rounded"], found["second"]["rounded"]) == (
        "MatMul",
        True,
        False,
    )


def test_what_could_not_be_compared_is_counted(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    document = run(tmp_path / "out", ports, data)

    assert (document["unmatched"], document["not_floating"]) == (["gone"], 1)


def test_neither_the_batch_nor_the_run_changes_the_numbers(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    one, same, seven = (run(tmp_path / name, ports, data, batch=n) for name, n in (("a", 1), ("b", 1), ("c", 7)))

    assert one == same
    for single, together in zip(one["tensors"], seven["tensors"], strict=True):
        assert together["snr_db"] == pytest.approx(single["snr_db"], abs=1e-6)
        assert together["values"] == single["values"]


def test_only_as_many_samples_are_run_as_are_asked_for(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    assert run(tmp_path / "few", ports, data, samples=3)["samples"] == 3
    assert run(tmp_path / "all", ports, data, samples=500)["samples"] == len(IMAGES)


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    found = compared(np.array([1.0, -np.inf, 2.0, np.nan]), np.array([1.0, -np.inf, 1.5, 0.0])).plain()

    assert (found["not_finite"], found["values"], found["max_abs_difference"]) == (2, 2, 0.5)
    assert found["snr_db"] == pytest.approx(10 * np.log10(5 / 0.25), abs=1e-5)
    assert (found["lost"], found["exact"]) == (0, False)


def test_numbers_that_became_nan_are_neither_exact_nor_passed_over() -> None:
    same, lost = (compared(np.array([1.0, -np.inf, np.nan]), np.array([last, -np.inf, np.nan])) for last in (1, np.inf))
    mixed = compared(np.array([1.0, np.inf]), np.array([1.0, -np.inf])).plain()

    assert (same.plain()["exact"], same.plain()["lost"]) == (True, 0)
    assert (lost.plain()["exact"], lost.plain()["lost"], lost.plain()["snr_db"]) == (False, 1, None)
    assert (mixed["exact"], mixed["lost"]) == (False, 0)


def test_numbers_whose_squares_are_none_are_left_out_and_counted() -> None:
    found = compared(np.array([1.0, 1e299, 1e69, 2.0]), np.array([1.0, -1e299, 1e69, 1e200])).plain()

    assert (found["not_finite"], found["lost"], found["values"]) == (2, 1, 2)
    assert (found["snr_db"], found["cosine"], found["exact"]) == (None, 1.0, False)


def test_the_largest_differences_of_all_are_sorted(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    document = run(tmp_path / "out", ports, data)
    document["tensors"][0]["max_abs_difference"] = 1e299

    _, page = page_of(document, "compare_layers")

    assert f'data-sort="{int(1e299)}.' in page


def test_what_is_no_number_any_more_is_the_finding(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    file = ports["model"] / "model.onnx"
    model = onnx.load(file)
    weights = next(each for each in model.graph.initializer if each.name == "v")
    weights.CopyFrom(numpy_helper.from_array(np.full_like(V, np.inf), "v"))
    onnx.save(model, file)
    document = run(tmp_path / "out", ports, data)

    names = Names(cpu_int8()["manifest"])
    said = f"1 of 4 tensors of {names.candidate} has NaN or infinity where {names.reference} has numbers"
    assert document["tensors"][-1]["lost"] > 0
    assert finding(names, document) == f"{said}, the first at second"
    assert "Infinity" not in (tmp_path / "out" / "section" / "section.json").read_text()


def test_a_source_that_rounds_itself_is_compared_with_its_own_rounding(ports: dict[str, Path]) -> None:
    quantized = onnx.load(ports["model"] / "model.onnx").graph

    assert all(name == other for name, (other, _) in stand_ins(quantized, quantized).items())


def test_a_source_of_zeros_has_no_signal_and_is_not_called_exact() -> None:
    found = compared(np.zeros(3), np.ones(3)).plain()

    assert (found["snr_db"], found["cosine"], found["exact"]) == (None, None, False)


def test_an_activation_that_is_merged_into_a_convolution_counts_as_the_convolution(ports: dict[str, Path]) -> None:
    source = onnx.load(ports["reference"] / "model.onnx").graph

    layers = merged(source, ["r", "y"], {"w"})

    assert {name: layer_name(node) for name, node in layers.items()} == {"r": "first", "y": "second"}


def test_a_tensor_is_compared_as_the_next_layer_reads_it(ports: dict[str, Path]) -> None:
    source, quantized = (onnx.load(ports[name] / "model.onnx").graph for name in ("reference", "model"))

    found = stand_ins(source, quantized)

    assert found["h"] == ("h_dequantized", True)
    assert found["r"] == ("r", False)


def test_models_that_share_no_name_are_refused(tmp_path: Path, ports: dict[str, Path], data: Data) -> None:
    other = network(tmp_path / "other", quantized=False, prefix="other_")
    model = onnx.load(other / "model.onnx")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"other_{name}" if name in ("h", "gone") else name for name in names]
    onnx.save(model, other / "model.onnx")

    with pytest.raises(StepError, match="no tensor of the source"):
        run(tmp_path / "out", ports | {"model": other}, data)


def test_without_data_the_way_out_is_said(tmp_path: Path, ports: dict[str, Path], small: Project) -> None:
    with pytest.raises(DataError, match="needs samples"):
        run(tmp_path / "out", ports, None)

    (small.folder / "conf" / "data" / "small.yaml").unlink()
    alone = ("~steps.quantize", "~steps.evaluate", "+steps=[compare_layers]")
    done = small.run("plan", "recipe=small", *alone)
    assert done.returncode == 2
    assert "needs data, and the recipe has none" in done.stderr
    assert "override /data" in done.stderr


@pytest.mark.parametrize("options", [{"samples": 0}, {"batch": 0}, {"threads": 0}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is at least 1"):
        Options(**options)
    with pytest.raises(ValueError, match="threads is at most 1024"):
        Options(threads=10**10)


def test_a_build_shows_the_worst_layers_and_reads_only_its_split(small: Project) -> None:
    model = onnx.load(small.folder / "models" / "small.onnx")
    model.graph.node[0].name = "<img src=x onerror=alert(1)>"
    onnx.save(model, small.folder / "models" / "small.onnx")
    words = ("recipe=small", "+steps=[compare_layers]", "output=json")

    built = small.run(*words)

    assert built.returncode == 0, built.stderr
    folder = small.folder / "outputs" / "small" / "latest"
    report = json.loads((folder / "report.json").read_text())
    validator().validate(report)
    assert report["findings"]["compare_layers"].startswith("The largest error is at ")
    page = (folder / "report.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert report["findings"]["compare_layers"].partition(" (")[0].replace("<", "&lt;").replace(">", "&gt;") in page

    np.savez(small.folder / "samples" / "test.npz", samples=np.zeros((9, 1, 8, 8), np.float32), labels=np.zeros(9, int))
    again = {each["name"]: each["status"] for each in json.loads(small.run(*words).stdout)["actions"]}
    assert (again["quantize"], again["compare_layers"]) == ("cached", "built")
