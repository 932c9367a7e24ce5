"""YOLO networks of Ultralytics, which are AGPL-3.0: only this toolchain holds them. Weights come as safetensors."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ModelError
from builder.specs import Tensor
from builder.step import Job, Result, exporter

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ultralytics"]


_INPUTS = {"images": Tensor(["batch", 3, 640, 640])}  # what Ultralytics trains and exports for, unless told otherwise
_ARGUMENTS = ("network", "classes")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # no path: such a file would be in no key
_OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


@exporter(toolchain="ultralytics")
def ultralytics(_options: None, job: Job) -> Result:
    """Make a network by its name, load its weights, and export it with torch.onnx as Ultralytics' own exporter does.

    `model.arguments` are `network`, such as yolo11n, and `classes`, where they are not the 80 of COCO. Without a file
    the weights are drawn from a fixed seed. The boxes come before non-maximum suppression. Raises ModelError.
    """
    from builder.sources.pytorch import export, fill, read_state, settle

    settle()
    _stay_offline()
    network = _network(job)
    if "weights" in job.inputs:
        _refuse_pickle(job)
        fill(network, read_state(job))
    inputs = job.model.inputs or _INPUTS
    _for_export(network, dynamic=any(isinstance(size, str) for tensor in inputs.values() for size in tensor.shape))
    job = replace(job, model=replace(job.model, inputs=inputs))
    result = export(job, network)
    _describe(job, network)
    return result


def _stay_offline() -> None:
    """Keep Ultralytics and Matplotlib from the network, from installing packages, and from the user's settings."""
    place = Path(tempfile.gettempdir())
    os.environ.update(_OFFLINE, YOLO_CONFIG_DIR=str(place / "ultralytics"), MPLCONFIGDIR=str(place / "matplotlib"))


def _network(job: Job) -> nn.Module:
    """Return the network that `model.arguments` name. Raises ModelError."""
    from ultralytics import __version__
    from ultralytics.nn import tasks

    unknown = sorted(job.model.arguments.keys() - set(_ARGUMENTS))
    name = str(job.model.arguments.get("network", ""))
    if unknown or not _NAME.fullmatch(name):
        raise ModelError(
            f"model.arguments: {f'there is no {unknown[0]!r}' if unknown else 'it names no network of Ultralytics'}",
            "write it as: arguments: {network: yolo11n, classes: 80}",
        )
    try:
        plan = tasks.yaml_model_load(f"{name}.yaml")
    except FileNotFoundError as error:
        raise ModelError(
            f"Ultralytics {__version__} has no network '{name}'", "such as yolo11n, yolov8s, yolo11m-seg or yolo26x-cls"
        ) from error
    makers = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "classify": tasks.ClassificationModel,
        "pose": tasks.PoseModel,
        "obb": tasks.OBBModel,
    }
    task = tasks.guess_model_task(plan)
    if task not in makers:
        raise ModelError(f"'{name}' is for {task}, which is not exported here", f"there is: {', '.join(makers)}")
    network: nn.Module = makers[task](plan, nc=job.model.arguments.get("classes"), verbose=False)
    network.task = task  # as Ultralytics' own loader does
    return network


def _refuse_pickle(job: Job) -> None:
    file = next(Path(job.inputs["weights"]).iterdir())
    if file.suffix != ".safetensors":
        raise ModelError(
            f"{file.suffix or 'the file'} of Ultralytics is a pickle of the whole network: reading one runs the code "
            "in it",
            "save its weights once, where you trust it: "
            "safetensors.torch.save_file(YOLO('best.pt').model.float().state_dict(), 'best.safetensors')",
        )


def _for_export(network: nn.Module, *, dynamic: bool) -> None:
    """Do to a network what Ultralytics' exporter does (ultralytics/engine/exporter.py): fold, and give raw outputs.

    `dynamic` says that an axis of its input is open: then anchors are made in the graph, from the shape of the image.
    """
    from ultralytics.nn.modules import C2f, Classify, Detect

    network.requires_grad_(requires_grad=False)
    network.eval().float().fuse(verbose=False)
    for part in network.modules():
        if isinstance(part, (Detect, Classify)):
            part.export, part.format = True, "onnx"
        if isinstance(part, Detect):
            part.dynamic, part.shape = dynamic, None
        elif isinstance(part, C2f):
            part.forward = part.forward_split


def _describe(job: Job, network: nn.Module) -> None:
    """Write into the model what Ultralytics' own runtime reads of it: names, stride, task and size of images."""
    from builder.onnxtools.files import load, save

    folder = job.output / "model"
    model = load(folder)
    size = list(next(iter(job.model.inputs.values())).shape[2:])
    about = {"names": network.names, "stride": int(max(network.stride)), "task": network.task, "imgsz": size}
    for key, value in sorted(about.items()):
        model.metadata_props.add(key=key, value=str(value))
    save(model, folder)
