"""Specs of synthetic plans: the actions that they become, and a model of the bytes that these must make."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from synthetic_steps import Options, content, identity, make

from builder.plan.action import Action
from builder.specs import Data, Model, Reader, Split, Target
from builder.step import Kind, Step

__all__ = ["NAME", "Spec", "actions_of", "chains", "expected", "identities", "write_sources"]

Spec = dict[str, Any]  # see synthetic.py
NAME = "synthetic"


def chains(count: int, length: int, size: int = 1024) -> Spec:
    """Return a spec of chains that each begin with a source file of `size` bytes."""
    return {
        "actions": [
            {
                "name": f"c{chain}-{link}",
                "size": size,
                **({"inputs": [f"c{chain}-{link - 1}"]} if link else {"source": f"{chain}.txt"}),
            }
            for chain in range(count)
            for link in range(length)
        ]
    }


def write_sources(spec: Spec, folder: Path, size: int = 1024) -> None:
    """Write the source files that a spec names and that are not there, each with bytes of its own."""
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    for path in {action["source"] for action in spec["actions"] if "source" in action}:
        file = folder / "sources" / path
        if not file.exists():
            file.write_bytes((path.encode() * size)[:size])


def actions_of(spec: Spec, folder: Path, *, logged: bool = True) -> list[Action]:
    """Return the actions of a spec; one that is not logged leaves no line in `executions.log` and acts out no fault."""
    return [_action(entry, folder, logged) for entry in spec["actions"]]


def _action(entry: Spec, folder: Path, logged: bool) -> Action:
    inputs = {f"in{index:03}": (name, "data") for index, name in enumerate(entry.get("inputs", ()))}
    splits = {"source": Split(entry["source"])} if "source" in entry else {}
    data = Data(NAME, Reader.NPZ, root=str(folder / "sources"), splits=splits) if logged or splits else None
    options = {name: entry[name] for name in ("size", "sleep_ms", "comment") if name in entry}
    return Action(
        name=entry["name"],
        step=_step(tuple(inputs)),
        options=Options(_text(entry), **options),
        inputs=inputs,
        model=Model(NAME),
        data=data,
        target=Target(NAME),
    )


@cache
def _step(ports: tuple[str, ...]) -> Step:
    return replace(make, inputs=dict.fromkeys(ports, Kind.DATA))


def _text(entry: Spec) -> str:
    return str(entry["text"] if "text" in entry else entry["name"])


def expected(spec: Spec, folder: Path) -> dict[str, bytes]:
    """Return the bytes that each action's output must have, given the source files as they are now."""
    made: dict[str, bytes] = {}
    for entry in spec["actions"]:
        source = (folder / "sources" / entry["source"]).read_bytes() if "source" in entry else b""
        inputs = [made[name] for name in entry.get("inputs", ())]
        made[entry["name"]] = content(_text(entry), entry.get("size", 0), source, inputs)
    return made


def identities(spec: Spec, folder: Path) -> dict[str, str]:
    """Return the word by which the log of executions calls each action's output."""
    return {name: identity(made) for name, made in expected(spec, folder).items()}
