"""Builders that run as other users of one group; needs root, and util-linux, which every Linux has."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import ROOT

__all__ = ["GROUP", "User", "open_folder", "opened"]

GROUP = 61000  # and a little more for the users; no such names need exist


class User:
    """Somebody with a number and a folder of one's own."""

    def __init__(self, number: int, folder: Path, umask: int = 0o022) -> None:
        self.folder = folder
        self.number = GROUP + number
        self._umask = umask
        folder.mkdir(mode=0o700, exist_ok=True)
        self.own()

    def own(self) -> None:
        """Take over all that lies in the folder."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, self.number, GROUP)

    def python(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start Python in the folder, without any privilege."""
        self.own()
        return subprocess.Popen(
            _as_user(self.number, self._umask, *words),
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user may enter, and that goes afterwards; skip where other users cannot build."""
    with tempfile.TemporaryDirectory(prefix="builder-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if not all(above.stat().st_mode & 0o001 for above in folder.parents):
            pytest.skip("other users may not enter the folder for temporary files; TMPDIR=/tmp is one that they may")
        with User(1, folder / "nobody").python("-c", "import builder, hydra") as tried:
            _, errors = tried.communicate()
        if tried.returncode:
            pytest.skip(f"other users cannot run this Python: {errors.strip().rpartition(os.linesep)[2]}")
        yield folder


def _as_user(number: int, umask: int, *words: str) -> list[str]:
    """Return a command that runs Python as another user."""
    script = opened()
    mounting = ["unshare", "--mount"] if script else []
    script = ["set -e", *script]
    script.append(f'umask {umask:o} && exec setpriv --reuid={number} --regid={GROUP} --clear-groups "$@"')
    return [*mounting, "sh", "-c", "\n".join(script), "sh", sys.executable, *words]


def opened(*more: Path) -> list[str]:
    """Return the lines of a shell script that lets every user reach the interpreter, this checkout, and what is named.

    Where somebody may not enter a folder above one of them, as in root's own home folder, what comes after it in a
    mount namespace sees another folder in its place that holds nothing but them (mount_namespaces(7)).
    """
    closed: dict[Path, list[Path]] = {}
    for needed in {Path(sys.base_prefix), Path(sys.prefix), ROOT, *more}:
        for folder in [above for above in reversed(needed.parents) if not above.stat().st_mode & 0o001][:1]:
            closed.setdefault(folder, []).append(needed)
    script = []
    for folder, paths in closed.items():
        kept = [(path, f"/mnt/{index}") for index, path in enumerate(paths)]
        script.append("mount -t tmpfs none /mnt")
        script += [f"mkdir {place} && mount --bind '{path}' {place}" for path, place in kept]
        script.append(f"mount -t tmpfs -o mode=755 none '{folder}'")
        script += [f"mkdir -p '{path}' && mount --bind {place} '{path}'" for path, place in kept]
    return script
