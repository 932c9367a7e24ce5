"""`show`: the page of a build in the user's browser, or all builds of a recipe over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.outcomes import ExitCode

__all__ = ["show"]


def show(arguments: Sequence[str]) -> int:
    """Open the page of a build, or say where it is. Raises UsageError where there is none."""
    from builder.show.arguments import parse
    from builder.show.browser import open_page
    from builder.show.find import find_page, find_recipe

    request = parse(arguments)
    if request is None:
        return ExitCode.OK
    if request.serve:
        return _serve(find_recipe(request.build), request.port, only_print=request.only_print)
    page = find_page(request.build)
    if request.only_print:
        print(page)
    else:
        open_page(page)
    return ExitCode.OK


def _serve(folder: Path, port: int, *, only_print: bool) -> int:
    """Serve the builds of a recipe until Ctrl-C."""
    from builder.show.browser import opened
    from builder.show.serve import Server

    with Server(folder, port) as server:
        try:
            print(server.address if only_print else f"serving {folder} at {server.address}  Ctrl-C ends it", flush=True)
            if not only_print:
                opened(server.address)
            server.serve_forever()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
    return ExitCode.OK
