"""Step `evaluate`: what a model lost against its reference, on labelled samples and in its outputs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, StepError, did_you_mean
from builder.outcomes import Reproducible
from builder.runtimes.interface import Device
from builder.specs import Data, Task
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from builder.data.feeds import Predictions
    from builder.measure.fidelity import Fidelity
    from builder.measure.metrics import Comparison
    from builder.runtimes.interface import Execution

__all__ = ["Options", "evaluate"]


@dataclass
class Options:
    split: str = "test"  # the part of the data to evaluate on
    samples: int | None = None  # only the first so many; empty: all
    batch: int = 64  # samples run together, where the model lets them
    threads: int = 1  # of the runtime
    device: Device = Device.CPU  # of ONNX Runtime
    metrics: list[str] = field(
        default_factory=list
    )  # top1, top5, f1, auc, accuracy, spearman; empty: those of the task
    confidence: float = 0.95  # of the interval of the drop

    def __post_init__(self) -> None:
        if self.split == "calibration":
            raise ValueError("split is 'calibration', which quantize may have seen; evaluate on another one, as 'test'")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence lies between 0 and 1, got {self.confidence}")
        for name in ("samples", "batch", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1, got {value}")
        if self.metrics:
            from builder.measure.metrics import METRICS

            for name in self.metrics:
                if name not in METRICS:
                    raise ValueError(f"there is no metric '{name}'; {did_you_mean(name, METRICS)}")


def _splits(options: Options) -> tuple[str, ...]:
    return ("calibration?", options.split)


@step(
    options=Options,
    rank=60,
    inputs={"model": (Kind.ONNX, Kind.OPENVINO, Kind.ENGINE), "reference": Kind.ONNX, "tensors": Kind.TENSORS},
    from_source=("reference",),
    optional=("tensors",),  # what a device was given to run
    outputs={"evaluation": Kind.EVALUATION},
    reproducible=Reproducible.PER_CPU,
    packages=("onnxruntime", "numpy", "pillow"),
    model_facts=("task", "constants", "state", "shapes"),
    splits=_splits,
    accelerator=lambda options: options.device is Device.CUDA,
)
def evaluate(options: Options, job: Job) -> Result:
    """Measure the task's metric and the fidelity of a model against its reference, on the same samples.

    Each runs in the runtime that its files are for; what ran on a device comes in at `predictions` instead. Raises
    ModelError where one cannot run, and DataError.
    """
    from builder.data.dataset import in_words
    from builder.measure.fidelity import fidelity

    if job.data is None:
        raise StepError("evaluate needs data", hint="choose one: data=NAME")
    data = job.data
    overlap = _overlap(options, data)
    sent = job.inputs.get("predictions")
    options = _as_sent(options, sent, job.inputs["tensors"]) if sent else options
    reference, ran_reference = _predict("reference", options, job, data, 0)
    if sent:
        candidate, ran_candidate, machine = _sent(sent, reference)
    else:
        candidate, ran_candidate = _predict("model", options, job, data, len(reference.outputs))
        machine = {}
    near = fidelity(reference.outputs, candidate.outputs, job.model.task)
    metrics = _metrics(options, job, data, reference, candidate)
    document = {
        "schema": 1,
        "task": job.model.task.value,
        "split": options.split,
        "samples": len(reference.outputs),
        "pairs": None if reference.pairs is None else len(reference.pairs),
        "labelled": _truth(job, reference) is not None,
        "primary": next(iter(metrics), None),
        "metrics": {name: _entry(metric, options.confidence) for name, metric in metrics.items()},
        "fidelity": asdict(near),
        "overlap": overlap,
        "executions": {"reference": ran_reference.plain(), "candidate": ran_candidate.plain()},
        **machine,
    }
    text = json.dumps(document, sort_keys=True, indent=2, allow_nan=False) + "\n"
    (job.folder("evaluation") / "evaluation.json").write_text(text, encoding="utf-8")
    samples = in_words(data, options.split, len(reference.outputs)) if sent else f"{len(reference.outputs):,}"
    return Result(facts={**_facts(metrics, near, reference, samples), "ran": _ran(ran_candidate)})


def _truth(job: Job, predictions: Predictions) -> NDArray[Any] | None:
    """Return what the metrics of the task compare with: labels, [n], or scored pairs of samples, [p, 3]."""
    return predictions.pairs if job.model.task is Task.SIMILARITY else predictions.labels


def _overlap(options: Options, data: Data) -> dict[str, Any] | None:
    """Check that no calibration sample is evaluated on; None where there is nothing to compare."""
    if "calibration" not in data.splits:
        return None
    from builder.data.dataset import check_no_overlap

    return {"checked": list(check_no_overlap(data, "calibration", options.split)), "shared": 0}


def _predict(port: str, options: Options, job: Job, data: Data, done: int) -> tuple[Predictions, Execution]:
    """Return what a model makes of the samples, and what really ran."""
    from builder.data.feeds import predict
    from builder.runtimes.find import load

    session = load(job.inputs[port], threads=options.threads, device=options.device)
    what = "reference" if port == "reference" else "candidate"

    def progress(count: int, total: int) -> None:
        job.progress(done + count, 2 * (done or total), what)

    found = predict(
        session, job.model, data, options.split, batch=options.batch, limit=options.samples, progress=progress
    )
    return found, session.describe()


def _as_sent(options: Options, folder: Path, given: Path) -> Options:
    """Return the options for the samples that a device was given, and ran. Raises StepError where it ran others."""
    from builder.measure.sent import check_samples

    return replace(options, samples=check_samples(folder, given, options.split))


def _sent(folder: Path, reference: Predictions) -> tuple[Predictions, Execution, dict[str, Any]]:
    """Return what a device made of the samples that the reference was run on, what ran, and which machine it was."""
    from builder.measure.sent import read_machine, read_outputs

    machine = read_machine(folder)
    found = replace(reference, outputs=read_outputs(folder, len(reference.outputs)))
    return found, machine.execution(), {"host": machine.facts(), "taken_at": machine.taken_at}


def _metrics(
    options: Options, job: Job, data: Data, reference: Predictions, candidate: Predictions
) -> dict[str, Comparison]:
    from builder.data.dataset import class_names
    from builder.measure.metrics import chosen, compare

    labels, outputs, task = _truth(job, reference), reference.outputs, job.model.task
    if labels is None or task is Task.NONE:
        if options.metrics:
            what = "scored pairs" if task is Task.SIMILARITY else "labels"
            why = f"the data has no {what}" if labels is None else "the model's task is none"
            raise StepError(f"{options.metrics[0]} cannot be measured: {why}")
        return {}
    names = class_names(data, options.split)
    if task is Task.CLASSIFICATION and names and outputs.ndim == 2 and len(names) != outputs.shape[1]:
        raise DataError(
            f"data '{data.name}' has {len(names)} classes, the model scores {outputs.shape[1]}",
            hint="list all of the model's classes under data.classes, in the order of its outputs",
        )
    wanted = chosen(options.metrics, task, labels, outputs.shape[-1])
    return {
        name: compare(name, labels, outputs, candidate.outputs, options.confidence, reference.sequences)
        for name in wanted
    }


def _entry(metric: Comparison, confidence: float) -> dict[str, Any]:
    return {
        "reference": metric.reference,
        "candidate": metric.candidate,
        "drop": metric.drop,
        "interval": list(metric.interval),
        "confidence": confidence,
        "method": metric.method,
    }


def _facts(metrics: dict[str, Comparison], near: Fidelity, reference: Predictions, samples: str) -> dict[str, str]:
    facts = {
        name: f"{metric.reference:.4f} -> {metric.candidate:.4f} ({_change(name, metric.drop)})"
        for name, metric in metrics.items()
    }
    words = ["identical outputs" if near.identical else "" if near.snr_db is None else f"{near.snr_db:.1f} dB"]
    if near.agreement is not None and not near.identical:
        words.append(f"{100 * near.agreement:.2f} % agree")
    if reference.pairs is not None:
        samples += f" in {len(reference.pairs):,} pairs"
    return {**facts, "fidelity": ", ".join(filter(None, words)), "samples": samples}


def _ran(execution: Execution) -> str:
    where = f"{execution.runtime} {execution.version}"
    return f"{execution.precision} in {where}" if execution.precision else f"{where} on {execution.device}"


def _change(name: str, drop: float) -> str:
    """Return what was gained: in points of percent, but for a correlation, which is no share."""
    return f"{-drop + 0.0:+.4f}" if name == "spearman" else f"{-100 * drop + 0.0:+.2f} points"
