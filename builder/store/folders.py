"""Folders of a store: where a group may write the store, it may write every folder in it; what is private goes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from stat import S_IMODE, S_IWGRP

__all__ = ["make_folder", "make_removable", "remove_folder"]


def make_folder(folder: Path, root: Path) -> Path:
    """Make a folder of the store at `root`, with its parents, and return it.

    A store is shared where its root is group-writable (`install -d -m 2775 -g TEAM /srv/store`), as `git init --shared`
    has it: whatever somebody's umask is, the others of the group can write there too.
    """
    if folder.is_dir():
        return folder
    if folder == root:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    parent = make_folder(folder.parent, root)
    mode = S_IMODE(parent.stat().st_mode)
    umask = os.umask(~mode & 0o777) if mode & S_IWGRP else None  # no moment in which the others may not write there
    try:
        folder.mkdir(exist_ok=True)
    finally:
        if umask is not None:
            os.umask(umask)
    return folder


def make_removable(folder: Path) -> None:
    """Let its owner remove what lies in a folder that can only be read."""
    with contextlib.suppress(OSError):  # another user's: a group may remove what it may write
        folder.chmod(folder.lstat().st_mode & 0o777 | 0o700)
    for place, folders, _ in os.walk(folder):
        for below in (Path(place, name) for name in folders):
            with contextlib.suppress(OSError):
                if not below.is_symlink():
                    below.chmod(0o700)


def remove_folder(folder: Path) -> None:
    """Remove a private folder and all in it, as far as one may, also where a step made a part of it read-only.

    It needs one file handle at a time (shutil.rmtree one for each level), since there may be no more left.
    """
    make_removable(folder)
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):  # of the folders, links to some are left
            with contextlib.suppress(OSError):
                Path(place, name).unlink()
        with contextlib.suppress(OSError):
            Path(place).rmdir()
