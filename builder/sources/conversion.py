"""The action after every export: the model in ONNX Runtime, beside what its source's framework made of real samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["conversion_check"]


def _compare(_options: None, job: Job) -> Result:
    """Run the exported model on the samples and write how far its outputs are from the source's. Raises ModelError."""
    from builder.runtimes.onnxruntime import Session
    from builder.sources.samples import read_samples

    session = Session(job.inputs["model"] / "model.onnx", optimize=False)
    about, feeds, expected = read_samples(job.inputs["samples"])
    names = [tensor.name for tensor in session.outputs]
    found: dict[str, list[dict[str, Any]]] = {}
    for done, (feed, wanted) in enumerate(zip(feeds, expected, strict=True)):
        results = dict(zip(names, session.run(feed), strict=True))
        for name, source in wanted.items():
            found.setdefault(name, []).append(_difference(name, results[name], source))
        job.progress(done + 1, len(feeds), "samples")
    outputs = {name: _together(each) for name, each in found.items()}
    difference = max(output["difference"] for output in outputs.values())
    document = {"schema": 1, **about, "outputs": outputs, "difference": difference, "words": _words(outputs)}
    text = json.dumps(document, sort_keys=True, indent=2, allow_nan=False) + "\n"
    (job.folder("conversion") / "conversion.json").write_text(text, encoding="utf-8")
    return Result(_facts(about, outputs))


def _difference(name: str, found: NDArray[Any], source: NDArray[Any]) -> dict[str, Any]:
    """Return how far an output is from its source: numbers by the largest deviation, labels by how many differ."""
    import numpy as np

    from builder.errors import ModelError

    if found.shape != source.shape:
        raise ModelError(
            f"the exported model's output '{name}' is of shape {list(found.shape)}, its source's {list(source.shape)}",
            "the export did not keep what the model computes; try another opset",
        )
    if source.dtype.kind not in "fc":
        return {"unequal": int((found != source).sum()), "count": int(source.size)}
    finite = np.isfinite(source)
    if source.size and not finite.any():
        raise ModelError(
            f"the source's own output '{name}' holds no number: all of it is infinite or no number (NaN)",
            "look at its weights, and at what the samples are like after data.preprocess",
        )
    if not np.array_equal(found[~finite], source[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        raise ModelError(
            f"the exported model's output '{name}' is finite where its source's is not, or the other way round",
            "a number may be too large for float32, or a logarithm be taken of 0",
        )
    found, source = found[finite].astype(np.float64), source[finite].astype(np.float64)
    apart, largest = np.abs(found - source).max(initial=0.0), np.abs(source).max(initial=0.0)
    return {"apart": float(apart), "largest": float(largest)}


def _together(differences: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one figure for all samples: of the largest value for numbers, the unequal share for labels."""
    if "unequal" in differences[0]:
        unequal, values = (sum(each[name] for each in differences) for name in ("unequal", "count"))
        return {"kind": "labels", "unequal": unequal, "count": values, "difference": unequal / max(values, 1)}
    apart, largest = (max(each[name] for each in differences) for name in ("apart", "largest"))
    return {"kind": "numbers", "apart": apart, "largest": largest, "difference": apart / largest if largest else apart}


def _words(outputs: dict[str, dict[str, Any]]) -> str:
    """Say how far the output is from its source that is farthest."""
    name, worst = max(outputs.items(), key=lambda each: float(each[1]["difference"]))
    if worst["kind"] == "labels":
        return f"'{name}' differs in {worst['unequal']:,} of {worst['count']:,}"
    return f"'{name}' is off by {worst['difference']:.2g} of its largest number"


def _facts(about: dict[str, Any], outputs: dict[str, dict[str, Any]]) -> dict[str, str]:
    labels = [output for output in outputs.values() if output["kind"] == "labels"]
    numbers = [output["difference"] for output in outputs.values() if output["kind"] == "numbers"]
    facts = {"difference": f"{max(numbers):.2g} of the largest output"} if numbers else {}
    if labels:
        unequal, values = (sum(output[name] for output in labels) for name in ("unequal", "count"))
        facts["labels"] = f"{values - unequal:,} of {values:,} equal"
    return {**facts, "samples": f"{about['samples']:,}, {about['from']}", "source": about["source"]}


conversion_check = Step(
    name="conversion",
    options=type(None),
    run=_compare,
    rank=6,
    inputs={"model": Kind.ONNX, "samples": Kind.SAMPLES},
    outputs={"conversion": Kind.CONVERSION},
    reproducible=Reproducible.PER_CPU,
    packages=("onnxruntime", "numpy"),
    summary="Compare an exported model with its source on real samples.",
)
