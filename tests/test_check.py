"""The check of a recipe and its model against the target: as a verb, and before any step of a build."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from projects import Project

Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]
INT4 = helper.make_tensor("w4", TensorProto.INT4, [4, 2], [1] * 8)


def array(name: str, content: Any, dtype: str = "float32") -> Any:
    return numpy_helper.from_array(np.array(content, dtype), name)


def write_model(
    project: Project,
    *nodes: Node,
    shape: Sequence[int | str] = (1, 4),
    kind: int = TensorProto.FLOAT,
    made: int = TensorProto.FLOAT,
    weights: Sequence[Any] = (),
    opset: int = 17,
) -> None:
    """Write conf/model/mine.yaml and a network from `x` to `y` whose nodes are named after their operators."""
    names = [op.lower() for op, *_ in nodes]
    names = [f"{name}_{i}" if name in names[:i] else name for i, name in enumerate(names)]
    built = [helper.make_node(*node[:3], name, **node[3]) for name, node in zip(names, nodes, strict=True)]
    x = helper.make_tensor_value_info("x", kind, shape)
    graph = helper.make_graph(built, "g", [x], [helper.make_tensor_value_info("y", made, None)], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    (project.folder / "models").mkdir(exist_ok=True)
    onnx.save(model, str(project.folder / "models/mine.onnx"))
    project.write("conf/model/mine.yaml", "name: mine\npath: models/mine.onnx\n")


def relu(project: Project, **more: Any) -> None:
    write_model(project, ("Relu", ["x"], ["y"], {}), **more)


def through(project: Project, kind: int, opset: int = 19) -> None:
    nodes: list[Node] = [("Cast", ["x"], ["c"], {"to": kind}), ("Cast", ["c"], ["y"], {"to": TensorProto.FLOAT})]
    write_model(project, *nodes, opset=opset)


def int4(project: Project) -> None:
    scales = array("s", np.ones((2, 2)))
    nodes: list[Node] = [
        ("DequantizeLinear", ["w4", "s"], ["w"], {"axis": 0, "block_size": 2}),
        ("MatMul", ["x", "w"], ["y"], {}),
    ]
    write_model(project, *nodes, weights=[INT4, scales], opset=21)


def bf16(project: Project) -> None:
    through(project, TensorProto.BFLOAT16, 17)


def fp8(project: Project) -> None:
    through(project, TensorProto.FLOAT8E4M3FN)


def float64(project: Project) -> None:
    relu(project, kind=TensorProto.DOUBLE, made=TensorProto.DOUBLE)


def determinant(project: Project) -> None:
    write_model(project, ("Det", ["x"], ["y"], {}), shape=[4, 4])


def layer_norm(project: Project) -> None:
    write_model(project, ("LayerNormalization", ["x", "w"], ["y"], {}), weights=[array("w", [1] * 4)])


def compress(project: Project) -> None:
    write_model(project, ("Compress", ["x", "w"], ["y"], {"axis": 1}), weights=[array("w", [1, 0, 1, 0], "bool")])


def open_shape(project: Project) -> None:
    relu(project, shape=["batch", 3, "height", "width"])


def new_opset(project: Project) -> None:
    relu(project, opset=18)


def large(project: Project) -> None:
    weights = [array("w", np.ones((4, 400_000)))]
    write_model(project, ("MatMul", ["x", "w"], ["y"], {}), weights=weights)


def asymmetric(project: Project) -> None:
    pair = [array("s", 0.1), array("z", 3, "uint8")]
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "s", "z"], ["y"], {}),
    ]
    write_model(project, *nodes, weights=pair)


def erf(project: Project) -> None:
    write_model(project, ("Erf", ["x"], ["y"], {}))


def local_function(project: Project) -> None:
    """Write a model whose only node is a function of its own, as PyTorch's exporter makes them."""
    relu(project)
    file = str(project.folder / "models/mine.onnx")
    model = onnx.load(file)
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "Block", ["a"], ["b"], body, model.opset_import))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[0].CopyFrom(helper.make_node("Block", ["x"], ["y"], "block", domain="own"))
    onnx.save(model, file)


def profile(name: str, low: Sequence[int], high: Sequence[int]) -> str:
    return f"+steps.compile.profiles.{name}={{min: {[*low]}, opt: {[*low]}, max: {[*high]}}}"


ORIN, XAVIER = "target=jetson_orin", "target=jetson_xavier"
DLA = ("steps=[compile]", "steps.compile.dla_core=0")
# the model, the words of the command line, the node, the reason, the nearest thing that works
REFUSED: dict[str, tuple[Callable[[Project], None], tuple[str, ...], str, str, str]] = {
    "int4 before Orin": (int4, (XAVIER,), "dequantizelinear", "works on int4 ('w4')", "quantize it to int8"),
    "bf16 before Orin": (bf16, (XAVIER,), "cast", "works on bf16 ('c')", "in fp16"),
    "fp8 on Orin": (fp8, (ORIN,), "cast", "computes fp32, fp16, bf16, int8, int4", "int8"),
    "float64": (float64, (ORIN,), "relu", "TensorRT makes float32 without a word", "in float32"),
    "an operator that no TensorRT has": (determinant, (ORIN,), "det", "Det is no operator", "replace it"),
    "one that TensorRT-RTX has not": (determinant, ("target=rtx_4090",), "det", "TensorRT-RTX's parser", "replace it"),
    "an operator that is newer": (layer_norm, (XAVIER,), "layernormalization", "from 8.6 on", "ReduceMean"),
    "one with a near relative": (compress, (ORIN,), "compress", "Compress is no operator", "Where"),
    "an open shape": (open_shape, (ORIN,), "x", "open in height and width", "'++model.shapes.x=[1, 3, 1, 1]'"),
    "a shape that is another": (open_shape, (ORIN, "+model.shapes.x=[1,4,8,8]"), "x", "[1, 4, 8, 8]", "x=[1, 3, 8, 8]"),
    "a newer opset": (new_opset, (XAVIER,), "relu", "of opset 18", "opset 17"),
    "weights without room": (large, (ORIN, "target.memory_mib=4"), "matmul", "take 6 MiB", "leaves a quarter"),
    "too large for anything": (large, (ORIN, "target.memory_mib=1"), "matmul", "take 6 MiB", "smaller model"),
    "quantized for another runtime": (asymmetric, (ORIN,), "quantizelinear", "not 0", "style=tensorrt"),
    "what no DLA runs": (erf, (ORIN, *DLA), "erf", "no DLA runs Erf", "allow_gpu_fallback=true"),
    "a profile of an input that is not there": (
        relu,
        (ORIN, "steps=[compile]", profile("z", [1, 4], [1, 4])),
        "steps.compile.profiles.z",
        "the model has no input 'z'",
        "there is: x",
    ),
    "a profile of an axis that is not open": (
        relu,
        (ORIN, "steps=[compile]", profile("x", [1, 4], [2, 4])),
        "steps.compile.profiles.x",
        "max is [2, 4], and the input is [1, 4]: axis 0 is 1 and not open",
        "++steps.compile.profiles.x={min: [1, 4], opt: [1, 4], max: [1, 4]}",
    ),
    "a profile of another rank": (
        open_shape,
        (ORIN, "steps=[compile]", profile("x", [1, 3], [1, 3])),
        "steps.compile.profiles.x",
        "min is [1, 3], and the input is [batch, 3, height, width]: 4 axes, not 2",
        "max: [1, 3, 1, 1]}",
    ),
    "scratch memory without room": (
        relu,
        (ORIN, "steps=[compile]", "steps.compile.workspace_mib=16385"),
        "steps.compile.workspace_mib",
        "16,385 MiB of scratch memory, and jetson_orin has 16,384 MiB",
        "workspace_mib=8192",
    ),
    "a DLA where there is none": (
        erf,
        ("target=jetson_thor", *DLA),
        "steps.compile.dla_core",
        "jetson_thor has no DLA",
        "dla_core=null",
    ),
    "a DLA too many": (
        relu,
        (ORIN, "steps=[compile]", "steps.compile.dla_core=2"),
        "steps.compile.dla_core",
        "2 DLA cores",
        "=0",
    ),
    "int8 where there is none": (
        relu,
        (ORIN, "target.precisions=[fp32]", "steps=[quantize]", "data=fashion_mnist"),
        "steps.quantize",
        "computes fp32, not int8",
        "~steps.quantize",
    ),
    "another runtime's style": (
        relu,
        (ORIN, "steps=[quantize]", "data=fashion_mnist"),
        "steps.quantize.style",
        "jetson_orin runs tensorrt",
        "steps.quantize.style=tensorrt",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_target_cannot_do_is_refused_with_the_node_and_the_nearest_that_works(
    project: Project, case: str
) -> None:
    model, words, node, reason, nearest = REFUSED[case]
    model(project)

    done = project.run("check", "model=mine", *words, "output=json")
    document = json.loads(done.stdout)
    errors = [found for found in document["findings"] if found["severity"] == "error"]

    assert done.returncode == 2, done.stderr
    assert not document["fits"]
    assert any(found["node"] == node and reason in found["message"] and nearest in found["hint"] for found in errors), (
        errors
    )


def batch_of_any(project: Project) -> None:
    relu(project, shape=["batch", 4])


def dotted(project: Project) -> None:
    """Write a model whose input is called as PyTorch's and TensorFlow's exporters do, and open in an axis."""
    open_shape(project)
    file = str(project.folder / "models/mine.onnx")
    model = onnx.load(file)
    model.graph.input[0].name = model.graph.node[0].input[0] = "input.1:0"
    onnx.save(model, file)


@pytest.mark.parametrize("kind", ["model.shapes", "profiles"])
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (open_shape, ()),
        (dotted, ()),
        (open_shape, ("+model.shapes.x=[1,4,8,8]",)),
        (open_shape, ("+model.shapes.x=[0,3,8,8]",)),
        (batch_of_any, (profile("x", [1, 5], [2, 5]),)),
        (open_shape, (profile("x", [1, 3], [1, 3]),)),
    ],
    ids=["open", "a name that is no key", "another shape", "no length", "a closed axis", "another rank"],
)
def test_a_hint_about_shapes_is_a_word_that_a_shell_and_hydra_take(
    project: Project, model: Callable[[Project], None], words: tuple[str, ...], kind: str
) -> None:
    model(project)
    line = ("check", "model=mine", ORIN, "steps=[compile]", *words)
    document = json.loads(project.run(*line, "output=json").stdout)
    [hint] = [found["hint"] for found in document["findings"]]
    word = next((word for word in shlex.split(hint.replace(", or limits: ", " ")) if kind in word), "")

    assert word or kind not in hint
    if word:
        again = project.run(*line, word)
        assert again.returncode == 0, again.stdout + again.stderr


def test_limits_that_are_out_of_order_are_refused_with_the_order(project: Project) -> None:
    batch_of_any(project)
    wrong = "+steps.compile.profiles.x={min: [4, 4], opt: [2, 4], max: [8, 4]}"

    done = project.run("check", "model=mine", ORIN, "steps=[compile]", wrong)

    assert done.returncode == 2
    assert "steps.compile.profiles.x: 1 <= min <= opt <= max on every axis" in done.stderr
    assert "in order: {min: [2, 4], opt: [4, 4], max: [8, 4]}" in done.stderr


FITS: dict[str, tuple[Callable[[Project], None], tuple[str, ...]]] = {
    "int4 on Orin": (int4, (ORIN,)),
    "int4 on a processor": (int4, ("target=x86_avx512",)),
    "bf16 on Orin": (bf16, (ORIN,)),
    "fp8 on Thor": (fp8, ("target=jetson_thor",)),
    "float64 in ONNX Runtime": (float64, ("target=raspberry_pi_5",)),
    "LayerNormalization on Orin": (layer_norm, (ORIN,)),
    "an open batch": (lambda project: relu(project, shape=["batch", 4]), (ORIN,)),
    "an open shape that is said": (open_shape, (ORIN, "+model.shapes.x=[1,3,8,8]")),
    "an open shape with limits": (
        open_shape,
        (
            ORIN,
            "steps=[compile]",
            "+steps.compile.profiles={x: {min: [1,3,8,8], opt: [1,3,16,16], max: [4,3,32,32]}}",
        ),
    ),
    "an open shape in ONNX Runtime": (open_shape, ("target=x86_avx2",)),
    "a function that the model brings along": (local_function, (ORIN,)),
    "a layer that falls back": (erf, (ORIN, *DLA, "steps.compile.allow_gpu_fallback=true")),
    "weights that are quantized": (
        large,
        (ORIN, "target.memory_mib=4", "steps=[quantize]", "data=fashion_mnist", "steps.quantize.style=tensorrt"),
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_what_a_target_can_do_fits(project: Project, case: str) -> None:
    model, words = FITS[case]
    model(project)

    done = project.run("check", "model=mine", *words)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " fits " in done.stdout.splitlines()[-1]
    assert not (project.folder / "outputs/build").exists()


def test_a_layer_that_runs_on_the_gpu_instead_is_a_warning(project: Project) -> None:
    erf(project)

    done = project.run("check", "model=mine", ORIN, *DLA, "steps.compile.allow_gpu_fallback=true")

    assert "warning   erf: no DLA runs Erf; it runs on the GPU" in done.stdout
    assert "1 nodes" not in done.stdout or "1 warning" in done.stdout


def test_each_node_has_a_verdict(project: Project) -> None:
    write_model(project, ("Relu", ["x"], ["r"], {}), ("Det", ["r"], ["y"], {}), shape=[4, 4])

    document = json.loads(project.run("check", "model=mine", ORIN, "output=json").stdout)

    assert {node["name"]: node["verdict"] for node in document["nodes"]} == {"relu": "ok", "det": "error"}
    assert document["target"] == "jetson_orin"
    assert document["runtime"] == "tensorrt"


def test_what_simplify_replaces_by_its_result_is_not_held_against_a_model(project: Project) -> None:
    nodes: list[Node] = [("Det", ["w"], ["d"], {}), ("Add", ["x", "d"], ["y"], {})]
    write_model(project, *nodes, weights=[array("w", np.eye(2))])

    assert project.run("check", "model=mine", ORIN).returncode == 2
    assert project.run("check", "model=mine", ORIN, "steps=[simplify]").returncode == 0


def test_a_build_stops_before_its_first_step_and_says_the_same(project: Project) -> None:
    determinant(project)

    words = ("model=mine", ORIN, "steps=[simplify]", "name=mine")
    done = project.run(*words)
    [file] = Path(project.folder, "outputs/mine").glob("*/manifest.json")
    manifest, again = json.loads(file.read_text()), project.run(*words)
    statuses = {action["name"]: action["status"] for action in manifest["actions"]}

    assert [done.returncode, again.returncode] == [2, 2]
    assert statuses == {"model": "built", "check": "failed", "simplify": "skipped"}
    assert "det: Det is no operator that TensorRT's parser takes" in done.stdout
    assert "hint: replace it before the export" in done.stdout


@pytest.mark.parametrize("verb", [(), ("plan",)])
def test_an_option_that_the_target_cannot_do_is_refused_with_its_place(small: Project, verb: tuple[str, ...]) -> None:
    done = small.run(*verb, "recipe=small", ORIN)

    assert done.returncode == 2
    assert "error: steps.quantize.style: onnxruntime lays the graph out for ONNX Runtime" in done.stderr
    assert "hint: write steps.quantize.style=tensorrt" in done.stderr
    assert not (small.folder / "outputs/small").exists()


def test_the_place_of_a_refused_option_is_the_line_that_says_it(small: Project) -> None:
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text().replace("quantize: {", "quantize: {style: onnxruntime, "))

    done = small.run("recipe=small", ORIN)

    assert "recipes/small.yaml:9: steps.quantize.style" in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((ORIN, "steps.compile.runtime=openvino"), "jetson_orin runs tensorrt, not openvino"),
        (("target=rtx_4090", "target.compute_capability='9.0'"), "TensorRT-RTX builds for 7.5"),
        (("target=raspberry_pi_5", "steps.compile.runtime=openvino"), "raspberry_pi_5 runs onnxruntime, not openvino"),
        ((ORIN, "steps.compile.precision=int8"), "int8 is a word for OpenVINO; tensorrt computes as the graph says"),
    ],
)
def test_what_the_target_does_not_run_is_not_compiled_for_it(
    project: Project, words: tuple[str, ...], reason: str
) -> None:
    relu(project)

    done = project.run("plan", "model=mine", "steps=[compile]", *words)

    assert done.returncode == 2
    assert reason in done.stderr


def test_threads_that_a_devices_program_would_not_use_are_refused(project: Project) -> None:
    relu(project)
    pi = ("plan", "model=mine", "steps=[benchmark]", "target=raspberry_pi_5")

    refused, fits = project.run(*pi, "steps.benchmark.threads=4"), project.run(*pi, "steps.benchmark.threads=1")

    assert (refused.returncode, fits.returncode) == (2, 0), fits.stderr
    assert "steps.benchmark.threads: 4 threads cannot be asked for on raspberry_pi_5" in refused.stderr
    assert "hint: write steps.benchmark.threads=1" in refused.stderr


def test_threads_that_a_gpu_does_not_have_are_a_warning(small: Project) -> None:
    words = ("recipe=small", *ON_ORIN, "steps.benchmark.threads=4", "steps.compile.parser=never")
    checked = small.run("check", *words, "output=json")
    planned = small.run("plan", *words)
    said = "4 threads are for the measurement on this host; what runs on jetson_orin's GPU has none"

    [finding] = [each for each in json.loads(checked.stdout)["findings"] if each["rule"] == "threads"]
    assert (finding["severity"], finding["node"]) == ("warning", "steps.benchmark.threads")
    assert finding["message"] == said
    assert (checked.returncode, planned.returncode) == (0, 0), checked.stderr + planned.stderr
    assert planned.stderr.count(f"steps.benchmark.threads: {said}") == 1


ON_PI, ON_ORIN = ("target=raspberry_pi_5", "steps=[benchmark]"), ("target=jetson_orin", "steps=[compile,benchmark]")
WIDER = "+steps.compile.profiles={image: {min: [1,1,8,8], opt: [4,1,8,8], max: [8,1,8,8]}}"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            (*ON_ORIN, "steps.benchmark.batch=4"),
            "batch: 4 cannot be asked for on jetson_orin: what is timed there takes",
        ),
        ((*ON_ORIN, "steps.benchmark.batch=2", WIDER), "takes a batch of 1 or 4"),
        ((*ON_ORIN, "steps.benchmark.batch=4", WIDER), ""),
        ((*ON_PI, "steps.benchmark.batch=4"), ""),
        ((*ON_PI, "steps.benchmark.batch=4", "+model.state={image: scores}"), "takes a batch of 1\n"),
        ((*ON_PI, "steps.benchmark.seed=7"), "seed: 7 makes no difference on raspberry_pi_5"),
        ((*ON_PI, "steps.benchmark.seed=7", "~data"), ""),
        ((*ON_PI, "steps.benchmark.device=cuda"), "device: cuda cannot be asked for on raspberry_pi_5"),
    ],
)
def test_what_a_device_would_not_time_is_refused(small: Project, words: tuple[str, ...], reason: str) -> None:
    done = small.run("plan", "recipe=small", *words)

    assert (done.returncode, reason in done.stderr) == (2 if reason else 0, True), done.stderr


def test_the_host_is_checked_when_asked_and_not_in_a_build(small: Project) -> None:
    checked = small.run("check", "recipe=small")
    planned = json.loads(small.run("plan", "recipe=small", "output=json").stdout)

    assert checked.returncode == 0
    assert "small fits host: " in checked.stdout
    assert "check" not in {action["name"] for action in planned["actions"]}


def test_a_model_that_cannot_be_had_is_no_matter_of_the_target(project: Project) -> None:
    project.write("conf/model/mine.yaml", "name: mine\npath: models/none.onnx\n")

    done = project.run("check", "model=mine", ORIN)

    assert done.returncode == 1
    assert "models/none.onnx" in done.stderr


def test_check_knows_no_option_and_says_what_it_does(project: Project) -> None:
    assert project.run("check", "--fast").returncode == 2
    assert "usage: python -m builder check" in project.run("check", "--help").stdout
