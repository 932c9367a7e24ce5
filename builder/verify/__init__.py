"""`verify`: run every action of a recipe again in an empty store, and compare file by file.

Each action is judged by itself: the second time it gets the very inputs that it got the first time, so a step that is
not reproducible is named, and what depends on it is not blamed. `nix-build --check` judges one derivation like this;
Bazel's advice, to compare the execution logs of two builds, leaves it to the reader to tell cause from consequence.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from builder.build import build, interruptible
from builder.engine.events import Event, Events
from builder.errors import UsageError
from builder.outcomes import Status
from builder.recipe.compose import compose
from builder.recipe.schema import Output, Recipe
from builder.report.terminal import Terminal, json_lines
from builder.store.private import private_folder, sweep
from builder.trouble import trouble
from builder.verify.again import rebuild
from builder.verify.judge import Verification
from builder.verify.show import show

__all__ = ["verify", "verify_recipe"]

_KEEP = "keep="


def verify(arguments: list[str]) -> int:
    """Run `verify recipe=NAME [overrides] [keep=DIR]`; 1 where bytes differ that must not, or an action fails.

    Raises UsageError or RecipeError before anything runs.
    """
    keep = _keep([word.removeprefix(_KEEP) for word in arguments if word.startswith(_KEEP)])
    overrides = [word for word in arguments if not word.startswith(_KEEP)]
    for word in overrides:
        if word.startswith("-"):
            raise UsageError(f"verify has no option '{word}'", "write: verify recipe=NAME [overrides] [keep=DIR]")
    recipe = compose(overrides)
    terminal = Terminal(results=False, verbosity=recipe.machine.verbosity)
    events = Events(json_lines if recipe.machine.output is Output.JSONL else terminal)
    try:
        for note in recipe.notes:
            events(Event("note", message=note))
        found = verify_recipe(recipe, events, keep=keep)
    finally:
        terminal.close()
    show(found, recipe.machine)
    return found.exit_code


def verify_recipe(recipe: Recipe, events: Events, *, keep: Path | None = None) -> Verification:
    """Rebuild a recipe in an empty store, in a folder under TMPDIR that is gone afterwards, and judge each action.

    What has no result yet is built in the usual store first. With `keep`, both copies of what differs are put there.
    Raises StoreError where there is no room for the second copy, Interrupted after Ctrl-C with nothing left behind.
    """
    [first] = build([recipe], lambda event: events(event) if _is_news(event) else None, eager=True)
    made = [node.action.name for node in first.nodes if node.outcome and node.outcome.status is Status.BUILT]
    if made:
        events(Event("note", message=f"the first build of {', '.join(made)} was made just now, in the usual store"))
    with interruptible(), _scratch() as scratch:
        judged = rebuild(recipe, first.nodes, scratch, events, keep or scratch / "copies")
    return Verification(recipe.name, judged, made, keep if keep and keep.is_dir() else None)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder under TMPDIR; what an earlier run that was killed left there goes."""
    place, mine = Path(gettempdir()), f"builder-verify-{os.getuid()}-"
    try:
        sweep(place.glob(f"{mine}*"))
        folder = private_folder(place, lambda: f"{mine}{secrets.token_hex(6)}")
        with folder as scratch:
            yield scratch
    except OSError as error:
        raise trouble(error, place, elsewhere="put the second copy on another disk: TMPDIR=/path") from error


def _keep(folders: list[str]) -> Path | None:
    if not folders:
        return None
    folder = Path(folders[-1]).expanduser()
    if not folders[-1] or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"keep={folders[-1]}: name a folder that is not there yet, or is empty")
    return folder


def _is_news(event: Event) -> bool:
    """Return whether an event of the first run is worth a line: what is cached is not, nor is how much there is."""
    return event.kind != "planned" and event.status not in (Status.CACHED.word, Status.DEFERRED.word)
