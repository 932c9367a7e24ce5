"""What two runs of an action show, by the class that its step states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.engine.node import Node, Outcome
from builder.errors import ModelError
from builder.onnxtools.bytewise import byte_difference
from builder.onnxtools.difference import Change, onnx_differences
from builder.onnxtools.files import mib
from builder.outcomes import ExitCode, Reproducible, Status, Verified
from builder.plan.action import Action
from builder.plan.why import compare, in_words
from builder.sources.naming import weights_suffix
from builder.sources.step import weights_source
from builder.store.actions import Record
from builder.store.cas import Entry, Tree
from builder.store.store import Store

__all__ = ["FileDifference", "Judged", "Stores", "Verification", "is_fetched", "judge", "judge_alone"]


@dataclass(frozen=True)
class Stores:
    """The usual store, and the one that was empty."""

    first: Store
    second: Store


@dataclass(frozen=True)
class FileDifference:
    """A file that the two runs did not write alike; an entry is None where that run did not write it."""

    path: str  # PORT/file
    first: Entry | None
    second: Entry | None
    offset: int | None = None  # of the first byte that differs
    count: int | None = None  # bytes that differ, offset by offset
    graph: tuple[Change, ...] = ()  # what differs inside an ONNX model


@dataclass(frozen=True)
class Judged:
    """An action with its verdict; `reason` says what was compared, or why nothing was."""

    name: str
    step: str
    reproducible: Reproducible
    key: str
    verdict: Verified
    reason: str
    seconds: float | None = None  # of the second run
    differences: tuple[FileDifference, ...] = ()
    tail: str = ""  # the end of what it printed, where it failed the second time


@dataclass(frozen=True)
class Verification:
    """Every action of a recipe, judged. `built` names those whose first result was made on the way."""

    name: str
    actions: tuple[Judged, ...]
    built: Sequence[str] = ()
    kept: Path | None = None  # ACTION/first and ACTION/second of what differs

    @property
    def verdict(self) -> Verified:
        found = {action.verdict for action in self.actions}
        order = (Verified.FAILED, Verified.DIFFERS, Verified.EQUAL, Verified.NOT_JUDGED)
        return next((verdict for verdict in order if verdict in found), Verified.NOT_JUDGED)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.FAILED if self.verdict in (Verified.FAILED, Verified.DIFFERS) else ExitCode.OK


def is_fetched(action: Action) -> bool:
    """Return whether an action brings what a declared sha256 names, so that it need not be fetched twice."""
    model = action.model
    declared = action.data is not None or (model.path is None and model.sha256 is not None)
    return action.step.brings and not action.lazy and declared


def judge_alone(first: Node, store: Store) -> Judged | None:  # noqa: PLR0911  a list of cases
    """Return the verdict on an action that is not run again, or None for one that is. Raises Damaged."""
    outcome, action = _outcome(first), first.action
    if outcome.status is Status.FAILED:
        return _judged(first, Verified.FAILED, f"has no result to compare: {outcome.reason}")
    if outcome.record is None:
        return _judged(first, Verified.NOT_JUDGED, outcome.reason)
    if action.lazy:
        return _judged(first, Verified.NOT_JUDGED, "its packages have the hashes of their lock")
    if outcome.entry is not None:
        return _judged(first, Verified.NOT_JUDGED, f"{outcome.reason}: only that device can make it again")
    if action.reproducible is Reproducible.MEASURED:
        return _judged(first, Verified.NOT_JUDGED, "a measurement is never had twice")
    if not outcome.record.outputs:
        return _judged(first, Verified.NOT_JUDGED, f"it wrote nothing here: {outcome.reason}")
    if action.reproducible is Reproducible.REPLAYABLE and not outcome.record.deferred:
        return _judged(
            first, Verified.NOT_JUDGED, "TensorRT does not promise an engine's bytes; layers are not compared"
        )
    return _declared(first, outcome.record, store) if is_fetched(action) else None


def judge(first: Node, second: Node, stores: Stores, copies: Path) -> Judged:
    """Return the verdict on an action that ran twice from the same inputs; where it differs both go to `copies`."""
    one, two = _outcome(first), _outcome(second)
    if one.record is None or two.record is None:
        return replace(_judged(first, Verified.FAILED, f"failed the second time: {two.reason}"), tail=two.tail)
    if two.key != one.key:
        changed = in_words(compare(one.parts, two.parts, {}))
        return _judged(
            first, Verified.FAILED, f"what it reads was changed between the two runs: {changed}", two.seconds
        )
    trees = {port: stores.first.content.tree(digest) for port, digest in one.record.outputs.items()}
    others = {port: stores.second.content.tree(digest) for port, digest in two.record.outputs.items()}
    files = {f"{port}/{entry.path}": entry for port, tree in trees.items() for entry in tree.files}
    if trees == others:
        return _judged(first, Verified.EQUAL, _amount(files), two.seconds)
    folder = copies / first.action.name
    _copy(stores.first, trees, folder / "first")
    _copy(stores.second, others, folder / "second")
    there = {f"{port}/{entry.path}": entry for port, tree in others.items() for entry in tree.files}
    differences = tuple(_differences(files, there, folder))
    reason = f"{len(differences)} of {_amount(files | there)}"
    return _judged(first, Verified.DIFFERS, reason, two.seconds, differences)


def _outcome(node: Node) -> Outcome:
    assert node.outcome is not None
    return node.outcome


def _judged(
    node: Node,
    verdict: Verified,
    reason: str,
    seconds: float | None = None,
    differences: tuple[FileDifference, ...] = (),
) -> Judged:
    step = node.action.step
    key = _outcome(node).key
    return Judged(node.action.name, step.name, node.action.reproducible, key, verdict, reason, seconds, differences)


def _declared(node: Node, record: Record, store: Store) -> Judged:
    """Judge what was fetched by the sha256 that conf/ declares."""
    action = node.action
    name = f"weights{weights_suffix(action.model)}" if action.step is weights_source else "model.onnx"
    expected = {name: action.model.sha256} if action.data is None else action.data.sha256
    found = {entry.path: entry.sha256 for port in record.outputs.values() for entry in store.content.tree(port).files}
    if wrong := [name for name, digest in expected.items() if found.get(name) != digest]:
        return _judged(node, Verified.DIFFERS, f"{', '.join(wrong)}: not the sha256 that is declared")
    return _judged(node, Verified.EQUAL, "has the sha256 that is declared; not fetched again")


def _amount(files: Mapping[str, Entry]) -> str:
    size = mib(sum(entry.bytes for entry in files.values()))
    return f"{len(files):,} file{'s' if len(files) > 1 else ''}, {size}"


def _copy(store: Store, trees: Mapping[str, Tree], folder: Path) -> None:
    for port, tree in trees.items():
        store.content.take(tree, folder / port)


def _differences(one: Mapping[str, Entry], two: Mapping[str, Entry], folder: Path) -> Iterator[FileDifference]:
    for path in sorted({*one, *two}):
        before, after = one.get(path), two.get(path)
        if before is None or after is None:
            yield FileDifference(path, before, after)
        elif before.sha256 != after.sha256:
            yield _difference(path, before, after, folder)


def _difference(path: str, before: Entry, after: Entry, folder: Path) -> FileDifference:
    first, second = folder / "first" / path, folder / "second" / path
    found = byte_difference(first, second)
    assert found is not None
    graph: list[Change] = []
    if path.endswith(".onnx"):
        try:
            graph = onnx_differences(first, second)
        except ModelError as error:
            graph = [Change("model", path, error.message)]
    return FileDifference(path, before, after, found.offset, found.count, tuple(graph))
