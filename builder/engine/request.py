"""What a worker is told: the action as its key describes it, and the paths of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.plan.graph import Action
from builder.plan.project import find_code
from builder.recipe.locations import find_file
from builder.specs import Model
from builder.typed import to_plain

__all__ = ["make_request"]

_FETCHING = (
    *("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"),  # where pip's configuration lies
    *("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"),
    *("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"),  # where keyrings are
)


def make_request(
    action: Action, parts: Mapping[str, Any], folder: Path, *, offline: bool, interpreter: Path | None = None
) -> dict[str, Any]:
    """Return the JSON document that makes a worker run an action in a private folder.

    `interpreter` is that of the toolchain which the action puts together.
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
    """Return top-level module -> folder for the project's own code, which lies on no search path."""
    if "code" not in action.step.model_facts or not action.model.code:
        return {}
    folder = find_code(action.model.code).folder
    tops = {name.partition(".")[0] for name in parts["implementation"]}
    return {top: str(folder) for top in tops if (folder / f"{top}.py").is_file() or (folder / top).is_dir()}


def _local(action: Action, offline: bool, interpreter: Path | None) -> dict[str, Any]:
    """Return where the model file is, and what makes the package client work as it does for the user."""
    names = [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name in _FETCHING]
    tools = action.locked if action.lazy else None
    path = action.model.path
    return {
        "path": str(find_file(path)) if path else None,
        "shown": path,
        "offline": offline,
        "environment": {name: os.environ[name] for name in names},
        "folder": str(Path.cwd()),
        "toolchain": to_plain(tools.toolchain) if tools else None,
        "lock": tools.text if tools else None,
        "interpreter": str(interpreter) if interpreter else None,
    }
