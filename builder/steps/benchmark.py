"""Times a model, its baseline and what was compiled of it on this machine, in turns, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.measure.document import in_words, subject_entry, write_documents
from builder.measure.options import check_options
from builder.measure.ratio import fewest
from builder.outcomes import Reproducible
from builder.runtimes.interface import Device
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from builder.measure.cost.limits import Limits
    from builder.measure.series import Series


@dataclass
class Options:
    """How the models are called and how long they are measured."""

    batch: int = 1
    threads: int = 1  # of the runtime's operators; between runs they sleep, so that a waiting subject is silent
    cores: list[int] = field(default_factory=list)  # processors that it may use; none: those that the system gives
    device: Device = Device.CPU  # of ONNX Runtime
    warmup_runs: int = 50
    runs: int = 1000  # of each subject, at least; p99 needs 1,000
    blocks: int = 20  # of each subject, at least
    max_seconds: float = 60
    seed: int = 0  # of the random inputs
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_options(self, batch=1, threads=1, warmup_runs=1, runs=1, seed=0)


@step(
    options=Options,
    rank=90,
    # On a target, `model` is its engine, and `tensors` what it is timed on.
    inputs={"model": Kind.ONNX, "baseline": Kind.ONNX, "compiled": Kind.OPENVINO, "tensors": Kind.TENSORS},
    from_source=("baseline",),
    optional=("compiled", "tensors"),
    outputs={"measurement": Kind.MEASUREMENT},
    reproducible=Reproducible.MEASURED,
    need=Need.HOST,
    model_facts=("constants", "shapes", "state"),
    packages=("onnx", "onnxruntime", "numpy", "pytest-benchmark"),
    accelerator=lambda options: options.device is Device.CUDA,
)
def benchmark(options: Options, job: Job) -> Result:
    """Measure latency, memory and the ratio to the baseline on this machine.

    Each runs in the runtime that its files are for; what comes in at `compiled` is named after its runtime, and is what
    ships. What was timed on a device comes in at `times` instead. Writes measurement.json and pytest-benchmark.json.
    Raises ModelError where a runtime cannot run a model, and StepError where a subject's process dies or does not keep
    quiet while another is timed.
    """
    if sent := job.inputs.get("times"):
        return _sent(options, sent, job.folder("measurement"))
    from builder.measure.blocks import Schedule
    from builder.measure.cost.energy import find_counter
    from builder.measure.cost.limits import machine_limits
    from builder.measure.host import host, load_average
    from builder.measure.noise import trouble
    from builder.measure.subject import check_cores
    from builder.measure.watched import timed

    check_cores(options.cores)
    began, taken_at, load_before = time.monotonic(), datetime.now(UTC), load_average()
    folders, spec = _folders(job), _spec(options, job)
    limits = machine_limits(
        threads=options.threads, cores=options.cores, device=options.device.value, max_seconds=options.max_seconds
    )
    counter, why_no_energy = find_counter(options.device.value)
    schedule = Schedule(options.warmup_runs, options.runs, options.blocks, options.max_seconds, options.confidence)
    series, ratios, conditions = timed(folders, spec, schedule, job.progress, counter)
    if counter and counter.lost:
        why_no_energy, counter = counter.lost, None
    noisy, warnings = trouble(series, ratios, conditions, pinned=bool(options.cores))
    document = {
        "schema": 1,
        "subjects": _subjects(options, folders, spec, series, limits),
        "ratios": [each.plain() for each in ratios],
        "ships": series[-1].name,
        "noisy": noisy or False,
        "warnings": warnings,
        "limits": limits.plain(),
        "energy_method": counter.method if counter else None,
        "energy_reason": why_no_energy or None,
        "host": host(),
        "load_average": {"before": load_before, "after": load_average()},
        "conditions": conditions.plain(),
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
    }
    write_documents(document, series, job.folder("measurement"))
    return Result(facts=in_words(document, ratios), keep=not noisy)


def _subjects(
    options: Options, folders: Mapping[str, Path], spec: Mapping[str, Any], series: Sequence[Series], limits: Limits
) -> list[dict[str, Any]]:
    """Return what measurement.json holds of each subject: its times, and its compute beside the machine's limits."""
    from builder.measure.cost.counting import counted
    from builder.measure.cost.roofline import compute
    from builder.onnxtools.files import size_bytes

    costs, found = counted(folders, series, spec), []
    for one in series:
        entry = _subject(one, size_bytes(folders[one.name]), options)
        ran = str(entry.get("precision", ""))
        found.append({**entry, "compute": compute(costs[one.name], limits, entry["latency_ms"]["p50"], ran)})
    return found


def _sent(options: Options, folder: Path, output: Path) -> Result:
    """Make the same documents of what was timed on a device."""
    from builder.measure.blocks import ratios_of
    from builder.measure.sent import read_machine, read_times

    times, machine = read_times(folder), read_machine(folder)
    if len(times.series[0].blocks_ns) < fewest(options.confidence):
        raise StepError(f"the device timed too few blocks for confidence {options.confidence}: resume the kit again")
    ratios = ratios_of(times.series, options.confidence)
    noisy = any(each.noisy for each in ratios)
    document = {
        "schema": 1,
        "subjects": [_told(_subject(one, 0, options), times.told[one.name]) for one in times.series],
        "ratios": [each.plain() for each in ratios],
        "ships": "candidate",
        "noisy": "Too noisy to rank: the device does not tell why. Resume the kit again." if noisy else False,
        "host": machine.facts(),
        "taken_at": machine.taken_at,
        **times.conditions,
    }
    write_documents(document, times.series, output)
    facts = in_words(document, ratios)
    return Result(facts={**facts, "noisy": "too noisy to rank; resume the kit again"} if noisy else facts)


def _told(subject: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a subject with what a device told of it, and without what only a process of ours could know."""
    ours = ("batch", "blocks_refused", "bytes", "cores", "interruptions", "load_ms", "threads", "warmup_runs")
    return {**{name: value for name, value in subject.items() if name not in ours}, **told}


def _folders(job: Job) -> dict[str, Path]:
    """Return what is measured, by name; what ships comes last. Raises StepError where a folder holds nothing to run."""
    from builder.runtimes.find import find_runtime

    folders = {"baseline": job.inputs["baseline"], "candidate": job.inputs["model"]}
    if compiled := job.inputs.get("compiled"):
        folders[find_runtime(compiled).NAME] = compiled
    for name, folder in folders.items():
        try:
            find_runtime(folder)
        except StepError as error:
            raise StepError(f"benchmark: '{name}': {error.message}") from error
    return folders


def _subject(series: Series, size_bytes: int, options: Options) -> dict[str, Any]:
    return subject_entry(
        series,
        size_bytes,
        threads=options.threads,
        cores=options.cores,
        batch=options.batch,
        confidence=options.confidence,
    )


def _spec(options: Options, job: Job) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "cores": options.cores,
        "device": options.device.value,
        "batch": options.batch,
        "seed": options.seed,
        "shapes": job.model.shapes,
        "constants": job.model.constants,
        "states": list(job.model.state),
    }
