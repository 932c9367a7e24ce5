"""Estimators and pipelines of scikit-learn: fitted by a project's own code, or kept in a file of skops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sklearn"]

FACTS = ("format", "code", "arguments", "inputs", "outputs", "opset", "constants", "shapes")


def splits(_options: Any) -> tuple[str, ...]:
    return ("train?", "test?")


@step(
    options=type(None),
    rank=5,
    inputs={"weights": Kind.WEIGHTS},
    outputs={"model": Kind.ONNX, "samples": Kind.SAMPLES},
    reproducible=Reproducible.PER_CPU,  # fitting sums floating-point numbers
    toolchain="sklearn",
    model_facts=FACTS,
    splits=splits,
)
def sklearn(_options: None, job: Job) -> Result:
    """Fit or load an estimator and convert it with skl2onnx, its scores as numbers and not as a list of mappings.

    `model.code` names a function of (features, labels), which get the split `train`; it returns what it fitted.
    Raises ModelError where skl2onnx cannot convert it, or a file is no skops file.
    """
    import numpy as np
    from skl2onnx import __version__, to_onnx
    from sklearn import __version__ as version

    from builder.sources.code import call_code
    from builder.sources.exported import write_exported
    from builder.sources.tabular import rows, write_table

    features, labels = rows(job, "train")
    shown, _ = rows(job, "test")
    fitted = call_code(job, features, labels) if job.model.code else _load(job)
    options = {id(fitted): {"zipmap": False}} if hasattr(fitted, "predict_proba") else None
    try:
        model = to_onnx(fitted, shown[:1].astype(np.float32), options=options, target_opset=job.model.opset)
    except Exception as error:  # skl2onnx raises what it likes
        raise ModelError(f"skl2onnx {__version__} cannot convert it: {' '.join(str(error).split())[:300]}") from error
    facts = write_exported(job, _scores_first(model))
    write_table(job, f"scikit-learn {version}", shown, lambda names: _outputs(fitted, shown, names))
    return Result({**facts, "estimator": type(fitted).__name__})


def _load(job: Job) -> Any:
    """Return the estimator in a skops file; a pickle is refused, since reading one runs what is in it."""
    from skops.io import get_untrusted_types, load

    file = next(Path(job.inputs["weights"]).iterdir())
    if file.suffix != ".skops":
        raise ModelError(
            f"a model of format sklearn lies in a .skops file, not in {file.suffix or 'a file without a suffix'}: "
            "reading a pickle runs the code in it",
            "save it with skops.io.dump(model, 'model.skops'), or name a function that fits it: model.code",
        )
    if strange := get_untrusted_types(file=file):
        raise ModelError(
            f"the file holds types that are not scikit-learn's own: {', '.join(sorted(strange)[:3])}",
            "fit it from code instead: model.code=FILE.py:NAME",
        )
    return load(file)


def _scores_first(model: Any) -> Any:
    """Put the scores before the labels: a model's first output is what is evaluated."""
    outputs = sorted(model.graph.output, key=lambda output: "probabilities" not in output.name)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def _outputs(fitted: Any, shown: NDArray[Any], names: list[str]) -> dict[str, NDArray[Any]]:
    """Return what scikit-learn itself makes of the samples, by the names of the model's outputs."""
    if hasattr(fitted, "predict_proba"):
        found = {"probabilities": fitted.predict_proba(shown), "label": fitted.predict(shown)}
        return {name: found["probabilities" if "prob" in name else "label"] for name in names}
    return {names[0]: fitted.predict(shown).reshape(len(shown), -1)}
