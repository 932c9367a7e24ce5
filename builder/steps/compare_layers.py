"""Step `compare_layers`: how far each layer of a quantized model is from its source, on real samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, StepError
from builder.measure.options import MOST_THREADS
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from onnx import ModelProto

    from builder.measure.layers.errors import Compared

__all__ = ["Options", "compare_layers"]


@dataclass
class Options:
    split: str = "test"  # the part of the data whose samples are run
    samples: int = 64
    batch: int = 1  # samples run together, where the model lets them; the tensors of one batch are in memory at a time
    threads: int = 1  # of the runtime

    def __post_init__(self) -> None:
        for name in ("samples", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        if self.threads > MOST_THREADS:
            raise ValueError(f"threads is at most {MOST_THREADS}, got {self.threads}")


@step(
    options=Options,
    rank=71,
    inputs={"model": Kind.ONNX, "reference": Kind.ONNX},
    from_source=("reference",),
    outputs={"section": Kind.SECTION},
    reproducible=Reproducible.PER_CPU,
    packages=("onnx", "onnxruntime", "numpy", "pillow"),
    model_facts=("constants", "state", "shapes"),
    splits=lambda options: (options.split,),
)
def compare_layers(options: Options, job: Job) -> Result:
    """Compare the tensors inside a model with those of its source: signal to noise in dB, cosine, largest difference.

    Both run as they are written, without the runtime's fusions, so that every tensor is there; the error at a tensor
    is that of all layers up to it. A model with state gets the source's. Writes section.json. Raises StepError where no
    tensor of the source is found again, DataError, and ModelError where one cannot run.
    """
    from builder.digest import canonical
    from builder.onnxtools.files import load
    from builder.onnxtools.stands_for import made, stand_ins

    if job.data is None:
        raise DataError("compare_layers needs samples, and there is no data", "name some with data=NAME")
    source, model = load(job.inputs["reference"]), load(job.inputs["model"])
    pairs = stand_ins(source.graph, model.graph)
    if not pairs:
        hint = "name another one: steps.compare_layers.inputs: {reference: NAME}"
        raise StepError("no tensor of the source has its name in the model", hint)
    weights, unmatched = _weights(source, model), [name for name in made(source.graph) if name not in pairs]
    rows = _rows(source, pairs, weights)
    found, count = _compared({name: other for name, (other, _) in pairs.items()}, (source, model), options, job)
    document = {
        "schema": 1,
        "section": "layer_errors",
        **_conditions(options, count),
        "error": "accumulated",
        "tensors": [{**rows[name], **each.plain(), "shape": [*each.shape]} for name, each in found.items()],
        "unmatched": unmatched,
        "not_floating": len(pairs) - len(found),
    }
    (job.folder("section") / "section.json").write_bytes(canonical(document) + b"\n")
    return Result(_facts(document))


def _conditions(options: Options, count: int) -> dict[str, Any]:
    import onnxruntime

    from builder.processor import instruction_set

    return {
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "instruction_set": instruction_set(),
        "split": options.split,
        "samples": count,
        "batch": options.batch,
        "threads": options.threads,
    }


def _weights(source: ModelProto, model: ModelProto) -> dict[str, float | None]:
    """Return the signal to noise in dB of each weight that was rounded; None where nothing was lost."""
    from builder.measure.layers.errors import compared
    from builder.onnxtools.stands_for import quantized_weights

    found = {name: compared(*values).plain() for name, *values in quantized_weights(source.graph, model.graph)}
    return {name: one["snr_db"] for name, one in found.items()}


def _rows(
    source: ModelProto, pairs: dict[str, tuple[str, bool]], weights: dict[str, float | None]
) -> dict[str, dict[str, Any]]:
    """Return what is known of each tensor without running anything; a graph's input has no layer."""
    from builder.onnxtools.origin import layer_name
    from builder.onnxtools.stands_for import merged

    layers, rows = merged(source.graph, pairs, {*weights}), {}
    for name, (_, rounded) in pairs.items():
        node = layers.get(name)
        rows[name] = {
            "tensor": name,
            "layer": layer_name(node) if node else None,
            "operator": node.op_type if node else None,
            "rounded": rounded,
            "weight_snr_db": next((weights[each] for each in node.input if each in weights), None) if node else None,
        }
    return rows


def _compared(
    names: dict[str, str], models: tuple[ModelProto, ModelProto], options: Options, job: Job
) -> tuple[dict[str, Compared], int]:
    """Run both models with their inner tensors as outputs."""
    from builder.data.dataset import samples
    from builder.data.feeder import Feeder
    from builder.measure.layers.errors import compare_tensors
    from builder.onnxtools.files import MODEL, save
    from builder.onnxtools.stands_for import watch
    from builder.runtimes.onnxruntime import Session

    assert job.data is not None
    given = {value.name for value in models[0].graph.input}
    sessions = []
    for proto, watched in zip(models, ([name for name in names if name not in given], [*names.values()]), strict=True):
        watch(proto.graph, list(dict.fromkeys(watched)))
        with TemporaryDirectory(dir=job.output, prefix="scratch") as folder:
            save(proto, Path(folder))
            sessions.append(Session(Path(folder) / MODEL, threads=options.threads, optimize=False))
    source, model = sessions
    stream = islice(samples(job.data, options.split), options.samples)
    feds = Feeder(source, job.model, job.data, options.batch).run(stream)
    found, count = compare_tensors(
        names, feds, source, model, lambda done: job.progress(done, options.samples, "comparing")
    )
    if not count:
        raise DataError(f"data '{job.data.name}': the split '{options.split}' has no samples")
    return found, count


def _facts(document: dict[str, Any]) -> dict[str, str]:
    lost = next((one for one in document["tensors"] if one["lost"]), None)
    noisy = [one for one in document["tensors"] if one["snr_db"] is not None]
    worst = lost or min(noisy, key=lambda one: one["snr_db"], default=None)
    how = "NaN or infinite" if lost else f"{worst['snr_db']:.1f} dB" if worst else ""
    said = f"{worst['layer'] or worst['tensor']} {how}" if worst else "all tensors are exact"
    tensors = f"{len(document['tensors'])} compared, {len(document['unmatched'])} not matched"
    return {"worst": said, "tensors": tensors, "samples": f"{document['samples']:,}"}
