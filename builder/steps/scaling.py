"""Step `scaling`: how latency and throughput of a model grow with the batch and with threads, on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.measure.options import check_options
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from builder.measure.conditions import Conditions
    from builder.measure.growth.points import Swept
    from builder.measure.growth.subject import Scaled


@dataclass
class Options:
    """Which batches and threads are measured, and for how long."""

    batch: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])
    threads: list[int] = field(default_factory=lambda: [1, 2, 4])  # more than there are processors are left out
    baseline: bool = False  # the source model too
    cores: list[int] = field(default_factory=list)  # processors to run on, by number; empty: those the system gives
    warmup_runs: int = 10  # of each batch
    runs: int = 100  # of each batch with each number of threads, at least, where the time allows
    blocks: int = 10  # of each, at least
    max_seconds: float = 60
    seed: int = 0  # of the random inputs
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("batch", "threads"):
            values = getattr(self, name)
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise ValueError(f"{name} must be one or more whole numbers from 1, each once, got {values}")
        if len(self.batch) * len(self.threads) == 1:
            raise ValueError("batch and threads give a single point: give one of them several values")
        check_options(self, warmup_runs=1, runs=1, seed=0)


@step(
    options=Options,
    rank=93,
    inputs={"model": Kind.ONNX, "baseline": Kind.ONNX, "compiled": Kind.OPENVINO},
    from_source=("baseline",),
    optional=("compiled",),
    outputs={"section": Kind.SECTION},
    reproducible=Reproducible.MEASURED,
    need=Need.HOST,
    model_facts=("constants", "shapes", "state"),
    packages=("onnxruntime", "numpy"),
)
def scaling(options: Options, job: Job) -> Result:
    """Measure latency and throughput over batches and threads on this machine, all of them in turns.

    What is measured is what ships: what was compiled, else the model. Writes section.json. Raises ModelError where a
    runtime cannot run it, StepError where nothing is left to vary, or a process dies or does not keep quiet.
    """
    from builder.digest import canonical
    from builder.measure.growth.document import in_words, is_noisy, subject_entry
    from builder.measure.host import host, load_average
    from builder.measure.noise import likely_cause
    from builder.measure.subject import check_cores

    began, taken_at, load_before = time.monotonic(), datetime.now(UTC), load_average()
    check_cores(options.cores)
    threads = _threads(options)
    found, ran, conditions = _swept(options, job, threads)
    subjects = [subject_entry(name, told, found, options.confidence) for name, told in ran.items()]
    noisy = is_noisy(subjects)
    document: dict[str, Any] = {
        "schema": 1,
        "section": "scaling",
        "options": {name: getattr(options, name) for name in ("cores", "warmup_runs", "seed", "confidence")},
        "processors": _processors(options),
        "threads_left_out": [count for count in options.threads if count not in threads],
        "ships": subjects[-1]["name"],
        "subjects": subjects,
        "noisy": likely_cause(conditions, None, pinned=bool(options.cores)) if noisy else "",
        "conditions": conditions.plain(),
        "host": host(),
        "load_average": {"before": load_before, "after": load_average()},
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
    }
    (job.folder("section") / "section.json").write_bytes(canonical(document) + b"\n")
    return Result(facts=in_words(document), keep=not noisy)


def _swept(options: Options, job: Job, threads: Sequence[int]) -> tuple[Swept, dict[str, dict[str, Any]], Conditions]:
    """Time every point, and watch the machine meanwhile; return what ran of each subject too."""
    from builder.measure.conditions import Watch
    from builder.measure.growth.points import Schedule, sweep

    folders = _folders(options, job)
    schedule = Schedule(options.warmup_runs, options.runs, options.blocks, options.max_seconds, options.confidence)
    with ExitStack() as stack:
        watch = Watch(options.cores)
        processes = {
            (name, count): stack.enter_context(_process(name, folder, count, options, job))
            for name, folder in folders.items()
            for count in threads
        }
        found = sweep(processes, schedule, watch.beside(job.progress))
        _check_varied(found)
        conditions = watch.ended(sum(each.processor_ns() for each in processes.values()) / 1e9)
        return found, {name: processes[name, threads[0]].execution() for name in folders}, conditions


def _processors(options: Options) -> int:
    return len(options.cores) or len(os.sched_getaffinity(0))


def _threads(options: Options) -> list[int]:
    """Return the numbers of threads that have a processor each. Raises StepError where none has."""
    most = _processors(options)
    if found := [count for count in sorted(options.threads) if count <= most]:
        return found
    told = ", ".join(map(str, options.threads))
    raise StepError(f"threads: {told} are more than the {most} processors here", f"ask for at most {most}")


def _folders(options: Options, job: Job) -> dict[str, Path]:
    """Return what is measured, by name; what ships comes last."""
    from builder.runtimes.find import find_runtime

    ships = job.inputs.get("compiled") or job.inputs["model"]
    name = find_runtime(ships).NAME if "compiled" in job.inputs else "candidate"
    return ({"baseline": job.inputs["baseline"]} if options.baseline else {}) | {name: ships}


def _process(name: str, folder: Path, threads: int, options: Options, job: Job) -> Scaled:
    from builder.measure.growth.subject import Scaled

    spec = {
        "threads": threads,
        "batches": options.batch,
        "cores": options.cores,
        "seed": options.seed,
        "device": "cpu",
        "shapes": job.model.shapes,
        "constants": job.model.constants,
        "states": list(job.model.state),
    }
    return Scaled(name, folder, spec)


def _check_varied(found: Swept) -> None:
    """Raise StepError where a subject has no more than one point: then nothing grows."""
    names = [point.subject for point in found.points]
    if names and all(names.count(name) > 1 for name in names):
        return
    why = next((why for each in found.refused.values() for why in each.values()), "one number of threads is left")
    raise StepError(f"scaling: nothing is left to vary: {why}", "give threads more values, or use an open batch")
