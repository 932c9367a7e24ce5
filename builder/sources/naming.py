"""What files of weights are called."""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.specs import Model

__all__ = ["SAFETENSORS", "weights_suffix"]

SAFETENSORS = "model.safetensors"  # what repositories of the hub call weights; of no other form are any fetched unnamed


def weights_suffix(model: Model) -> str:
    """Return the end of the file name of a model, such as `.safetensors`: frameworks go by it."""
    place = model.path or (model.wheel.member if model.wheel else SAFETENSORS)
    if model.url:
        from urllib.parse import urlsplit

        place = urlsplit(model.url).path  # less what a link of a download asks for, such as `?download=true`
    return PurePosixPath(place).suffix.lower()
