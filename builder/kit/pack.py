"""A kit: all that finishes a build on the device that it waits for, as a folder and as one `.tar`."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from builder import __version__
from builder.device.by_package import PACKAGES
from builder.device.files import digest, digest_file, files_below
from builder.device.itself import program_digest
from builder.device.kit import SCHEMA
from builder.device.result import add_file
from builder.digest import canonical
from builder.engine.node import Node
from builder.kit.commands import commands
from builder.kit.program import SCRIPT, write_program
from builder.outcomes import Status
from builder.recipe.schema import Machine, Recipe
from builder.specs import Target
from builder.step import Kind
from builder.store.store import Store
from builder.typed import to_plain

__all__ = ["engine_target", "pack", "wants_kit"]

_STEPS = ("compile", "evaluate", "benchmark")  # that it does
_SETTING = re.compile(r"[+~]*(\w+(?:\.\w+)*)")
_OF_A_MACHINE = {*(field.name for field in fields(Machine)), "target.host", "target.device"}
# What a manifest says of the way it was made, and not of what was made.
_PASSING = ("created", "command", "kit", "pages", "digest")
_PASSING_OF_ACTIONS = ("status", "reason", "seconds", "measured", "log")


def wants_kit(recipe: Recipe, nodes: Sequence[Node]) -> bool:
    """Say whether something of a build waits for a device, and all that such a device needs was made."""
    waits = any(_status(node) is Status.DEFERRED for node in _theirs(nodes))
    return waits and recipe.target.runtime in PACKAGES and _trees(nodes) is not None


def pack(
    recipe: Recipe, nodes: Sequence[Node], store: Store, folder: Path, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `kit/` and `kit.tar` into a build's folder and return what kit.json says: equal builds, equal bytes.

    Raises Damaged where the store's bytes are not what they should be, StoreError.
    """
    trees = _trees(nodes)
    assert trees is not None, "ask wants_kit first"
    kit = folder / "kit"
    for name, tree in trees.items():
        store.content.take(store.content.tree(tree), kit / name)
    facts = _facts(recipe, nodes, kit)
    texts = {
        "manifest.json": canonical(_lasting(manifest)) + b"\n",
        "recipe.json": canonical(recipe.resolved) + b"\n",
        "COMMANDS.md": commands(facts, kit).encode(),
        "resume.sh": SCRIPT.encode(),
    }
    for name, content in texts.items():
        (kit / name).write_bytes(content)
    (kit / "resume.sh").chmod(0o755)
    write_program(kit / "resume.pyz")
    paths = sorted(files_below(kit))
    files = {path: {"sha256": digest_file(kit / path), "bytes": (kit / path).stat().st_size} for path in paths}
    document = {**facts, "files": files}
    document["digest"] = digest(document)
    (kit / "kit.json").write_bytes(canonical(document) + b"\n")
    _archive(kit, folder / "kit.tar")
    return document


def engine_target(target: Target, version: str = "") -> dict[str, Any]:
    """Return a target in plain words, of that version of the runtime which alone loads an engine, where one is said."""
    return {**to_plain(target), **({"runtime_versions": f"=={version}"} if version else {})}


def _facts(recipe: Recipe, nodes: Sequence[Node], kit: Path) -> dict[str, Any]:
    """Return kit.json without the files and its digest."""
    from builder.onnxtools.files import load
    from builder.onnxtools.profiles import find_profiles
    from builder.onnxtools.trt_check import precisions_of

    theirs = _theirs(nodes)
    models = {subject: load(kit / name) for subject, name in (("candidate", "model"), ("baseline", "source"))}
    folders = {"candidate": "model", "baseline": "source"}
    described = {name: {"folder": folders[name], "precisions": sorted(precisions_of(models[name]))} for name in models}
    compiled = _compiled(nodes)
    given = to_plain(getattr(compiled and compiled.action.options, "profiles", {}))
    engine = _engine(recipe, compiled)
    target = engine_target(recipe.target, engine["version"] if engine else "")
    return {
        "schema": SCHEMA,
        "builder": __version__,
        "program": program_digest(),
        "name": recipe.name,
        "overrides": [word for word in recipe.overrides if not _of_a_machine(word)],
        "target": {name: value for name, value in target.items() if name not in {"host", "device"}},
        "device_actions": [_action(node, theirs) for node in theirs],
        "portable": {node.action.name: node.portable for node in theirs},
        "models": described,
        "engine": engine,
        "shapes": recipe.model.shapes,
        "profiles": find_profiles(models["candidate"], given, recipe.model.shapes) if compiled else {},
    }


def _engine(recipe: Recipe, compiled: Node | None) -> dict[str, Any] | None:
    """Return what a kit says of the engine that was built at home; None where there is none."""
    if compiled is None or compiled.portable or not _digest(compiled, "engine"):
        return None
    assert compiled.outcome is not None
    assert compiled.outcome.record is not None
    version = str(compiled.outcome.record.facts.get(recipe.target.runtime, ""))
    return {"options": to_plain(compiled.action.options), "version": version}


def _compiled(nodes: Sequence[Node]) -> Node | None:
    """Return the compile whose engine a kit is for: the first."""
    return next((node for node in nodes if node.action.makes_engine), None)


def _theirs(nodes: Sequence[Node]) -> list[Node]:
    """Return what is done on the device: the kit's compile, and all that is run or timed there of what it makes."""
    there = [node for node in nodes if node.portable and node.action.step.name in _STEPS]
    mine, found = _compiled(nodes), dict[str, Node]()
    for node in sorted(there, key=lambda node: _STEPS.index(node.action.step.name)):
        other = any(each.action.makes_engine and each is not mine for each in (node, *node.inputs.values()))
        lacks = any(source.portable and source.action.name not in found for source in node.inputs.values())
        if not other and not lacks:
            found[node.action.name] = node
    return list(found.values())


def _action(node: Node, theirs: Sequence[Node]) -> dict[str, Any]:
    names = {each.action.name for each in theirs}
    return {
        "name": node.action.name,
        "step": node.action.step.name,
        "options": to_plain(node.action.options),
        "portable_key": node.portable,
        "inputs": {port: [name, output] for port, (name, output) in node.action.inputs.items() if name in names},
        "tensors": node.action.inputs.get("tensors", ("tensors", ""))[0],  # the folder of what it runs
    }


def _trees(nodes: Sequence[Node]) -> dict[str, str] | None:
    """Return the kit's folders and the digest of what is in each; None where one was not made."""
    theirs = {node.action.name: node for node in _theirs(nodes)}
    written = [node for node in nodes if Kind.TENSORS in node.action.step.outputs.values()]
    if not theirs or not written:
        return None
    tensors = written[0]  # of what the kit compiles
    read = {node.action.inputs["tensors"][0] for node in theirs.values() if "tensors" in node.action.inputs}
    ports = {node.action.name: (node, "tensors") for node in written if node is tensors or node.action.name in read}
    for name, port in (("model", "model"), ("source", "reference")):
        ports[name] = (tensors.inputs[port], tensors.action.inputs[port][1])
    compiled = _compiled(nodes)
    if compiled is not None and not compiled.portable:  # it is no device that builds it
        ports["engine"] = (compiled, "engine")
    found = {name: _digest(node, port) for name, (node, port) in ports.items()}
    for node in theirs.values():
        if "timing_cache" in node.inputs:
            found["timing_cache"] = _digest(node.inputs["timing_cache"], node.action.inputs["timing_cache"][1])
    made = {name: digest for name, digest in found.items() if digest}
    return made if len(made) == len(found) else None


def _digest(node: Node, port: str) -> str:
    record = node.outcome.record if node.outcome else None
    return record.outputs.get(port, "") if record else ""


def _status(node: Node) -> Status | None:
    return node.outcome.status if node.outcome else None


def _of_a_machine(word: str) -> bool:
    setting = _SETTING.match(word)
    return setting is not None and setting.group(1) in _OF_A_MACHINE


def _lasting(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest without what another build of the same would say otherwise."""
    kept = {name: value for name, value in manifest.items() if name not in _PASSING}
    actions = [
        {name: value for name, value in action.items() if name not in _PASSING_OF_ACTIONS}
        for action in manifest["actions"]
        if action["step"] != "toolchain"  # looked up only where something ran in it
    ]
    return {**kept, "actions": actions}


def _archive(kit: Path, file: Path) -> None:
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in files_below(kit):
            add_file(tar, f"kit/{path}", (kit / path).read_bytes(), executable=path == "resume.sh")
