"""What people open: the folder of a build, complete or not there, and `latest` pointing to the newest good one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.digest import digest_bytes
from builder.engine.events import Event, Events
from builder.engine.node import Node
from builder.errors import StoreError
from builder.evidence import PLACES, find_evidence
from builder.gates import Evidence, judge
from builder.kit.delivered import kit_digests, kit_is_whole, write_kit, write_kit_again
from builder.kit.earlier import EARLIER, earlier_digest, keep_earlier, keep_earlier_again
from builder.outcomes import Status
from builder.outputs import OUTPUTS, new_folder, point
from builder.recipe.compose import Unmade, places
from builder.recipe.locations import shown
from builder.recipe.schema import Recipe
from builder.report.lines import name_width
from builder.report.manifest import Delivered, make_manifest, read_manifest, same_result, sealed
from builder.store.cas import Entry, Tree
from builder.store.statcache import StatCache
from builder.store.store import Store

__all__ = ["Folder", "Member", "deliver"]


@dataclass(frozen=True)
class Member:
    """A build of a sweep whose other builds are made elsewhere: its number, and the folder that it goes into."""

    number: int
    folder: Path


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
    stats: StatCache,
    events: Events,
    *,
    sweep: bool,
    unmade: Sequence[Unmade] = (),
    member: Member | None = None,
) -> list[Folder]:
    """Write a folder for each build. Raises Damaged where the store's bytes are not what they should be."""
    if member:
        content = _content(recipes[0], plans[0], store)
        _write(member.folder, content, recipes[0], plans[0], store)
        return [Folder(member.folder, content.manifest, unchanged=False)]
    if not sweep:
        return [_deliver(recipe, nodes, store, stats, events) for recipe, nodes in zip(recipes, plans, strict=True)]
    from builder.report.sweep import write_sweep

    with new_folder(OUTPUTS / "sweeps") as (part, publish):
        manifests, reports = {}, {}
        for place, recipe, nodes in zip(places(len(recipes), unmade), recipes, plans, strict=True):
            content = _content(recipe, nodes, store)
            reports[place] = _write(part / str(place), content, recipe, nodes, store)
            manifests[place] = content.manifest
        write_sweep(part, reports, unmade)
        final = publish()
    return [Folder(final / str(place), manifest, unchanged=False) for place, manifest in manifests.items()]


@dataclass(frozen=True)
class _Content:
    manifest: dict[str, Any]
    delivered: Delivered
    evidence: Evidence


def _deliver(recipe: Recipe, nodes: Sequence[Node], store: Store, stats: StatCache, events: Events) -> Folder:
    content = _content(recipe, nodes, store)
    latest = OUTPUTS / recipe.name / "latest"
    final = latest.resolve()  # once: another build may make it lead elsewhere meanwhile
    known = read_manifest(final)
    idle = not any(node.outcome and node.outcome.status is Status.BUILT for node in nodes)
    if idle and known is not None and same_result(known, content.manifest):
        content.manifest["kit"] = known.get("kit")
        _restore(final, known, content, recipe, nodes, store, stats, events)
        return Folder(shown(final), content.manifest, unchanged=True)
    with new_folder(OUTPUTS / recipe.name) as (part, publish):
        keep_earlier(part, content.manifest, nodes, final)
        _write(part, content, recipe, nodes, store)
        final = publish()
    if content.manifest["status"] in (Status.BUILT.word, Status.DEFERRED.word):
        point(latest, final)
    return Folder(final, content.manifest, unchanged=False)


def _content(recipe: Recipe, nodes: Sequence[Node], store: Store) -> _Content:
    delivered = _delivered(nodes, store)
    evidence = find_evidence(nodes, delivered, store)
    verdicts = judge(recipe, evidence)
    return _Content(make_manifest(recipe, nodes, delivered, verdicts), delivered, evidence)


def _delivered(nodes: Sequence[Node], store: Store) -> Delivered:
    places: dict[tuple[str, str], tuple[str | None, Tree]] = {}
    for node in nodes:
        record = node.outcome.record if node.outcome else None
        for port, digest in record.outputs.items() if record else ():
            place = PLACES.get(node.action.step.outputs[port]) if node.action.step.rank else None
            path = f"{place}/{node.action.name}" if place else None
            places[node.action.name, port] = (path, store.content.tree(digest))
    return places


def _write(folder: Path, content: _Content, recipe: Recipe, nodes: Sequence[Node], store: Store) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    for path, entry in _files(content.delivered):
        store.content.take_file(entry, folder / path)
    for name, text in recipe.hydra_files.items():
        _text(folder / ".hydra" / name, text)
    _text(folder / "build.log", _log(nodes))
    for node in nodes:
        if node.log:
            _copy(node.log, folder / "logs" / f"{node.action.name}.log")
    content.manifest["kit"] = write_kit(folder, content.manifest, recipe, nodes, store)
    return _pages(folder, content, content.manifest)


def _pages(folder: Path, content: _Content, manifest: dict[str, Any]) -> dict[str, Any]:
    """Write report and manifest; the manifest holds the digests of the others, so that an edit is noticed."""
    from builder.report.document import report_document
    from builder.report.pages import VIEWS

    evidence = content.evidence
    final = evidence.finals[0] if len(evidence.finals) == 1 else None
    source = next((tree.bytes for (name, _), (_, tree) in content.delivered.items() if name == "model"), None)
    report = report_document(
        manifest,
        evidence.evaluations,
        {**evidence.measurements, **evidence.elsewhere},
        conversion=next(iter(evidence.conversions.values()), None),
        sections=evidence.sections,
        baseline_bytes=source,
        candidate_bytes=evidence.sizes.get(final) if final else None,
    )
    pages = {"report.json": _json(report), **{name: view(report) for name, view in VIEWS.items()}}
    for name, text in pages.items():
        _text(folder / name, text)
    digests = {name: digest_bytes(text.encode()) for name, text in pages.items()}
    digests |= kit_digests(folder, manifest) | earlier_digest(folder)
    _text(folder / "manifest.json", _json(sealed({**manifest, "pages": digests})))
    return report


def _files(delivered: Delivered) -> Iterator[tuple[str, Entry]]:
    for path, tree in delivered.values():
        for entry in tree.files if path else ():
            yield f"{path}/{entry.path}", entry


def _restore(
    folder: Path,
    known: dict[str, Any],
    content: _Content,
    recipe: Recipe,
    nodes: Sequence[Node],
    store: Store,
    stats: StatCache,
    events: Events,
) -> None:
    """Deliver again what somebody edited or removed from the newest build."""

    def intact(path: str, digest: str) -> bool:
        try:
            same = stats.digest(folder / path) == digest
        except OSError:
            same = False
        if not same:
            events(Event("warning", message=f"{shown(folder) / path} was changed or removed; it is delivered again"))
        return same

    for path, entry in _files(content.delivered):
        if not intact(path, entry.sha256):
            store.content.take_file(entry, folder / path)
    pages = known.pop("pages", {})
    changed = [path for path, digest in pages.items() if not intact(path, digest)]
    if EARLIER in changed:
        keep_earlier_again(folder, known, nodes, pages[EARLIER])
    if not kit_is_whole(folder, known, changed, intact):
        write_kit_again(folder, known, recipe, nodes, store)
        changed.append("kit")
    if not pages or changed:
        _pages(folder, content, known)


def _log(nodes: Sequence[Node]) -> str:
    lines, width = [], name_width(node.action.name for node in nodes)
    for node in nodes:
        assert node.outcome is not None
        outcome = node.outcome
        lines.append(f"{outcome.status.word:9} {node.action.name:{width}} {outcome.key[:12]:12} {outcome.reason}")
        lines += [f"    {line}" for line in outcome.tail.splitlines()]
    return "\n".join(lines) + "\n"


def _copy(file: Path, target: Path) -> None:
    """Copy what lies beside the store: a log, an earlier manifest; nothing where another build has moved it on."""
    target.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(file, target)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise StoreError(f"{shown(path)} is not a regular file, so it cannot be written again", "remove it")
    part = path.with_name(f".{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
