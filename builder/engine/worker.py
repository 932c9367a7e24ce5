"""The program that runs actions: `python -u -s -P worker.py SYS_PATH REQUESTS ANSWERS LIFELINE`.

Requests and answers are JSON lines on two private descriptors, because native code prints on stdout; stdout and stderr
go to the action's log. It serves one request after another, so imports are paid once. Its supervisor, of which it is a
fork, ends it with its builder, and after each action whatever the action left running.
It looks for modules where its builder does, so that the key names what runs here.
Not `-I`: that would ignore PYTHONHASHSEED, and with it the order of sets would differ from run to run.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.engine.supervisor import Strangers

__all__ = ["ENVIRONMENT", "main"]

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


def main() -> None:
    sys.path[:] = json.loads(sys.argv[1])
    from builder.engine.supervisor import supervised

    incoming, outgoing, lifeline = map(int, sys.argv[2:5])
    strangers = supervised(lifeline, (incoming, outgoing))
    os.set_inheritable(outgoing, False)
    with os.fdopen(incoming, "r", encoding="utf-8") as requests:
        for line in requests:
            _serve(json.loads(line), strangers)


def _serve(request: dict[str, Any], strangers: Strangers) -> None:
    threads = set(threading.enumerate())
    try:
        _log_to(request["log"])
        answer = {"answer": "done", **_run(request)}
    except BaseException as error:  # noqa: BLE001  whatever a step raises becomes an answer
        answer = {"answer": "failed", **_describe(error)}
    left = strangers.end() + len(set(threading.enumerate()) - threads)
    _answer({**answer, "clean": left == 0})  # else it is not used again: what still runs could write into the next


def _run(request: dict[str, Any]) -> dict[str, Any]:
    import importlib

    from builder.engine.checks import check_outputs
    from builder.engine.guard import guarded
    from builder.specs import Data, Model
    from builder.step import Job, Step
    from builder.typed import from_plain

    module = importlib.import_module(request["module"])
    steps = [value for value in vars(module).values() if isinstance(value, Step)]
    step = next(value for value in steps if value.name == request["step"])
    options = None if step.options is type(None) else from_plain(step.options, request["options"], "options")
    job = Job(
        inputs={port: Path(path) for port, path in request["inputs"].items()},
        output=Path(request["output"]),
        model=from_plain(Model, request["model"], "model"),
        data=from_plain(Data, request["data"], "data") if request["data"] else None,
        target=request["target"],
        device=request["device"],
        local=request["local"],
        progress=_progress,
    )
    with guarded(step.name, request["project"], request["readable"], request["modules"]):
        result = step.run(options, job)
    check_outputs(step, job.output, deferred=bool(result.deferred))
    return {
        "facts": _plain(result.facts),
        "deferred": result.deferred,
        "keep": result.keep,
        "discovered": dict(result.discovered),
    }


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(dict(facts), default=str))
    return loaded


def _progress(done: int, total: int, what: str) -> None:
    _answer({"answer": "progress", "done": done, "total": total, "what": what})


def _describe(error: BaseException) -> dict[str, str]:
    """Say a known error in its own words, and any other with its traceback in the log."""
    from builder.errors import BuilderError
    from builder.trouble import trouble

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
        error = trouble(error, Path(error.filename or os.environ["TMPDIR"]))
    if isinstance(error, BuilderError):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    traceback.print_exc()
    words = " ".join(str(error).split())[:400]
    return {"kind": "StepError", "message": f"{type(error).__name__}: {words}", "hint": "the log has the traceback"}


def _answer(document: dict[str, Any]) -> None:
    data = (json.dumps(document) + "\n").encode()
    while data:
        data = data[os.write(int(sys.argv[3]), data) :]


def _log_to(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    main()
