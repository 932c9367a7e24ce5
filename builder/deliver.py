"""What people open: the folder of a build, complete or not there, and `latest` pointing to the newest good one."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from builder.engine.events import Event, Events
from builder.engine.schedule import Node
from builder.errors import StoreError
from builder.gates import Evidence, Verdict, judge
from builder.outcomes import Status
from builder.plan.keys import Facts
from builder.recipe.schema import Recipe
from builder.report.manifest import Delivered, make_manifest, same_result
from builder.step import Kind
from builder.store.cas import Entry, Tree
from builder.store.store import Store

__all__ = ["Folder", "deliver"]

OUTPUTS = Path("outputs")
_PLACES = {
    Kind.ONNX: "artifacts",
    Kind.ENGINE: "artifacts",
    Kind.EVALUATION: "measurements",
    Kind.MEASUREMENT: "measurements",
}


@dataclass(frozen=True)
class Folder:
    """Where a build lies; `unchanged` if it was there already."""

    path: Path
    manifest: dict[str, Any]
    unchanged: bool


def deliver(
    recipes: Sequence[Recipe],
    plans: Sequence[Sequence[Node]],
    store: Store,
    facts: Facts,
    events: Events,
    *,
    sweep: bool,
) -> list[Folder]:
    """Write a folder for each build. Raises Damaged where the store's bytes are not what they should be."""
    if not sweep:
        return [_deliver(recipe, nodes, store, facts, events) for recipe, nodes in zip(recipes, plans, strict=True)]
    from builder.report.sweep import write_sweep

    with _new_folder(OUTPUTS / "sweeps") as (part, publish):
        manifests, reports = [], []
        for index, (recipe, nodes) in enumerate(zip(recipes, plans, strict=True)):
            content = _content(recipe, nodes, store, facts)
            reports.append(_write(part / str(index), content, recipe, nodes, store))
            manifests.append(content.manifest)
        write_sweep(part, reports)
        final = publish()
    return [Folder(final / str(index), manifest, unchanged=False) for index, manifest in enumerate(manifests)]


@dataclass(frozen=True)
class _Content:
    manifest: dict[str, Any]
    delivered: Delivered
    evidence: Evidence
    verdicts: Sequence[Verdict]


def _deliver(recipe: Recipe, nodes: Sequence[Node], store: Store, facts: Facts, events: Events) -> Folder:
    content = _content(recipe, nodes, store, facts)
    latest = OUTPUTS / recipe.name / "latest"
    if not any(node.outcome and node.outcome.status is Status.BUILT for node in nodes):
        known = _read_manifest(latest)
        if known is not None and same_result(known, content.manifest):
            final = latest.resolve()
            _restore(final, content, store, facts, events)
            return Folder(_shown(final), content.manifest, unchanged=True)
    with _new_folder(OUTPUTS / recipe.name) as (part, publish):
        _write(part, content, recipe, nodes, store)
        final = publish()
    if content.manifest["status"] in (Status.BUILT.word, Status.DEFERRED.word):
        _point(latest, final)
    return Folder(final, content.manifest, unchanged=False)


def _content(recipe: Recipe, nodes: Sequence[Node], store: Store, facts: Facts) -> _Content:
    delivered = _delivered(nodes, store)
    evidence = _evidence(nodes, delivered, store, facts)
    verdicts = judge(recipe, evidence)
    return _Content(make_manifest(recipe, nodes, delivered, verdicts), delivered, evidence, verdicts)


def _delivered(nodes: Sequence[Node], store: Store) -> Delivered:
    places: dict[tuple[str, str], tuple[str | None, Tree]] = {}
    for node in nodes:
        record = node.outcome.record if node.outcome else None
        for port, digest in record.outputs.items() if record else ():
            place = _PLACES.get(node.action.step.outputs[port]) if node.action.step.rank else None
            path = f"{place}/{node.action.name}" if place else None
            places[node.action.name, port] = (path, store.content.tree(digest))
    return places


def _evidence(nodes: Sequence[Node], delivered: Delivered, store: Store, facts: Facts) -> Evidence:
    kinds = {(node.action.name, port): kind for node in nodes for port, kind in node.action.step.outputs.items()}
    on_host = {node.action.name for node in nodes if node.action.on_host}

    def documents(kind: Kind, name: str) -> dict[str, dict[str, Any]]:
        found = {place[0]: tree for place, (_, tree) in delivered.items() if kinds[place] is kind}
        return {action: _document(store, tree, name) for action, tree in found.items()}

    sizes = {
        action: tree.bytes
        for (action, port), (path, tree) in delivered.items()
        if path and path.startswith("artifacts/")
    }
    makers = [node for node in nodes if _makes_artifacts(node) and _status(node) is not Status.DEFERRED]
    highest = max((node.action.step.rank for node in makers), default=0)
    measurements = documents(Kind.MEASUREMENT, "measurement.json")
    return Evidence(
        evaluations=documents(Kind.EVALUATION, "evaluation.json"),
        measurements={name: found for name, found in measurements.items() if name not in on_host},
        elsewhere={name: found for name, found in measurements.items() if name in on_host},
        sizes=sizes,
        finals=[node.action.name for node in makers if node.action.step.rank == highest],
        target_missing=facts.device(nodes[0].action)[1] if on_host else "",
    )


def _makes_artifacts(node: Node) -> bool:
    step = node.action.step
    return step.rank > 0 and any(_PLACES.get(kind) == "artifacts" for kind in step.outputs.values())


def _status(node: Node) -> Status:
    assert node.outcome is not None
    return node.outcome.status


def _document(store: Store, tree: Tree, name: str) -> dict[str, Any]:
    entry = next(entry for entry in tree.files if entry.path == name)
    document: dict[str, Any] = json.loads(store.content.read(entry))
    return document


def _write(folder: Path, content: _Content, recipe: Recipe, nodes: Sequence[Node], store: Store) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    for path, entry in _files(content.delivered):
        store.content.take_file(entry, folder / path)
    for name, text in recipe.hydra_files.items():
        _text(folder / ".hydra" / name, text)
    _text(folder / "build.log", _log(nodes))
    return _pages(folder, content)


def _pages(folder: Path, content: _Content) -> dict[str, Any]:
    from builder.report.document import report_document
    from builder.report.page import render

    evidence = content.evidence
    final = evidence.finals[0] if len(evidence.finals) == 1 else None
    source = next((tree.bytes for (name, _), (_, tree) in content.delivered.items() if name == "model"), None)
    report = report_document(
        content.manifest,
        evidence.evaluations,
        {**evidence.measurements, **evidence.elsewhere},
        baseline_bytes=source,
        candidate_bytes=evidence.sizes.get(final) if final else None,
    )
    _text(folder / "report.json", _json(report))
    _text(folder / "report.html", render(report))
    _text(folder / "manifest.json", _json(content.manifest))
    return report


def _files(delivered: Delivered) -> Iterator[tuple[str, Entry]]:
    for path, tree in delivered.values():
        for entry in tree.files if path else ():
            yield f"{path}/{entry.path}", entry


def _restore(folder: Path, content: _Content, store: Store, facts: Facts, events: Events) -> None:
    """Deliver again what somebody edited or removed from the newest build."""
    for path, entry in _files(content.delivered):
        try:
            intact = facts.stats.digest(folder / path) == entry.sha256
        except OSError:
            intact = False
        if not intact:
            events(Event("warning", message=f"{_shown(folder) / path} was changed or removed; it is delivered again"))
            store.content.take_file(entry, folder / path)
    if not all((folder / name).is_file() for name in ("report.json", "report.html")):
        _pages(folder, content)


@contextmanager
def _new_folder(parent: Path) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Yield a private folder and the function that gives it its final name, the time, once it is complete."""
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")  # noqa: DTZ005  people look for their own time of day
    part = parent / f".{time}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        _sweep(parent)
        yield part, lambda: _publish(part, parent / time)
    except OSError as error:
        raise StoreError(f"cannot write to {parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, final: Path) -> Path:
    for number in itertools.count(1):
        target = final if number == 1 else final.with_name(f"{final.name}-{number}")
        try:
            part.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return target
    raise AssertionError


def _sweep(parent: Path) -> None:
    """Remove the private folders of builds that were killed."""
    for part in parent.glob(".*.part"):
        process = part.name.rsplit(".", 2)[1]
        if not Path("/proc", process).exists():
            shutil.rmtree(part, ignore_errors=True)


def _point(link: Path, folder: Path) -> None:
    fresh = link.with_name(f".latest.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.replace(link)


def _read_manifest(folder: Path) -> Mapping[str, Any] | None:
    try:
        manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if manifest.get("schema") == 1 else None


def _log(nodes: Sequence[Node]) -> str:
    lines = []
    for node in nodes:
        assert node.outcome is not None
        outcome = node.outcome
        lines.append(f"{outcome.status.word:9} {node.action.name:16} {outcome.key[:12]:12} {outcome.reason}")
        lines += [f"    {line}" for line in outcome.log.splitlines()]
    return "\n".join(lines) + "\n"


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
