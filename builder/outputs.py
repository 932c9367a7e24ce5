"""Folders under `outputs/`: named after the time, complete or not there, the newest good one called `latest`."""

from __future__ import annotations

import errno
import itertools
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from builder.errors import StoreError, UsageError, did_you_mean
from builder.recipe.locations import recipe_folders
from builder.store.private import private_folder, sweep
from builder.trouble import trouble

__all__ = ["OUTPUTS", "check_writable", "new_folder", "no_build", "point"]

OUTPUTS = Path("outputs")
_ELSEWHERE = "build in another folder"


@contextmanager
def new_folder(parent: Path) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Yield a private folder and the function that gives it its final name, the time, once it is complete."""
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")  # noqa: DTZ005  people look for their own time of day
    try:
        sweep(parent.glob(".*.part"))
        with private_folder(parent, lambda: f".{time}-{secrets.token_hex(4)}.part", mode=0o777) as part:
            yield part, lambda: _publish(part, parent / time)
    except OSError as error:
        raise trouble(error, parent, elsewhere=_ELSEWHERE) from error


def check_writable(parent: Path) -> None:
    """Raise StoreError where nothing can be written to a folder, be it that it is still to be made."""
    import tempfile

    there = next(folder for folder in (parent, *parent.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise trouble(error, parent, elsewhere=_ELSEWHERE) from error


def _publish(part: Path, final: Path) -> Path:
    for number in itertools.count(1):
        target = final if number == 1 else final.with_name(f"{final.name}-{number}")
        try:
            part.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            (target / ".lock").unlink()  # held until here: nobody sweeps what is being published
            return target
    raise AssertionError


def point(link: Path, folder: Path) -> None:
    """Make a link lead to a folder beside it, at no moment to nothing."""
    fresh = link.with_name(f".latest.{secrets.token_hex(4)}")
    try:
        fresh.symlink_to(folder.name)
        fresh.replace(link)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(f"cannot make {link} lead to {folder.name}: {error.strerror}", f"remove {link}") from error


def no_build(message: str, name: str, built: Collection[str]) -> UsageError:
    """Return that there is no build of a name, and what to do: `built` are the names of which there is one."""
    if any((folder / f"{name}.yaml").is_file() for folder in recipe_folders()):
        return UsageError(message, f"build it first: python -m builder recipe={name}")
    if built:
        return UsageError(message, did_you_mean(name, built))
    return UsageError(f"{message}; nothing was built here yet", "python -m builder list shows what there is to build")
