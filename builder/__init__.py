"""A build system for model deployment: recipes become verified artifacts and a report.

From Python: `from builder.api import build, compose, plan`.
"""

from __future__ import annotations

import sys

__all__ = ["__version__"]

__version__ = "0.1.0"


def _begin_as_a_program() -> None:
    """Import nothing from the folder that we run in, which `python -m` puts first, and stop at once on Ctrl-C.

    It runs before any other import, since a `json.py` may lie there, and imports take a while to be interrupted.
    """
    import os
    import signal

    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  pathlib takes its time
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()] != [home]:  # noqa: PTH109
        del sys.path[0]
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))


if sys.argv[:1] == ["-m"]:  # what it is while `python -m builder` looks for this package
    _begin_as_a_program()
