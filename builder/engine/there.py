"""The actions of a build that need the target: of what devices sent, one is chosen for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from builder.engine.node import Node
from builder.errors import BuilderError
from builder.plan.decide import Decision, Planner
from builder.plan.devices import Waiting

__all__ = ["There", "find_portable"]


class There:
    """The nodes of one build that need the target, and what was chosen for them.

    `given` is what they take from elsewhere: only when all of it has an outcome can a device be chosen.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = [node for node in nodes if node.action.needs_target]
        hanging: set[int] = set()  # on one of them
        for node in nodes:
            if node.action.needs_target or any(id(source) in hanging for source in node.inputs.values()):
                hanging.add(id(node))
        taken = {id(source): source for node in self._nodes for source in node.inputs.values()}
        self.given = [source for source in taken.values() if id(source) not in hanging]
        self._chosen: Mapping[str, Decision] | None = None
        self._known = not any(node.action.target.device for node in self._nodes)  # nothing is wrong with its name
        for node in self._nodes:
            node.there = self

    def check_named(self, planner: Planner) -> None:
        """Raise RecipeError as soon as it is known that the device which the target names sent nothing, and others did.

        What waits for an engine has the engine in its key: no result tells of it and not of the engine.
        """
        if self._known:
            return
        engines = [each for each in self._waiting(planner) if each.action.makes_engine]
        if engines and len(engines) == sum(node.action.makes_engine for node in self._nodes):
            planner.check_named(engines)
            self._known = True

    def decision(self, node: Node, planner: Planner) -> Decision | None:
        """Return what became of a node on the chosen device; None where nothing came of it, or there is no device.

        Raises RecipeError where several devices could be meant.
        """
        if self._chosen is None:
            self._chosen = planner.choose([*self._waiting(planner)])
        return self._chosen.get(node.action.name)

    def _waiting(self, planner: Planner) -> Iterator[Waiting]:
        for node in self._nodes:
            with suppress(BuilderError):  # it is said in the node's turn
                node.portable = find_portable(node, planner)
            if node.portable:
                sources = {port: (node.inputs[port], output) for port, (_, output) in node.action.inputs.items()}
                made = {port: (each.outcome, output) for port, (each, output) in sources.items() if not each.portable}
                given = {port: out.record.outputs[output] for port, (out, output) in made.items() if out and out.record}
                yield Waiting(node.action, node.portable, given)


def find_portable(node: Node, planner: Planner) -> str:
    """Return a node's portable key; '' where it has none, or what it takes was not made."""
    inputs = node.portables() if node.action.needs_target else None
    return "" if inputs is None else planner.portable(node.action, inputs)
