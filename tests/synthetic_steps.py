"""The step of synthetic plans: its bytes follow from its options, its source file and its inputs alone.

What is no part of a result, a log of executions and faults to act out, lies beside the folder of the source files,
which the action's data names as its root: paths are in no key.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import StepError
from builder.specs import Data
from builder.step import Job, Kind, Result, step

__all__ = ["EXECUTIONS", "FAULTS", "FILE", "Options", "content", "identity", "make"]

FILE = "content"  # the one file of an output
EXECUTIONS = "executions.log"
FAULTS = ("fail", "crash", "child", "writer", "hang")


@dataclass
class Options:
    text: str = ""
    size: int = 0  # bytes of the output, at least
    sleep_ms: int = 0  # taken when half of the output is written
    comment: str = ""  # in the key and not in the bytes: an edit of it stops here


@step(options=Options, rank=1, inputs={}, outputs={"data": Kind.DATA}, splits=lambda _: ("source?",))
def make(options: Options, job: Job) -> Result:
    """Write bytes that tell of the options, the source file and the inputs."""
    inputs = [(job.inputs[port] / FILE).read_bytes() for port in sorted(job.inputs)]
    made = content(options.text, options.size, _source(job.data), inputs)
    beside = Path(job.data.root).parent if job.data else None
    _log(beside, "begin", made)
    _act_out(beside, options.text, job.output)
    with (job.folder("data") / FILE).open("wb", buffering=0) as file:
        file.write(made[: len(made) // 2])
        time.sleep(options.sleep_ms / 1000)
        file.write(made[len(made) // 2 :])
    _log(beside, "end", made)
    return Result()


def content(text: str, size: int, source: bytes, inputs: Sequence[bytes]) -> bytes:
    """Return the bytes of an output: a head that differs wherever anything does, repeated up to the size."""
    parts = [text.encode(), source, *inputs]
    head = "".join(f"{hashlib.sha256(part).hexdigest()}\n" for part in parts).encode()
    return (head * (size // len(head) + 1))[: max(size, len(head))]


def identity(made: bytes) -> str:
    """Return the word by which the log of executions calls an output."""
    return hashlib.sha256(made).hexdigest()[:16]


def _source(data: Data | None) -> bytes:
    return (Path(data.root) / data.splits["source"].path).read_bytes() if data and "source" in data.splits else b""


def _log(folder: Path | None, what: str, made: bytes) -> None:
    if folder is None:
        return
    log = os.open(folder / EXECUTIONS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(log, f"{what} {os.getpid()} {identity(made)}\n".encode())
    os.close(log)


def _act_out(folder: Path | None, text: str, output: Path) -> None:
    """Do what a file `faults/TEXT.WORD` says: fail, crash, hang, or leave a process in a session of its own."""
    words = [word for word in FAULTS if folder and (folder / "faults" / f"{text}.{word}").exists()]
    if "child" in words:
        subprocess.Popen(["sleep", "600"], start_new_session=True)  # never waited for
    if "writer" in words:  # its parent is gone at once; where it outlives the worker, it writes into the result
        waiting = f"while kill -0 {os.getpid()}; do echo > late; sleep 0.02; done"
        writing = f"while mkdir -p {output}/data; do echo late >> {output}/data/{FILE}; sleep 0.02; done"
        subprocess.Popen(["sh", "-c", f"setsid sh -c '{waiting}; {writing}' &"], cwd=output.parent)
    if "hang" in words:
        time.sleep(600)
    if "crash" in words:
        os.abort()
    if "fail" in words:
        raise StepError(f"{text} was told to fail")
