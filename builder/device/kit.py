"""A kit, checked: its schema, its own digest, and the digest of every file in it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Callable

from builder.device.files import digest, digest_file, read_json, remove
from builder.device.itself import program_digest
from builder.device.stop import USAGE, Stop
from builder.device.tensors import nbytes

__all__ = ["SCHEMA", "Given", "Kit", "open_kit"]

SCHEMA = 1

Say = Callable[[str], None]


class Given:
    """What a device is given to run: the inputs of samples, call by call, and what came out of each at home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        document = read_json(folder / "tensors.json")
        self.split: str | None = document["split"]
        self.samples: int = document["samples"]
        self.calls: int = document["calls"]
        self.batch: int = document["batch"]
        self._tensors: list[dict[str, Any]] = document["tensors"]

    def tensors(self, role: str) -> list[dict[str, Any]]:
        """Return the tensors of a role (input, expected, reference), in the model's order."""
        return [tensor for tensor in self._tensors if tensor["role"] == role]

    def values(self, tensor: dict[str, Any], call: int) -> bytes:
        """Return one call's bytes of a tensor."""
        size = nbytes(tensor)
        part: bytes
        with (self._folder / tensor["file"]).open("rb") as file:
            file.seek(call * size)
            part = file.read(size)
        return part


class Kit:
    """A kit whose files are all as they were when it was made."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder = folder
        self.digest: str = document["digest"]
        self.program: str = document["program"]
        self.name: str = document["name"]
        self.target: dict[str, Any] = document["target"]
        self.actions: list[dict[str, Any]] = document["device_actions"]
        self.portable: dict[str, str] = document["portable"]
        self.models: dict[str, dict[str, Any]] = document["models"]
        self.profiles: dict[str, Any] = document["profiles"]
        self.engine: dict[str, Any] | None = document["engine"]  # built at home: its version, and options
        self.bytes = sum(entry["bytes"] for entry in document["files"].values())

    @property
    def compiled(self) -> str:
        """The name of the action that builds the engine here; '' where it is in the kit, or none is needed."""
        return next((action["name"] for action in self.actions if action["step"] == "compile"), "")

    @property
    def build_options(self) -> dict[str, Any] | None:
        """What engines are built with, here or at home; None where models run as they are."""
        made = self.engine or (self.action(self.compiled) if self.compiled else None)
        return made["options"] if made else None

    def given(self, name: str = "tensors") -> Given:
        """Return what is given in one of the kit's folders of tensors."""
        return Given(self.folder / name)

    def action(self, name: str) -> dict[str, Any]:
        """Return what the kit says of one of the actions to be done."""
        return next(action for action in self.actions if action["name"] == name)


def open_kit(place: Path, beside: Path, say: Say) -> Kit:
    """Return the kit in a folder, or in a `.tar`, which is unpacked below `beside`. Raises Stop for any other."""
    if place.is_dir():
        return _opened(place, place, say)
    final = _place_of(place, beside)
    before = final.is_dir()
    try:
        return _opened(_unpacked(place, final), place, say)
    except Stop:
        remove(final)
        if before:  # it was whole once, and somebody changed it since
            return open_kit(place, beside, say)
        raise


def _opened(folder: Path, place: Path, say: Say) -> Kit:
    try:
        document = read_json(folder / "kit.json")
        schema = document["schema"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Stop(f"{place} is no kit: its kit.json cannot be read", "", USAGE) from error
    made_here = "resume it with the resume.pyz that lies in it, or make a new kit with this version"
    if schema != SCHEMA:
        made = document.get("builder", "another version")
        raise Stop(f"the kit has schema {schema} (builder {made}), and this reads schema {SCHEMA}", made_here, USAGE)
    try:
        say(f"checking {len(document['files'])} files of the kit '{document['name']}'")
        _check(folder, document)
        kit = Kit(folder, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Stop(f"kit.json in {place} does not say all that a kit says", "copy the kit again", USAGE) from error
    if kit.program != program_digest():
        raise Stop("the kit was made for another version of the program that finishes it", made_here, USAGE)
    return kit


def _check(folder: Path, document: dict[str, Any]) -> None:
    stated = {name: value for name, value in document.items() if name != "digest"}
    if digest(stated) != document["digest"]:
        raise _tampered("kit.json")
    for path, entry in sorted(document["files"].items()):
        if leads_out(path):
            raise _tampered(path)
        file = folder / path
        if not file.is_file():
            raise Stop(f"the kit lacks {path}", "copy it again", USAGE)
        if file.stat().st_size != entry["bytes"] or digest_file(file) != entry["sha256"]:
            raise _tampered(path)
    known = {*document["files"], "kit.json"}
    there = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    if unknown := next((path for path in there if path not in known), ""):
        raise Stop(f"{unknown} in the kit is not in its list of files", "take it away, or copy the kit again", USAGE)


def _tampered(path: str) -> Stop:
    return Stop(f"{path} in the kit is not what it was when the kit was made", "copy the kit again", USAGE)


def leads_out(path: str) -> bool:
    inside = PurePosixPath(path)
    return inside.is_absolute() or ".." in inside.parts


def _place_of(archive: Path, beside: Path) -> Path:
    """Return where an archive is unpacked: a folder named after its bytes."""
    try:
        return beside / f"kit-{digest_file(archive)[:16]}"
    except FileNotFoundError as error:
        raise Stop(f"there is no kit {archive}", "", USAGE) from error


def _unpacked(archive: Path, final: Path) -> Path:
    """Unpack a kit's plain files and folders, once."""
    try:
        if not final.is_dir():
            part = final.with_name(f".{final.name}.part")
            remove(part)
            part.mkdir(parents=True)
            with tarfile.open(str(archive)) as tar:
                for member in tar:
                    _unpack(tar, member, part)
            part.rename(final)
    except tarfile.TarError as error:
        raise Stop(f"{archive} is no kit: {error}", "", USAGE) from error
    return final / "kit" if (final / "kit").is_dir() else final


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    source = tar.extractfile(member) if member.isfile() else None
    if leads_out(member.name) or not (source or member.isdir()):
        raise Stop(f"the kit holds {member.name}, which is no plain file inside it", "copy it again", USAGE)
    target = folder / member.name
    if source is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
