"""Folders of a store: where a group may write the store, it may write every folder in it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from stat import S_IMODE, S_IWGRP

__all__ = ["make_folder"]


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
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        mode = S_IMODE(parent.stat().st_mode)
        if mode & S_IWGRP:
            folder.chmod(mode)
    return folder
