"""`diff`: what differs between two builds, and why."""

from __future__ import annotations

from collections.abc import Sequence

from builder.outcomes import ExitCode

__all__ = ["diff"]


def diff(arguments: Sequence[str]) -> int:
    """Print what differs between two builds; return 0 where their results are equal and 1 where they are not.

    Results are equal when every status is (cached is as good as built) and every byte of the artifacts and evaluations
    is; times, measurements and the way there may differ. Raises UsageError for a build that does not exist, StoreError
    where a manifest is not as it was written.
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
    return ExitCode.OK if comparison.equal else ExitCode.FAILED
