"""The step on the real model, few runs; no test judges a time."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ModelError, StepError
from builder.measure.cost.energy import Counter
from builder.measure.host import host
from builder.measure.process import Subject
from builder.measure.ratio import median
from builder.outcomes import Reproducible
from builder.specs import Model
from builder.step import Job, Kind, Result
from builder.steps.benchmark import Options, benchmark

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "conf/assets/fashion_mobilenet/model.onnx"
SPEC: dict[str, Any] = {"threads": 1, "device": "", "batch": 1, "seed": 0, "shapes": {}, "constants": {}, "states": []}
QUICK = Options(warmup_runs=2, runs=60, blocks=6, max_seconds=1)

SCRIPTED = """
import itertools, json, time
from pathlib import Path
from builder.measure.subject import Runner, main

class Scripted(Runner):
    def load(self, spec, **warmup):
        self.latencies = itertools.cycle(json.loads(Path(spec["folder"], "model.onnx").read_text()))
        return {"load_ms": 1.0, "run_ns": 20_000_000, "warmup_runs": 1}

    def block(self, runs, untimed):
        time.sleep(0.004)
        return {"ns": [next(self.latencies)] * runs}

    def memory(self):
        return {"memory_mib": 1.5}

    def execution(self):
        return {"runtime": "scripted"}

main(Scripted())
"""


@dataclass
class Run:
    result: Result
    document: dict[str, Any]
    progress: list[tuple[int, int, str]]
    folder: Path

    def subject(self, name: str) -> dict[str, Any]:
        return next(each for each in self.document["subjects"] if each["name"] == name)


def measure(options: Options, candidate: Path, baseline: Path, output: Path) -> Run:
    progress: list[tuple[int, int, str]] = []
    job = Job(
        inputs={"model": candidate, "baseline": baseline},
        output=output,
        model=Model("fashion"),
        progress=lambda *event: progress.append(event),
    )
    result = benchmark.run(options, job)
    folder = output / "measurement"
    return Run(result, json.loads((folder / "measurement.json").read_bytes()), progress, folder)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    shutil.copy(MODEL, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def run(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The model measured against itself."""
    return measure(QUICK, fashion, fashion, tmp_path_factory.mktemp("run"))


def test_both_subjects_are_described_in_full(run: Run) -> None:
    assert [each["name"] for each in run.document["subjects"]] == ["baseline", "candidate"]
    for each in run.document["subjects"]:
        latency = each["latency_ms"]
        assert latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
        assert each["p50_interval_ms"][0] <= median(each["blocks_ms"]) <= each["p50_interval_ms"][1]
        assert each["p50_interval_of"] == "block medians"
        assert (each["runtime"], each["precision"], each["accelerated"]) == ("onnxruntime", "fp32", None)
        assert each["nodes"]["providers"] == {"CPU": 27}
        assert (each["threads"], each["batch"], each["warmup_runs"]) == (1, 1, 2)
        assert each["bytes"] == MODEL.stat().st_size
        assert each["load_ms"] > 0
        assert each["first_inference_ms"] > 0
        assert 0 < each["memory_loaded_mib"] <= each["memory_mib"]
        assert each["cores"] == []
        assert 1 < each["memory_mib"] < 500
        assert each["runs"] >= 60
        assert each["p99_valid"] == (each["runs"] >= 1000)


def test_samples_are_thinned_evenly_in_run_order(run: Run) -> None:
    subject = run.subject("candidate")
    every, runs = subject["samples_every"], subject["runs"]
    assert len(subject["samples_ms"]) == -(-runs // every) <= 2000
    benchmarks = json.loads((run.folder / "pytest-benchmark.json").read_bytes())["benchmarks"]
    (entry,) = (each for each in benchmarks if each["name"] == "test_latency[candidate]")
    data = [round(seconds * 1e3, 6) for seconds in entry["stats"]["data"]]
    assert data[::every] == subject["samples_ms"]
    assert len(data) == runs
    per_block = entry["extra_info"]["runs_per_block"]
    blocks = [data[start : start + per_block] for start in range(0, runs, per_block)]
    assert [median(block) for block in blocks] == pytest.approx(subject["blocks_ms"], abs=1e-6)
    assert entry["extra_info"]["ratios"] == run.document["ratios"]


def test_the_ratio_is_the_median_of_the_ratios_of_neighbouring_blocks(run: Run) -> None:
    (ratio,) = run.document["ratios"]
    blocks = zip(run.subject("candidate")["blocks_ms"], run.subject("baseline")["blocks_ms"], strict=True)
    logs = [math.log(candidate / baseline) for candidate, baseline in blocks]
    assert ratio["value"] == pytest.approx(math.exp(median(logs)), rel=1e-4)
    assert ratio["interval"][0] <= ratio["value"] <= ratio["interval"][1]
    assert ratio["ranked"] == (not ratio["interval"][0] <= 1 <= ratio["interval"][1])
    assert ratio["confidence"] == 0.95


def test_the_machine_and_its_load_are_stated(run: Run) -> None:
    assert run.document["host"] == host()
    assert set(run.document["load_average"]) == {"before", "after"}
    assert run.document["taken_at"].endswith("+00:00")
    assert run.document["seconds"] > 0


def test_compute_is_held_against_what_the_machine_can(run: Run) -> None:
    limits = run.document["limits"]
    assert set(limits["gmacs_per_s"]) == {"fp32", "int8"}
    for each in run.document["subjects"]:
        compute = each["compute"]
        assert (compute["macs"], compute["parameters"]) == (21_058_304, 324_570)
        assert (compute["limit"], compute["reason"]) == ("compute", None)
        taken_s = each["latency_ms"]["p50"] / 1e3
        expected = compute["macs"] / (limits["gmacs_per_s"]["fp32"] * 1e9) / taken_s
        assert compute["fraction"] == pytest.approx(expected, rel=1e-2)


def test_energy_is_a_number_or_a_reason(run: Run) -> None:
    counted = run.document["energy_method"] is not None
    assert counted == (run.document["energy_reason"] is None)
    assert all((each["energy_mj"] is not None) == counted for each in run.document["subjects"])


def test_a_subject_is_kept_on_the_processors_that_are_asked_for(fashion: Path, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    options = Options(cores=[core], warmup_runs=1, runs=6, blocks=6, max_seconds=0.1)
    assert measure(options, fashion, fashion, tmp_path).subject("candidate")["cores"] == [core]
    with Subject("candidate", fashion, {**SPEC, "cores": [core]}) as subject:
        subject.load(1, 0.1)
        assert os.sched_getaffinity(subject.pid) == {core}


def test_a_processor_that_is_not_there_is_named(fashion: Path, tmp_path: Path) -> None:
    allowed = min(os.sched_getaffinity(0))
    with pytest.raises(StepError, match=f"cores: there is no processor 1000000 to use here, only {allowed}"):
        measure(Options(cores=[10**6], max_seconds=0.1), fashion, fashion, tmp_path)


def test_facts_are_the_documents_numbers_in_words(run: Run) -> None:
    facts, candidate = run.result.facts, run.subject("candidate")
    assert facts["latency"].startswith(f"{candidate['latency_ms']['p50']:.3g} ms p50 (")
    assert facts["memory"] == f"{candidate['memory_mib']:.1f} MiB"
    assert facts["ratio"]


def test_progress_reaches_its_total(run: Run) -> None:
    done = [event[0] for event in run.progress]
    assert done == list(range(1, len(done) + 1))
    assert run.progress[0][1] == 12
    assert run.progress[-1][0] == run.progress[-1][1]
    assert {event[2] for event in run.progress} == {"baseline", "candidate"}


def test_two_threads_and_a_batch_are_measured_as_such(fashion: Path, tmp_path: Path) -> None:
    options = Options(batch=2, threads=2, warmup_runs=1, runs=6, blocks=6, max_seconds=0.1)
    subject = measure(options, fashion, fashion, tmp_path).subject("candidate")
    assert (subject["batch"], subject["threads"]) == (2, 2)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let subjects report the latencies in ns that are written in place of their model, over and over."""
    program = tmp_path / "scripted.py"
    program.write_text(SCRIPTED, encoding="utf-8")
    monkeypatch.setattr(Subject, "script", program)
    for name, text in (("steady", "[1000000]"), ("fast", "[500000]"), ("noisy", "[400000, 2500000]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_measurement_too_noisy_to_rank_is_not_kept_and_says_so(scripted: Path) -> None:
    noisy = measure(QUICK, scripted / "noisy", scripted / "steady", scripted / "out")
    assert noisy.document["noisy"].startswith("Too noisy to rank: ")
    assert not noisy.result.keep
    assert noisy.result.facts["noisy"].startswith("too noisy to rank")


def test_an_energy_counter_that_fails_midway_is_said_and_the_measurement_kept(
    scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter("a file", lambda: [int((scripted / "joules").read_text())], [0.0], 1.0)
    monkeypatch.setattr("builder.measure.cost.energy.find_counter", lambda *_: (counter, ""))

    found = measure(QUICK, scripted / "fast", scripted / "steady", scripted / "out")

    assert found.result.keep
    assert [each["energy_mj"] for each in found.document["subjects"]] == [None, None]
    assert found.document["energy_method"] is None
    assert found.document["energy_reason"].startswith("the energy counter (a file) could not be read any more: ")


def test_a_ranked_measurement_is_kept_and_says_how_much_faster(scripted: Path) -> None:
    ranked = measure(QUICK, scripted / "fast", scripted / "steady", scripted / "out")
    assert ranked.result.keep
    assert ranked.result.facts == {
        "latency": "0.5 ms p50 (no p99 from 60 runs)",
        "ratio": "2.00 x faster [2.00, 2.00]",
        "memory": "1.5 MiB",
    }
    assert ranked.document["ratios"][0]["words"] == "candidate is 2.00 x faster than baseline [2.00, 2.00]"
    assert not ranked.document["noisy"]


def test_a_truncated_candidate_is_named(fashion: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(MODEL.read_bytes()[:5000])
    with pytest.raises(ModelError, match="benchmark: 'candidate': ONNX Runtime"):
        measure(QUICK, tmp_path, fashion, tmp_path / "out")


def test_a_folder_without_a_model_is_named(fashion: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"'baseline': there is nothing to run: expected model\.onnx"):
        measure(QUICK, fashion, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
        ({"runs": 0}, "runs must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"max_seconds": 0.0}, "max_seconds must be more than 0"),
        ({"max_seconds": math.nan}, "max_seconds must be more than 0"),
        ({"confidence": 1.0}, "confidence must lie in"),
        ({"cores": [1, 1]}, r"cores must be different numbers of processors, from 0 on, got \[1, 1\]"),
        ({"cores": [-1]}, "cores must be different numbers of processors"),
        ({"blocks": 5}, "blocks must be at least 6 for confidence 0.95, got 5"),
    ],
)
def test_an_option_out_of_range_says_what_it_must_be(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**option)


def test_the_plan_knows_what_kind_of_step_it_is() -> None:
    assert benchmark.name == "benchmark"
    assert benchmark.reproducible is Reproducible.MEASURED
    assert benchmark.optional == ("compiled", "tensors")
    assert benchmark.inputs == {
        "model": Kind.ONNX,
        "baseline": Kind.ONNX,
        "compiled": Kind.OPENVINO,
        "tensors": Kind.TENSORS,
    }


def test_a_process_that_cannot_start_leaves_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    before = set(Path("/proc/self/fd").iterdir())

    with pytest.raises(FileNotFoundError):
        Subject("model", tmp_path, {"threads": 1})

    assert set(Path("/proc/self/fd").iterdir()) == before
