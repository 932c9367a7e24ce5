"""`compare`: builds of any recipes, times and sweeps side by side on one page."""

from __future__ import annotations

from collections.abc import Sequence

from builder.outcomes import ExitCode

__all__ = ["compare"]


def compare(arguments: Sequence[str]) -> int:
    """Write the page of several builds and say where it is.

    Raises UsageError for a build that does not exist, StoreError where one is not as it was written.
    """
    from builder.diff.arguments import NAMES, Form, parse
    from builder.diff.naming import find
    from builder.diff.page import write_page
    from builder.report.lines import harmless

    form = Form(
        verb="compare",
        usage="python -m builder compare A B [C ...] [output=json]",
        description="Put builds side by side on one page: what differs in their recipes, accuracy against latency, "
        "sizes and gates. Nothing is built or measured.",
        epilog=f"A, B, C are each {NAMES}. The page lies in outputs/comparisons/TIME/report.html, with report.json and "
        "comparison.csv beside it; the same comparison is written once. Exit code: 0 the page is there, 1 a build "
        "cannot be read, 2 the command is wrong.",
        fewest=2,
        most=1000,
        settings=("output",),
    )
    request = parse(arguments, form)
    if request is None:
        return ExitCode.OK
    page, document = write_page([find(word) for word in request.builds])
    if request.json:
        print((page.parent / "report.json").read_text(encoding="utf-8"), end="")
    else:
        print(harmless(document["finding"]))
        print(f"page    {harmless(str(page))}")
    return ExitCode.OK
