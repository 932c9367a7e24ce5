"""The child process in which TensorRT works: it may crash, prints on stdout, and wants a fresh Builder for each engine.

Questions are JSON on stdin, the answer is JSON on what was stdout. `main` is the child, `call` starts one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.device.trt_api import BuildRequest, TrtError, build, import_api, judge

__all__ = ["call", "main", "program"]

TIMEOUT_S = 4 * 3600
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from builder.device.trt_child import main; main()"


def call(question: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a fresh process and return its answer. Raises TrtError with TensorRT's reason, or how the process ended.

    `question` has `do`, and what that takes: build `request` (a BuildRequest), judge `runtime` and `onnx`.
    """
    try:
        child = subprocess.run(
            program(), input=json.dumps(question).encode(), capture_output=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise TrtError(f"TensorRT took more than {TIMEOUT_S // 3600} hours") from error
    except OSError as error:
        raise TrtError(f"TensorRT's process did not start: {error}") from error
    said = child.stderr.decode(errors="replace")
    print(said, end="", flush=True)  # into the log of whoever asks
    if child.returncode or not child.stdout.startswith(b"{"):
        last = " ".join(said.split())[-400:]
        raise TrtError(f"TensorRT's process {_ending(child.returncode)}: {last or 'it said nothing'}")
    answer: dict[str, Any] = json.loads(child.stdout)
    if "error" in answer:
        raise TrtError(answer["error"])
    return answer


def program() -> Sequence[str]:
    """Return the command of the child: this interpreter, with the modules that are found here, and ours after them."""
    ours = str(Path(__file__).parents[2])  # a folder, or the archive of a kit
    return [sys.executable, "-s", "-S", "-c", _START, json.dumps([*filter(None, sys.path), ours])]


def _build(question: Mapping[str, Any]) -> dict[str, Any]:
    request = BuildRequest(**question["request"])
    return build(import_api(request.runtime), request)


def _judge(question: Mapping[str, Any]) -> dict[str, Any]:
    return judge(import_api(question["runtime"]), question["runtime"], question["onnx"])


_WORK: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "build": _build,
    "judge": _judge,
}


def main() -> None:
    """Answer the question on stdin; all that native code prints goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    try:
        answer = _WORK[question["do"]](question)
    except TrtError as error:
        answer = {"error": str(error)}
    sys.stdout.flush()
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        json.dump(answer, out)


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
