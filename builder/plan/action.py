"""An action: a step with everything that a recipe gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.outcomes import Reproducible
from builder.specs import Data, Model, Target
from builder.step import Kind, Need, Step
from builder.toolchains.spec import Locked
from builder.toolchains.step import toolchain_step

__all__ = ["COMPILE", "SOURCE", "Action", "first_alone"]

COMPILE = "compile"
SOURCE = "model"  # the action that brings the recipe's model; `inputs: {reference: model}` names it


@dataclass(frozen=True)
class Action:
    """A step with everything that a recipe gives it; `inputs` maps ports to (action, port)."""

    name: str
    step: Step
    options: Any
    inputs: Mapping[str, tuple[str, str]]
    model: Model
    data: Data | None
    target: Target
    on_host: bool = False  # measured here although the recipe's target is another machine
    there: bool = False  # measured where the target is
    locked: Locked | None = None  # the toolchain it runs in, or puts together; None: the host's
    after: str = ""  # the action that must have succeeded before, though nothing is taken from it
    optional: bool = False  # where its toolchain cannot be had, it is skipped, and the build goes on

    @property
    def reproducible(self) -> Reproducible:
        """Return how far the bytes can be had again, with these options."""
        stated = self.step.reproducible
        return stated if isinstance(stated, Reproducible) else stated(self.options)

    @property
    def makes_engine(self) -> bool:
        """Whether it compiles for one kind of GPU."""
        return Kind.ENGINE in self.step.outputs.values()

    @property
    def needs_target(self) -> bool:
        """Whether all or a part of it can only be done where the target's device is."""
        return self.there or self.step.need is Need.TARGET

    @property
    def lazy(self) -> bool:
        """Whether it runs only when another action that will run needs it."""
        return self.step is toolchain_step

    @property
    def toolchain(self) -> str:
        """Return the name of the action that must have run before this one can run; '' for the host's toolchain."""
        return self.locked.action if self.locked and not self.lazy else ""


def first_alone(actions: Iterable[Action]) -> str:
    """Say in one sentence which engine a kit is for where a recipe makes several; '' where it makes one or none."""
    first, *others = [action.name for action in actions if action.makes_engine] or [""]
    if not others:
        return ""
    waiting = " and ".join(f"'{name}'" for name in others)
    return f"the kit is for '{first}' alone: for {waiting}, build again without it: '~steps.{first}'"
