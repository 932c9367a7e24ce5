"""What goes home: one `.tar` with what the device made, private until it is complete."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from builder.device.files import canonical, digest, digest_file, read_json, write, write_json
from builder.device.journal import Journal
from builder.device.kit import SCHEMA, Kit
from builder.device.machine import describe_host

__all__ = ["add_file", "find_result", "result_name", "write_result"]


def result_name(kit: Kit, device: Mapping[str, Any]) -> str:
    """Return NAME-DEVICE.result.tar."""
    words = re.sub(r"[^a-z0-9]+", "-", str(device["name"]).lower()).strip("-")
    return f"{kit.name}-{words or device['arch']}.result.tar"


def find_result(journal: Journal, file: Path) -> bool:
    """Say whether the whole result is there already, as it was written."""
    try:
        return bool(read_json(journal.folder / "result.json")["sha256"] == digest_file(file))
    except (OSError, ValueError, KeyError):
        return False


def write_result(
    file: Path, kit: Kit, device: Mapping[str, Any], journal: Journal, outcomes: Mapping[str, dict[str, Any]]
) -> None:
    """Write the result of a kit's actions, in a fixed order; what is whole is noted in the journal."""
    document = {
        "schema": SCHEMA,
        "kit": kit.digest,
        "program": kit.program,
        "name": kit.name,
        "portable": kit.portable,
        "device": dict(device),
        "host": describe_host(),
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "actions": outcomes,
    }
    document["digest"] = digest(document)
    members = {
        f"{name}/{path}": journal.place(name) / path for name, done in outcomes.items() for path in done["files"]
    }

    def fill(part: Path) -> None:
        with tarfile.open(str(part), "w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted([*members, "result.json"]):
                add_file(tar, path, members[path].read_bytes() if path in members else canonical(document) + b"\n")

    write(file, fill)
    if all(done["status"] == "built" for done in outcomes.values()):
        write_json(journal.folder / "result.json", {"sha256": digest_file(file)})


def add_file(tar: tarfile.TarFile, path: str, content: bytes, *, executable: bool = False) -> None:
    """Add a plain file that says nothing of where and when it was made."""
    member = tarfile.TarInfo(path)
    member.size = len(content)
    member.mode = 0o755 if executable else 0o644
    tar.addfile(member, io.BytesIO(content))
