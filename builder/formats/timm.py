"""Models of timm (PyTorch Image Models) by name: weights from a file, or fetched from the hub that timm names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError, did_you_mean
from builder.sources.naming import SAFETENSORS
from builder.step import Job, Kind, Result, exporter, step

if TYPE_CHECKING:
    from torch import nn

    from builder.specs import Model
    from builder.step import Step

__all__ = ["timm", "timm_address"]

_PLACES = re.compile(r"checkpoint_path|cache_dir|pretrained_.*")  # where timm.create_model would take weights from


def _address(model: Model) -> Step | None:
    return timm_address if model.arguments.get("pretrained", True) else None


@exporter(toolchain="timm", address=_address)
def timm(_options: None, job: Job) -> Result:
    """Make a model that timm knows by name, load its weights, and export it with torch.onnx.

    `model.arguments.model` is the name, the other arguments are those of timm.create_model. `pretrained: false` keeps
    random weights, from a fixed seed. Raises ModelError for a name that timm does not know, and for an argument that
    takes weights from elsewhere: they would be in no key.
    """
    from builder.sources.pytorch import export, fill, read_state, settle

    name, arguments = _named(job)
    settle()
    module = _create(name, arguments)
    if "weights" in job.inputs:
        fill(module, read_state(job))
    made = export(job, module)
    return Result({**made.facts, "module": name, **({} if "weights" in job.inputs else {"weights": "random"})})


@step(
    name="timm_address",
    options=type(None),
    rank=0,
    inputs={},
    outputs={"address": Kind.ADDRESS},
    toolchain="timm",
    model_facts=("arguments",),
)
def timm_address(_options: None, job: Job) -> Result:
    """Say where the weights lie that timm has for a name; nothing is fetched here.

    Writes `address/address.json`. Raises ModelError for a name that timm does not know or has no such weights of.
    """
    from huggingface_hub import hf_hub_url
    from timm.models import get_pretrained_cfg

    name, _ = _named(job)
    try:
        known = get_pretrained_cfg(name)
    except RuntimeError as error:  # no such tag
        raise ModelError(f"model.arguments.model: {error}", f"leave the tag out: {name.partition('.')[0]}") from error
    if known is None or not known.hf_hub_id or known.hf_hub_filename:
        raise ModelError(
            f"timm names no {SAFETENSORS} for {name}, and no file is named",
            "set model.path, or model.url and model.sha256; model.arguments.pretrained=false takes random ones",
        )
    repository, _, revision = known.hf_hub_id.partition("@")
    url = hf_hub_url(repository, SAFETENSORS, revision=revision or None)
    (job.folder("address") / "address.json").write_text(json.dumps({"url": url}), encoding="utf-8")
    return Result({"url": url})


def _named(job: Job) -> tuple[str, dict[str, Any]]:
    """Return the name of a model and the arguments that timm makes it with. Raises ModelError."""
    arguments = dict(job.model.arguments)
    for argument in filter(_PLACES.fullmatch, arguments):
        raise ModelError(
            f"model.arguments.{argument}: weights that timm takes from somewhere are known by no digest",
            "name their file: model.path, or model.url and model.sha256",
        )
    from timm import __version__, is_model, list_models

    arguments.pop("pretrained", None)
    name = str(arguments.pop("model", "")).removeprefix("timm:")
    if not is_model(name):
        raise ModelError(
            f"model.arguments.model: timm {__version__} has no model '{name}'", did_you_mean(name, list_models())
        )
    return name, arguments


def _create(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a model of timm as it is before its weights are loaded."""
    from timm import __version__, create_model

    try:
        module: nn.Module = create_model(name, pretrained=False, **arguments)
    except Exception as error:  # an argument that this model does not take, or a tag that it does not have
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"timm {__version__} cannot make {name}: {words}", "check model.arguments") from error
    return module
