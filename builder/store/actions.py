"""The action cache: which result belongs to a key.

A key has one file for each set of discovered inputs that was seen with it (a model's external data, say): a result
counts only while every discovered file still has the digest that it had. The file is written last, when everything it
points to is in place, and carries its own digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from builder.digest import canonical, digest_json, digest_tagged, read_bytes
from builder.store.folders import make_folder
from builder.trouble import trouble

__all__ = ["ActionCache", "Record", "read_record"]

_TAG = "builder.result.v1"
_HEAD, _TAIL = b'{"record":', b',"sha256":"%s"}'  # a document of canonical JSON, digested as it is written
_TAIL_LENGTH = len(_TAIL) - 2 + 64


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

    def folder(self, key: str) -> Path:
        """Return where the results of a key lie; its time is when one of them was last made or used."""
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}"  # text: pathlib takes its time, and this is asked for every action

    def touch(self, key: str, grain_s: float) -> None:
        """Set the time of a key's folder to now, if it is older than that. Raises OSError."""
        folder = self._name(key)
        if os.stat(folder).st_mtime < time.time() - grain_s:  # noqa: PTH116  for every action of every build
            os.utime(folder)

    def keys(self) -> Iterator[str]:
        """Yield every key that has a folder."""
        for folder in sorted(self._root.glob("[0-9a-f][0-9a-f]/*")):
            yield folder.name

    def records(self, key: str) -> Iterator[tuple[str, Record | None]]:
        """Yield every result of a key with the path of its file; None for one that is damaged."""
        folder = self._name(key)
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208  for every action of every build
        except (FileNotFoundError, NotADirectoryError):
            names = []
        except OSError as error:
            raise trouble(error, Path(folder), doing="read") from error
        for name in names:
            if name.endswith(".json"):
                path = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):  # the cleaning took it meanwhile
                    yield path, read_record(path)

    def write(self, record: Record, private: Path) -> None:
        """Publish a result. The caller holds the key's lock and found no intact result under it."""
        body = {**asdict(record), "facts": list(record.facts.items())}  # a list: people read them in the step's order
        name = digest_json("builder.discovered.v1", dict(record.discovered))[:16]
        staged = private / f"result-{os.getpid()}.json"
        content = _HEAD + canonical(body) + _TAIL % digest_json(_TAG, body).encode()
        final = self.folder(record.key) / f"{name}.json"
        try:
            with staged.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            staged.chmod(0o444)
            make_folder(final.parent, self._root.parent)
            staged.replace(final)
        except OSError as error:
            raise trouble(error, final, len(content)) from error


def read_record(path: Path | str) -> Record | None:
    """Return the result in a file of its key's folder, or None for one that is damaged.

    Raises FileNotFoundError where it is gone, StoreError where it cannot be read at all.
    """
    try:
        content = read_bytes(path)
    except IsADirectoryError:
        return None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise trouble(error, Path(path), doing="read") from error
    body, tail = content[len(_HEAD) : -_TAIL_LENGTH], content[-_TAIL_LENGTH:]
    if not content.startswith(_HEAD) or tail != _TAIL % digest_tagged(_TAG, body).encode():
        return None
    fields = json.loads(body.decode())
    key = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120  text
    return Record(**{**fields, "facts": dict(fields["facts"])}) if fields["key"] == key else None
