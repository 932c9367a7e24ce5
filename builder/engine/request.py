"""What a worker is told: the action as its key describes it, and the paths of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.modules import find_top
from builder.plan.action import Action
from builder.plan.project import find_code
from builder.recipe.locations import find_file
from builder.specs import Model
from builder.typed import to_plain

__all__ = ["make_request"]

_THIS = __name__.partition(".")[0]
_FETCHING = (
    *("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"),  # where pip's configuration lies
    *("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"),
    "HF_ENDPOINT",  # where the hub of models is
)


def make_request(
    action: Action,
    parts: Mapping[str, Any],
    folder: Path,
    *,
    offline: bool,
    interpreter: Path | None = None,
    packages: str = "",
) -> dict[str, Any]:
    """Return the JSON document that makes a worker run an action in a private folder.

    `interpreter` is that of the toolchain which the action puts together; `packages` are those that it runs with.
    """
    inputs = {port: str(folder / "inputs" / port) for port in action.inputs}
    source = action.step.brings
    data = _data(action, inputs)
    return {
        "module": action.step.run.__module__,
        "step": action.step.name,
        "options": parts.get("options"),
        "inputs": inputs,
        "output": str(folder / "output"),
        "log": str(folder / "log"),
        "model": to_plain(action.model) if source else _model(action),
        "data": data,
        "target": parts.get("target", {}),
        "device": parts.get("device"),
        "local": _local(action, offline, interpreter) if source else {},
        "project": str(Path.cwd()),
        "readable": _readable(action, folder),
        "files": _files(parts, data),
        "modules": parts.get("implementation"),
        "places": _places(action, parts),
        "packages": packages,
        "declared": action.step.declares(action.options),
    }


def _readable(action: Action, folder: Path) -> list[str]:
    """Return the folders that an action may read: the private one of this build, and the one its model comes from."""
    places = [folder.parent]
    if action.step.brings and action.model.path is not None:
        places.append(find_file(action.model.path).parent)
    return [str(place) for place in places]


def _files(parts: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[str]:
    """Return the files whose content is in the key."""
    found = parts["data"].get("files", {}) if data is not None and "data" in parts else {}
    return [f"{data['root']}/{name}" for names in found.values() for name in names] if data else []


def _model(action: Action) -> dict[str, Any]:
    """Return only the facts that the step declared to read, so that nothing else can find its way into a result."""
    bare = Model(name="model")
    declared = {name: getattr(action.model, name) for name in action.step.model_facts}
    if declared.get("code"):
        declared["code"] = find_code(declared["code"]).name
    plain: dict[str, Any] = to_plain(replace(bare, **declared))
    return plain


def _data(action: Action, inputs: Mapping[str, str]) -> dict[str, Any] | None:
    if action.data is None:
        return None
    root = inputs["data"] if "data" in inputs else str(find_file(action.data.root))
    plain: dict[str, Any] = to_plain(replace(action.data, root=root))
    return plain


def _places(action: Action, parts: Mapping[str, Any]) -> dict[str, str]:
    """Return top-level module -> folder for code that lies on no search path: a project's own, and in a toolchain
    the package of a step that is not ours. What a project calls as our package, or as the step's, hides neither.
    """
    found = _step_place(action) if action.locked and not action.lazy else {}
    if "code" not in action.step.model_facts or not action.model.code:
        return found
    folder = find_code(action.model.code).folder
    tops = {name.partition(".")[0] for name in parts["implementation"]} - {_THIS, _top(action)}
    own = {top: str(folder) for top in tops if (folder / f"{top}.py").is_file() or (folder / top).is_dir()}
    return {**found, **own}


def _step_place(action: Action) -> dict[str, str]:
    top = _top(action)
    spec = find_top(top) if top != _THIS else None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return {top: str(Path(places[0]).parent)} if places else {}


def _top(action: Action) -> str:
    return action.step.run.__module__.partition(".")[0]


def _local(action: Action, offline: bool, interpreter: Path | None) -> dict[str, Any]:
    """Return where the model file is, and what makes the package client work as it does for the user."""
    if action.lazy:
        return _tools(action, offline, interpreter)
    names = [name for name in os.environ if name.startswith("PIP_") or name in _FETCHING]
    path = action.model.path
    return {
        "path": str(find_file(path)) if path else None,
        "shown": path,
        "offline": offline,
        "environment": {name: os.environ[name] for name in names},
        "access": _access() if (action.data or action.model).wheel else None,
    }


def _tools(action: Action, offline: bool, interpreter: Path | None) -> dict[str, Any]:
    """Return what is put together, for which interpreter, and how packages are had here. Raises ToolchainError."""
    assert action.locked is not None
    return {
        "offline": offline,
        "toolchain": to_plain(action.locked.toolchain),
        "lock": action.locked.text,
        "interpreter": str(interpreter),
        "access": _access(),
    }


def _access() -> dict[str, Any]:
    """Return how packages are had here. Raises ToolchainError."""
    from builder.toolchains.index import index_access

    access: dict[str, Any] = to_plain(index_access(os.environ, Path.cwd()))
    return access
