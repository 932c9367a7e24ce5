"""The action key: SHA-256 of everything that a result depends on, each part kept beside the result.

What is missing here serves a wrong result; what is too much costs a rebuild. Never in it: paths, times, user,
environment, host name, gates, names of actions.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from builder.digest import digest_json
from builder.errors import SourceError
from builder.measure.host import fingerprint, instruction_set
from builder.outcomes import Reproducible
from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.part import digest_of
from builder.plan.project import find_code
from builder.sources.naming import weights_suffix
from builder.sources.step import weights_source
from builder.specs import Model
from builder.step import Need
from builder.typed import to_plain

__all__ = ["key_of", "key_parts"]

_BY_DIGEST = ("implementation", "toolchain", "installed", "data")  # large, and the same for many actions
_SAID_IN = {"tokenizer": "data.tokenizer.path", "timing_cache": "steps.compile.timing_cache"}  # of files beside a model


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the action key of its parts."""
    said = {name: digest_of(part) if name in _BY_DIGEST else part for name, part in parts.items()}
    return digest_json("builder.action.v2", said)


def key_parts(action: Action, inputs: Mapping[str, str], facts: Facts) -> dict[str, Any]:
    """Return the parts of an action's key, given the digest of each input.

    Raises SourceError or DataError where a file that the recipe names cannot be read.
    """
    step = action.step
    if action.lazy:  # a lock says all of what it pins; how it is laid out is checked where it is used
        ways = {"implementation": facts.code(action), "toolchain": facts.toolchain(action)}
        return {"step": step.name, **ways, "libc": _c_library()}  # which decides what files of a package are taken
    parts: dict[str, Any] = {"step": step.name, "options": to_plain(action.options), "inputs": dict(inputs)}
    if step.brings:
        parts["source"] = _source(action, facts)
    if not step.brings or (action.model.path is not None and action.data is None):
        parts |= _ways(action, facts)  # else a declared digest says all: fetched once is enough
    if step.model_facts:
        parts["model"] = model_facts(action)
    if step.target_facts:
        parts["target"] = {name: to_plain(getattr(action.target, name)) for name in step.target_facts}
    if action.data is not None and not step.brings:
        parts["data"] = facts.samples(action.data, fetched="data" in inputs)
    if action.reproducible is Reproducible.PER_CPU:
        parts["instruction_set"] = instruction_set()
        parts["libc"] = _c_library()  # numpy and ONNX Runtime call its exp, log and pow
    if step.need is Need.HOST:
        parts["host"] = fingerprint()
    if action.needs_target or step.uses_gpu(action.options):
        parts["device"] = _device(action, facts)
    return parts


def _device(action: Action, facts: Facts) -> dict[str, Any] | None:
    """Return the facts of what it runs on: the target's device, or the GPU of this machine."""
    if not action.needs_target:
        return facts.gpu
    found = facts.device(action)[0]
    uses_gpu = found is not None and action.step.uses_gpu(action.options)
    return {**(facts.gpu or {}), **(found or {})} if uses_gpu else found


def _ways(action: Action, facts: Facts) -> dict[str, Any]:
    """Return what an action runs: our code and packages, those of the host with what their files are."""
    found: dict[str, Any] = {"implementation": facts.code(action), "toolchain": facts.toolchain(action)}
    if action.locked is None:  # a lock says it by hashes
        found["installed"] = facts.installed(action).records
    return found


def _c_library() -> str:
    """Return the C library and its version, such as `glibc 2.36`."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except ValueError:  # another one
        return " ".join(platform.libc_ver())


def model_facts(action: Action) -> dict[str, Any]:
    """Return what a step declared to read of the model; of its code the name, since its bytes are in the key too."""
    found = {name: to_plain(getattr(action.model, name)) for name in action.step.model_facts}
    if found.get("code"):
        found["code"] = find_code(found["code"]).name
    return found


def _source(action: Action, facts: Facts) -> dict[str, Any]:
    """Say what is fetched: content by digest, never where this machine keeps it."""
    if action.data is not None:
        return {"sha256": action.data.sha256}
    model: Model = action.model
    suffix = {"suffix": weights_suffix(model)} if action.step is weights_source else {}
    if model.path is None:
        return {"sha256": model.sha256, **suffix}
    where = _SAID_IN.get(action.name.partition("@")[0], "model.path")
    found = facts.file(model.path, where)
    if model.sha256 not in (None, found):
        raise SourceError(
            f"{where}: {model.path} is not the file that was declared",
            f"expected sha256 {model.sha256}, got {found}",
        )
    return {"sha256": found, **suffix}
