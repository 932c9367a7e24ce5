"""`plan`: the ordered graph, what would run, and why. Starts nothing, imports neither onnx nor onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.errors import BuilderError, RecipeError, ToolchainError
from builder.outcomes import Status
from builder.plan.action import Action
from builder.plan.decide import Decision, Planner
from builder.plan.devices import Waiting
from builder.plan.facts import Facts
from builder.plan.fits import refuse_options
from builder.plan.graph import graph
from builder.plan.settings import check_machine
from builder.plan.why import Reason, Why
from builder.recipe.schema import Recipe
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder
from builder.toolchains.step import not_fetched

__all__ = ["WORDS", "Planned", "plan", "plan_actions", "plan_all"]

Inputs = Mapping[str, tuple[str, str]]

# What has not happened yet, in words.
WORDS = {
    Status.BUILT: "run",
    Status.CACHED: "cached",
    Status.DEFERRED: "deferred",
    Status.SKIPPED: "skipped",
    Status.FAILED: "cannot",
}


@dataclass(frozen=True)
class Planned:
    """An action of a plan with what would become of it."""

    decision: Decision
    error: BuilderError | None = None  # a file that the recipe names, or a toolchain, cannot be had
    portable: str = ""  # its portable key, where at least a part of it waits for a device
    inputs: Mapping[str, str] = field(default_factory=dict)  # what that key says of them

    @property
    def status(self) -> Status:
        if self.error is None:
            return self.decision.status
        dispensable = self.decision.action.optional and isinstance(self.error, ToolchainError)
        return Status.SKIPPED if dispensable else Status.FAILED

    @property
    def broken(self) -> bool:
        """Whether a build fails for what is wrong here, or for what failed on a device."""
        return self.status is Status.FAILED

    @property
    def word(self) -> str:
        return self.status.word if self.decision.failed else WORDS[self.status]  # on a device it has happened

    @property
    def reason(self) -> str:
        return self.error.message if self.error else self.decision.reason


def plan(recipe: Recipe, warn: Callable[[str], None] = lambda _: None) -> list[Planned]:
    """Return the actions of a recipe in order. Raises RecipeError, UsageError."""
    return plan_all([recipe], warn)[0]


def plan_all(recipes: Sequence[Recipe], warn: Callable[[str], None]) -> list[list[Planned]]:
    """Return the actions of each recipe of a sweep in order. Raises RecipeError, UsageError."""
    graphs = [graph(recipe) for recipe in recipes]
    check_machine(recipes, graphs)
    refuse_options(recipes, graphs, warn)
    machine = recipes[0].machine
    stats = StatCache()
    try:
        store = Store(store_folder(machine.store), stats, warn, look=True)
        planner = Planner(store, Facts(stats), Path("outputs"), machine.fresh or (), warn)
        return [plan_actions(recipe, actions, planner) for recipe, actions in zip(recipes, graphs, strict=True)]
    finally:
        stats.close()


def plan_actions(recipe: Recipe, actions: Sequence[Action], planner: Planner) -> list[Planned]:
    """Return the actions of a recipe's graph in order, as a planner sees them. Raises RecipeError."""
    planned: dict[str, Planned] = {}
    there: dict[str, Decision] | None = None
    for action in _given_first(action for action in actions if not action.lazy):
        if action.needs_target and there is None:
            there = planner.choose([*_for_device(actions, planner, planned)])
        try:
            planned[action.name] = _planned(recipe, action, planner, planned, (there or {}).get(action.name))
        except RecipeError:
            raise
        except BuilderError as error:
            planned[action.name] = Planned(Decision(action, Status.FAILED), error)
    needed = {each.decision.action.toolchain for each in planned.values() if each.status is Status.BUILT}
    needed |= {action.name for action in actions if action.lazy and planner.asked_for(action)}
    planned |= {action.name: _decided(recipe, action, planner) for action in actions if action.name in needed}
    if recipe.machine.offline:
        planned |= _not_fetched(planned)
    return [planned[action.name] for action in actions if action.name in planned]


def _given_first(actions: Iterable[Action]) -> list[Action]:
    """Return actions in an order in which all that devices need, and no device makes, comes before what they do."""
    hanging: dict[str, Action] = {}
    first = []
    for action in actions:
        if action.needs_target or any(name in hanging for name, _ in action.inputs.values()):
            hanging[action.name] = action
        else:
            first.append(action)
    return [*first, *hanging.values()]


def _for_device(actions: Iterable[Action], planner: Planner, planned: Mapping[str, Planned]) -> Iterator[Waiting]:
    """Yield the actions that wait for a device, when all is planned that they need and no device makes."""
    keys: dict[str, str] = {}
    for action in (action for action in actions if action.needs_target):
        inputs = _portables(action.inputs, planned, keys)
        with suppress(BuilderError):  # it is said in the action's turn
            if inputs is not None and (key := planner.portable(action, inputs)):
                keys[action.name] = key
                given = {port: inputs[port] for port, (name, _) in action.inputs.items() if name not in keys}
                yield Waiting(action, key, given)


def _planned(
    recipe: Recipe, action: Action, planner: Planner, planned: dict[str, Planned], there: Decision | None
) -> Planned:
    keys = {name: each.portable for name, each in planned.items() if each.portable}
    inputs = _portables(action.inputs, planned, keys)
    portable = planner.portable(action, inputs) if inputs is not None else ""
    waiting = _waiting(planned[name] for name, _ in action.inputs.values())
    missing, deferred = _missing(action.inputs, planned), planner.deferred(action)
    if there and there.status is Status.FAILED:
        decision = there
    elif missing or (waiting and deferred):
        decision = Decision(action, Status.DEFERRED, deferred=deferred or missing)
    elif waiting:
        decision = Decision(action, Status.BUILT, why=(Why(Reason.UPSTREAM, ", ".join(waiting)),))
    else:
        decision = planner.decide(recipe.name, action, _digests(action.inputs, planned), there)
    return Planned(decision, portable=portable, inputs=inputs or {})


def _portables(inputs: Inputs, planned: Mapping[str, Planned], keys: Mapping[str, str]) -> dict[str, str] | None:
    """Return what a portable key says of each input, or None where one is not known yet; `keys` are portable ones."""
    found = {}
    for port, (name, output) in inputs.items():
        record = planned[name].decision.record if name in planned else None
        if name in keys:
            found[port] = f"portable:{keys[name]}"
        elif record is not None and output in record.outputs:
            found[port] = record.outputs[output]
        else:
            return None
    return found


def _decided(recipe: Recipe, action: Action, planner: Planner) -> Planned:
    try:
        return Planned(planner.decide(recipe.name, action, {}))
    except BuilderError as error:
        return Planned(Decision(action, Status.FAILED), error)


def _not_fetched(planned: Mapping[str, Planned]) -> dict[str, Planned]:
    """Return the toolchains that would have to be fetched, and what is left out for want of them."""
    runs = {name: each for name, each in planned.items() if each.status is Status.BUILT}
    tools = {name: each.decision.action.locked for name, each in runs.items() if each.decision.action.lazy}
    missing = {name: not_fetched(locked.toolchain.name) for name, locked in tools.items() if locked}
    without = {name: each.decision.action.toolchain for name, each in runs.items() if each.decision.action.optional}
    return {
        name: replace(each, error=missing[tool])
        for name, each in runs.items()
        if (tool := without.get(name) or name) in missing
    }


def _waiting(sources: Iterable[Planned]) -> list[str]:
    names = (
        each.decision.action.name
        for each in sources
        if each.decision.record is None and each.status is not Status.DEFERRED
    )
    return [*dict.fromkeys(names)]


def _missing(inputs: Inputs, planned: dict[str, Planned]) -> str:
    for name, port in inputs.values():
        decision = planned[name].decision
        engineless = decision.record is not None and port not in decision.record.outputs
        if engineless or (planned[name].status is Status.DEFERRED and decision.record is None):
            return f"needs {name}, which is deferred"
    return ""


def _digests(inputs: Inputs, planned: dict[str, Planned]) -> dict[str, str]:
    digests = {}
    for target, (name, port) in inputs.items():
        record = planned[name].decision.record
        assert record is not None
        digests[target] = record.outputs[port]
    return digests
