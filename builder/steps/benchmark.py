"""Times a model and its baseline on this machine, block by block, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import canonical
from builder.errors import StepError
from builder.measure.ratio import Ratio, fewest, median_interval, summary
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from builder.measure.blocks import Series

_SHOWN = 2000  # samples of each subject in measurement.json, for the report's scatter; pytest-benchmark.json has all


@dataclass
class Options:
    """How the models are called and how long they are measured."""

    batch: int = 1
    threads: int = 1  # of ONNX Runtime's operators; between runs they sleep, so that a waiting subject is silent
    warmup_runs: int = 50
    runs: int = 1000  # of each subject, at least; p99 needs 1,000
    blocks: int = 20  # of each subject, at least
    max_seconds: float = 60
    seed: int = 0  # of the random inputs
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("threads", 1), ("warmup_runs", 1), ("runs", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be more than 0, got {self.max_seconds}")
        if not 0.5 <= self.confidence <= 0.999:
            raise ValueError(f"confidence must lie in 0.5 to 0.999, got {self.confidence}")
        if self.blocks < fewest(self.confidence):
            needed = fewest(self.confidence)
            raise ValueError(f"blocks must be at least {needed} for confidence {self.confidence}, got {self.blocks}")


@step(
    options=Options,
    rank=90,
    inputs={"model": Kind.ONNX, "baseline": Kind.ONNX},
    from_source=("baseline",),
    outputs={"measurement": Kind.MEASUREMENT},
    reproducible=Reproducible.MEASURED,
    need=Need.HOST,
    model_facts=("constants", "shapes", "state"),
    packages=("onnxruntime", "numpy", "pytest-benchmark"),
)
def benchmark(options: Options, job: Job) -> Result:
    """Measure latency, memory and the ratio to the baseline on this machine.

    Writes measurement.json and pytest-benchmark.json. Raises ModelError where ONNX Runtime cannot run a model, and
    StepError where a subject's process dies or does not keep quiet while the other is timed.
    """
    from builder.measure.blocks import Schedule, measure
    from builder.measure.host import host, load_average
    from builder.measure.process import Subject

    began, taken_at, load_before = time.monotonic(), datetime.now(UTC), load_average()
    folders = {"baseline": job.inputs["baseline"], "candidate": job.inputs["model"]}
    models = {name: _model(name, folder) for name, folder in folders.items()}
    schedule = Schedule(options.warmup_runs, options.runs, options.blocks, options.max_seconds, options.confidence)
    with ExitStack() as stack:
        spec = _spec(options, job)
        subjects = [stack.enter_context(Subject(name, model, spec)) for name, model in models.items()]
        series, ratios = measure(subjects, schedule, job.progress)
    noisy = any(each.noisy for each in ratios)
    document = {
        "schema": 1,
        "subjects": [_subject(one, folders[one.name], options) for one in series],
        "ratios": [each.plain() for each in ratios],
        "noisy": noisy,
        "host": host(),
        "load_average": {"before": load_before, "after": load_average()},
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
    }
    _write(document, series, job.folder("measurement"))
    return Result(facts=_facts(document, ratios), keep=not noisy)


def _model(name: str, folder: Path) -> Path:
    model = folder / "model.onnx"
    if not model.is_file():
        raise StepError(f"benchmark: '{name}' has no model.onnx")
    return model


def _spec(options: Options, job: Job) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "batch": options.batch,
        "seed": options.seed,
        "shapes": job.model.shapes,
        "constants": job.model.constants,
        "states": list(job.model.state),
    }


def _subject(series: Series, folder: Path, options: Options) -> dict[str, Any]:
    from builder.onnxtools.files import size_bytes

    samples = series.samples_ms
    every = -(-len(samples) // _SHOWN)
    return {
        "name": series.name,
        "runtime": "onnxruntime",
        "runtime_version": series.runtime_version,
        "threads": options.threads,
        "batch": options.batch,
        **summary(samples),
        "p50_interval_of": "block medians",  # neighbouring runs are too alike for an interval from single ones
        "p50_interval_ms": [round(end, 6) for end in median_interval(series.medians_ms, options.confidence)],
        "warmup_runs": series.warmup_runs,
        "load_ms": round(series.load_ms, 3),
        "memory_mib": round(series.memory_mib, 2),
        "bytes": size_bytes(folder),
        "blocks_ms": [round(value, 6) for value in series.medians_ms],
        "blocks_refused": series.refused,
        "samples_ms": [round(value, 6) for value in samples[::every]],
        "samples_every": every,
    }


def _write(document: Mapping[str, Any], series: Sequence[Series], folder: Path) -> None:
    from builder.measure.replay import Replayed, replay

    (folder / "measurement.json").write_bytes(canonical(document) + b"\n")
    replayed = {}
    for one in series:
        ratios = [each for each in document["ratios"] if one.name in (each["of"], each["to"])]
        extra = {"runs_per_block": len(one.blocks_ns[0]), "blocks_ms": one.medians_ms, "ratios": ratios}
        replayed[one.name] = Replayed(one.samples_ms, extra)
    replay(replayed, document["host"], folder / "pytest-benchmark.json")


def _facts(document: Mapping[str, Any], ratios: Sequence[Ratio]) -> dict[str, str]:
    candidate = next(each for each in document["subjects"] if each["name"] == "candidate")
    latency = candidate["latency_ms"]
    p99 = f"{latency['p99']:.3g} p99" if candidate["p99_valid"] else f"no p99 from {candidate['runs']} runs"
    facts = {
        "latency": f"{latency['p50']:.3g} ms p50 ({p99})",
        "ratio": ratios[0].short,
        "memory": f"{candidate['memory_mib']:.1f} MiB",
    }
    if document["noisy"]:
        facts["noisy"] = f"too noisy to rank (+-{ratios[0].half_width:.0%}): it will be measured again next time"
    return facts
