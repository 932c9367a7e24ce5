"""The step `profile`, on real models; no test judges a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from projects import Project, small_model
from schemas import validator

from builder.errors import StepError
from builder.measure.layers.events import family, summed_up, times_by_run
from builder.measure.layers.profiled import Profiled
from builder.onnxtools.origin import origins
from builder.report.findings import Names
from builder.report.sections.layer_times import finding
from builder.runtimes.onnxruntime import Session, precision_of
from builder.specs import Model
from builder.step import Job, Result
from builder.steps.profile import Options, profile

QUICK: dict[str, Any] = {"warmup_runs": 2, "runs": 30, "blocks": 6, "max_seconds": 0.5}
MODEL = Path(__file__).resolve().parents[1] / "conf/assets/fashion_mobilenet/model.onnx"


def measure(source: Path, output: Path, **options: Any) -> tuple[Result, dict[str, Any]]:
    job = Job(inputs={"model": source, "baseline": source}, output=output, model=Model("network"))
    result = profile.run(Options(**{**QUICK, **options}), job)
    return result, json.loads((output / "section" / "section.json").read_bytes())


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The profile of a real network beside itself."""
    folder = tmp_path_factory.mktemp("fashion")
    shutil.copy(MODEL, folder / "model.onnx")
    return measure(folder, tmp_path_factory.mktemp("out"))[1]


def test_both_models_have_every_node_of_the_optimized_graph(fashion: dict[str, Any]) -> None:
    for subject in fashion["subjects"]:
        counts = {each["family"]: each["nodes"] for each in subject["families"]}
        assert sum(counts.values()) == len(subject["nodes"]) > 20
        assert counts["Conv"] == 23
        assert subject["runs"] >= 30
        assert [node["ms"] for node in subject["nodes"]] == sorted((n["ms"] for n in subject["nodes"]), reverse=True)
        assert all(low <= node["ms"] <= high for node in subject["nodes"] for low, high in [node["interval_ms"]])
        assert all(node["precision"] == "fp32" for node in subject["nodes"] if node["family"] == "Conv")
        assert sum(each["share"] for each in subject["families"]) == pytest.approx(1, abs=0.2)
    assert [subject["name"] for subject in fashion["subjects"]] == ["baseline", "candidate"]


def test_a_fused_convolution_goes_by_the_source_s_name(fashion: dict[str, Any]) -> None:
    source = onnx.load(MODEL).graph
    convolutions = {node.name for node in source.node if node.op_type == "Conv"}

    for subject in fashion["subjects"]:
        assert {node["layer"] for node in subject["nodes"] if node["family"] == "Conv"} == convolutions
        assert [node["layer"] for node in subject["nodes"] if node["operator"] == "ReorderOutput"] in ([], [None])


def test_what_profiling_costs_is_measured_beside_runs_without_it(fashion: dict[str, Any]) -> None:
    for subject in fashion["subjects"]:
        overhead = subject["overhead"]
        assert (overhead["of"], overhead["to"]) == (f"{subject['name']} profiled", subject["name"])
        assert overhead["interval"][0] <= overhead["value"] <= overhead["interval"][1]
        assert subject["nodes_ms"] > 0
        assert subject["run"]["ms"] > 0


def looped(folder: Path) -> Path:
    """Write a model that multiplies a matrix by itself 20 times in a loop."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "square"], ["next"], "product"),
            helper.make_node("Identity", ["more"], ["go"], "go"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [160, 160]),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [160, 160]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "yes", "x"], ["y"], "loop", body=body)],
        "looped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [160, 160])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [160, 160])],
        [
            numpy_helper.from_array(np.array(20), "count"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.eye(160, dtype=np.float32), "square"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_time_inside_a_loop_is_counted_once(tmp_path: Path) -> None:
    session = Session(looped(tmp_path), profile=str(tmp_path / "profile"))
    for _ in range(3):
        session.run({"x": np.eye(160, dtype=np.float32)})
    events = session.end_profile()

    runs = times_by_run(events, precision_of)

    took = [event["dur"] for event in events if event["name"] == "model_run"]
    assert len(runs) == len(took) == 3
    for run, whole in zip(runs, took, strict=True):
        assert {node.operator for node in run} >= {"Loop", "MatMul"}
        assert sum(run.values()) <= whole
    block = summed_up(runs)
    assert set(block["families"]) == {family(node["operator"]) for node in block["nodes"]}
    assert block["total"] <= max(took)


NOISY = """
import itertools
from builder.measure.layers.profiled import _Profiler
from builder.measure.subject import main

class Noisy(_Profiler):
    latencies = itertools.cycle([400_000, 2_500_000])

    def block(self, runs, untimed):
        found = super().block(runs, untimed)
        return {**found, "ns": [next(self.latencies) if "noisy" in self._spec["folder"] else 1_000_000] * runs}

main(Noisy())
"""


def test_models_that_noise_does_not_tell_apart_are_not_kept_and_the_likely_cause_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.setattr(Profiled, "script", tmp_path / "noisy.py")
    inputs = {"model": tmp_path / "noisy", "baseline": tmp_path / "steady"}
    for folder in inputs.values():
        folder.mkdir()
        small_model(folder / "model.onnx")

    result = profile.run(Options(**QUICK), Job(inputs=inputs, output=tmp_path / "out", model=Model("network")))

    document = json.loads((tmp_path / "out/section/section.json").read_bytes())
    assert not result.keep
    assert document["noisy"].startswith("Too noisy to rank: ")
    assert result.facts["noisy"] == f"t{document['noisy'][1:]} Then it will be measured again next time"
    assert document["conditions"]["seconds"] > 0


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("QLinearConv", "Conv"),
        ("FusedConv", "Conv"),
        ("ConvInteger", "Conv"),
        ("MatMulIntegerToFloat", "MatMul"),
        ("DynamicQuantizeMatMul", "MatMul"),
        ("QGemm", "Gemm"),
        ("DynamicQuantizeLinear", "DynamicQuantizeLinear"),
        ("QuantizeLinear", "QuantizeLinear"),
        ("Softmax", "Softmax"),
    ],
)
def test_a_quantized_operator_counts_as_the_one_it_stands_for(operator: str, expected: str) -> None:
    assert family(operator) == expected


def test_a_runtime_s_name_leads_to_the_longest_name_of_the_source_that_stands_in_it_whole(tmp_path: Path) -> None:
    graph = onnx.load(small_model(tmp_path / "model.onnx")).graph
    graph.node[3].name = "conv10"
    find = origins(graph, family)

    assert find("conv1_token_4", "QLinearConv") == "conv1"
    assert find("conv10_token_5", "QLinearConv") == "conv10"
    assert find("r1_nchwc", "FusedConv") == "conv1"
    assert find("classifier", "Gemm") == "classifier"
    assert find("ReorderOutput", "ReorderOutput") is None


@pytest.mark.parametrize(
    "wrong",
    [
        *({"runs": 0}, {"threads": 0}, {"batch": 0}, {"seed": -1}, {"cores": [-1]}, {"max_seconds": 0}, {"blocks": 2}),
        *({"threads": 10**10}, {"max_seconds": 1e300}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_a_processor_that_is_not_there_is_named(tmp_path: Path) -> None:
    small_model(tmp_path / "model.onnx")

    with pytest.raises(StepError, match=r"profile: 'baseline': .*4095"):
        measure(tmp_path, tmp_path / "out", cores=[4095])


def test_a_build_shows_where_the_time_goes_before_and_after(small: Project) -> None:
    words = [f"steps.profile.{name}={value}" for name, value in QUICK.items()]

    built = small.run("recipe=small", "+steps=[profile]", *words)

    assert built.returncode == 0, built.stderr
    folder = small.folder / "outputs" / "small" / "latest"
    report = json.loads((folder / "report.json").read_text())
    validator().validate(report)
    before, after = report["sections"]["profile"]["subjects"]
    assert {each["family"] for each in before["families"]} & {each["family"] for each in after["families"]} >= {"Conv"}
    assert "int8" in {node["precision"] for node in after["nodes"]}
    layers = {node["layer"] for node in after["nodes"]}
    assert {"conv1", "conv2", "classifier"} <= layers & {node["layer"] for node in before["nodes"]}
    page = (folder / "report.html").read_text()
    assert 'id="layer-times-1"' in page
    assert report["findings"]["profile"].partition(" of ")[0] in page
    assert "With the profiler on, a run of small takes" in page


def test_for_another_machine_it_is_taken_of_the_portable_model_here(small: Project) -> None:
    planned = small.run(
        "plan", "recipe=small", "target=jetson_orin", "steps.quantize.style=tensorrt", "+steps=[profile]"
    )

    assert planned.returncode == 0, planned.stderr
    names = [line.split()[1] for line in planned.stdout.splitlines() if line.startswith("  ")]
    assert "profile@host" in names
    assert "profile" not in names


def test_the_finding_says_when_no_difference_can_be_told(fashion: dict[str, Any]) -> None:
    manifest = {
        "name": "fast",
        "recipe": {"model": {"name": "source"}},
        "target": {"name": "host", "here": True},
        "host": {},
        "actions": [],
    }
    top = fashion["subjects"][1]["families"][0]["family"]
    ratio = {**fashion["family_ratios"][top], "value": 0.5, "ranked": True}

    said = finding(Names(manifest), {**fashion, "family_ratios": {top: ratio}})
    unranked = finding(Names(manifest), {**fashion, "family_ratios": {top: {**ratio, "ranked": False}}})

    assert said.endswith("; it takes 2.0 \N{MULTIPLICATION SIGN} less time than in source")
    assert unranked.endswith("; no difference can be told from source")


def test_a_difference_of_less_than_a_microsecond_a_node_is_none(fashion: dict[str, Any]) -> None:
    names = Names({"name": "fast", "recipe": {}, "target": {"name": "host", "here": True}, "host": {}, "actions": []})
    before, after = fashion["subjects"]
    top, ratio = after["families"][0], fashion["family_ratios"][after["families"][0]["family"]]
    for ms, apart in ((0.9e-3, False), (1.1e-3, True)):
        small = {**after, "families": [{**top, "nodes": 20, "ms": 20 * ms}]}
        halved = {top["family"]: {**ratio, "value": 0.5, "ranked": True}}
        said = finding(names, {**fashion, "subjects": [before, small], "family_ratios": halved})

        assert ("less time" in said) is apart
