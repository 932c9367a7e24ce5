"""ONNX models on disk: a folder with model.onnx and, for large ones, its external data beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "INLINE_LIMIT",
    "MODEL",
    "PROTOBUF_LIMIT",
    "infer_shapes",
    "load",
    "load_graph",
    "mib",
    "save",
    "size_bytes",
    "weight_bytes",
]

MODEL = "model.onnx"
DATA = "model.onnx.data"
PROTOBUF_LIMIT = 2_000_000_000  # bytes of weights; a protobuf message ends at 2^31
INLINE_LIMIT = 1 << 30  # above it weights go into a file of their own; not every tool reads up to protobuf's limit


def load_graph(path: Path, shown: str) -> ModelProto:
    """Return the model in a file without the weights that lie beside it; `shown` is what the user calls the file.

    Raises ModelError where it cannot be read, is no ONNX model, or holds no graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{shown} is no ONNX model, or only a part of one ({path.stat().st_size:,} bytes)",
            "export it to ONNX, or download it again",
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read {shown}: {error.strerror}") from error
    if not model.graph.node:
        raise ModelError(f"{shown} holds no graph", "export it to ONNX, or download it again")
    return model


def load(folder: Path) -> ModelProto:
    """Return the model in a folder with all its weights. Raises ModelError where it is missing or no ONNX model."""
    import onnx

    path = folder / MODEL
    if not path.is_file():
        raise ModelError(f"{MODEL} is missing from the input folder")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise ModelError(f"{path.name} cannot be read as an ONNX model: {error}") from error
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError(f"{path.name} is no ONNX model: it has no graph or no opset")
    return model


def save(model: ModelProto, folder: Path, *, limit: int = INLINE_LIMIT) -> None:
    """Write a model into a folder, its weights in one file beside it where they exceed `limit` bytes.

    The bytes depend on the model alone. `model` may be changed (its weights move out).
    """
    import onnx

    (folder / DATA).unlink(missing_ok=True)  # onnx appends to one that is there
    if weight_bytes(model) > limit:
        onnx.external_data_helper.convert_model_to_external_data(model, location=DATA, size_threshold=1024)
        onnx.external_data_helper.write_external_data_tensors(model, str(folder))
    (folder / MODEL).write_bytes(model.SerializeToString(deterministic=True))


def infer_shapes(model: ModelProto, scratch: Path) -> ModelProto:
    """Return the model with the types and shapes of its inner tensors, as far as onnx can infer them.

    Goes through a file in `scratch`, since the in-memory call ends at 2 GiB.
    """
    import onnx

    save(model, scratch)
    try:
        onnx.shape_inference.infer_shapes_path(str(scratch / MODEL), str(scratch / MODEL))
    except Exception as error:  # raised by the C++ part for a model that contradicts itself
        raise ModelError(f"the shapes inside the model contradict each other: {error}") from error
    return onnx.load(str(scratch / MODEL))


def weight_bytes(model: ModelProto) -> int:
    """Return the bytes of the main graph's weights."""
    return sum(len(tensor.raw_data) or tensor.ByteSize() for tensor in model.graph.initializer)


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def mib(count: int) -> str:
    """Write a number of bytes for people: 1321162 -> '1.26 MiB', 5000 -> '4.9 KiB'."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**17 else f"{count / 2**10:.1f} KiB"
