"""Folders under `outputs/`: named after the time, complete or not there, the newest good one called `latest`."""

from __future__ import annotations

import contextlib
import errno
import itertools
import secrets
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from builder.errors import StoreError
from builder.store.folders import remove_folder
from builder.store.locks import Lock
from builder.trouble import trouble

__all__ = ["OUTPUTS", "new_folder", "point"]

OUTPUTS = Path("outputs")
_GRACE_S = 60  # a folder younger than this may not have its lock yet


@contextmanager
def new_folder(parent: Path) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Yield a private folder and the function that gives it its final name, the time, once it is complete."""
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")  # noqa: DTZ005  people look for their own time of day
    part = parent / f".{time}-{secrets.token_hex(4)}.part"
    lock = Lock(part / ".lock")
    try:
        _sweep(parent)
        part.mkdir(parents=True)
        lock.acquire()
        yield part, lambda: _publish(part, parent / time)
    except OSError as error:
        raise trouble(error, parent, elsewhere="build in another folder") from error
    finally:
        remove_folder(part)
        lock.release()


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


def _sweep(parent: Path) -> None:
    """Remove the private folders of builds that were killed: nobody holds their lock."""
    for part in parent.glob(".*.part"):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours
            lock = Lock(part / ".lock")
            if clock.time() - part.stat().st_mtime > _GRACE_S and lock.acquire():
                remove_folder(part)
                lock.release()


def point(link: Path, folder: Path) -> None:
    """Make a link lead to a folder beside it, at no moment to nothing."""
    fresh = link.with_name(f".latest.{secrets.token_hex(4)}")
    try:
        fresh.symlink_to(folder.name)
        fresh.replace(link)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(f"cannot make {link} lead to {folder.name}: {error.strerror}", f"remove {link}") from error
