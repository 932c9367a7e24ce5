"""The four numbers that decide: size, accuracy, latency, memory, each beside the source model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import findings
from builder.report.format import MIB
from builder.report.subjects import ratio_of, shipped, subject_names

__all__ = ["gates_on", "headline", "limit_on", "pair", "system"]

Action = Mapping[str, Any]
Manifest = Mapping[str, Any]


def headline(
    manifest: Manifest,
    evaluations: Mapping[str, Any],
    measurements: Mapping[str, Any],
    baseline_bytes: int | None,
    candidate_bytes: int | None,
) -> dict[str, Any]:
    """Return the figures of size, accuracy, latency and memory."""
    names = findings.Names(manifest)
    actions = {action["name"]: action for action in manifest["actions"]}
    evaluated = _last(evaluations, actions)
    measured = _best(measurements, actions, names)
    return {
        "size": _size(manifest, names, baseline_bytes, candidate_bytes),
        "accuracy": _accuracy(manifest, names, evaluated, evaluations),
        "latency": _latency(manifest, names, measured, measurements),
        "memory": _memory(manifest, names, measured, measurements),
    }


def _last(documents: Mapping[str, Any], actions: Mapping[str, Action]) -> Action | None:
    """Return the last action, in the plan's order, that has a document."""
    return next((action for name, action in reversed(list(actions.items())) if name in documents), None)


def _best(measurements: Mapping[str, Any], actions: Mapping[str, Action], names: findings.Names) -> Action | None:
    """Return the action that measured on the target, or else the last one that measured."""
    there = {name: data for name, data in measurements.items() if names.on_target(actions[name])}
    return _last(there or measurements, actions)


def gates_on(manifest: Manifest, gate: str, action: str | None = None) -> list[dict[str, Any]]:
    """Return the gates of one kind; those of `evaluate.max_accuracy_drop` belong to that action alone."""
    found = []
    for each in manifest["gates"]:
        owner, _, rest = each["name"].rpartition(gate)
        if gate in each["name"] and rest[:1] in ("", ".") and (not owner or action in (None, owner.rstrip("."))):
            found.append(each)
    return found


def limit_on(manifest: Manifest, gate: str, action: str | None = None) -> float | None:
    """Return the limit of the first gate of one kind; None where there is none."""
    return next((each["limit"] for each in gates_on(manifest, gate, action)), None)


def _figure(
    manifest: Manifest, gate: str, unit: str, action: Action | None, finding: str, **values: Any
) -> dict[str, Any]:
    gates = gates_on(manifest, gate, action["name"] if action else None)
    blank = dict.fromkeys(("reference", "candidate", "change", "interval", "measured_on", "on_target"))
    return {
        "unit": unit,
        **blank,
        "finding": finding,
        "gate": findings.worst(each["status"] for each in gates),
        "action": action["name"] if action else None,
        **values,
    }


def _ratio(candidate: float | None, reference: float | None) -> float | None:
    return candidate / reference if candidate is not None and reference else None


def _size(manifest: Manifest, names: findings.Names, reference: int | None, candidate: int | None) -> dict[str, Any]:
    return _figure(
        manifest,
        "max_size_mib",
        "mib",
        None,
        findings.size(names, reference, candidate),
        reference=reference / MIB if reference is not None else None,
        candidate=candidate / MIB if candidate is not None else None,
        change=_ratio(candidate, reference),
    )


def _accuracy(
    manifest: Manifest, names: findings.Names, action: Action | None, evaluations: Mapping[str, Any]
) -> dict[str, Any]:
    if action is None:
        sentence = findings.missing(manifest, "evaluate", "Accuracy")
        return _figure(manifest, "max_accuracy_drop", "", None, sentence)
    data, there = evaluations[action["name"]], names.on_target(action)
    result = data["metrics"].get(data["primary"]) or dict.fromkeys(("reference", "candidate", "drop"))
    drop, bounds = result["drop"], result.get("interval")
    return _figure(
        manifest,
        "max_accuracy_drop",
        data["primary"] or "",
        action,
        findings.accuracy(names, data, limit_on(manifest, "max_accuracy_drop", action["name"]), names.place(there)),
        reference=result["reference"],
        candidate=result["candidate"],
        change=-drop if drop is not None else None,
        interval=[-bounds[1], -bounds[0]] if bounds else None,
        measured_on=system(data.get("host") or manifest["host"]),
        on_target=there,
    )


def pair(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return what ships and the baseline of a measurement by name, else by order; empty where there is none."""
    named = {subject["name"]: subject for subject in data["subjects"]}
    first, second = [*data["subjects"], {}, {}][:2]
    return named.get(shipped(data), first), named.get("baseline", second)


def _latency(
    manifest: Manifest, names: findings.Names, action: Action | None, measurements: Mapping[str, Any]
) -> dict[str, Any]:
    if action is None:
        sentence = findings.missing(manifest, "benchmark", "Latency")
        return _figure(manifest, "max_latency_ms", "ms", None, sentence)
    data = measurements[action["name"]]
    candidate, reference = pair(data)
    ratio = ratio_of(data) or {}
    there = names.on_target(action)
    return _figure(
        manifest,
        "max_latency_ms",
        "ms",
        action,
        findings.latency(names, data, names.place(there)),
        reference=reference.get("latency_ms", {}).get("p50"),
        candidate=candidate.get("latency_ms", {}).get("p50"),
        change=ratio.get("value"),
        interval=ratio.get("interval"),
        measured_on=system(data["host"]),
        on_target=there,
    )


def _memory(
    manifest: Manifest, names: findings.Names, action: Action | None, measurements: Mapping[str, Any]
) -> dict[str, Any]:
    if action is None:
        sentence = findings.missing(manifest, "benchmark", "Memory")
        return _figure(manifest, "max_memory_mib", "mib", None, sentence)
    data = measurements[action["name"]]
    reference, candidate = (subject.get("memory_mib") for subject in reversed(pair(data)))
    called = subject_names(names.candidate, names.reference, data).get(shipped(data), names.candidate)
    there = names.on_target(action)
    return _figure(
        manifest,
        "max_memory_mib",
        "mib",
        action,
        findings.memory(names, reference, candidate, called, names.place(there)),
        reference=reference,
        candidate=candidate,
        change=_ratio(candidate, reference),
        measured_on=system(data["host"]),
        on_target=there,
    )


def system(host: Mapping[str, Any]) -> str:
    """Return a machine in words: `Intel Xeon 6975P-C, 2 cores`; some facts may be missing."""
    cores = host.get("cores")
    parts = [str(host.get("processor") or "unnamed processor")]
    if cores:
        parts.append(f"{cores} core{'' if cores == 1 else 's'}")
    return ", ".join(parts)
