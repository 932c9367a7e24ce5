"""The action cache: which result belongs to a key.

A key has one file for each set of discovered inputs that was seen with it (a model's external data, say): a result
counts only while every discovered file still has the digest that it had. The file is written last, when everything it
points to is in place, and carries its own digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from builder.digest import canonical, digest_json
from builder.errors import StoreError

__all__ = ["ActionCache", "Record"]

_TAG = "builder.result.v1"


@dataclass(frozen=True)
class Record:
    """What an action made: the parts of its key, its output trees, and what people want to know about it."""

    key: str
    parts: Mapping[str, Any]
    outputs: Mapping[str, str]  # port -> tree digest
    facts: Mapping[str, Any] = field(default_factory=dict)
    deferred: str = ""
    discovered: Mapping[str, str] = field(default_factory=dict)  # path as the step knows it -> sha256
    seconds: float = 0.0
    created: str = ""


class ActionCache:
    """The results under `<root>/ac`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _folder(self, key: str) -> Path:
        return self._root / key[:2] / key

    def records(self, key: str) -> Iterator[tuple[Path, Record | None]]:
        """Yield every result of a key with its file; None for one that is damaged."""
        folder = self._folder(key)
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            yield path, _read(path, key)

    def write(self, record: Record, private: Path) -> None:
        """Publish a result. The caller holds the key's lock and found no intact result under it."""
        body = {**asdict(record), "facts": list(record.facts.items())}  # a list: people read them in the step's order
        name = digest_json("builder.discovered.v1", dict(record.discovered))[:16]
        staged = private / f"result-{os.getpid()}.json"
        with staged.open("wb") as file:
            file.write(canonical({"record": body, "sha256": digest_json(_TAG, body)}))
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(0o444)
        final = self._folder(record.key) / f"{name}.json"
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(final)
        except OSError as error:
            raise StoreError(f"cannot write {final}: {error.strerror}") from error


def _read(path: Path, key: str) -> Record | None:
    """Return a result, or None for one that is damaged. Raises StoreError where it cannot be read at all."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    try:
        document = json.loads(content)
        body = document["record"]
        intact = document["sha256"] == digest_json(_TAG, body) and body["key"] == key
        return Record(**{**body, "facts": dict(body["facts"])}) if intact else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
