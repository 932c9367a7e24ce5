"""TensorRT-RTX's real parser: what it refuses our rules refuse too, and what each kind of quantization is to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exports import action, exporting, toolchain_store
from onnx import TensorProto, helper, numpy_helper
from projects import Project, small_model, write_small
from trt_cases import CASES, REFUSED_BY_PARSER, model
from trt_toolchain import run_rtx

from builder.onnxtools.trt_rules import Severity, check

pytestmark = pytest.mark.formats

_ASK = """\
import json, sys
from builder.device.trt_api import import_api, judge
trt = import_api("tensorrt_rtx")
sys.stderr.write("\\x1e" + json.dumps({file: judge(trt, "tensorrt_rtx", file) for file in sys.argv[1:]}))
"""
Verdicts = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "tensorrt_rtx")


def judged(store: Path, *files: Path) -> Verdicts:
    """Ask the parser about files, with the toolchain's own Python; by the stems of their names."""
    done = run_rtx(store, _ASK, files[0].parent, *map(str, files))
    answers: Verdicts = json.loads(done.rpartition("\x1e")[2])
    return {Path(file).stem: verdict for file, verdict in answers.items()}


@pytest.fixture(scope="module")
def of_rules(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    folder = tmp_path_factory.mktemp("rules")
    for code, (nodes, weights) in CASES.items():
        onnx.save(model(nodes, weights), folder / f"{code}.onnx")
    return judged(store, *sorted(folder.iterdir()))


@pytest.mark.parametrize("code", REFUSED_BY_PARSER)
def test_the_smallest_graph_that_breaks_a_rule_is_refused_by_the_parser_too(of_rules: Verdicts, code: str) -> None:
    assert not of_rules[code]["taken"]
    assert all(refusal["reason"] for refusal in of_rules[code]["refused"])


@pytest.mark.parametrize("code", sorted({*CASES} - {*REFUSED_BY_PARSER}))
def test_what_the_parser_takes_is_refused_or_warned_of_for_another_reason(of_rules: Verdicts, code: str) -> None:
    assert of_rules[code]["taken"]
    assert check(model(*CASES[code]))


def test_the_node_that_the_parser_refuses_is_the_one_that_the_rule_names(of_rules: Verdicts) -> None:
    named = {code: check(model(*CASES[code]))[0].node for code in ("TRT001", "TRT002", "TRT005", "TRT006")}

    assert {code: of_rules[code]["refused"][0]["name"] for code in named} == named


Quantize = Callable[[Path, Path], None]


def qdq(activations: str, *, channels: bool = False, **extra: Any) -> Quantize:
    """Return what quantizes a file as ONNX Runtime's quantize_static does with these words."""

    def quantize(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        feeds = iter([{"image": np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)}])
        reader = type("Reader", (CalibrationDataReader,), {"get_next": lambda _self: next(feeds, None)})()
        style = QuantFormat.QOperator if extra.pop("operators", False) else QuantFormat.QDQ
        types = {"activation_type": QuantType[activations], "weight_type": QuantType.QInt8}
        quantize_static(source, target, reader, style, per_channel=channels, extra_options=extra, **types)

    return quantize


def dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target, op_types_to_quantize=["Conv", "Gemm", "MatMul"])


def half(source: Path, target: Path) -> None:
    made = onnx.load(source)
    for tensor in made.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for port in (*made.graph.input, *made.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(made, target)


SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}
NO_BIAS = {"QuantizeBias": False}
REFUSED: dict[str, Quantize] = {
    "onnxruntime_default": qdq("QUInt8"),
    "symmetric_with_bias": qdq("QInt8", channels=True, **SYMMETRIC),
    "int8_asymmetric": qdq("QInt8", ActivationSymmetric=False, **NO_BIAS),
    "uint8_asymmetric": qdq("QUInt8", ActivationSymmetric=False, **NO_BIAS),
    "int16_activations": qdq("QInt16", **SYMMETRIC, **NO_BIAS),
    "integer_operators": qdq("QInt8", operators=True, **SYMMETRIC),
    "dynamic": dynamic,
}
TAKEN: dict[str, Quantize] = {
    "per_tensor": qdq("QInt8", **SYMMETRIC, **NO_BIAS),
    "per_channel": qdq("QInt8", channels=True, **SYMMETRIC, **NO_BIAS),
    "pairs_at_weights": qdq("QInt8", AddQDQPairToWeight=True, **SYMMETRIC, **NO_BIAS),
    "dedicated_pairs": qdq("QInt8", DedicatedQDQPair=True, **SYMMETRIC, **NO_BIAS),
    "fp16": half,
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    source = small_model(folder / "source.onnx")
    for name, quantize in {**REFUSED, **TAKEN}.items():
        quantize(source, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in {**REFUSED, **TAKEN}}


@pytest.fixture(scope="module")
def of_variants(store: Path, variants: dict[str, Path]) -> Verdicts:
    return judged(store, *variants.values())


def errors(file: Path) -> set[str]:
    return {finding.code for finding in check(onnx.load(file)) if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("name", REFUSED)
def test_a_quantization_that_the_parser_refuses_breaks_a_rule(
    of_variants: Verdicts, variants: dict[str, Path], name: str
) -> None:
    assert not of_variants[name]["taken"]
    assert errors(variants[name])


@pytest.mark.parametrize("name", TAKEN)
def test_a_quantization_that_the_parser_takes_breaks_none(
    of_variants: Verdicts, variants: dict[str, Path], name: str
) -> None:
    assert of_variants[name]["taken"], of_variants[name]["refused"]
    assert errors(variants[name]) == set()


def write_odd(project: Project) -> None:
    """Write a model that breaks no rule of ours: an operator that TensorRT has, with an attribute that it has not."""
    pool = helper.make_node("LpPool", ["image"], ["scores"], "cubic", kernel_shape=[2, 2], p=3)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 7, 7])
    made = helper.make_model(
        helper.make_graph([pool], "g", [image], [scores]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(made, project.folder / "models/small.onnx")


def recipe(project: Project, target: str, steps: str = "[compile]") -> tuple[str, ...]:
    write_small(project)
    return ("name=small", "model=small", f"target={target}", f"steps={steps}")


def test_every_node_of_a_model_for_a_jetson_has_the_parser_s_verdict(project: Project, store: Path) -> None:
    words = recipe(exporting(project, store), "jetson_orin")
    parser = action(project, "parser", *words)
    document = json.loads(
        (project.folder / "outputs/small/latest" / parser["outputs"]["parser"]["path"] / "parser.json").read_text()
    )

    assert parser["facts"]["parser"] == "8 of 8 nodes taken by TensorRT-RTX 1.7.1.116's parser"
    assert "no proof" in parser["facts"]["that is"]
    assert [(node["name"], node["verdict"]) for node in document["nodes"]][:2] == [
        ("conv1", "taken"),
        ("relu1", "taken"),
    ]


def test_a_refused_node_fails_the_build_with_its_name_and_what_works(project: Project, store: Path) -> None:
    words = recipe(exporting(project, store), "jetson_orin")
    write_odd(project)
    done = project.run(*words)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "parser refuses 1 of the model's nodes: cubic (LpPool)" in done.stdout
    assert "another opset" in done.stdout


def test_where_the_toolchain_cannot_be_had_the_parser_is_skipped_and_the_build_goes_on(project: Project) -> None:
    words = recipe(project, "jetson_orin")
    done = project.run(*words, "offline=true")
    required = project.run(*words, "offline=true", "steps.compile.parser=require")
    without = project.run(*words, "offline=true", "steps.compile.parser=never")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "offline=true forbids" in done.stdout
    assert required.returncode == 1
    assert without.returncode == 0
    assert "parser" not in without.stdout
