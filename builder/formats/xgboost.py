"""Trees that XGBoost has boosted: fitted by a project's own code, or kept in its .json or .ubj files."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.formats.sklearn import SPLITS
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["xgboost"]

_OPSET = 15  # the last one that onnxmltools 1.16 writes
_FILES = (".json", ".ubj")
_CLASSES = ("binary:logistic", "multi:softmax", "multi:softprob")
_REMEDY = "onnxmltools is right for one number or score a class from gradient-boosted trees: no forests, no vectors"
_METHODS = {"label": "predict", "probabilities": "predict_proba", "variable": "predict"}


@exporter(toolchain="sklearn", splits=SPLITS)
def xgboost(_options: None, job: Job) -> Result:
    """Fit or load boosted trees and convert them with onnxmltools.

    `model.code` names a function of (features, labels), which get the split `train`; it returns a Booster or one of
    XGBoost's estimators. Raises ModelError where onnxmltools cannot convert it, or a file is none of XGBoost's.
    """
    import numpy as np
    from xgboost import XGBModel, __version__

    from builder.sources.tabular import COMPARED, check_classes, check_width, fit_or_read, table_of, write_table

    found = fit_or_read(job, _read)
    fitted = found if isinstance(found, XGBModel) else _estimator(found, job)
    table = table_of(job, "test", COMPARED)
    if table.features.dtype != np.float32:
        raise ModelError("XGBoost compares in float32", "set the dtype in model.inputs to float32, or leave it out")
    check_width(job, table, fitted.n_features_in_)
    check_classes(job, getattr(fitted, "classes_", None))
    model = _converted(fitted, job.model.opset or _OPSET)
    made = {output.name: np.asarray(getattr(fitted, _METHODS[output.name])(table.features))
            for output in model.graph.output}  # fmt: skip
    if "variable" in made:
        made["variable"] = made["variable"].reshape(len(table.features), -1)
    facts = write_table(job, model, table, f"XGBoost {__version__}", made, _REMEDY)
    return Result({**facts, "estimator": type(fitted).__name__, "trees": len(fitted.get_booster().get_dump())})


def _read(file: Path) -> Any:
    """Return the Booster in a file of XGBoost's own; a pickle is refused, since reading one runs what is in it."""
    from xgboost import Booster
    from xgboost.core import XGBoostError

    if file.suffix not in _FILES:
        raise ModelError(
            f"a model of format xgboost lies in a .json or .ubj file, not in {file.suffix or 'one without a suffix'}",
            "save it with save_model('model.ubj'); reading a pickle would run the code in it",
        )
    try:
        return Booster(model_file=str(file))
    except (XGBoostError, ValueError) as error:
        traceback.print_exc()
        raise ModelError("the file holds no model of XGBoost", "save it with save_model('model.ubj')") from error


def _estimator(booster: Any, job: Job) -> Any:
    """Return the estimator that answers for a Booster, by its objective. Raises ModelError where it is none."""
    from xgboost import Booster, XGBClassifier, XGBRegressor

    if not isinstance(booster, Booster):
        raise ModelError(
            f"{job.model.code} returned {type(booster).__name__}, not a model of XGBoost",
            "return a Booster or one of XGBoost's estimators",
        )
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if objective == "multi:softmax":  # the same trees, but onnxmltools would leave their sums as they are
        booster.set_param({"objective": "multi:softprob"})
    fitted = XGBClassifier() if objective in _CLASSES else XGBRegressor()
    fitted.load_model(booster.save_raw("ubj"))
    return fitted


def _converted(fitted: Any, opset: int) -> ModelProto:
    from onnxmltools import __version__, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    fitted.get_booster().feature_names = None  # rows have none, and onnxmltools takes its own alone
    try:
        row = FloatTensorType([None, fitted.n_features_in_])
        model: ModelProto = convert_xgboost(fitted, initial_types=[("X", row)], target_opset=opset)
    except Exception as error:  # onnxmltools raises what it likes
        traceback.print_exc()
        raise ModelError(
            f"onnxmltools {__version__} cannot convert {type(fitted).__name__}: {' '.join(str(error).split())[:160]}",
            "the log has the traceback; it knows trees of the booster gbtree, and not those of a ranker",
        ) from error
    if not any(entry.domain == "" for entry in model.opset_import):
        model.opset_import.add(domain="", version=opset)  # trees alone need no other operators
    return model
