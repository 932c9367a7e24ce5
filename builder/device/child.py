"""A child process that does one piece of work: a request in one file, the answer in another."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder.device.files import read_json, remove, write_json
from builder.device.programs import run
from builder.device.stop import Failed

__all__ = ["answer", "ask", "timed"]

_ROOT = Path(__file__).parents[2]  # where our packages lie: a folder, or the archive that this runs from


def ask(module: str, what: str, request: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """Let a module of ours do something in a process of its own. Raises Failed where it fails or the process dies."""
    files = [log.with_suffix(ending) for ending in (".request", ".answer")]
    try:
        write_json(files[0], {"do": what, **request})
        places = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        run([sys.executable, "-m", module, *map(str, files)], log, environment={"PYTHONPATH": places})
        said: dict[str, Any] = read_json(files[1])
    finally:
        for file in files:
            remove(file)
    if "failed" in said:
        raise Failed(said["failed"])
    return said


def answer(
    able: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]], reasons: tuple[type[Exception], ...]
) -> None:
    """Do what the request in the first argument asks for, and write the answer to the second.

    What is raised of `reasons` is the answer.
    """
    request = read_json(Path(sys.argv[1]))
    try:
        said = able[request["do"]](request)
    except reasons as error:
        said = {"failed": str(error)}
    write_json(Path(sys.argv[2]), said)


def timed(once: Callable[[], object], request: Mapping[str, Any]) -> dict[str, Any]:
    """Call a function for a while, then time it, in nanoseconds, so many times and so long as is asked for."""
    clock = time.perf_counter_ns
    until, warmed = clock() + request["warmup_ms"] * 1000000, 0
    while clock() < until or not warmed:
        once()
        warmed += 1
    latencies: list[int] = []
    until = clock() + int(request["seconds"] * 1e9)
    while len(latencies) < request["runs"] or clock() < until:
        before = clock()
        once()
        latencies.append(clock() - before)
    return {"latencies_ns": latencies, "warmup_runs": warmed}
