"""Programs of the device, run to their end; what ends this one ends them too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.device.stop import Failed

__all__ = ["asked", "run"]

_LIMIT_S = 4 * 3600


def run(command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it printed, which stays in `log`. Raises Failed, OSError.

    What it prints goes to a file, so that a program that prints much never waits for a reader.
    """
    name = Path(command[0]).name
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command,
            cwd=str(log.parent),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            code = child.wait(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{name} took more than {_LIMIT_S // 3600} hours") from error
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise Failed(f"{name} {_ending(code)}: {_last_words(said)}")
    return said


def asked(*command: str) -> str:
    """Return what a program answers, '' where it is not there or fails."""
    nothing = subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_words(said: str) -> str:
    """Return the errors that a program printed, else its last lines."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition("[E] ")[2] for line in lines if "[E] " in line]
    return " | ".join((errors or lines or ["it said nothing"])[-3:])[-600:]
