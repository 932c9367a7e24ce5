"""Estimators and pipelines of scikit-learn, fitted on an NVIDIA GPU by RAPIDS cuML where there is one."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from builder.errors import StepError, ToolchainError
from builder.formats.sklearn import SPLITS, export
from builder.step import Job, Result, exporter

__all__ = ["cuml"]


@exporter(
    toolchain="sklearn",  # that of cuML brings CUDA along: where there is a GPU, ask for it with model.toolchain=cuml
    accelerator=True,
    splits=SPLITS,
)
def cuml(_options: None, job: Job) -> Result:
    """Fit an estimator with cuML in the place of scikit-learn, and convert it as a model of format sklearn.

    cuML needs an NVIDIA GPU and the toolchain `cuml`; else scikit-learn fits it, and the facts say so. Source: cuML's
    accelerator (`cuml.accel`), which puts its own estimators under the names of scikit-learn's.
    """
    used = _accelerated(job)
    from sklearn import __version__

    result = export(job, f"scikit-learn {__version__} ({used})")
    return Result({**result.facts, "fitted": used})


def _accelerated(job: Job) -> str:
    """Put cuML into the place of scikit-learn where that can be, and say whether it is. Raises ToolchainError."""
    if job.device is None:
        return "no NVIDIA GPU here: cuML was not used"
    if find_spec("cuml") is None:
        return "cuML was not used: to fit on the GPU here, set model.toolchain=cuml"
    if "sklearn" in sys.modules:
        raise StepError("another action has loaded scikit-learn here before cuML could take its place", "build again")
    try:
        import _numba_cuda_redirector  # noqa: F401  what a .pth file of numba-cuda does; a toolchain reads none
        from cuml import __version__
        from cuml.accel import install

        install()
    except Exception as error:  # the CUDA libraries raise what they like
        raise ToolchainError(
            f"cuML does not start on the GPU here: {' '.join(str(error).split())[:200]}",
            "it needs a driver for CUDA 12; without: model.toolchain=sklearn",
        ) from error
    return f"cuML {__version__} on {job.device.get('name', 'an NVIDIA GPU')}"
