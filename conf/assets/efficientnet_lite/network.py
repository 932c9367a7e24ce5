"""EfficientNet-Lite as the package efficientnet-lite-pytorch builds it, without fetching weights."""

from __future__ import annotations

from efficientnet_lite_pytorch import EfficientNet
from torch import nn


def lite(variant: int = 0) -> nn.Module:
    """Return EfficientNet-Lite 0 to 4: image f32[batch,3,size,size] -> scores of ImageNet's 1,000 classes."""
    return EfficientNet.from_name(f"efficientnet-lite{variant}")
