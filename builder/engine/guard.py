"""What a step touched against what its key holds: a file or module outside it could make a stale result.

Seen are files that Python opens (audit hooks, PEP 578) and modules that it loads; native code is not seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from builder.errors import StepError

__all__ = ["guarded"]

_CODE = (".py", ".pyc", ".so")  # modules are looked at by name
_watched: list[Watch] = []
_known: set[str] = set()  # modules that earlier actions of this worker declared


class Watch:
    """Files of the project that are opened, but for those below the folders that an action may read."""

    def __init__(self, project: str, allowed: Sequence[str]) -> None:
        places = [*allowed, sys.prefix, sys.base_prefix, *(place for place in sys.path if place)]
        self._project = os.path.join(project, "")  # noqa: PTH118  the hook runs at every open
        self._allowed = tuple(os.path.join(os.path.abspath(place), "") for place in places if place != project)  # noqa: PTH100, PTH118
        self.found: list[str] = []

    def __call__(self, path: object, flags: object) -> None:
        if not isinstance(path, str) or not isinstance(flags, int) or flags & (os.O_WRONLY | os.O_CREAT):
            return
        full = os.path.abspath(path)  # noqa: PTH100
        if not full.startswith(self._project) or full.endswith(_CODE):
            return
        if f"{full}{os.sep}".startswith(self._allowed) or os.path.isdir(full):  # noqa: PTH112
            return
        self.found.append(full.removeprefix(self._project))


@contextmanager
def guarded(step: str, project: str, allowed: Sequence[str], modules: Collection[str] | None) -> Iterator[None]:
    """Raise StepError for the step's author if it read a file of the project, or ran a module, that its key lacks.

    `allowed` are the folders that it may read, `modules` those that its key holds; None where its key needs none.
    """
    if not _watched:
        _watched.append(Watch(project, allowed))
        sys.addaudithook(_hook)
    _watched[0] = watch = Watch(project, allowed)
    before = set(sys.modules)
    yield
    for path in watch.found:
        raise StepError(
            f"{step} read {path}, which is no input of it: an edit there would go unnoticed",
            "declare it as data, as external data of the model, or hand its content over in an option",
        )
    loaded = set(sys.modules) - before
    if modules is not None:
        _known.update(modules)
        packages = {name.partition(".")[0] for name in modules}
        for name in sorted(loaded - _known):
            if name.partition(".")[0] in packages and getattr(sys.modules[name], "__file__", None):
                raise StepError(
                    f"{step} loaded {name} by a computed name, so its code is not in the key",
                    "write the import as a statement; it may stand in the function that needs it",
                )
    else:
        _known.update(loaded)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watched:
        _watched[0](arguments[0], arguments[2])
