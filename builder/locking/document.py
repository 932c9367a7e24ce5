"""The lock file of a recipe, `recipes/locks/NAME.lock.yaml`: what it is made of, and the digest of what that makes.

    schema: 1
    name: small                     # the recipe's
    builder: 0.1.0
    settings:                       # of model, data, target and steps; what is at its default is not listed
      steps: {quantize: {step: quantize, calibration: {samples: 16}}}
    inputs:                         # SHA-256 of each file; of a dataset of many files, of their listing
      model: {sha256: 3f..., external: {weights.bin: 9a...}, code: {mymodel: 07...}}
      data: {test: {test.npz: 51...}}
    toolchains:
      host: {onnx: 1.23.2}          # what the artifacts were made with; told where they differ, never refused by itself
      sklearn: {lock: c4...}        # the digest of conf/toolchain/sklearn.lock
    artifacts:                      # of each action, by output: the digest of the tree that it made
      model: {reproducible: bitwise, outputs: {model: d2...}}
      evaluate: {reproducible: per_cpu, outputs: {evaluation: 77...}, instruction_set: avx2, libc: glibc 2.36}
      benchmark: {reproducible: measured}

Sorted, and the same on every machine: no times, no paths, no hosts. Not in it: gates and limits, which change no byte,
and the digests of the builder's own modules, since an edit there that changes no byte is no drift.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from builder.errors import LockError, RecipeError
from builder.outcomes import Reproducible
from builder.trouble import trouble
from builder.typed import from_plain, to_plain

__all__ = [
    "FOLDER",
    "Artifact",
    "LockFile",
    "document",
    "external_names",
    "lock_path",
    "read_lock",
    "to_text",
    "write_lock",
]

FOLDER = Path("recipes", "locks")  # of the project that is built in, also for a recipe that is built in
_SCHEMA = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEAD = (
    "# Written by `python -m builder lock`; with locked=true, or where CI is set, a build keeps to it or is refused.\n"
)


@dataclass(frozen=True)
class Artifact:
    """What an action made: digests where its class promises bytes, and for `per_cpu` what they were made on."""

    reproducible: Reproducible
    outputs: dict[str, str] = field(default_factory=dict)
    instruction_set: str | None = None
    libc: str | None = None

    def __post_init__(self) -> None:
        for name, digest in self.outputs.items():
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"expected 64 hexadecimal digits for '{name}', got '{digest}'")


@dataclass(frozen=True)
class LockFile:
    """A lock file; each field is a section of it."""

    schema: int
    name: str
    builder: str
    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    toolchains: dict[str, dict[str, str]]
    artifacts: dict[str, Artifact]


def lock_path(name: str) -> Path:
    """Return where the lock of a recipe lies, below the working directory."""
    return FOLDER / f"{name}.lock.yaml"


def external_names(lock: LockFile) -> list[str]:
    """Return the files beside the model that hold tensors of it."""
    found = lock.inputs.get("model", {}).get("external")
    return [str(name) for name in found] if isinstance(found, dict) else []


def document(lock: LockFile) -> dict[str, Any]:
    """Return a lock as plain data."""
    plain: dict[str, Any] = to_plain(lock)
    artifacts = {name: _said(artifact) for name, artifact in plain["artifacts"].items()}
    return {**plain, "artifacts": artifacts}


def _said(artifact: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in artifact.items() if value not in (None, {})}


def to_text(lock: LockFile) -> str:
    """Return a lock as YAML: a line for each value, sorted, so that two of them compare line by line."""
    return _HEAD + yaml.safe_dump(document(lock), sort_keys=True, allow_unicode=True, width=1 << 20)


def read_lock(name: str) -> LockFile | None:
    """Return the lock of a recipe, or None where there is none. Raises LockError for one that cannot be read."""
    path = lock_path(name)
    again = f"write it anew: python -m builder lock recipe={name}"
    try:
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(node, dict):
            raise LockError(f"{path} is no lock file: expected a mapping", again)
        if node.get("schema") != _SCHEMA:
            raise LockError(f"{path}: expected schema {_SCHEMA}, got {node.get('schema')}", again)
        lock = from_plain(LockFile, node, "")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LockError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LockError(f"{path} is damaged: {' '.join(str(error).split())}", again) from error
    except RecipeError as error:
        raise LockError(f"{path} is damaged: {error.message}", again) from error
    if lock.name != name:
        raise LockError(f"{path} is the lock of another recipe: '{lock.name}'", again)
    return lock


def write_lock(lock: LockFile) -> bool:
    """Write a lock where it belongs, whole or not at all; False where it is there already. Raises StoreError."""
    path, text = lock_path(lock.name), to_text(lock)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise trouble(error, path, elsewhere="make the folder writable") from error
    return True
