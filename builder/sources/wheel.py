"""Files out of a package of the package index, fetched with the machine's own pip configuration, never installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from builder.errors import SourceError, did_you_mean
from builder.specs import Wheel

__all__ = ["fetch_wheel", "unpack"]


def fetch_wheel(wheel: Wheel, folder: Path, *, offline: bool, environment: Mapping[str, str]) -> Path:
    """Download a wheel into a folder and return its file. Raises SourceError."""
    what = f"{wheel.name}=={wheel.version}"
    if offline:
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
        raise SourceError(f"cannot fetch {what} from the package index: {_reason(done.stderr)}", _hint(done.stderr))
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
