"""What the engine tells of: events for the readers, and errors in our words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.engine.events import Event
from builder.engine.node import Node, Outcome
from builder.engine.processes import is_stopped
from builder.errors import BuilderError, StepError, StoreError
from builder.store.store import Store
from builder.trouble import trouble

__all__ = ["as_error", "error_of", "finished_event", "last_line", "process_words", "progress_event"]


def process_words(holder: str) -> str:
    """Say which process it is, and what to do where it cannot go on by itself."""
    stopped = holder.isdigit() and is_stopped(int(holder))
    return f"process {holder}, which is stopped: kill -CONT {holder}" if stopped else f"process {holder}"


def progress_event(node: Node, answer: Mapping[str, Any]) -> Event:
    """Return what a worker reports on its way."""
    done, total, what = int(answer["done"] or 0), int(answer["total"] or 0), str(answer["what"] or "")
    return Event("progress", node.build, node.action.name, done=done, total=total, message=what)


def finished_event(node: Node, outcome: Outcome, store: Store) -> Event:
    """Return what is told of an action that has its outcome."""
    record = outcome.record
    return Event(
        "finished",
        node.build,
        node.action.name,
        outcome.status.word,
        outcome.key,
        outcome.reason,
        sum(store.content.tree(tree).bytes for tree in record.outputs.values()) if record else None,
        outcome.seconds,
        facts=tuple((name, str(value)) for name, value in record.facts.items()) if record else (),
        hint=outcome.error.hint if outcome.error else "",
        log=str(node.log or ""),
    )


def error_of(answer: Mapping[str, Any]) -> BuilderError:
    """Return the error that a worker describes."""
    from builder import errors

    kind = getattr(errors, answer["kind"], StepError)
    made: BuilderError = kind(answer["message"], answer["hint"])
    return made


def as_error(error: Exception, root: Path) -> BuilderError:
    """Return an error of ours for whatever went wrong while the store was used."""
    if isinstance(error, OSError):
        return trouble(error, root)
    return error if isinstance(error, BuilderError) else StoreError(str(error))


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
