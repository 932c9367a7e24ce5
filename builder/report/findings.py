"""What a build's numbers mean, each in one sentence. Where there is no number, the sentence says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.report import format as words
from builder.report.subjects import ratio_of, shipped, subject_names

__all__ = [
    "Names",
    "accuracy",
    "compared",
    "conversion",
    "fidelity",
    "latency",
    "memory",
    "missing",
    "size",
    "verdict",
    "worst",
]

TIMES = "\N{MULTIPLICATION SIGN}"
_WORST_FIRST = ("failed", "unmeasured", "deferred", "passed")


class Names:
    """How the page calls the two models and the two machines."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        model = manifest["recipe"].get("model")
        self.candidate = str(manifest["name"])
        source = str(model.get("name", "")) if isinstance(model, dict) else ""
        self.reference = source if source and source != self.candidate else "the source model"
        self.target = str(manifest["target"]["name"])
        self.goal = "this host" if self.target == "host" else self.target
        self.target_is_here = _is_here(manifest["target"], manifest["host"])
        self._devices = {str(found["name"]) for found in manifest.get("devices", ())}
        self._other_runtime = manifest["target"].get("runtime") != "onnxruntime"

    def on_target(self, action: Mapping[str, Any]) -> bool:
        """Say whether an action's numbers are the target's.

        They are where the target is this machine, where a device sent them, and for a benchmark of an engine that was
        taken on the target (the one that was taken here is named `@host`).
        """
        if action.get("device"):
            return True
        remote = action["step"] == "benchmark" and not action["name"].endswith("@host") and self._other_runtime
        return self.target_is_here or remote

    def was_there(self, measured_on: str) -> bool:
        """Say whether what a gate was measured on is the target: it is here, or a device that sent its results."""
        return self.target_is_here or measured_on in self._devices

    def place(self, on_target: bool) -> str:
        if not on_target:
            return f"on this host, not on {self.target}"
        return f"on {self.goal}"


def _is_here(target: Mapping[str, Any], host: Mapping[str, Any]) -> bool:
    """Say whether the target is the machine that built: it is said so, or it runs ONNX Runtime on this architecture."""
    if "here" in target or target["name"] == "host":
        return bool(target.get("here", True))
    ours = ("any", host.get("arch"), host.get("machine"))
    return target.get("runtime") == "onnxruntime" and target.get("arch", "any") in ours


def worst(statuses: Iterable[str]) -> str | None:
    """Return the worst of some gates' states; None where there is none."""
    found = set(statuses)
    return next((status for status in _WORST_FIRST if status in found), None)


def compared(ratio: float, less: str, more: str) -> str:
    """Say a ratio of two amounts: 0.25 is `4 x smaller`, 0.97 is `3 % smaller`; nothing where they are the same."""
    if abs(ratio - 1) < 0.001:
        return ""
    factor, word = (1 / ratio, less) if ratio < 1 else (ratio, more)
    if factor >= 1.2:
        return f"{words.number(factor, 2 if factor < 10 else 3)} {TIMES} {word}"
    return f"{words.number(100 * abs(ratio - 1), 2)} % {word}"


def conversion(data: Mapping[str, Any]) -> str:
    """Say whether an exported model computes what its source does."""
    labels = [output for output in data["outputs"].values() if output["kind"] == "labels"]
    wrong, values = (sum(output[key] for output in labels) for key in ("unequal", "count"))
    if wrong:
        return f"The export gives {wrong:,} of {values:,} labels otherwise than {data['source']}"
    apart = max((output["difference"] for output in data["outputs"].values()), default=0.0)
    if not apart:
        return f"The export computes exactly what {data['source']} does"
    return f"The export is within {words.number(apart, 2)} of what {data['source']} computes"


def size(names: Names, reference: float | None, candidate: float | None) -> str:
    if candidate is None:
        return f"{names.candidate} has no size: no artifact was made"
    if not reference:
        return f"{names.candidate} takes {words.size(candidate)}"
    said = compared(candidate / reference, "smaller", "larger")
    return f"{names.candidate} is {said} than {names.reference}" if said else f"{names.candidate} keeps its size"


def memory(names: Names, reference: float | None, candidate: float | None, called: str, place: str) -> str:
    """Compare the memory of what ships, as it is called, with the source model's."""
    if candidate is None:
        return "The memory of the candidate was not measured"
    if not reference or candidate <= 0:
        return f"{called} takes {words.mib(candidate)} of memory {place}"
    said = compared(candidate / reference, "less", "more") or "neither less nor more"
    return f"{called} takes {said} memory than {names.reference} {place}"


def accuracy(names: Names, evaluation: Mapping[str, Any], limit: float | None, place: str) -> str:
    """Say what was lost; of another runtime than ONNX Runtime, in which one."""
    ran = evaluation.get("executions", {}).get("candidate", {}).get("runtime", "onnxruntime")
    candidate = names.candidate if ran == "onnxruntime" else f"{names.candidate} in {words.runtime(ran)}"
    primary = evaluation["primary"]
    result = evaluation["metrics"].get(primary) if primary else None
    if result is None or result["drop"] is None:
        return f"Without labels only fidelity is known: {fidelity(evaluation['fidelity'])} {place}"
    sentence = f"{candidate} {_lost(primary, result['drop'], result.get('interval'), names.reference)} {place}"
    if limit is None:
        return sentence
    return f"{sentence}; the limit is a loss of {words.gate_quantity('max_accuracy_drop', limit, primary, exact=True)}"


def _lost(primary: str, drop: float, bounds: Sequence[float] | None, reference: str) -> str:
    """Say a drop with its interval; where that contains 0, neither a loss nor a gain was shown."""
    told = drop and not (bounds and bounds[0] <= 0 <= bounds[1])
    sign = 1 if told and drop > 0 else -1
    ends = [words.points(primary, end) for end in sorted(sign * end for end in bounds)] if bounds else None
    change = f"{words.points(primary, sign * drop)}{' points' if words.in_percent(primary) else ''}"
    title = words.metric_title(primary)
    if told:
        return f"{'loses' if sign > 0 else 'gains'} {change} of {title}{words.interval(ends)}"
    return f"cannot be told from {reference} in {title}: {'+' if drop < 0 else ''}{change}{words.interval(ends)}"


def fidelity(near: Mapping[str, Any]) -> str:
    """Say how near the outputs are: by the first of agreement, signal to noise and largest difference that is known."""
    if near.get("identical"):
        return "the outputs are identical"
    parts = []
    if near.get("agreement") is not None:
        parts.append(f"outputs agree on {words.metric('agreement', near['agreement'])} of the samples")
    if near.get("snr_db") is not None:
        parts.append(f"signal to noise is {words.number(near['snr_db'])} dB")
    return ", ".join(parts) or f"outputs differ by up to {words.number(near.get('max_abs_difference'))}"


def latency(names: Names, measurement: Mapping[str, Any], place: str) -> str:
    """Compare what ships with the source model and, where it was compiled, with the model that it was compiled from."""
    called, ships = subject_names(names.candidate, names.reference, measurement), shipped(measurement)
    ratio = ratio_of(measurement)
    if ratio is None:
        subjects = measurement["subjects"]
        median = subjects[0]["latency_ms"]["p50"] if subjects else None
        return f"{names.candidate} takes {words.ms(median)} at the median {place}"
    sentence = _compared(ratio, called.get(ships, names.candidate), names.reference, place)
    other = ratio_of(measurement, "candidate") if ships != "candidate" else None
    return f"{sentence}; {_compared(other, 'it', called['candidate'], '')}" if other else sentence


def _compared(ratio: Mapping[str, Any], of: str, to: str, place: str) -> str:
    bounds, where = ratio.get("interval"), f" {place}" if place else ""
    if not ratio["ranked"] or ratio["value"] <= 0:
        shown = words.interval([words.number(end) for end in bounds] if bounds else None)
        return f"{of} and {to} cannot be ranked{where}: the interval of their ratio,{shown}, contains 1"
    faster = ratio["value"] < 1
    factor = 1 / ratio["value"] if faster else ratio["value"]
    ends = sorted(1 / end if faster else end for end in bounds) if bounds else None
    shown = words.interval([words.number(end) for end in ends] if ends else None)
    how = "as fast as" if faster else "as slow as"
    return f"{of} is {words.number(factor)} {TIMES} {how} {to}{shown}{where}"


def missing(manifest: Mapping[str, Any], step: str, what: str) -> str:
    """Say why a step's result is not here: not in the recipe, or what became of it."""
    actions = [action for action in manifest["actions"] if action["step"] == step]
    if not actions:
        return f"{what} was not measured: the recipe has no step {step}. Add it with +steps={step}."
    action = next((a for a in actions if a["status"] in ("failed", "deferred", "skipped")), actions[0])
    why = (action.get("error") or action["reason"]).rstrip(".")
    reason = f": {why}" if why else ""
    if action["status"] in ("built", "cached"):
        return f"{what} is not shown: {action['name']} left no result."
    return f"{what} was not measured: {action['name']} was {action['status']}{reason}."


def verdict(manifest: Mapping[str, Any]) -> str:
    """Say what became of a build."""
    target = Names(manifest).goal
    by_status: dict[str, list[str]] = {}
    for action in manifest["actions"]:
        by_status.setdefault(action["status"], []).append(action["name"])
    broken = [gate["name"] for gate in manifest["gates"] if gate["status"] in ("failed", "unmeasured")]
    if "failed" in by_status:
        skipped = len(by_status.get("skipped", []))
        rest = (
            f"; {skipped} {'action was' if skipped == 1 else 'actions were'} skipped because of it" if skipped else ""
        )
        return f"Not built for {target}: {_and(by_status['failed'])} failed{rest}"
    if broken:
        return f"Built for {target}, but not good enough: {_and(broken)} {'is' if len(broken) == 1 else 'are'} broken"
    if "deferred" in by_status:
        waiting = by_status["deferred"]
        return f"Built as far as this host can; {_and(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for {target}"
    gates = f"all {len(manifest['gates'])} gates passed" if manifest["gates"] else "the recipe sets no gates"
    return f"Built for {target}; {gates}" if len(manifest["gates"]) != 1 else f"Built for {target}; its gate passed"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
