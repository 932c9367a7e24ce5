"""Estimators and pipelines of scikit-learn: fitted by a project's own code, or kept in a file of skops."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

__all__ = ["SPLITS", "export", "sklearn"]

OPSET = 18  # where a recipe says nothing; what torch.onnx writes too
SPLITS = ("train?", "test?")
# Trees compare with float32 numbers in ONNX, so a value that was scaled may fall on the other side of a threshold.
_REMEDY = (
    "trees tell values apart that a step before them has rounded otherwise, and equal scores: leave out the scaling, "
    "or allow for it with gates.max_conversion_difference"
)
# How scikit-learn itself makes what skl2onnx calls so, the first method that an estimator has.
_METHODS = {"label": ("predict",), "probabilities": ("predict_proba", "decision_function"),
            "scores": ("decision_function", "transform")}  # fmt: skip


@exporter(toolchain="sklearn", splits=SPLITS)
def sklearn(_options: None, job: Job) -> Result:
    """Fit or load an estimator and convert it with skl2onnx, its scores as numbers and not as a list of mappings.

    `model.code` names a function of (features, labels), which get the split `train`; it returns what it fitted.
    Raises ModelError where skl2onnx cannot convert it, or a file is no skops file.
    """
    from sklearn import __version__

    return export(job, f"scikit-learn {__version__}")


def export(job: Job, source: str) -> Result:
    """Fit or load, convert, and write the model with what `source` makes of the split `test`."""
    from builder.sources.tabular import COMPARED, check_classes, check_width, fit_or_read, table_of, write_table

    fitted = fit_or_read(job, _read)
    if not hasattr(fitted, "predict") and not hasattr(fitted, "transform"):
        raise ModelError(
            f"{job.model.code} returned {type(fitted).__name__}, which is no estimator", "return what fits"
        )
    table = table_of(job, "test", COMPARED)
    check_width(job, table, getattr(fitted, "n_features_in_", None))
    check_classes(job, getattr(fitted, "classes_", None))
    model = _converted(fitted, table.features[:1], job.model.opset)
    made = {output.name: _made(fitted, output, table.features) for output in model.graph.output}
    known = {name: array for name, array in made.items() if array is not None}
    facts = write_table(job, model, table, source, known, _REMEDY)
    parts = [part for _, part in getattr(fitted, "steps", [("", fitted)])]
    return Result({**facts, "estimator": ", ".join(type(part).__name__ for part in parts)})


def _read(file: Path) -> Any:
    """Return the estimator in a skops file; a pickle is refused, since reading one runs what is in it."""
    from skops.io import get_untrusted_types, load

    if file.suffix != ".skops":
        raise ModelError(
            f"a model of format sklearn lies in a .skops file, not in {file.suffix or 'one without a suffix'}: "
            "reading a pickle runs the code in it",
            "save it with skops.io.dump(model, 'model.skops'), or name what fits it: model.code=FILE.py:NAME",
        )
    try:
        strange = get_untrusted_types(file=file)
        fitted = load(file) if not strange else None
    except Exception as error:  # a zip file with JSON inside: each part has errors of its own
        words = " ".join(str(error).split())[:200]
        raise ModelError(f"the file cannot be read as one of skops: {words}", "save it with skops.io.dump") from error
    if strange:
        raise ModelError(
            f"the file holds types that are not scikit-learn's own: {', '.join(sorted(strange)[:3])}",
            "fit it from code instead: model.code=FILE.py:NAME",
        )
    return fitted


def _converted(fitted: Any, row: NDArray[Any], opset: int | None) -> ModelProto:
    from skl2onnx import __version__, to_onnx
    from sklearn.base import is_classifier

    model: ModelProto

    # Without zipmap, which makes a list of mappings of the scores; what cannot make one does not know the word.
    options = {id(fitted): {"zipmap": False}} if is_classifier(fitted) else None
    versions = {"": opset or OPSET, "ai.onnx.ml": 3}
    try:
        try:
            model = to_onnx(fitted, row, options=options, target_opset=versions)
        except NameError:
            model = to_onnx(fitted, row, target_opset=versions)
    except Exception as error:  # skl2onnx raises what it likes
        traceback.print_exc()
        raise ModelError(
            f"skl2onnx {__version__} cannot convert {type(fitted).__name__}: {' '.join(str(error).split())[:160]}",
            "the log has the traceback; skl2onnx's documentation lists the estimators that it supports",
        ) from error
    lists = [output.name for output in model.graph.output if not output.type.HasField("tensor_type")]
    if lists:
        raise ModelError(
            f"skl2onnx {__version__} makes a list of '{lists[0]}' of {type(fitted).__name__}, which no step takes",
            "fit one estimator for each output",
        )
    return model


def _made(fitted: Any, output: Any, features: NDArray[Any]) -> NDArray[Any] | None:
    """Return what scikit-learn itself makes of an output; None for the one margin of which ONNX makes two."""
    import numpy as np

    methods = _METHODS.get(output.name, ("predict", "transform"))
    method = next(name for name in methods if hasattr(fitted, name))
    made: NDArray[Any] = np.asarray(getattr(fitted, method)(features))
    axes = len(output.type.tensor_type.shape.dim)
    if made.ndim == 1 and axes == 2:
        return None if method == "decision_function" and output.name == "probabilities" else made[:, None]
    return made
