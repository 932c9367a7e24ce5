"""The figures of a finished build that a sweeper searches by, and which builds no other one beats in them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from operator import le, mul
from pathlib import Path
from typing import Any

from builder.errors import StepError
from builder.outcomes import Status
from builder.recipe.objective import Direction
from builder.recipe.schema import Objective

__all__ = ["best", "figures"]

_PLACES = {  # in `headline` of a report
    "accuracy": ("accuracy", "candidate"),
    "accuracy_drop": ("accuracy", "change"),
    "latency_ms": ("latency", "candidate"),
    "latency_ratio": ("latency", "change"),
    "memory_mib": ("memory", "candidate"),
    "size_mib": ("size", "candidate"),
    "agreement": ("accuracy", "agreement"),
    "snr_db": ("accuracy", "snr_db"),
}
_FIDELITY = ("agreement", "snr_db")  # told beside the headline, by the evaluation


def figures(folder: Path, objective: Sequence[Objective]) -> tuple[float, ...]:
    """Return a build's figures. Raises StepError where it failed, or one was not measured: none is made up."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    manifest = report["manifest"]
    if manifest["status"] == Status.FAILED.word:
        gates = [gate["message"] for gate in manifest["gates"] if gate["status"] in ("failed", "unmeasured")]
        errors = [action["error"] for action in manifest["actions"] if action.get("error")]
        raise StepError(f"the build failed, so it has no figures: {'; '.join(errors or gates)}")
    found = tuple(_figure(report, each.figure) for each in objective)
    if len(found) > 1 and math.inf in found:
        words = "the outputs are identical, and a search for several figures cannot weigh an infinite SNR"
        raise StepError(f"objective: snr_db: {words}", "search for snr_db alone, or for agreement in its place")
    return found


def _figure(report: Mapping[str, Any], figure: str) -> float:
    name, key = _PLACES[figure]
    found, target = report["headline"][name], report["manifest"]["target"]["name"]
    fidelity = report["evaluations"].get(found["action"], {}).get("fidelity", {})
    value = fidelity.get(key) if key in _FIDELITY else found[key]
    if value is None and key == "snr_db" and fidelity.get("identical"):
        return math.inf
    if value is None:
        raise StepError(f"objective: {figure} was not measured: {found['finding']}")
    if name in ("latency", "memory") and not found["on_target"]:
        raise StepError(f"objective: {figure} was not measured on {target}, but on {found['measured_on']}")
    if name == "latency" and report["measurements"][found["action"]].get("noisy"):
        raise StepError(f"objective: {figure} is too noisy to be compared", "start fewer jobs at once, or try it again")
    return -float(value) if figure == "accuracy_drop" else float(value)


def best(found: Mapping[int, Sequence[float]], objective: Sequence[Objective]) -> list[int]:
    """Return which figures no others are better than, in all that is searched for (Pareto), the best first."""
    signs = [1 if each.direction == Direction.MINIMIZE else -1 for each in objective]
    costs = {place: [*map(mul, signs, values)] for place, values in found.items()}

    def beaten(mine: Sequence[float]) -> bool:
        return any(other != mine and all(map(le, other, mine)) for other in costs.values())

    return sorted((place for place, mine in costs.items() if not beaten(mine)), key=lambda place: (costs[place], place))
