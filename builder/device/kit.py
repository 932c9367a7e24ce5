"""A kit, checked: its schema, its own digest, and the digest of every file in it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Callable

from builder.device.files import digest, digest_file, read_json, remove
from builder.device.stop import USAGE, Stop

__all__ = ["SCHEMA", "Kit", "open_kit"]

SCHEMA = 1

Say = Callable[[str], None]


class Kit:
    """A kit whose files are all as they were when it was made."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder = folder
        self.digest: str = document["digest"]
        self.name: str = document["name"]
        self.target: dict[str, Any] = document["target"]
        self.actions: list[dict[str, Any]] = document["device_actions"]
        self.portable: dict[str, str] = document["portable"]
        self.models: dict[str, dict[str, Any]] = document["models"]
        self.profiles: dict[str, Any] = document["profiles"]
        self.bytes = sum(entry["bytes"] for entry in document["files"].values())
        self.tensors: dict[str, Any] = read_json(folder / "tensors" / "tensors.json")

    @property
    def compiled(self) -> str:
        """The name of the action that builds the engine; '' where the model runs as it is."""
        return next((action["name"] for action in self.actions if action["step"] == "compile"), "")

    def tensors_of(self, role: str) -> list[dict[str, Any]]:
        """Return the tensors of a role (input, expected, reference), in the model's order."""
        return [tensor for tensor in self.tensors["tensors"] if tensor["role"] == role]

    def action(self, name: str) -> dict[str, Any]:
        """Return what the kit says of one of the actions to be done."""
        return next(action for action in self.actions if action["name"] == name)


def open_kit(place: Path, beside: Path, say: Say) -> Kit:
    """Return the kit in a folder, or in a `.tar`, which is unpacked below `beside`. Raises Stop for any other."""
    folder = place if place.is_dir() else _unpacked(place, beside)
    try:
        document = read_json(folder / "kit.json")
        schema = document["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Stop(f"{place} is no kit: its kit.json cannot be read", "", USAGE) from error
    if schema != SCHEMA:
        made = document.get("builder", "another version")
        raise Stop(
            f"the kit has schema {schema} (builder {made}), and this reads schema {SCHEMA}",
            "resume it with the resume.pyz that lies in it, or make a new kit with this version",
            USAGE,
        )
    say(f"checking {len(document['files'])} files of the kit '{document['name']}'")
    _check(folder, document)
    return Kit(folder, document)


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


def _tampered(path: str) -> Stop:
    return Stop(f"{path} in the kit is not what it was when the kit was made", "copy the kit again", USAGE)


def leads_out(path: str) -> bool:
    inside = PurePosixPath(path)
    return inside.is_absolute() or ".." in inside.parts


def _unpacked(archive: Path, beside: Path) -> Path:
    """Unpack a kit's plain files and folders, once, into a folder named after the archive's bytes."""
    try:
        final = beside / f"kit-{digest_file(archive)[:16]}"
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
    except FileNotFoundError as error:
        raise Stop(f"there is no kit {archive}", "", USAGE) from error
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
