"""Limits in the recipe against what was measured. Gates are in no key: changing a limit re-runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from builder.outcomes import GateStatus
from builder.recipe.schema import MAX_CONVERSION_DIFFERENCE, Gate, Recipe

__all__ = ["Evidence", "Verdict", "judge"]

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Evidence:
    """What a build measured: evaluations and measurements by action, and the sizes of what it made."""

    evaluations: dict[str, dict[str, Any]]
    measurements: dict[str, dict[str, Any]]  # on the target
    elsewhere: dict[str, dict[str, Any]]  # on another machine than the target: shown, never judged
    sizes: Mapping[str, int]  # action -> bytes of all files of its artifact
    finals: Sequence[str]  # the actions at the end of the chain
    conversions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # exported models beside their source
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # shown on the page, never judged
    waiting: str = ""  # why nothing was measured on the target
    awaited: Mapping[str, str] = field(default_factory=dict)  # evaluations to come -> the target they wait for
    lost: Mapping[str, str] = field(default_factory=dict)  # evaluations that will not come -> why
    unmade: Mapping[str, str] = field(default_factory=dict)  # artifacts to come -> the target they wait for


@dataclass(frozen=True)
class Verdict:
    """A gate with its value; `message` says limit and value in one sentence."""

    gate: Gate
    status: GateStatus
    value: float | None = None
    interval: tuple[float, float] | None = None
    measured_on: str | None = None
    message: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "name": self.gate.label,
            "limit": self.gate.limit,
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
            "status": self.status.word,
            "measured_on": self.measured_on,
            "message": self.message,
        }


Judge = Callable[[Gate, Evidence], Verdict]


def judge(recipe: Recipe, evidence: Evidence) -> list[Verdict]:
    """Return the verdict on every gate of a recipe."""
    judges: dict[str, Judge] = {
        "max_accuracy_drop": _worst_of(_accuracy),
        "max_conversion_difference": _conversion,
        "max_latency_ms": _latency,
        "max_memory_mib": _memory,
        "max_size_mib": _size,
        "min_agreement": _worst_of(_fidelity),
        "min_snr_db": _worst_of(_fidelity),
    }
    return [judges[gate.name](gate, evidence) for gate in recipe.gates]


def _worst_of(judge_one: Judge) -> Judge:
    """Return what judges a model and what is compiled of it alike: both must keep a limit that names neither."""

    def judge_all(gate: Gate, evidence: Evidence) -> Verdict:
        names = list(evidence.evaluations)
        nothing_yet = evidence.awaited and not names and not evidence.lost
        if gate.action in evidence.awaited or (nothing_yet and not gate.action):
            return _waits(gate, evidence.awaited)
        if gate.action:
            return judge_one(gate, evidence)
        if len(names) < 2 or len({name.partition("@")[0] for name in names}) > 1:
            return _still_open(judge_one(gate, evidence), evidence)
        verdicts = [judge_one(replace(gate, action=name), evidence) for name in names]
        return _still_open(replace(max(reversed(verdicts), key=_badness), gate=gate), evidence)

    return judge_all


def _still_open(verdict: Verdict, evidence: Evidence) -> Verdict:
    """Say of a limit that is kept so far what else must keep it; one that is broken already stays broken."""
    if verdict.status is not GateStatus.PASSED:
        return verdict
    for name, why in evidence.lost.items():
        return Verdict(verdict.gate, GateStatus.UNMEASURED, message=f"{verdict.gate.label}: {name} {why}")
    if evidence.awaited:
        return replace(verdict, message=f"{verdict.message}; on the host: {_who_waits(evidence.awaited)}")
    return verdict


def _waits(gate: Gate, awaited: Mapping[str, str]) -> Verdict:
    them = {name: target for name, target in awaited.items() if gate.action in ("", name)}
    return Verdict(gate, GateStatus.DEFERRED, message=f"{gate.label}: {_who_waits(them)}")


def _who_waits(awaited: Mapping[str, str]) -> str:
    return ", ".join(f"{name} waits for {target}" for name, target in awaited.items())


def _badness(verdict: Verdict) -> tuple[int, float]:
    order = (GateStatus.PASSED, GateStatus.DEFERRED, GateStatus.UNMEASURED, GateStatus.FAILED)
    value = verdict.value or 0.0
    return order.index(verdict.status), value if verdict.gate.name.startswith("max_") else -value


def _accuracy(gate: Gate, evidence: Evidence) -> Verdict:
    found = _one(gate, evidence.evaluations, "evaluate")
    if isinstance(found, Verdict):
        return found
    metric = found["metrics"].get(found["primary"]) if found.get("primary") else None
    if metric is None:
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{gate.label}: the data has no labels to compare with")
    if gate.confidence not in (None, metric["confidence"]):
        words = f"{gate.label}: the interval is at {metric['confidence']:g}, the gate wants {gate.confidence:g}"
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{words}; set the confidence of evaluate to that too")
    low, high = metric["interval"]
    counts = high if gate.confidence else metric["drop"]
    words = f"{found['primary']} drops by {metric['drop']:.4f} [{low:.4f}, {high:.4f}]"
    return _limit(gate, counts <= gate.limit, metric["drop"], (low, high), _machine(found), words)


def _conversion(gate: Gate, evidence: Evidence) -> Verdict:
    if not evidence.conversions:
        words = f"{gate.label}: nothing compared the exported model with its source"
        return Verdict(gate, GateStatus.UNMEASURED, message=words)
    found = _one(gate, evidence.conversions, "conversion")
    if isinstance(found, Verdict):
        return found
    value = found["difference"]
    words = f"the exported model differs from {found['source']} by {value:.2g}: {found['words']}"
    labels = {name: each["unequal"] for name, each in found["outputs"].items() if each.get("unequal")}
    strict = bool(labels) and gate.limit <= MAX_CONVERSION_DIFFERENCE  # only a recipe that says so lets labels differ
    verdict = _limit(gate, value <= gate.limit and not strict, value, None, "host", words)
    if strict:
        wrong = " and ".join(f"{count:,} of '{name}'" for name, count in labels.items())
        verdict = replace(verdict, message=f"{verdict.message}, labels equal: {wrong} differ")
    remedy = found["remedy"] if verdict.status is GateStatus.FAILED else ""
    return replace(verdict, message=f"{verdict.message}; {remedy}") if remedy else verdict


def _fidelity(gate: Gate, evidence: Evidence) -> Verdict:
    found = _one(gate, evidence.evaluations, "evaluate")
    if isinstance(found, Verdict):
        return found
    name = gate.name.removeprefix("min_")
    value = found["fidelity"].get(name)
    if value is None and found["fidelity"].get("identical"):
        return Verdict(gate, GateStatus.PASSED, None, None, _machine(found), f"{gate.label}: the outputs are identical")
    if value is None:
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{gate.label}: the model's outputs have no {name}")
    return _limit(gate, value >= gate.limit, value, None, _machine(found), f"{name} is {value:.4g}")


def _size(gate: Gate, evidence: Evidence) -> Verdict:
    names = evidence.sizes if gate.action else evidence.finals
    if gate.action in evidence.unmade or (evidence.unmade and not names):
        return _waits(gate, evidence.unmade)
    if not names:
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{gate.label}: the recipe makes no artifact")
    found = _one(gate, {name: {"bytes": evidence.sizes.get(name)} for name in names}, "step")
    if isinstance(found, Verdict):
        return found
    if found["bytes"] is None:
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{gate.label}: the artifact was not made")
    value = found["bytes"] / _MIB
    words = f"the artifact has {value:.3f} MiB"
    if evidence.unmade and not gate.action:
        words = f"the model has {value:.3f} MiB, what is made of it does not exist yet ({_who_waits(evidence.unmade)})"
    return _limit(gate, value <= gate.limit, round(value, 6), None, "host", words)


def _latency(gate: Gate, evidence: Evidence) -> Verdict:
    found = _measured(gate, evidence)
    if isinstance(found, Verdict):
        return found
    subject = _shipped(found)
    if gate.percentile == "p99" and not subject["p99_valid"]:
        words = f"{gate.label}: a 99th percentile needs 1,000 runs, there are {subject['runs']}"
        return Verdict(gate, GateStatus.UNMEASURED, message=words)
    value = subject["latency_ms"][gate.percentile]
    return _limit(gate, value <= gate.limit, value, None, _machine(found), f"{gate.percentile} is {value:.3f} ms")


def _memory(gate: Gate, evidence: Evidence) -> Verdict:
    found = _measured(gate, evidence)
    if isinstance(found, Verdict):
        return found
    value = _shipped(found)["memory_mib"]
    if value is None:
        return Verdict(gate, GateStatus.UNMEASURED, message=f"{gate.label}: nothing on the target tells it")
    return _limit(gate, value <= gate.limit, value, None, _machine(found), f"peak memory is {value:.1f} MiB")


def _measured(gate: Gate, evidence: Evidence) -> Mapping[str, Any] | Verdict:
    if evidence.waiting and not evidence.measurements:
        words = f"{gate.label}: waits for the target; {evidence.waiting}"
        return Verdict(gate, GateStatus.DEFERRED, message=words)
    return _one(gate, evidence.measurements, "benchmark")


def _one(gate: Gate, documents: Mapping[str, Mapping[str, Any]], step: str) -> Mapping[str, Any] | Verdict:
    """Return the one document that a gate is about, or the verdict that there is none or more than one."""
    if gate.action in documents:
        return documents[gate.action]
    if not gate.action and len(documents) == 1:
        return next(iter(documents.values()))
    if not documents or gate.action:
        words = f"{gate.label}: no '{gate.action or step}' measured it"
    else:
        words = f"{gate.label}: {' and '.join(documents)} measured it; write gates.<action>.{gate.name}"
    return Verdict(gate, GateStatus.UNMEASURED, message=words)


def _limit(
    gate: Gate, kept: bool, value: float, interval: tuple[float, float] | None, measured_on: str, words: str
) -> Verdict:
    status = GateStatus.PASSED if kept else GateStatus.FAILED
    sign = "at most" if gate.name.startswith("max_") else "at least"
    bound = f" at {gate.confidence:.0%} confidence" if gate.confidence and interval else ""
    message = f"{gate.label}: {words}; the limit is {sign} {gate.limit:g}{bound}"
    return Verdict(gate, status, value, interval, measured_on, message)


def _shipped(measurement: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the subject that a limit is about: what ships, which is what was compiled, where something was."""
    subjects: Sequence[Mapping[str, Any]] = measurement["subjects"]
    return next(subject for subject in subjects if subject["name"] == measurement.get("ships", "candidate"))


def _machine(found: Mapping[str, Any]) -> str:
    """Return what a document was measured on; an evaluation names a machine only where it was not this one."""
    return str(found.get("host", {}).get("processor", "host"))
