"""The scenarios of MLPerf Inference: a model, its baseline and what was compiled of it under LoadGen, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import canonical
from builder.errors import StepError, ToolchainError
from builder.measure.loadgen.scenarios import MLPERF_SECONDS, Load, Scenario
from builder.measure.options import check_options
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from builder.measure.conditions import Conditions
    from builder.measure.loadgen.turns import Found, Served
    from builder.measure.ratio import Ratio


# Of the options, those that say under which conditions the numbers hold.
_SAID = (
    *("threads", "batch", "cores", "warmup_runs", "min_seconds", "min_queries", "turns", "samples", "seed"),
    "confidence",
)

_TESTS = 4  # at least, that share a scenario's time: two turns of two subjects


@dataclass
class Options:
    """Which scenarios, how the models are called, and how long each test lasts."""

    scenarios: list[Scenario] = field(default_factory=lambda: [*Scenario])
    threads: int = 1  # of the runtime's operators
    batch: int = 1  # largest that is made of samples that wait, where the model's batch is open
    cores: list[int] = field(default_factory=list)  # processors to run on; empty: those that the system gives
    warmup_runs: int = 50
    min_seconds: float = 2  # of each test; MLPerf's rules ask for 600
    min_queries: int = 100  # of each test
    turns: int = 6  # of each subject in each scenario; fewer give no interval at confidence 0.95
    max_seconds: float = 120  # of each scenario, two turns at least
    server_latency_ms: float = 10  # that this share of the queries may take
    server_percentile: float = 0.99
    multi_stream_samples: int = 8  # of a query
    samples: int = 16  # distinct ones, made up
    seed: int = 0  # of the samples, and of their order and times
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_options(
            self, threads=1, batch=1, warmup_runs=1, min_queries=1, turns=2, samples=1, seed=0, multi_stream_samples=1
        )
        for name in ("min_seconds", "server_latency_ms"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if not 0.5 <= self.server_percentile <= 0.999:
            raise ValueError(f"server_percentile must lie in 0.5 to 0.999, got {self.server_percentile}")
        if not self.scenarios or len(set(self.scenarios)) < len(self.scenarios):
            raise ValueError("scenarios are one or more of single_stream, multi_stream, offline, server, each once")


@step(
    options=Options,
    rank=92,
    inputs={"model": Kind.ONNX, "baseline": Kind.ONNX, "compiled": Kind.OPENVINO},
    from_source=("baseline",),
    optional=("compiled",),
    outputs={"section": Kind.SECTION},
    reproducible=Reproducible.MEASURED,
    need=Need.HOST,
    model_facts=("constants", "shapes", "state"),
    packages=("mlcommons-loadgen", "onnxruntime", "numpy"),
    toolchain="loadgen",
)
def loadgen(options: Options, job: Job) -> Result:
    """Measure MLPerf's scenarios with LoadGen on this machine: streams, offline, a server under a latency bound.

    Writes section.json, and LoadGen's own logs beside it. Raises ToolchainError where LoadGen is not installed,
    ModelError where a runtime cannot run a model, and StepError where a subject's process dies or does not keep quiet.
    """
    from builder.measure.host import host, load_average
    from builder.measure.loadgen.document import in_words, scenario_entry
    from builder.measure.noise import likely_cause
    from builder.measure.subject import check_cores

    began, taken_at, load_before = time.monotonic(), datetime.now(UTC), load_average()
    check_cores(options.cores)
    version, load, folder = _version(), _load(options), job.folder("section")
    tested, ran, conditions = _tested(options, job, load, folder)
    scenarios = [scenario_entry(*each, load, options.confidence) for each in tested]
    noisy = any(each["noisy"] for each in scenarios)
    cause = likely_cause(conditions, None, pinned=bool(options.cores), longer="min_seconds") if noisy else ""
    document = {
        "schema": 1,
        "section": "loadgen",
        "loadgen": version,
        "mlperf_seconds": MLPERF_SECONDS,
        "options": {name: getattr(options, name) for name in _SAID},
        "subjects": ran,
        "ships": ran[-1]["name"],
        "scenarios": scenarios,
        "noisy": cause,
        "conditions": conditions.plain(),
        "host": host(),
        "load_average": {"before": load_before, "after": load_average()},
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
    }
    (folder / "section.json").write_bytes(canonical(document) + b"\n")
    return Result(facts=dict(in_words(document)), keep=not noisy)


def _tested(
    options: Options, job: Job, load: Load, folder: Path
) -> tuple[list[tuple[Scenario, list[Found], list[Ratio]]], list[dict[str, Any]], Conditions]:
    """Test the subjects in every scenario, and watch the machine meanwhile; return what ran too."""
    from builder.measure.conditions import Watch
    from builder.measure.loadgen.turns import Turns

    with ExitStack() as stack:
        watch = Watch(options.cores)
        progress = watch.beside(job.progress)
        turns = Turns(load, options.turns, options.max_seconds, options.confidence, folder, progress)
        subjects = [stack.enter_context(each) for each in _subjects(options, job)]
        for subject in subjects:
            subject.timed = subject.load(options.warmup_runs, options.max_seconds / 10)
        found = [(scenario, turns.take(subjects, scenario)) for scenario in options.scenarios]
        conditions = watch.ended(sum(subject.processor_ns() for subject in subjects) / 1e9)
        ran = [{"name": subject.name, **subject.execution()} for subject in subjects]
    return [(scenario, each, turns.ratios(each, scenario)) for scenario, each in found], ran, conditions


def _version() -> str:
    """Return LoadGen's version. Raises ToolchainError where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlcommons-loadgen")
    except PackageNotFoundError as error:
        raise ToolchainError(
            "the Python package mlcommons-loadgen is not installed here",
            "run the step in a toolchain that has it: toolchain: loadgen",
        ) from error


def _load(options: Options) -> Load:
    return Load(
        batch=options.batch,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds / _TESTS,
        min_queries=options.min_queries,
        multi_stream_samples=options.multi_stream_samples,
        server_latency_ms=options.server_latency_ms,
        server_percentile=options.server_percentile,
        seed=options.seed,
    )


def _subjects(options: Options, job: Job) -> Iterator[Served]:
    """Yield what is measured; what ships comes last. Raises StepError where a folder holds nothing to run."""
    from builder.measure.loadgen.turns import Served
    from builder.runtimes.find import find_runtime

    folders = {"baseline": job.inputs["baseline"], "candidate": job.inputs["model"]}
    if compiled := job.inputs.get("compiled"):
        folders[find_runtime(compiled).NAME] = compiled
    spec = {name: getattr(options, name) for name in ("threads", "batch", "cores", "samples", "seed")}
    model = {"shapes": job.model.shapes, "constants": job.model.constants, "states": list(job.model.state)}
    for name, folder in folders.items():
        try:
            find_runtime(folder)
        except StepError as error:
            raise StepError(f"loadgen: '{name}': {error.message}") from error
        yield Served(name, folder, {**spec, **model, "device": "cpu"})
