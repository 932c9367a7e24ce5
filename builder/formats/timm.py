"""Models of timm (PyTorch Image Models) by name, with weights from a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError, did_you_mean
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

__all__ = ["timm"]

_FILE = "model.safetensors"  # what timm's models have on the hub
_PLACES = re.compile(r"checkpoint_path|cache_dir|pretrained_.*")  # where timm.create_model would take weights from


@exporter(toolchain="timm")
def timm(_options: None, job: Job) -> Result:
    """Make a model that timm knows by name, load its weights, and export it with torch.onnx.

    `model.arguments.model` is the name, the other arguments are those of timm.create_model. `pretrained: false` keeps
    random weights, from a fixed seed. Raises ModelError for a name that timm does not know, for missing weights, and
    for an argument that takes weights from elsewhere: they would be in no key.
    """
    from builder.sources.pytorch import export, fill, read_state, settle

    arguments = dict(job.model.arguments)
    _check(arguments)
    settle()
    name = str(arguments.pop("model", "")).removeprefix("timm:")
    wants_weights = arguments.pop("pretrained", True)
    module = _create(name, arguments)
    if "weights" in job.inputs:
        fill(module, read_state(job))
    elif wants_weights:
        raise _without_weights(name, module)
    made = export(job, module)
    return Result({**made.facts, "module": name, **({} if "weights" in job.inputs else {"weights": "random"})})


def _check(arguments: Iterable[str]) -> None:
    for name in filter(_PLACES.fullmatch, arguments):
        raise ModelError(
            f"model.arguments.{name}: weights that timm takes from somewhere are known by no digest",
            "name their file: model.path, or model.url and model.sha256",
        )


def _create(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a model of timm as it is before its weights are loaded."""
    from timm import __version__, create_model, is_model, list_models

    if not is_model(name):
        raise ModelError(
            f"model.arguments.model: timm {__version__} has no model '{name}'", did_you_mean(name, list_models())
        )
    try:
        module: nn.Module = create_model(name, pretrained=False, **arguments)
    except Exception as error:  # an argument that this model does not take, or a tag that it does not have
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"timm {__version__} cannot make {name}: {words}", "check model.arguments") from error
    return module


def _without_weights(name: str, module: nn.Module) -> ModelError:
    """Say where the weights can be fetched from: what is fetched must be named with its digest, so that it stays."""
    from huggingface_hub import hf_hub_url

    known: Any = getattr(module, "pretrained_cfg", None) or {}
    place = known.get("hf_hub_id")
    random = "model.arguments.pretrained=false takes random ones"
    if not place:
        return ModelError(f"{name} has no weights on the hub, and no file is named", f"set model.path; {random}")
    return ModelError(
        f"the weights of {name} are to be named with their sha256, and are not",
        f"set model.url={hf_hub_url(place, _FILE)} and model.sha256, or model.path; {random}",
    )
