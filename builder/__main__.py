"""`python -m builder`: the first word is a verb, or else everything is a build."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from builder.command.words import HYDRA_FLAGS, asks_hydra_to_launch, in_full
from builder.errors import BuilderError, UsageError, did_you_mean
from builder.outcomes import ExitCode
from builder.report.terminal import show_error

__all__ = ["main"]

_VERB = re.compile(r"[a-z][a-z-]*")
_OWN_HELP = ("check", "compare", "init", "diff", "show", "cache", "toolchain", "resume")


def main() -> None:
    """Run a command line and exit with its code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  for good
        else:
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on an interrupt cleans up
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # the disk behind stdout is full, or nobody reads it any more
        if not isinstance(error, BrokenPipeError):
            _show_trouble(error)
        code = code or ExitCode.FAILED
    if asks_hydra_to_launch(sys.argv[1:]):
        sys.exit(code)  # a launcher may have processes of its own, which end in Python's own way
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process at once: freeing every module one by one takes a sixth of a build with nothing to do."""
    atexit._run_exitfuncs()  # noqa: SLF001  what others have registered; what is ours is closed by now
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        return _dispatch(list(arguments))
    except BuilderError as error:
        show_error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        show_error("interrupted", "")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        return ExitCode.FAILED
    except OSError as error:
        _show_trouble(error)
        return ExitCode.FAILED


def _show_trouble(error: OSError) -> None:
    from builder.trouble import is_scarcity, trouble

    if error.filename is None and error.errno == errno.ENOSPC:
        show_error(f"cannot write the output: {error.strerror}", "make room where it goes")
    elif is_scarcity(error):
        scarce = trouble(error, Path(error.filename or "."))
        show_error(scarce.message, scarce.hint)
    else:
        show_error(f"{error.strerror}: {error.filename}" if error.filename else str(error), "")


def _dispatch(arguments: list[str]) -> int:
    if not _supported():
        raise UsageError(f"builder runs on Linux, x86-64 and aarch64; this is {sys.platform}")
    if not arguments:
        raise UsageError("nothing says what to build", "name a recipe: recipe=NAME; 'list' shows what there is")
    first = arguments[0]
    if first == "--version":
        from builder import __version__

        print(f"builder {__version__}")
        return ExitCode.OK
    if _VERB.fullmatch(first):
        if first not in _VERBS:
            raise UsageError(f"there is no verb '{first}'", did_you_mean(first, _VERBS))
        if first not in _OWN_HELP and {"-h", "--help"} & set(arguments):
            return _hydra_main(["--help"])
        return _VERBS[first](arguments[1:])
    if any(word in HYDRA_FLAGS or word.startswith("--cfg=") for word in arguments):
        return _hydra_main(arguments)
    return _build(arguments)


def _supported() -> bool:
    import platform

    return sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


def _build(arguments: Sequence[str]) -> int:
    from builder.command.build import build_asked

    return build_asked(_without_verbs(arguments))


def _plan(arguments: list[str]) -> int:
    from builder.command.plan import plan_asked

    return plan_asked(_without_verbs(arguments))


def _without_verbs(arguments: Sequence[str]) -> Sequence[str]:
    """Return the words. Raises UsageError where one of them is a verb."""
    for word in arguments:
        if word in _VERBS:
            raise UsageError(f"the verb comes first: '{word}' does not", f"write: python -m builder {word} ...")
    return arguments


def _init(arguments: list[str]) -> int:
    from builder.init import init

    return init(arguments)


def _verify(arguments: list[str]) -> int:
    from builder.verify import verify

    return verify(in_full(arguments))


def _check(arguments: list[str]) -> int:
    from builder.check import check

    return check(in_full(arguments))


def _lock(arguments: list[str]) -> int:
    from builder.lock import lock

    return lock(in_full(arguments))


def _diff(arguments: list[str]) -> int:
    from builder.diff import diff

    return diff(arguments)


def _compare(arguments: list[str]) -> int:
    from builder.compare import compare

    return compare(arguments)


def _show_page(arguments: list[str]) -> int:
    from builder.show import show

    return show(arguments)


def _cache(arguments: list[str]) -> int:
    from builder.cache import cache

    return cache(arguments)


def _toolchain(arguments: list[str]) -> int:
    from builder.toolchain import toolchain

    return toolchain(in_full(arguments))


def _resume(arguments: list[str]) -> int:
    from builder.resume import Imported, resume

    importing = any(word.startswith("--import") for word in arguments)  # else they are words of the device's program
    done = resume(in_full(arguments) if importing else arguments)
    return _build(done.overrides) if isinstance(done, Imported) else done


def _list(arguments: list[str]) -> int:
    from builder.recipe.listing import show_list

    return show_list(arguments)


def _hydra_main(arguments: list[str]) -> int:
    from builder.recipe.hydra_app import run_hydra

    return run_hydra(arguments)


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "plan": _plan,
    "check": _check,
    "verify": _verify,
    "lock": _lock,
    "diff": _diff,
    "compare": _compare,
    "show": _show_page,
    "cache": _cache,
    "toolchain": _toolchain,
    "init": _init,
    "resume": _resume,
    "list": _list,
}


if __name__ == "__main__":
    main()
