"""What a composed recipe is: plain dataclasses that the rest of the program reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from builder.specs import Data, Model, Target
from builder.toolchains.spec import HOST
from builder.typed import to_plain

__all__ = [
    "CONVERSION_GATE",
    "GATES",
    "MAX_CONVERSION_DIFFERENCE",
    "Gate",
    "Limits",
    "Machine",
    "Objective",
    "Output",
    "Recipe",
    "Use",
    "Verbosity",
    "root_defaults",
]


class Output(Enum):
    """What goes to stdout."""

    TEXT = "text"
    JSON = "json"  # the manifest and nothing else
    JSONL = "jsonl"  # every event as it happens, one document a line


class Verbosity(Enum):
    """How much a person is told."""

    QUIET = "quiet"  # errors and the verdict
    NORMAL = "normal"
    VERBOSE = "verbose"  # also what each action prints, and where its log is


@dataclass
class Machine:
    """Settings of the machine that builds; no recipe can set them and no key holds them."""

    store: str | None = None  # BUILDER_STORE, else outputs/store
    jobs: int | None = None
    offline: bool = False
    strict: bool = False  # exit 3 where a part is deferred
    locked: bool | None = None  # keep to the recipe's lock file; None: where CI is set and there is one
    output: Output = Output.TEXT
    verbosity: Verbosity = Verbosity.NORMAL
    keep_going: bool = True  # after a failure, what does not depend on it still runs
    fresh: list[str] | None = None  # actions to run again although their result is cached

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")


@dataclass(frozen=True)
class Use:
    """A step as a recipe uses it: under a name, with options, perhaps with inputs of its own."""

    name: str
    step: str
    options: Any
    inputs: dict[str, str]
    toolchain: str = HOST


@dataclass(frozen=True)
class Gate:
    """A limit that the build must keep, and the `evaluate` or `benchmark` that it looks at ('' for the only one)."""

    name: str
    limit: float
    action: str = ""
    percentile: str = ""  # of max_latency_ms: p50, p90, p99
    confidence: float | None = None

    @property
    def label(self) -> str:
        return ".".join(part for part in (self.action, self.name, self.percentile) if part)


@dataclass
class Limits:
    """What an action may use before it is stopped; in no key, since no result depends on it."""

    seconds: float | None = None
    memory_mib: float | None = None  # resident, of the action's processes together

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("memory_mib", self.memory_mib)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value:g}")


@dataclass(frozen=True)
class Objective:
    """A figure of a build that a sweeper makes better: minimize or maximize it."""

    figure: str
    direction: str


@dataclass(frozen=True)
class Recipe:
    name: str
    summary: str
    model: Model
    target: Target
    data: Data | None
    steps: tuple[Use, ...]
    gates: tuple[Gate, ...]
    machine: Machine
    resolved: dict[str, Any]  # what the manifest shows: everything above but the machine
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hydra_files: dict[str, str] = field(default_factory=dict)  # .hydra/*.yaml, as text
    limits: dict[str, Limits] = field(default_factory=dict)  # by action; '' for every other one
    sweep: dict[str, Any] = field(default_factory=dict)  # choices by key, for -m
    objective: tuple[Objective, ...] = ()  # for a sweeper that searches

    @property
    def words(self) -> list[str]:
        """The overrides as documents show them: without the one that names a machine to connect to."""
        return [word for word in self.overrides if word.lstrip("+").partition("=")[0] != "target.host"]


CONVERSION_GATE = "max_conversion_difference"
MAX_CONVERSION_DIFFERENCE = 1e-3  # of the largest output; exports were seen at 1e-5 and below, wrong ones above 1e-2
GATES = (
    "max_accuracy_drop",
    "max_conversion_difference",
    "max_latency_ms",
    "max_memory_mib",
    "max_size_mib",
    "min_agreement",
    "min_snr_db",
)


def root_defaults() -> dict[str, Any]:
    """Return the root of every configuration: each key there is, with its default ('???' where there is none)."""
    return {
        "name": None,
        "summary": "",
        "model": _defaults(Model),
        "target": _defaults(Target),
        "data": _defaults(Data),
        "steps": {},
        "gates": {**dict.fromkeys(GATES), CONVERSION_GATE: MAX_CONVERSION_DIFFERENCE, "confidence": None},
        "limits": {f.name: None for f in dataclasses.fields(Limits)},
        "sweep": {},
        "objective": None,
        **_defaults(Machine),
    }


def _defaults(cls: type[Any]) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            node[f.name] = to_plain(f.default)
        elif f.default_factory is not dataclasses.MISSING:
            node[f.name] = to_plain(f.default_factory())
        else:
            node[f.name] = "???"
    return node
