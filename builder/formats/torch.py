"""Modules of PyTorch: made by a project's own code, with weights in safetensors or in a file of tensors alone."""

from __future__ import annotations

from dataclasses import replace

from builder.errors import ModelError
from builder.step import Job, Result, exporter

__all__ = ["torch"]


@exporter(toolchain="torch")
def torch(_options: None, job: Job) -> Result:
    """Make a module, load its weights, and export it with torch.onnx.

    `model.code` names a class or function that returns the module, called with `model.arguments`. Without a file its
    parameters stay as the code made them, from a fixed seed. Raises ModelError where one does not fit the other.
    """
    if not job.model.code:
        raise ModelError(
            "a file of weights does not say what module they belong to", "name what makes it: model.code=FILE.py:NAME"
        )
    from torch import nn

    from builder.sources.code import call_code
    from builder.sources.pytorch import export, fill, read_state, settle

    settle()
    module = call_code(job)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{job.model.code} made {type(module).__name__}, not a module of PyTorch (torch.nn.Module)")
    if "weights" not in job.inputs:
        made = export(job, module)
        return replace(made, facts={**made.facts, "weights": "as the code made them: no file was named"})
    fill(module, read_state(job))
    return export(job, module)
