"""Write the weights in model.onnx as a state_dict of FashionMobileNet: model.safetensors.

    pip install torch==2.13.0 onnx safetensors
    python weights.py

An export folds each batch normalization into the convolution before it, so here it adds a bias and does nothing else.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn
from train import FashionMobileNet

HERE = Path(__file__).parent


def unfolded(norm: nn.BatchNorm2d, bias: Tensor) -> dict[str, Tensor]:
    """Return the state of a batch normalization that adds a bias: its variance and eps are 1 together."""
    ones, zeros = torch.ones_like(bias), torch.zeros_like(bias)
    return {"weight": ones, "bias": bias, "running_mean": zeros, "running_var": ones - norm.eps}


def main() -> None:
    graph = onnx.load(HERE / "model.onnx").graph
    stored = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    folded = iter([[stored[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"])
    model = FashionMobileNet()
    state = model.state_dict()
    state |= {name: tensor for name, tensor in stored.items() if name in state}  # the classifier
    modules = list(model.named_modules())
    for (name, module), (after, norm) in zip(modules, modules[1:], strict=False):
        if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            state[f"{name}.weight"], bias = next(folded)
            state |= {f"{after}.{part}": tensor for part, tensor in unfolded(norm, bias).items()}
    model.load_state_dict(state)
    save_file(state, HERE / "model.safetensors")


if __name__ == "__main__":
    main()
