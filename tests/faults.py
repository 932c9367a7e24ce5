"""What tests need to break things: a faulty step, processes found and ended, small disks, a look into a whole store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from projects import Project

from builder.engine.processes import descendants
from builder.store.statcache import StatCache
from builder.store.store import Store

__all__ = [
    "add_faulty_step",
    "committed",
    "debris",
    "kill",
    "left_running",
    "needs_root",
    "read_only",
    "small_disk",
    "supervisors",
    "wait_until",
    "workers",
    "wrong_objects",
]

needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="mounting a small disk and running as other users needs root; run the tests as root for this",
)

_FAULTY = """
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    mode: str = "ok"

@step(options=Options, rank=30, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX}, MORE)
def faulty(options: Options, job: Job) -> Result:
    import ctypes, os, shutil, signal, subprocess, sys, threading, time
    from pathlib import Path
    target = job.folder("model") / "model.onnx"
    shutil.copy(job.inputs["model"] / "model.onnx", target)
"""


def add_faulty_step(project: Project, body: str, *, more: str = "") -> None:
    """Install a step `faulty` that passes the model on, at `target`, and then runs some lines of Python.

    `more` are arguments of `@step`. The recipe `faulty` has this step alone.
    """
    lines = [f"    {line}" for line in [*body.splitlines(), "return Result()"]]
    project.add_steps(faulty=_FAULTY.replace("MORE", more) + "\n".join(lines) + "\n")
    defaults = "defaults:\n  - override /model: small\n  - override /steps: [faulty]\n  - _self_\n"
    project.write("recipes/faulty.yaml", f"# @package _global_\n{defaults}")


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a function returns something true. Raises AssertionError when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.005)


def left_running(folder: Path, seconds: float = 5) -> list[str]:
    """Return the processes that still work in a folder after some time, each with its command line, and end them.

    A process works there if its command line, its environment or its working directory names the folder.
    """
    deadline = time.monotonic() + seconds
    while (found := _working_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    words = [f"{pid}: {_command(pid)}" for pid in found]
    kill(*found)
    return words


def _command(pid: int) -> str:
    return _read(pid, "cmdline").decode(errors="replace").replace("\0", " ")[:200]


def _working_in(folder: Path) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _works_in(pid, str(folder.resolve()).encode() + b"/")]


def _works_in(pid: int, folder: bytes) -> bool:
    place = b""
    with contextlib.suppress(OSError):
        place = os.fsencode(os.readlink(f"/proc/{pid}/cwd")).removesuffix(b" (deleted)")  # noqa: PTH115  bytes
    return any(folder in text + b"/" for text in (place, _read(pid, "cmdline"), _read(pid, "environ")))


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):  # it has ended
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def supervisors(builder: int, worker: int | None = None) -> list[int]:
    """Return the supervisors below a builder, or those of one worker."""
    found = [pid for pid in descendants(builder) if _read(pid, "comm") == b"supervisor\n"]
    return [pid for pid in found if worker is None or worker in descendants(pid)]


def workers(builder: int) -> list[int]:
    """Return the processes below a builder that run actions."""
    below = {child for pid in supervisors(builder) for child in descendants(pid)} - set(supervisors(builder))
    return sorted(pid for pid in below if b"engine/worker.py" in _read(pid, "cmdline"))


def wrong_objects(store: Path) -> list[str]:
    """Return the objects of a store whose bytes are not what their name says."""
    objects = [path for path in (store / "cas").rglob("*") if path.is_file()]
    return [str(path) for path in objects if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


def committed(store: Path) -> set[str]:
    """Return the SHA-256 of every file that a result points to. Raises AssertionError where a result is not whole."""
    with contextlib.closing(StatCache(Path(os.devnull))) as stats:
        opened = Store(store, stats, print, look=True)
        found = set()
        for key in opened.actions.keys():  # noqa: SIM118  it is no mapping
            for path, record in opened.actions.records(key):
                assert record is not None, f"{path} is damaged"
                trees = [opened.content.tree(digest) for digest in record.outputs.values()]
                found |= {entry.sha256 for tree in trees for entry in tree.files}
    return found


def debris(folder: Path) -> list[str]:
    """Return what a build that has ended should not have left: private folders and files under passing names."""
    private = [path for path in folder.glob("**/tmp/[0-9]*-*") if path.is_dir()]
    passing = [path for pattern in ("**/*.part", "**/.latest.*") for path in folder.glob(pattern)]
    return [str(path) for path in (*private, *passing)]


@contextlib.contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[Path]:
    """Mount a file system of its own, in memory, at a folder (tmpfs(5)); needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "builder-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder lie on a read-only file system; needs root."""
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a folder read-only")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
