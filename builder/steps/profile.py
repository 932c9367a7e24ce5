"""Step `profile`: how long each layer takes on this machine, in the source model and in what was made of it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from builder.measure.options import check_options
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from builder.measure.layers.profiled import Profiled
    from builder.measure.ratio import Ratio
    from builder.measure.series import Series


@dataclass
class Options:
    """How the models are called and how long they are profiled."""

    batch: int = 1
    threads: int = 1  # of the runtime's operators
    cores: list[int] = field(default_factory=list)  # processors to run on, by number; empty: those the system gives
    warmup_runs: int = 20
    runs: int = 200  # of each model, at least
    blocks: int = 20  # of each model, at least
    max_seconds: float = 30
    seed: int = 0  # of the random inputs
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_options(self, batch=1, threads=1, warmup_runs=1, runs=1, seed=0)


@step(
    options=Options,
    rank=94,
    inputs={"model": Kind.ONNX, "baseline": Kind.ONNX, "compiled": Kind.OPENVINO},
    from_source=("baseline",),
    optional=("compiled",),
    outputs={"section": Kind.SECTION},
    reproducible=Reproducible.MEASURED,
    need=Need.HOST,
    model_facts=("constants", "shapes", "state"),
    packages=("onnx", "onnxruntime", "numpy"),
)
def profile(options: Options, job: Job) -> Result:
    """Time each layer of what ships and of its source with their runtime's own profiler.

    What ships is what was compiled for OpenVINO, else the model, in ONNX Runtime. Its source is timed in the same
    runtime: runtimes fuse otherwise, and their profilers cost and count otherwise, so that across them a difference of
    two layers would be that of two profilers too; what changing the runtime brings, `benchmark` tells of whole runs.
    Each is timed with the profiler and without, in turns, in processes of their own, so that what profiling costs is
    known. Writes section.json. Raises ModelError where the runtime cannot run a model, StepError where OpenVINO cannot
    convert the source, or a process dies.
    """
    from builder.digest import canonical
    from builder.measure.host import host, load_average
    from builder.measure.layers.times import in_words

    began, taken_at, load_before = time.monotonic(), datetime.now(UTC), load_average()
    found = _measured(options, job)
    document = {
        "schema": 1,
        "section": "layer_times",
        **{name: getattr(options, name) for name in ("threads", "batch", "cores", "confidence")},
        **found,
        "host": host(),
        "load_average": {"before": load_before, "after": load_average()},
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
    }
    (job.folder("section") / "section.json").write_bytes(canonical(document) + b"\n")
    return Result(facts=in_words(document), keep=not found["noisy"])


def _measured(options: Options, job: Job) -> dict[str, Any]:
    """Return what is known of both models, the ratio of their runs without the profiler, and whether it is noisy."""
    from builder.measure.blocks import Schedule, measure
    from builder.measure.conditions import Watch
    from builder.measure.layers.profiled import Profiled
    from builder.measure.layers.times import PROFILED
    from builder.measure.noise import trouble

    schedule = Schedule(options.warmup_runs, options.runs, options.blocks, options.max_seconds, options.confidence)
    spec = _spec(options, job)
    with ExitStack() as stack:
        folders = _folders(job, Path(stack.enter_context(TemporaryDirectory(prefix="source-"))))
        watch = Watch(options.cores)
        subjects = [
            stack.enter_context(Profiled(called, folder, {**spec, "profile": called != name}))
            for name, folder in folders.items()
            for called in (name, PROFILED.format(name))
        ]
        series, ratios = measure(subjects, schedule, watch.beside(job.progress))
        conditions = watch.ended(sum(subject.processor_ns() for subject in subjects) / 1e9)
    ratio = next(each for each in ratios if (each.of, each.to) == ("candidate", "baseline"))
    noisy, _ = trouble(series, [ratio], conditions, pinned=bool(options.cores))
    return {
        **_entries(series, subjects, ratios, job.inputs["baseline"]),
        "ratio": ratio.plain(),
        "noisy": noisy,
        "conditions": conditions.plain(),
    }


def _folders(job: Job, converted: Path) -> dict[str, Path]:
    """Return the source and what ships by name, both for one runtime; of the source, what OpenVINO makes of it."""
    from builder.compilers.openvino_ir import write_ir
    from builder.onnxtools.files import MODEL

    if compiled := job.inputs.get("compiled"):
        hint = "leave the step out: '~steps.profile'"
        write_ir(job.inputs["baseline"] / MODEL, converted, "f32", hint, called="the source model")
        return {"baseline": converted, "candidate": compiled}
    return {"baseline": job.inputs["baseline"], "candidate": job.inputs["model"]}


def _entries(series: list[Series], subjects: list[Profiled], ratios: list[Ratio], source: Path) -> dict[str, Any]:
    """Return each model's times, the source's first, and how they compare by family of operators."""
    from builder.measure.layers.events import family
    from builder.measure.layers.times import family_ratios, subject_entry
    from builder.onnxtools.files import MODEL, load_graph
    from builder.onnxtools.origin import origins

    origin = origins(load_graph(source / MODEL, MODEL).graph, family)
    (before, before_profiled), (after, after_profiled) = series[:2], series[2:]
    blocks = [
        subject.layers(one) for subject, one in zip(subjects[1::2], (before_profiled, after_profiled), strict=True)
    ]
    return {
        **{name: series[0].execution[name] for name in ("runtime", "runtime_version")},
        "subjects": [
            subject_entry(before, before_profiled, blocks[0], origin, ratios),
            subject_entry(after, after_profiled, blocks[1], origin, ratios),
        ],
        "family_ratios": family_ratios(blocks[0], blocks[1], ratios[0].confidence),
    }


def _spec(options: Options, job: Job) -> dict[str, Any]:
    """Return what `builder.measure.subject` reads, and the processors to run on."""
    named = {name: value for name, value in asdict(options).items() if name in ("threads", "batch", "seed", "cores")}
    return {
        **named,
        "device": "cpu",
        "shapes": job.model.shapes,
        "constants": job.model.constants,
        "states": list(job.model.state),
    }
