"""`diff`: what differs between two builds, and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.outcomes import ExitCode

if TYPE_CHECKING:
    from builder.diff.naming import Build

__all__ = ["diff"]


def diff(arguments: Sequence[str]) -> int:
    """Print what differs between two builds; return 0 where their results are equal and 1 where they are not.

    Results are equal when every status is (cached is as good as built) and every byte of the artifacts and evaluations
    is; times, measurements and the way there may differ. As text, the page that `compare` makes of them is written too.
    Raises UsageError for a build that does not exist, StoreError where a manifest is not as it was written.
    """
    from builder.diff.arguments import parse
    from builder.diff.compare import compare_builds
    from builder.diff.naming import find_two
    from builder.diff.show import show_json, show_text

    request = parse(arguments)
    if request is None:
        return ExitCode.OK
    old, new = find_two(request.builds)
    comparison = compare_builds(old, new, request.store)
    if request.json:
        show_json(comparison)
    else:
        show_text(comparison)
        _show_page(old, new)
    return ExitCode.OK if comparison.equal else ExitCode.FAILED


def _show_page(old: Build, new: Build) -> None:
    """Write the page of two builds and say where it is, or why there is none: what differs is told already."""
    from builder.diff.page import write_page
    from builder.errors import StoreError
    from builder.report.lines import harmless, paint

    if old.folder.resolve() == new.folder.resolve():
        return
    try:
        print(f"page     {harmless(str(write_page([old, new])[0]))}")
    except StoreError as error:
        print(f"{paint('note', 'yellow', sys.stderr)}: no page: {harmless(error.message)}", file=sys.stderr)
