"""The step `profile` on what OpenVINO tells, as it was recorded of fashion_mobilenet on two cores of an EPYC."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from statistics import fmean, median
from typing import Any

import onnx
import pytest
from schemas import validator
from test_report_page import cpu_int8, jetson_int8, with_section

from builder.errors import StepError
from builder.measure.blocks import ratios_of
from builder.measure.layers.counters import DISTURBED, mean_times, named_once
from builder.measure.layers.events import Node, family, summed_up
from builder.measure.layers.times import PROFILED, subject_entry
from builder.measure.series import Series
from builder.onnxtools.origin import origins
from builder.report.page import render
from builder.runtimes.openvino import Layer
from builder.specs import Model
from builder.step import Job
from builder.steps.profile import Options, profile

RECORDED = Path(__file__).parent / "recorded" / "profile"
MODEL = Path(__file__).resolve().parents[1] / "conf/assets/fashion_mobilenet/model.onnx"


@pytest.fixture
def block() -> dict[str, Any]:
    """Return what OpenVINO counted in a block of 30 runs of the INT8 model; the system interrupted two for 4.5 ms."""
    found: dict[str, Any] = json.loads((RECORDED / "counters.json").read_bytes())
    return found


def times_of(block: dict[str, Any]) -> dict[Node, float]:
    layers = [
        Layer(**{**each, "fused": tuple(each["fused"]), "shape": tuple(each["shape"])}) for each in block["layers"]
    ]
    told = [dict(zip(block["names"], means, strict=True)) for means in block["told_us"]]
    return mean_times(layers, told, block["ahead"], block["samples_ns"])


def test_neither_the_cold_first_run_nor_an_interrupted_one_counts(block: dict[str, Any]) -> None:
    run_us = median(block["samples_ns"]) / 1e3
    interrupted = [took for took in block["samples_ns"] if took > 20e3 * run_us]
    told_us = sum(block["told_us"][-1])
    ahead, runs = block["ahead"], len(block["samples_ns"])
    warm_us = (told_us * (ahead + runs) - sum(block["told_us"][0]) * ahead) / runs

    total = sum(times_of(block).values())

    assert len(interrupted) == 2
    assert told_us > warm_us > 1.9 * run_us  # what OpenVINO says, and that without the cold run
    assert 0.5 * run_us < total < run_us
    steady = {**block, "samples_ns": [run_us * 1e3] * runs}  # with none left out
    found = times_of(steady)
    given_back = sum(min(us / 2, 1) for us in found.values())  # of each layer
    assert sum(found.values()) - given_back == pytest.approx(warm_us, rel=0.01)


def counted(rng: random.Random, true_us: float, interrupted: set[int]) -> tuple[list[int], float]:
    """Return what OpenVINO tells of a layer after each of 200 runs, and how long it took on average if left alone."""
    total, told, alone = int(20 * true_us), [], []
    for run in range(2, 20 + 200 + 1):
        took = rng.gauss(true_us, 0.2)
        if run not in interrupted:
            alone.append(took)
        total += int(4 * took if run in interrupted else took)
        told.append(total // run)
    return told[18:], fmean(alone)


def test_the_parts_of_a_microsecond_that_openvino_drops_are_given_back() -> None:
    rng = random.Random(1)
    interrupted = {run for first in (60, 90, 150, 190) for run in range(first, first + 4)}
    samples = [4_000_000 if run in interrupted else 1_000_000 for run in range(21, 221)]
    names = [f"layer {number}" for number in range(60)]
    layers = [Layer(name, "Convolution", "jit_avx2_f32", (), None) for name in [*names, "idle"]]
    means, alone = zip(*(counted(rng, rng.uniform(2, 12), interrupted) for _ in names), strict=True)
    told = [{**dict(zip(names, each, strict=True)), "idle": 0} for each in zip(*means, strict=True)]

    found = {node.name: us for node, us in mean_times(layers, told, 20, samples).items()}

    assert fmean(found[name] for name in names) == pytest.approx(fmean(alone), abs=0.2)
    assert all(found[name] == pytest.approx(us, abs=3) for name, us in zip(names, alone, strict=True))
    assert found["idle"] == 0


def test_a_layer_that_openvino_numbers_anew_in_each_session_is_one_layer(block: dict[str, Any]) -> None:
    times = times_of(block)
    again = {replace(node, name=f"{node.name}_2"): us + 1 for node, us in times.items()}

    assert named_once(times, again) == {node: us + 1 for node, us in times.items()}


def test_a_layer_has_the_kernel_and_the_precision_that_it_really_ran_in(block: dict[str, Any]) -> None:
    times = times_of(block)
    convolutions = [node for node in times if node.operator == "Convolution"]

    assert {node.kernel.partition("_")[0] for node in convolutions} == {"brgconv"}
    assert {(node.kernel.rpartition("_")[2], node.precision) for node in convolutions} == {("I8", "int8")}
    assert {node.precision for node in times if node.operator in ("FakeQuantize", "Reorder", "Convert")} == {""}
    assert all(times[node] > 0 for node in convolutions)
    assert not [node for node in times if node.name.endswith("_flatten_reshape")]  # done when the model was loaded


def test_what_openvino_fused_goes_by_the_source_s_name_and_is_summed_by_type(block: dict[str, Any]) -> None:
    source = onnx.load(MODEL).graph
    names = {kind: {node.name for node in source.node if node.op_type == kind} for kind in ("Conv", "Gemm")}
    plain, profiled = (
        Series(name, 1.0, 1, blocks_ns=[block["samples_ns"]] * 6)
        for name in ("candidate", PROFILED.format("candidate"))
    )
    blocks = [summed_up([times_of(block)])] * 6

    entry = subject_entry(plain, profiled, blocks, origins(source, family), ratios_of([plain, profiled], 0.95))

    layers = {
        kind: {n["layer"] for n in entry["nodes"] if n["operator"] == kind} for kind in ("Convolution", "Reorder")
    }
    assert layers == {"Convolution": names["Conv"], "Reorder": {None}}
    (dense,) = (node for node in entry["nodes"] if node["operator"] == "FullyConnected")
    assert {dense["layer"]} == names["Gemm"]
    (convolutions,) = (each for each in entry["families"] if each["family"] == "Convolution")
    assert convolutions["nodes"] == 23
    summed = sum(node["ms"] for node in entry["nodes"] if node["family"] == "Convolution")
    assert convolutions["ms"] == pytest.approx(summed, abs=1e-4)
    first = next(node for node in entry["nodes"] if node["shape"] == [1, 16, 28, 28])
    assert first["fused"][0].endswith("/Conv/WithoutBiases")
    assert first["fused"][-1].endswith("Clip_output_0_QuantizeLinear")


def test_a_mask_that_an_element_wise_layer_takes_is_not_taken_for_int8() -> None:
    kernels = [("Eltwise", "jit_avx512_I8"), ("Eltwise", "jit_avx512_f32"), ("Convolution", "brgconv_avx512_I8")]

    assert [Layer("x", *each, (), None).precision for each in kernels] == ["", "fp32", "int8"]


def test_a_source_that_openvino_cannot_convert_is_told_from_what_ships(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")  # and where OpenVINO is not here, nothing is converted
    inputs = {"model": tmp_path, "baseline": tmp_path, "compiled": tmp_path}

    with pytest.raises(StepError, match="OpenVINO cannot convert the source model: ") as error:
        profile.run(Options(), Job(inputs=inputs, output=tmp_path / "out", model=Model("network")))

    assert error.value.hint == "leave the step out: '~steps.profile'"


def page_of(name: str, report: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the report of a build with the recorded profile, and the section on its page as text."""
    document = json.loads((RECORDED / "section.json").read_bytes())
    made = with_section(report, name, document)
    part = render(made).partition('id="layer-times-1"')[2].partition("</section>")[0]
    return made, " ".join(unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_the_page_says_that_both_ran_in_openvino_and_in_which_kernels() -> None:
    report, text = page_of("profile", cpu_int8())

    validator().validate(report)
    said = report["findings"]["profile"]
    assert re.match(r"Convolution takes \d+ % of cpu_int8's time in layers in OpenVINO", said)
    assert "less time than in fashion_mobilenet" in said
    assert "both models in OpenVINO 2026.4.1 and its own profiler" in text
    assert "half a µs is given back for each, so a layer is known to about 1 µs" in text
    assert f"the mean of a block's runs, without those above {DISTURBED} " in text
    assert "Precision Kernel Shape" in text
    assert "brgconv_avx512_1x1_I8" in text
    assert "ONNX Runtime's" not in text


def test_for_another_machine_and_runtime_the_page_says_whose_times_these_are() -> None:
    report, text = page_of("profile@host", jetson_int8())

    assert "on this host, not on jetson_orin" in report["findings"]["profile@host"]
    assert "not on jetson_orin" in text
    assert "These are OpenVINO's times of the IR: TensorRT, which this build is for, fuses layers its own way" in text
