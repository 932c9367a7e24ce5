"""Every byte of a store, read: what is not what its name says, and which objects each result needs."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from builder.digest import digest_file
from builder.errors import StoreError
from builder.store.actions import Record, read_record
from builder.store.cas import Damaged, Tree
from builder.store.kept import read_all
from builder.store.roots import roots
from builder.store.store import Store
from builder.store.usage import DIGEST
from builder.trouble import trouble

__all__ = ["Fault", "Reader", "Survey", "read_kept", "survey"]

_SHARD = re.compile(r"[0-9a-f]{2}")
_GONE = (errno.ENOENT, errno.ENOTDIR)
_ROTTEN = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # a disk that cannot give back what it was given


@dataclass(frozen=True)
class Fault:
    """Something in a store that is not what it should be."""

    kind: str  # object, result, root, device, stray
    path: Path
    why: str


@dataclass
class Survey:
    """What reading a store showed."""

    intact: set[str]  # objects
    results: list[tuple[Path, Record]]
    faults: list[Fault]
    folders: set[str] = field(default_factory=set)  # kept ones that are intact


class Reader:
    """Hashes files, each once, whatever is remembered of them, and tells how many bytes it has read."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._found: dict[Path, str | None] = {}

    def hash(self, path: Path) -> str | None:
        """Return a file's SHA-256, None where it is absent or no regular file, '' where the disk cannot read it.

        Raises StoreError where this user may not read it, or the system refuses.
        """
        if path not in self._found:
            self._found[path] = self._read(path)
        return self._found[path]

    def again(self, path: Path) -> str | None:
        """Return what `hash` does, of the file as it is now."""
        self._found.pop(path, None)
        return self.hash(path)

    def _read(self, path: Path) -> str | None:
        try:
            status = path.lstat()
            digest = digest_file(path) if S_ISREG(status.st_mode) else None
        except OSError as error:
            if error.errno in _GONE:
                return None
            if error.errno in _ROTTEN:
                return ""
            raise trouble(error, path) from error
        self._progress(status.st_size)
        return digest


def survey(store: Store, reader: Reader) -> Survey:
    """Read a whole store and change nothing. Raises StoreError where it cannot be read."""
    found = Survey(set(), [], [])
    for path in _inside(store.root / "cas"):
        _read_object(path, reader, found)
    for path in _inside(store.root / "ac"):
        _read_results(path, found)
    for digest in store.content.folders.digests():
        _read_folder(store, digest, reader, found)
    found.faults += [Fault("root", path, "it is damaged") for path, root in roots(store.root) if root is None]
    found.faults += _device_faults(store, {record.key for _, record in found.results})
    return found


def _device_faults(store: Store, keys: set[str]) -> Iterator[Fault]:
    """Yield the entries of the index of devices that are damaged, or lead to no result."""
    for path, entry in store.devices.files():
        if entry is None:
            yield Fault("device", path, "it is not as it was written")
        elif entry.key not in keys:
            yield Fault("device", path, f"the result of {entry.action} on {entry.name} is gone")


def _inside(folder: Path) -> Iterator[Path]:
    """Yield what lies in the folders named after two digits, and what lies beside them and should not."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _SHARD.fullmatch(path.name) and _is_folder(path):
            yield from sorted(path.iterdir())
        else:
            yield path


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read_object(path: Path, reader: Reader, found: Survey) -> None:
    if not _is_named(path):
        found.faults.append(Fault("stray", path, "no object has such a name"))
        return
    digest = reader.hash(path)
    if digest == path.name:
        found.intact.add(path.name)
    elif digest is not None:
        why = "its bytes are not what its name says" if digest else "the disk cannot read it"
        found.faults.append(Fault("object", path, why))
    elif kind := _kind(path):  # else it is gone: what needs it will tell
        found.faults.append(Fault("object", path, f"it is {kind}, not a file"))


def _read_results(folder: Path, found: Survey) -> None:
    if not _is_named(folder) or not _is_folder(folder):
        found.faults.append(Fault("stray", folder, "no result lies there"))
        return
    for path in sorted(folder.iterdir()):
        if path.suffix != ".json" or _kind(path) != "a file":
            found.faults.append(Fault("stray", path, "it is no result"))
            continue
        with suppress(FileNotFoundError):  # a build set it aside
            if record := read_record(path):
                found.results.append((path, record))
            else:
                found.faults.append(Fault("result", path, "it is not as it was written"))


def _read_folder(store: Store, digest: str, reader: Reader, found: Survey) -> None:
    path = store.content.folders.path(digest)
    try:
        tree = store.content.tree(digest)
    except (Damaged, StoreError, ValueError, KeyError, TypeError):
        found.faults.append(Fault("stray", path, "no listing says what belongs into it"))
        return
    fault = read_kept(path, tree, reader.hash)
    if fault:
        found.faults.append(Fault("object", path, f"it is {fault}"))
    elif fault is not None:
        found.folders.add(digest)


def read_kept(path: Path, tree: Tree, digest: Callable[[Path], str | None]) -> str | None:
    """Return what is wrong with a kept folder, '' for nothing, None where it is gone. Raises StoreError."""
    try:
        return read_all(path, {entry.path: entry.sha256 for entry in tree.files}, digest)
    except FileNotFoundError:  # a build set it aside, or is removing from it
        return "not there as a whole" if _kind(path) else None
    except NotADirectoryError:
        return f"{kind}, not a folder" if (kind := _kind(path)) else None
    except OSError as error:
        if error.errno in _ROTTEN:
            return "damaged: the disk cannot read it"
        raise trouble(error, path, doing="read") from error


def _is_named(path: Path) -> bool:
    return bool(DIGEST.fullmatch(path.name)) and path.parent.name == path.name[:2]


def _kind(path: Path) -> str:
    """Say what lies there, in words; '' for nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    kinds = ((S_ISREG, "a file"), (S_ISDIR, "a folder"), (S_ISLNK, "a link"))
    return next((word for is_kind, word in kinds if is_kind(mode)), "a special file")
