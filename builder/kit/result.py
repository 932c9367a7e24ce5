"""What a device sent back: one uncompressed archive, unpacked and checked before a byte of it is believed.

It comes from a machine that need not be ours, so: plain files only, no path leads out, no file that its result.json
does not name with size and SHA-256, and no more bytes than the archive itself has.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from builder.digest import canonical, digest_bytes
from builder.errors import RecipeError, UsageError
from builder.typed import from_plain

__all__ = ["SCHEMA", "Done", "Result", "read_result"]

SCHEMA = 1
DOCUMENT = "result.json"

_DOCUMENT_BYTES = 16 << 20
_FILES = 100_000
_CHUNK = 1 << 20
_REASON = 1000  # characters
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_DEVICE = re.compile(r"[^\s$\\'\"][^$\\'\"]{0,199}")  # a word of a command line, which Hydra reads
_FACT = re.compile(r"[^$\\'\"]{0,1000}")  # it stands in such a word where two devices differ in nothing else
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "copy it from the device again"


@dataclass
class File:
    sha256: str
    bytes: int


@dataclass
class Done:
    """What became of one action on the device."""

    status: str  # built, failed, skipped
    error: str | None = None
    seconds: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)  # by their path below the action's name


@dataclass
class _Document:
    """result.json, as the contract has it."""

    kit: str
    program: str
    name: str
    portable: dict[str, str]
    device: dict[str, Any]
    host: dict[str, Any]
    taken_at: str
    actions: dict[str, Done]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: expected lower-case letters, digits, '_' and '-', got '{self.name}'")
        name = self.device.get("name")
        if not isinstance(name, str) or not _DEVICE.fullmatch(name) or not name.isprintable():
            raise ValueError(f"device.name: expected a name, got {name!a}")
        for fact, value in self.device.items():
            if not _is_fact(value):
                raise ValueError(f"device.{fact}: expected a word or a number, got {str(value)[:80]!a}")
        self.taken_at = _in_utc(self.taken_at)
        if not all(_SHA256.fullmatch(digest) for digest in (self.kit, self.program, *self.portable.values())):
            raise ValueError("a key is no SHA-256")


def _is_fact(value: Any) -> bool:
    if isinstance(value, str):
        return _FACT.fullmatch(value) is not None and value.isprintable()
    return value is None or isinstance(value, int | float)


def _in_utc(time: str) -> str:
    try:
        return datetime.fromisoformat(time).astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError as error:
        raise ValueError(f"taken_at: '{time}' is no date that can be in UTC") from error


@dataclass(frozen=True)
class Result:
    """A result whose files lie unpacked in `folder`, each with the bytes that it had on the device."""

    folder: Path
    digest: str
    kit: str  # the digest of the kit that was resumed
    program: str  # the digest of the program that resumed it
    name: str
    portable: Mapping[str, str]  # action -> the portable key that it was made for
    device: Mapping[str, Any]
    host: Mapping[str, Any]
    taken_at: str
    actions: Mapping[str, Done]
    archive: Path = Path("RESULT")  # that it came in

    @property
    def built(self) -> list[str]:
        """Return the actions that the device finished."""
        return [name for name, done in self.actions.items() if done.status == "built"]

    @property
    def failed(self) -> dict[str, str]:
        """Return the other actions, and why the device did not finish them."""
        told = {name: done.error or "it does not say why" for name, done in self.actions.items()}
        return {name: why[:_REASON] for name, why in told.items() if name not in self.built}


def read_result(archive: Path, folder: Path) -> Result:
    """Unpack an archive into an empty folder. Raises UsageError for what is no result, or not as it was written."""
    try:
        with tarfile.open(archive, "r:") as tar:
            members = _members(tar, archive)
            content = _content(tar, members.pop(DOCUMENT, None), archive)
            document, digest = _document(content, archive)
            (folder / DOCUMENT).write_bytes(content)
            _unpack(tar, members, document, folder, archive)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {archive}") from error
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"{archive} is no result of a device: {error}", _AGAIN) from error
    facts = {name: value for name, value in document.device.items() if value is not None}
    return Result(
        folder=folder,
        digest=digest,
        kit=document.kit,
        program=document.program,
        name=document.name,
        portable=document.portable,
        device=facts,
        host=document.host,
        taken_at=document.taken_at,
        actions=document.actions,
        archive=archive.absolute(),
    )


def _members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Return the files of an archive by path; folders are made as they are needed."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        name = member.name.removeprefix("./")
        if member.isdir() and not _leads_out(name):
            continue
        if not member.isreg() or member.issparse() or _leads_out(name) or name in found:
            raise UsageError(f"{archive} holds {member.name!a}, which is no plain file inside it", _AGAIN)
        found[name] = member
        if len(found) > _FILES:
            raise UsageError(f"{archive} holds more than {_FILES:,} files, which no result does")
    return found


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not name.isprintable()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | None, archive: Path) -> bytes:
    if member is None or member.size > _DOCUMENT_BYTES:
        raise UsageError(f"{archive} is no result of a device: it has no {DOCUMENT}", "give the file NAME.result.tar")
    with _open(tar, member) as file:
        return file.read()


def _document(content: bytes, archive: Path) -> tuple[_Document, str]:
    try:
        plain = json.loads(content)
        stated, schema = plain.pop("digest"), plain.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{archive}: its {DOCUMENT} cannot be read", _AGAIN) from error
    if schema != SCHEMA:
        raise UsageError(
            f"{archive} has schema {schema!r}, and this version reads schema {SCHEMA}",
            "resume the kit with the resume.pyz that lies in it, or import with the version that made the kit",
        )
    try:
        digest = digest_bytes(canonical({"schema": schema, **plain}))
    except ValueError:  # not a number
        digest = ""
    if digest != stated:
        raise UsageError(f"{archive}: its {DOCUMENT} is not what the device wrote", _AGAIN)
    try:
        return from_plain(_Document, plain, ""), digest
    except RecipeError as error:
        raise UsageError(f"{archive}: {DOCUMENT}: {error.message}", error.hint) from error


def _unpack(
    tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], document: _Document, folder: Path, archive: Path
) -> None:
    """Write the files that the document names, each hashed on the way."""
    named = document.actions.items()
    declared = {f"{name}/{path}": file for name, done in named for path, file in done.files.items()}
    for path in declared:
        if _leads_out(path):
            raise UsageError(f"{archive}: {DOCUMENT} names {path!a}, which leads out of it", _AGAIN)
    for name in members.keys() - declared.keys():
        raise UsageError(f"{archive} holds {name}, which its {DOCUMENT} does not name", _AGAIN)
    for path, file in declared.items():
        member = members.get(path)
        if member is None:
            raise UsageError(f"{archive} lacks {path}", _AGAIN)
        if member.size != file.bytes or _write(tar, member, folder / path) != file.sha256:
            raise UsageError(f"{path} in {archive} is not what the device wrote", _AGAIN)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> str:
    state = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _open(tar, member) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            state.update(chunk)
            file.write(chunk)
    return state.hexdigest()


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} has no bytes")
    return file
