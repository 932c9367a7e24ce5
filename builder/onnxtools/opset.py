"""The version of ONNX's operator set that a model is written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import StepError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["opset", "raise_opset"]


def opset(model: ModelProto) -> int:
    """Return the version of the default operator set, the highest where a file names several; 0 where none."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def raise_opset(model: ModelProto, least: int, why: str) -> ModelProto:
    """Return the model in opset `least`, or the model itself where it has that or a later one.

    Raises StepError where onnx's version converter has no way for one of its operators.
    """
    import onnx

    from builder.onnxtools.files import PROTOBUF_LIMIT, weight_bytes

    found = opset(model)
    if found >= least:
        return model
    hint = f"export the model with opset {least} or later"
    if weight_bytes(model) >= PROTOBUF_LIMIT:
        raise StepError(f"{why} needs opset {least}, and onnx cannot convert a model over 2 GiB from {found}", hint)
    try:
        return onnx.version_converter.convert_version(model, least)
    except Exception as error:  # the C++ part raises RuntimeError and its own classes
        raise StepError(
            f"{why} needs opset {least}, and onnx cannot convert this model from {found}: {error}", hint
        ) from error
