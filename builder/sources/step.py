"""The actions that every plan begins with: bring the model, and data that lies in a package."""

from __future__ import annotations

from builder.step import Job, Kind, Result, Step

__all__ = ["data_source", "model_source", "weights_source"]


def _bring_model(_options: None, job: Job) -> Result:
    from builder.sources.model import bring_model

    return bring_model(job)


def _bring_weights(_options: None, job: Job) -> Result:
    from builder.sources.model import bring_weights

    return bring_weights(job)


def _bring_data(_options: None, job: Job) -> Result:
    from builder.sources.data import bring_data

    return bring_data(job)


model_source = Step(
    name="source",
    options=type(None),
    run=_bring_model,
    rank=0,
    inputs={},
    outputs={"model": Kind.ONNX},
    packages=("onnx", "onnxruntime"),
    brings=True,
    summary="Bring the model from a file, a package or an address, with its external data.",
)

weights_source = Step(
    name="weights",
    options=type(None),
    run=_bring_weights,
    rank=0,
    inputs={"address": Kind.ADDRESS},
    outputs={"weights": Kind.WEIGHTS},
    optional=("address",),
    brings=True,
    summary="Bring the file of a model of another framework from disk, a package or an address.",
)

data_source = Step(
    name="data_source",
    options=type(None),
    run=_bring_data,
    rank=0,
    inputs={},
    outputs={"data": Kind.DATA},
    brings=True,
    summary="Bring data from a package of the package index.",
)
