"""Starts a program of ours in a process of its own, which finds the same packages as the process that asks.

In a toolchain that is the toolchain's interpreter with its packages alone; elsewhere whatever is found here.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

__all__ = ["command"]

_HERE = Path(__file__).resolve()


def command(program: str | Path, *arguments: str) -> list[str]:
    """Return the words that start a Python file of ours, however little of the environment goes with them."""
    bare = ["-S"] if sys.flags.no_site else []
    places = json.dumps([str(_HERE.parents[1]), *sys.path])
    return [sys.executable, "-s", *bare, "-P", str(_HERE), places, str(program), *arguments]


def _main() -> None:
    ours, *places = json.loads(sys.argv[1])
    del sys.argv[:2]
    sys.path[:] = [ours]
    import builder  # noqa: F401  its modules are found by its own path from here on

    sys.path[:] = places
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    _main()
