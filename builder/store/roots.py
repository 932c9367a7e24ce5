"""What the cleaning must keep: for each place where builds lie, the results that its newest build needs."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.digest import canonical, digest_json
from builder.store.folders import make_folder

__all__ = ["Root", "add_root", "roots"]

_PLACE = "builder.place.v1"
_TAG = "builder.root.v1"
_UNSEEN_S = 30 * 24 * 60 * 60


@dataclass(frozen=True)
class Root:
    """The newest build of a place such as `outputs/small`, or the newest sweep in `outputs/sweeps`."""

    folder: Path
    keys: tuple[str, ...]

    def gone(self, path: Path) -> bool:
        """Say whether the build was removed, given the root's own file.

        What this machine cannot see, as a disk that is not mounted, is gone only when it was not built for long.
        """
        try:
            if not self.folder.parents[1].is_dir():
                return path.stat().st_mtime < time.time() - _UNSEEN_S
            self.folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False


def add_root(store: Path, folder: Path, keys: Iterable[str]) -> None:
    """Keep the results of a build from the cleaning, in place of those of the build before it in the same place.

    Writes nothing where that is known already, nor in a store that can only be read.
    """
    final = folder.resolve()
    body = {"folder": str(final), "keys": sorted(set(keys))}
    content = canonical({"root": body, "sha256": digest_json(_TAG, body)})
    path = store / "roots" / f"{digest_json(_PLACE, str(final.parent))}.json"
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    with contextlib.suppress(OSError):
        make_folder(path.parent, store)
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
    try:
        with fresh.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o444)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def roots(store: Path) -> Iterator[tuple[Path, Root | None]]:
    """Yield every root with its file; None for one that is damaged."""
    folder = store / "roots"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            yield path, _read(path)


def _read(path: Path) -> Root | None:
    try:
        document = json.loads(path.read_bytes())
        body = document["root"]
        if document["sha256"] != digest_json(_TAG, body):
            return None
        return Root(Path(body["folder"]), tuple(body["keys"]))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
