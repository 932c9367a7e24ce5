"""MLPerf's scenarios: LoadGen's numbers are its own and ours agree, the search, the section of the page."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import platform
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import exporting, toolchain_store
from faults import left_running, wait_until
from projects import Project, write_small
from schemas import validator
from test_report_page import cpu_int8, jetson_int8, with_section

from builder.engine.processes import descendants
from builder.errors import StepError
from builder.measure.loadgen.document import in_words
from builder.measure.loadgen.log import read_log
from builder.measure.loadgen.scenarios import Load, Scenario
from builder.measure.loadgen.search import WITHIN, largest_rate
from builder.outcomes import Reproducible
from builder.report.page import render
from builder.step import Kind
from builder.steps.loadgen import Options, loadgen

RECORDED = (
    Path(__file__).parent / "recorded" / "loadgen"
)  # of `recipe=cpu_int8 +steps=loadgen`, on two cores of an EPYC
LOAD = Load(
    batch=4,
    min_seconds=2,
    max_seconds=30,
    min_queries=100,
    multi_stream_samples=8,
    server_latency_ms=10,
    server_percentile=0.99,
    seed=3,
)
QUICK = ("steps.loadgen.min_seconds=0.2", "steps.loadgen.warmup_runs=5", "steps.loadgen.samples=4")


# What the summary calls the rates of those scenarios that have one.
LABELS = {
    "single_stream": "QPS w/ loadgen overhead",
    "offline": "Samples per second",
    "server": "Completed samples per second",
}


def stated(summary: str, label: str) -> float:
    """Return a number of LoadGen's own summary."""
    (found,) = re.findall(rf"^{re.escape(label)} *: *([0-9.e+]+)$", summary, re.MULTILINE)
    return float(found)


def recorded() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDED / "section.json").read_bytes())
    return document


def page_of(
    document: dict[str, Any], name: str = "loadgen", build: Callable[[], dict[str, Any]] = cpu_int8
) -> tuple[dict[str, Any], str]:
    """Return the report of a build with such a section, and its page."""
    report = with_section(build(), name, document)
    return report, render(report)


def test_the_log_of_a_test_is_read_with_its_verdict_and_the_reasons() -> None:
    valid, invalid = read_log(RECORDED / "single_stream"), read_log(RECORDED / "multi_stream")
    summary = (RECORDED / "single_stream" / "mlperf_log_summary.txt").read_text(encoding="utf-8")

    assert (valid.valid, valid.reasons) == (True, ())
    assert stated(summary, "90.00 percentile latency (ns)") == pytest.approx(valid.latency_ms["p90"] * 1e6)
    assert stated(summary, LABELS["single_stream"]) == valid.per_second
    assert not invalid.valid
    assert invalid.reasons[-1] == "Need to process at least 662 queries for early stopping."
    assert invalid.per_second is None
    assert invalid.latency_ms["p50"] > valid.latency_ms["p50"]  # of queries of 8 samples, not of samples


def test_a_log_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="wrote no mlperf_log_detail"):
        read_log(tmp_path)
    lines = (RECORDED / "multi_stream" / "mlperf_log_detail.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "mlperf_log_detail.txt").write_text("\n".join(lines[:20]), encoding="utf-8")
    with pytest.raises(StepError, match="LoadGen ended before the test did"):
        read_log(tmp_path)


@pytest.mark.parametrize("limit", [997.0, 300.0, 41.0])
@pytest.mark.parametrize("near", [0.0, 41.0, 290.0, 700.0])
def test_the_search_ends_at_the_largest_rate_that_holds(limit: float, near: float) -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = largest_rate(holds, 1000.0, near)

    assert limit * (1 - WITHIN) <= found <= limit
    assert found in tried
    assert max(tried) <= 1000
    assert len(tried) <= 14


def test_the_search_gives_up_where_no_rate_holds() -> None:
    tried: list[float] = []

    def breaks(rate: float) -> bool:
        tried.append(rate)
        return False

    assert largest_rate(breaks, 1000.0) == 0
    assert len(tried) < 10


def test_each_scenario_is_asked_for_in_loadgens_own_words() -> None:
    timed = {"run_ns": 1_000_000, "batch_ns": 2_000_000}
    single, multi, offline = (
        LOAD.settings(each, timed, 1) for each in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.OFFLINE)
    )
    server = LOAD.settings(Scenario.SERVER, timed, 2, rate=120.0, part=0.5)

    assert single["single_stream_expected_latency_ns"] < 1_000_000  # so that queries enough are made ahead
    assert (single["min_duration_ms"], single["min_query_count"]) == (2000, 100)
    assert multi["multi_stream_samples_per_query"] == 8
    assert multi["multi_stream_expected_latency_ns"] < 4_000_000
    assert offline["offline_expected_qps"] > 2000
    assert (server["server_target_qps"], server["server_target_latency_ns"]) == (120.0, 10_000_000)
    assert (server["min_duration_ms"], server["schedule_rng_seed"]) == (1000, 5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"scenarios": []}, "scenarios are one or more of"),
        ({"scenarios": [Scenario.OFFLINE, Scenario.OFFLINE]}, "each once"),
        ({"turns": 1}, "turns must be at least 2, got 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"min_seconds": 0.0}, "min_seconds must be more than 0"),
        ({"server_latency_ms": -1.0}, "server_latency_ms must be more than 0"),
        ({"server_percentile": 1.0}, "server_percentile must lie in 0.5 to 0.999"),
        ({"cores": [-1]}, "cores must be different numbers of processors"),
    ],
)
def test_an_option_out_of_range_says_what_it_must_be(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**option)


def test_the_plan_knows_what_kind_of_step_it_is() -> None:
    assert loadgen.reproducible is Reproducible.MEASURED
    assert loadgen.toolchain == "loadgen"
    assert loadgen.outputs == {"section": Kind.SECTION}
    assert loadgen.optional == ("compiled",)


def test_for_another_target_the_portable_model_is_tested_here(small: Project) -> None:
    words = ("recipe=small", "target=jetson_orin", "+steps=loadgen", "steps.quantize.style=tensorrt")
    shown = small.run("plan", *words, "output=json")
    actions = {each["name"]: each for each in json.loads(shown.stdout)["actions"]}

    assert "loadgen" not in actions
    assert actions["loadgen@host"]["step"] == "loadgen"


def test_a_scenario_that_nobody_knows_is_named(small: Project) -> None:
    done = small.run("plan", "recipe=small", "+steps=loadgen", "steps.loadgen.scenarios=[ofline]")

    assert done.returncode == 2
    assert "offline" in done.stderr.lower()


def test_the_section_states_findings_bounds_and_that_it_is_no_mlperf_result() -> None:
    document = recorded()
    report, page = page_of(document)
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())

    validator().validate(report)
    assert report["findings"]["loadgen"].startswith("Offline, cpu_int8 answers ")
    assert "as many samples per second as fashion_mobilenet [" in report["findings"]["loadgen"]
    assert "This is not an MLPerf result: MLPerf's rules ask for tests of 600 s, and these took 1 s" in text
    assert "queries per second, 99 % of them answered within 10 ms" in text
    assert "99th percentile of queries of 8 samples" in text
    invalid = [one for scenario in document["scenarios"] for one in scenario["subjects"] if one["invalid"]]
    doubted = [each for each in document["scenarios"] if any(one["invalid"] for one in each["subjects"])]
    assert len(re.findall(r"\bINVALID\b", text)) == len(invalid) + len(doubted) > 0
    assert text.count("; LoadGen calls tests of it INVALID") == len(doubted)
    assert len(re.findall(r"\bVALID\b", text)) == 8 - len(invalid)
    assert "Need to process at least 662 queries for early stopping." in text


def test_what_was_taken_here_for_another_target_says_so() -> None:
    report, page = page_of(recorded(), "loadgen@host", jetson_int8)
    part = page.partition('id="loadgen-1"')[2].partition("</section>")[0]

    assert report["findings"]["loadgen@host"].endswith("on this host, not on jetson_orin")
    assert "not on jetson_orin" in part.partition("<h2>")[0]


def test_what_was_too_noisy_or_too_short_to_rank_says_so() -> None:
    noisy, short = recorded(), recorded()
    for scenario in noisy["scenarios"]:
        scenario["ratios"][0] |= {"value": 1.01, "interval": [0.7, 1.4], "ranked": False}
        scenario["noisy"] = True
    noisy["noisy"] = "Other processes took 40% of the processors' time. Stop them."
    for scenario in short["scenarios"]:
        scenario |= {"ratios": [], "too_few": "2 of 6 turns"}
        for one in scenario["subjects"]:
            one["interval"] = None

    report, page = page_of(noisy)
    validator().validate(report)
    assert report["findings"]["loadgen"].startswith("No scenario ranks cpu_int8 and fashion_mobilenet")
    assert "Other processes took 40% of the processors&#39; time. Stop them. It is measured again" in page
    assert dict(in_words(noisy))["noisy"].startswith(
        "too noisy to rank in single_stream, multi_stream, offline, server"
    )
    report, page = page_of(short)
    validator().validate(report)
    assert report["findings"]["loadgen"].endswith("2 of 6 turns were taken")
    assert "Offline: too few runs to rank (2 of 6 turns)" in page


def test_the_finding_says_how_many_scenarios_rank_nothing() -> None:
    document = recorded()
    for scenario in document["scenarios"][:3]:
        for ratio in scenario["ratios"]:
            ratio |= {"value": 1.0, "interval": [0.5, 2.0], "ranked": False}
    unranked, found = document["scenarios"][0]["name"], page_of(document)[0]["findings"]["loadgen"]

    assert found.endswith("; 3 of 4 scenarios do not rank them")
    assert dict(in_words(document))[unranked].count("no difference can be told [0.500, 2.000], LoadGen: ") == 1
    assert "scenarios" not in page_of(recorded())[0]["findings"]["loadgen"]


def test_the_finding_is_of_a_scenario_that_loadgen_accepts_where_one_ranks() -> None:
    document = recorded()
    for scenario in document["scenarios"]:
        for ratio in scenario["ratios"]:
            ratio |= {"value": 0.5, "interval": [0.4, 0.6], "ranked": True}
        for one in scenario["subjects"]:
            one |= {"invalid": int(scenario["name"] == "offline"), "reasons": ["too short"]}
    found = page_of(document)[0]["findings"]["loadgen"]

    assert found.startswith("Within 10 ms, cpu_int8 serves 2.00")
    assert "INVALID" not in found


def test_a_server_of_which_no_rate_holds_the_bound_says_so() -> None:
    document = recorded()
    server = next(each for each in document["scenarios"] if each["name"] == "server")
    server["ratios"] = []
    for one in server["subjects"]:
        one |= {"value": 0, "turns": [0.0] * 6, "interval": [0, 0], "tests": [], "invalid": 0, "reasons": []}
    report, page = page_of(document)

    validator().validate(report)
    assert page.count("no rate holds") >= 2
    assert "not tested" in page
    assert dict(in_words(document))["server"] == (
        "no rate holds the bound of 10 ms, nothing to rank, since in some turn no rate held the bound"
    )


def test_words_from_outside_are_escaped() -> None:
    document = copy.deepcopy(recorded())
    hostile = "<script>alert(1)</script>"
    document["loadgen"] = document["host"]["processor"] = hostile
    for scenario in document["scenarios"]:
        scenario["subjects"][0] |= {"invalid": 1, "reasons": [hostile]}

    assert hostile not in page_of(document)[1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain_store(tmp_path_factory, "loadgen")


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """The folder of a build that measured all four scenarios, in short tests."""
    project = exporting(write_small(Project(tmp_path_factory.mktemp("tested") / "project")), store)
    done = project.run("recipe=small", "+steps=loadgen", "~steps.evaluate", *QUICK, "fresh=[loadgen]")
    assert done.returncode == 0, done.stdout + done.stderr
    return project.folder / "outputs/small/latest"


@pytest.mark.formats
def test_loadgens_own_summary_agrees_with_ours(tested: Path) -> None:
    """Rates within 5 %, latencies at the median and the 90th percentile within 5 % and 50 us."""
    folder = tested / "measurements/loadgen"
    document = json.loads((folder / "section.json").read_bytes())

    assert [each["name"] for each in document["scenarios"]] == ["single_stream", "multi_stream", "offline", "server"]
    for scenario in document["scenarios"]:
        for test in (test for one in scenario["subjects"] for test in one["tests"]):
            ours, summary = test["recorded"], (folder / test["log"] / "mlperf_log_summary.txt").read_text("utf-8")
            if label := LABELS.get(scenario["name"]):
                assert ours["per_second"] == pytest.approx(test["per_second"], rel=0.05)
                assert stated(summary, label) == pytest.approx(
                    test["per_second"], rel=1e-5
                )  # six digits, or two decimals
            if scenario["name"] in ("single_stream", "multi_stream"):
                assert ours["queries"] == test["queries"]
                for share in ("p50", "p90"):
                    assert ours["latency_ms"][share] == pytest.approx(test["latency_ms"][share], rel=0.05, abs=0.05)
                    latency_ns = stated(summary, f"{share[1:]}.00 percentile latency (ns)")
                    assert latency_ns / 1e6 == pytest.approx(test["latency_ms"][share], abs=1e-6)
            if scenario["name"] == "server":  # LoadGen counts from when a query was due, we from when it came
                assert ours["latency_ms"]["p50"] <= test["latency_ms"]["p50"] + 0.05


@pytest.mark.formats
def test_every_scenario_has_its_values_intervals_and_verdicts(tested: Path) -> None:
    report = json.loads((tested / "report.json").read_text(encoding="utf-8"))
    validator().validate(report)
    for scenario in report["sections"]["loadgen"]["scenarios"]:
        assert scenario["too_few"] == ""
        assert [one["name"] for one in scenario["subjects"]] == ["baseline", "candidate"]
        for one in scenario["subjects"]:
            assert len(one["turns"]) == 6
            assert one["interval"][0] <= one["interval"][1]
            assert one["value"] > 0
            assert all(test["queries"] >= (1 if scenario["name"] == "offline" else 100) for test in one["tests"])
            assert bool(one["invalid"]) == bool(one["reasons"])
        assert [each["of"] for each in scenario["ratios"]] == ["candidate"]
    assert "Scenarios of MLPerf" in (tested / "report.html").read_text(encoding="utf-8")


@pytest.mark.formats
def test_logs_lie_beside_the_section_and_name_no_machine(tested: Path) -> None:
    folder = tested / "measurements/loadgen"
    logs = sorted(folder.rglob("mlperf_log_*.txt"))
    texts = [log.read_text(encoding="utf-8") for log in logs]

    assert len(logs) >= 2 * 4 * 2
    assert not any(str(tested.parents[2]) in text or f'"{platform.node()}"' in text for text in texts)
    assert not [*folder.rglob("*.json.part"), *folder.rglob("*trace*"), *folder.rglob("*accuracy*")]


@pytest.mark.formats
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("steps.loadgen.toolchain=host",), "mlcommons-loadgen is not installed here"),
        (("steps.loadgen.cores=[4095]",), "there is no processor 4095 to use here"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    project: Project, store: Path, words: tuple[str, ...], says: str
) -> None:
    done = exporting(write_small(project), store).run("recipe=small", "+steps=loadgen", "~steps.evaluate", *words)

    assert done.returncode == 1
    assert says in " ".join((done.stdout + done.stderr).split())


@pytest.mark.formats
def test_samples_that_wait_are_put_together_up_to_the_batch(project: Project, store: Path) -> None:
    words = ("steps.loadgen.batch=8", "steps.loadgen.scenarios=[offline,server]", "steps.loadgen.turns=2")
    done = exporting(write_small(project), store).run(
        "recipe=small", "+steps=loadgen", "~steps.evaluate", *QUICK, *words
    )
    report = json.loads((project.folder / "outputs/small/latest/report.json").read_text(encoding="utf-8"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert report["sections"]["loadgen"]["options"]["batch"] == 8
    assert [each["too_few"] for each in report["sections"]["loadgen"]["scenarios"]] == ["2 of 6 turns"] * 2


@pytest.mark.formats
def test_what_openvino_runs_is_a_third_subject_in_its_own_toolchain(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    exporting(write_small(project), toolchain_store(tmp_path_factory, "openvino"))
    words = ("~steps.evaluate", "+steps=[compile,loadgen]", "steps.compile.runtime=openvino")
    done = project.run("recipe=small", *words, *QUICK, "steps.loadgen.scenarios=[offline]")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((project.folder / "outputs/small/latest/measurements/loadgen/section.json").read_bytes())
    (offline,) = document["scenarios"]

    assert [each["runtime"] for each in document["subjects"]] == ["onnxruntime", "onnxruntime", "openvino"]
    assert document["ships"] == "openvino"
    ratios = [(each["of"], each["to"]) for each in offline["ratios"]]
    assert ratios == [("candidate", "baseline"), ("openvino", "baseline"), ("openvino", "candidate")]


@pytest.mark.formats
def test_an_interrupt_leaves_no_process(project: Project, store: Path) -> None:
    write_small(exporting(project, store))
    words = ("recipe=small", "+steps=loadgen", "~steps.evaluate", "steps.loadgen.min_seconds=30", "fresh=[loadgen]")
    started = project.start(*words)
    wait_until(lambda: len(subjects_below(started.pid)) == 2, 120)
    pids = subjects_below(started.pid)
    os.killpg(started.pid, signal.SIGINT)
    started.communicate(timeout=60)

    assert started.returncode == 130
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)
    assert left_running(project.folder) == []


def subjects_below(builder: int) -> list[int]:
    """Return the processes below a builder in which LoadGen runs."""
    found = []
    for pid in descendants(builder):
        with contextlib.suppress(OSError):  # it has ended
            found += [pid] if b"loadgen/served.py" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found
