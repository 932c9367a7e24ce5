"""`scaling`: how latency and throughput grow with the batch and with threads, and what is said where they cannot."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from browser import PHONE, chromium, needs_chromium, opened
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from projects import Project, write_small
from schemas import validator

from builder.measure.growth.laws import batch_exponent, parallel_share
from builder.report.findings import Names
from builder.report.growth_chart import Curve, latency_panel
from builder.report.sections.scaling import context, finding
from builder.steps.scaling import Options

SHORT = ["steps=[simplify,scaling]", "steps.scaling.max_seconds=1", "steps.scaling.blocks=6", "steps.scaling.runs=12"]


def built(project: Project, *words: str) -> dict[str, Any]:
    """Build, and return report.json."""
    done = project.run("recipe=small", *SHORT, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(newest(project).read_text(encoding="utf-8"))
    return report


def newest(project: Project) -> Path:
    return max((project.folder / "outputs/small").glob("2*/report.json"), key=lambda path: path.stat().st_mtime_ns)


def section(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["sections"]["scaling"]
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a sweep over batches and threads of a model and its baseline: to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("scaling") / "project"))
    found = built(project, "steps.scaling.batch=[4,1]", "steps.scaling.threads=[1,999]", "steps.scaling.baseline=true")
    page = newest(project).with_name("report.html")
    return {**found, "page": page, "html": page.read_text(encoding="utf-8")}


def test_every_batch_of_the_model_and_its_baseline_is_timed_and_follows_the_schema(report: dict[str, Any]) -> None:
    document = section(report)

    validator().validate({name: part for name, part in report.items() if name not in ("html", "page")})
    assert [subject["name"] for subject in document["subjects"]] == ["baseline", "candidate"]
    for subject in document["subjects"]:
        assert [(point["threads"], point["batch"]) for point in subject["points"]] == [(1, 1), (1, 4)]
        assert len({point["blocks"] for point in subject["points"]}) == 1
        assert subject["runtime"] == "onnxruntime"
        for point in subject["points"]:
            assert point["samples_per_second"] == pytest.approx(1000 * point["batch"] / point["p50_ms"], rel=1e-3)
            assert point["runs"] >= 12


def test_threads_beyond_the_processors_are_left_out_and_said(report: dict[str, Any]) -> None:
    document = section(report)

    assert document["threads_left_out"] == [999]
    assert document["processors"] == len(os.sched_getaffinity(0))
    assert "999 threads were left out" in report["html"]


def test_the_page_titles_both_drawings_with_what_was_found(report: dict[str, Any]) -> None:
    html = report["html"]

    assert "Batch 4 " in report["findings"]["scaling"]
    assert re.search(r"throughput is highest at batch \d: [\d,.]+ samples per second on this host", html)
    assert html.count(": latency, median, ms, logarithmic over batch</title>") == 1
    assert html.count(": samples per second over batch</title>") == 1
    assert "grows as batch^" in html


@pytest.mark.parametrize(("least", "said"), [(0.1, True), (-0.1, False)])
def test_the_share_that_threads_divide_is_said_where_it_cannot_be_none(
    report: dict[str, Any], least: float, said: bool
) -> None:
    changed = copy.deepcopy({name: part for name, part in report.items() if name not in ("html", "page")})
    ends = {"of": {"batch": 1, "threads": 1}, "to": {"batch": 1, "threads": 2}}
    ratio = {**ends, "value": 1.2, "interval": [0.9, 1.4], "ranked": False}
    share = {"parallel_share": 0.3, "parallel_share_interval": [least, 0.5], "misfit": 0.0}
    section(changed)["subjects"][-1]["speedup"] = [{"batch": 1, **share, "ratios": [ratio]}]

    notes = context(changed)["scalings"][0]["notes"]

    assert any("they divide" in note for note in notes) is said


@needs_chromium
def test_the_drawings_fit_a_phone_and_a_screen_reader_can_tell_them(report: dict[str, Any]) -> None:
    with chromium() as browser, opened(browser, report["page"], size=PHONE, scheme="dark") as page:
        assert page.beyond() == []
        assert page.serious() == []


def test_a_fixed_batch_leaves_threads_to_sweep_or_nothing(small: Project) -> None:
    path = small.folder / "models/small.onnx"
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    words = ["recipe=small", *SHORT, "steps.scaling.batch=[1,2]"]
    nothing = small.run(*words, "steps.scaling.threads=[1]")

    assert nothing.returncode == 1
    assert "scaling: nothing is left to vary: batch=2: no input has an open dimension for it" in nothing.stdout
    if len(os.sched_getaffinity(0)) > 1:
        document = section(built(small, "steps.scaling.batch=[1,2]", "steps.scaling.threads=[1,2]"))
        (subject,) = document["subjects"]
        assert [each["batch"] for each in subject["batches_left_out"]] == [2]
        assert subject["growth"] == []
        assert [each["batch"] for each in subject["speedup"]] == [1]
        names = Names({"name": "small", "recipe": {}, "host": {}, "target": {"name": "host", "here": True}})
        assert re.match(r"2 threads .* 1 .*; throughput is highest with \d thread", finding(names, document))


def test_a_batch_that_is_open_on_paper_only_is_left_out_with_the_runtimes_words(small: Project) -> None:
    path = small.folder / "models/small.onnx"
    model = onnx.load(path)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, 64], "int64"), "one"))
    graph.node.append(helper.make_node("Reshape", ["image", "one"], ["flat"], "one_sample"))
    graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, [1, 64]))
    onnx.save(model, path)
    done = small.run("recipe=small", *SHORT, "steps.scaling.batch=[1,2]", "steps.scaling.threads=[1]")

    assert done.returncode == 1
    assert "nothing is left to vary: ONNX Runtime could not run the model" in done.stdout


def test_a_batch_that_no_memory_holds_is_left_out(small: Project) -> None:
    done = small.run("recipe=small", *SHORT, f"steps.scaling.batch=[1,{10**12}]", "steps.scaling.threads=[1]")

    assert done.returncode == 1
    assert f"nothing is left to vary: batch={10**12}: there is not enough memory" in done.stdout


def test_more_threads_than_processors_alone_are_refused(small: Project) -> None:
    done = small.run("recipe=small", *SHORT, "steps.scaling.threads=[999]")

    assert done.returncode == 1
    assert "threads: 999 are more than the " in done.stdout


def test_for_a_target_elsewhere_it_is_measured_here_and_says_so(small: Project) -> None:
    words = ["steps=[scaling]", "steps.scaling.max_seconds=1", "steps.scaling.batch=[1,2]", "steps.scaling.blocks=6"]
    planned = small.run("plan", "recipe=small", "target=jetson_orin", *words)

    assert planned.returncode == 0, planned.stderr
    assert "scaling@host" in planned.stdout
    assert not re.search(r"^\s+deferred\s+scaling", planned.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"batch": []}, "batch must be"),
        ({"batch": [1, 1]}, "each once"),
        ({"threads": [0]}, "threads must be"),
        ({"batch": [1], "threads": [1]}, "a single point"),
        ({"blocks": 5}, "blocks must be at least 6"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"cores": [-1]}, "cores"),
        ({"runs": 0}, "runs must be"),
        ({"confidence": 1}, "confidence"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Options(**wrong)


@given(st.floats(0, 2), st.floats(0.001, 1000))
def test_the_exponent_of_a_power_law_is_found(exponent: float, at_one: float) -> None:
    rounds = {batch: [noise * at_one * batch**exponent for noise in (1, 1.1, 0.9, 1, 1.2, 1)] for batch in (1, 2, 8)}
    fit = batch_exponent(rounds, 0.95)

    assert fit.value == pytest.approx(exponent, abs=1e-9)
    assert fit.interval[0] <= fit.value <= fit.interval[1]
    assert fit.misfit == pytest.approx(0, abs=1e-9)


def test_what_is_no_power_law_is_said_to_be_off_it() -> None:
    rounds = {batch: [1.0 + batch] * 6 for batch in (1, 4, 16)}

    assert batch_exponent(rounds, 0.95).misfit > 0.05


@given(st.floats(-0.5, 1))
def test_the_share_that_threads_divide_is_amdahls(share: float) -> None:
    rounds = {count: [3 * (1 - share + share / count)] * 6 for count in (1, 2, 4)}
    fit = parallel_share(rounds, 0.95)

    assert fit.value == pytest.approx(share, abs=1e-9)
    assert fit.misfit == pytest.approx(0, abs=1e-9)


@given(st.floats(1e-4, 1e4), st.floats(1, 1000))
def test_the_logarithmic_axis_has_ticks_and_room_for_all_points(least: float, factor: float) -> None:
    points = [
        {"batch": batch, "p50_ms": value, "p50_interval_ms": [0.99 * value, 1.01 * value]}
        for batch, value in ((1, least), (8, least * factor))
    ]
    panel = latency_panel("title", [Curve("name", "candidate", 0, points)], "batch")
    places = [float(y) for y in re.findall(r",(-?[\d.]+)", panel.lines[0].path)]

    assert len(panel.up) >= 2
    assert all(0 <= y <= 1000 and math.isfinite(y) for y in places)
    assert [label for _, label in panel.across] == ["1", "8"]
