"""`init`: look at a model and at data, and write a configuration and two recipes that build it."""

from __future__ import annotations

from collections.abc import Sequence

from builder.outcomes import ExitCode

__all__ = ["init"]


def init(arguments: Sequence[str]) -> int:
    """Write conf/model/, conf/data/ and two recipes for a model of the user's; return the exit code.

    Raises UsageError for a wrong command line or a file that is there already, ModelError where the model cannot be
    used, DataError where the data cannot. Nothing is written then.
    """
    from builder.init.arguments import parse
    from builder.init.data import find_data
    from builder.init.decide import decide
    from builder.init.files import check_free, write
    from builder.init.model import inspect_model
    from builder.init.render import paths, render
    from builder.init.show import show_data, show_decision, show_model, show_next

    request = parse(arguments)
    if request is None:
        return ExitCode.OK
    check_free(paths(request.name), request.name, force=request.force)
    model = inspect_model(request.model)
    show_model(model)
    found = find_data(request.data, request.name)
    show_data(found)
    decision = decide(model, found, request.name)
    show_decision(decision)
    files = render(request.name, model, found, decision)
    write(files)
    show_next(request.name, files, decision)
    return ExitCode.OK
