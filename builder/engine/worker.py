"""The program that runs actions: `python -u -s -P worker.py SYS_PATH REQUESTS ANSWERS LIFELINE`.

In a toolchain (`-S`), SYS_PATH is our folder, null for the interpreter's own modules, and the toolchain's packages.
Of what else lies in our folder, nothing can be imported there.

Requests and answers are JSON lines on two private descriptors, because native code prints on stdout; stdout and stderr
go to the action's log. It serves one request after another, so imports are paid once. Its supervisor, of which it is a
fork, ends it with its builder, and after each action whatever the action left running.
It looks for modules where its builder does, so that the key names what runs here; `imports` sees to it.
Not `-I`: that would ignore PYTHONHASHSEED, and with it the order of sets would differ from run to run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.engine.imports import Imports
    from builder.engine.supervisor import Strangers
    from builder.step import Job, Step

__all__ = ["CACHES", "ENVIRONMENT", "main"]

# All that a worker sees of its user's environment. Here, since this file is in every implementation digest.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "0",
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": os.defpath,
}
CACHES = ("TMPDIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")  # name the private folder: nothing is cached beside a library


def main() -> None:
    _look_in(json.loads(sys.argv[1]))
    from builder.engine.supervisor import supervised

    incoming, outgoing, lifeline = map(int, sys.argv[2:5])
    strangers = supervised(lifeline, (incoming, outgoing))
    from builder.engine.imports import Imports

    imports = Imports()
    imports.install()
    os.set_inheritable(outgoing, False)
    _load()
    with os.fdopen(incoming, "r", encoding="utf-8") as requests:
        for line in requests:
            _serve(json.loads(line), strangers, imports)


def _load() -> None:
    """Load what every request needs, while the first is still on its way."""
    import builder.engine.checks
    import builder.engine.guard
    import builder.errors
    import builder.specs
    import builder.step
    import builder.trouble
    import builder.typed  # noqa: F401


def _look_in(places: list[str | None]) -> None:
    """Set where modules are looked for; in a toolchain our folder is left again as soon as our package is known."""
    if None not in places:
        sys.path[:] = [place for place in places if place is not None]
        return
    ours, _, packages = places
    own = [*sys.path]
    sys.path[:] = [str(ours)]
    import builder  # noqa: F401  its modules are found by its own path from here on

    sys.path[:] = [*own, str(packages)]


def _serve(request: dict[str, Any], strangers: Strangers, imports: Imports) -> None:
    from builder.engine.imports import UndeclaredError

    threads = set(threading.enumerate())
    tainted = False
    try:
        with _undone():
            _log_to(request["log"])
            answer = {"answer": "done", **_run(request, imports)}
    except BaseException as error:  # noqa: BLE001  whatever a step raises becomes an answer
        answer = {"answer": "failed", **_describe(error)}
        tainted = isinstance(error, UndeclaredError)
    left = strangers.end() + len(set(threading.enumerate()) - threads)
    clean = left == 0 and not tainted  # else it is not used again: what still runs could write into the next
    _answer({**answer, "clean": clean})


@contextmanager
def _undone() -> Iterator[None]:
    """Undo what an action may leave behind for the next one: working directory, search path, environment, umask."""
    place, path, environment, umask = Path.cwd(), [*sys.path], {**os.environ}, os.umask(0o022)
    os.umask(umask)
    try:
        yield
    finally:
        os.chdir(place)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        os.umask(umask)


def _run(request: dict[str, Any], imports: Imports) -> dict[str, Any]:
    from builder.engine.checks import check_outputs
    from builder.engine.guard import guarded

    with guarded(imports, request):
        step = _step(request)
        options = _options(step, request)
        _check_declared(step, options, request)
        result = step.run(options, _job(request))
    check_outputs(step, Path(request["output"]), deferred=bool(result.deferred))
    return {
        "facts": _plain(result.facts),
        "deferred": result.deferred,
        "keep": result.keep,
        "discovered": dict(result.discovered),
    }


def _step(request: dict[str, Any]) -> Step:
    import importlib

    from builder.step import Step

    module = importlib.import_module(request["module"])
    return next(each for each in vars(module).values() if isinstance(each, Step) and each.name == request["step"])


def _options(step: Step, request: dict[str, Any]) -> Any:
    from builder.typed import from_plain

    return None if step.options is type(None) else from_plain(step.options, request["options"], "options")


def _check_declared(step: Step, options: Any, request: dict[str, Any]) -> None:
    """Raise StepError where the builder made the key from an older version of the step, imported some time ago."""
    from builder.errors import StepError

    if step.declares(options) != request["declared"]:
        raise StepError(f"{step.name} was edited after this program had imported it", "start the program again")


def _job(request: dict[str, Any]) -> Job:
    from builder.specs import Data, Model
    from builder.step import Job
    from builder.typed import from_plain

    return Job(
        inputs={port: Path(path) for port, path in request["inputs"].items()},
        output=Path(request["output"]),
        model=from_plain(Model, request["model"], "model"),
        data=from_plain(Data, request["data"], "data") if request["data"] else None,
        target=request["target"],
        device=request["device"],
        local=request["local"],
        progress=_progress,
    )


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(dict(facts), default=str), parse_constant=str)
    return loaded


def _progress(done: int, total: int, what: str) -> None:
    _answer({"answer": "progress", "done": int(done), "total": int(total), "what": str(what)})


def _describe(error: BaseException) -> dict[str, str]:
    """Say a known error in its own words, and any other with its traceback in the log."""
    from builder.errors import BuilderError, ToolchainError
    from builder.trouble import is_scarcity, trouble

    if isinstance(error, OSError) and is_scarcity(error):
        error = trouble(error, Path(error.filename or os.environ["TMPDIR"]))
    if isinstance(error, ModuleNotFoundError) and error.name:
        traceback.print_exc()
        error = ToolchainError(
            f"the package that holds '{error.name}' is not installed where this runs: {sys.executable}",
            "install it there, or run the step in a toolchain that has it (python -m builder toolchain list)",
        )
    if isinstance(error, BuilderError):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    traceback.print_exc()
    words = " ".join(str(error).split())[:400]
    return {"kind": "StepError", "message": f"{type(error).__name__}: {words}", "hint": "the log has the traceback"}


def _answer(document: dict[str, Any]) -> None:
    data = (json.dumps(document, ensure_ascii=False) + "\n").encode(errors="replace")  # names may be no Unicode
    while data:
        data = data[os.write(int(sys.argv[3]), data) :]


def _log_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    main()
