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
    document = {"schema": 1, **about, "samples": len(feeds), "outputs": outputs, "difference": difference}
    text = json.dumps(document, sort_keys=True, indent=2, allow_nan=False) + "\n"
    (job.folder("conversion") / "conversion.json").write_text(text, encoding="utf-8")
    return Result(_facts(about, len(feeds), outputs, difference))


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
    if not np.isfinite(found).all() and np.isfinite(source).all():
        raise ModelError(f"the exported model's output '{name}' is not finite where its source's is")
    apart = float(np.abs(found.astype(np.float64) - source).max(initial=0.0))
    return {"apart": apart, "largest": float(np.abs(source).max(initial=0.0))}


def _together(differences: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one figure for all samples: of the largest value for numbers, the unequal share for labels."""
    if "unequal" in differences[0]:
        unequal, values = (sum(each[name] for each in differences) for name in ("unequal", "count"))
        return {"kind": "labels", "unequal": unequal, "count": values, "difference": unequal / max(values, 1)}
    apart, largest = (max(each[name] for each in differences) for name in ("apart", "largest"))
    return {"kind": "numbers", "apart": apart, "largest": largest, "difference": apart / largest if largest else apart}


def _facts(
    about: dict[str, Any], samples: int, outputs: dict[str, dict[str, Any]], difference: float
) -> dict[str, str]:
    labels = [output for output in outputs.values() if output["kind"] == "labels"]
    facts = {"difference": f"{difference:.2g} of the largest output", "samples": f"{samples} of {about['from']}"}
    if labels:
        unequal, values = (sum(output[name] for output in labels) for name in ("unequal", "count"))
        facts["labels"] = f"{values - unequal:,} of {values:,} equal"
    return {**facts, "source": about["source"]}


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
