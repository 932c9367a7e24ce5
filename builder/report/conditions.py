"""Under which conditions the numbers of a build were taken, and why those of several builds may not be ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.digest import canonical, digest_bytes
from builder.report.headline import pair

__all__ = ["conditions", "machine_words", "unlike"]

Row = Mapping[str, Any]
# Of a host's facts, those that say what it is; versions of what it ran may differ between builds that are compared.
_MACHINE = ("arch", "cores", "governor", "instruction_set", "memory_gib", "physical_cores", "processor")


def conditions(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return machine, threads, batch and noise of a report's latency, and the samples of its accuracy."""
    headline = report["headline"]
    measured = report["measurements"].get(headline["latency"]["action"])
    evaluated = report["evaluations"].get(headline["accuracy"]["action"])
    ships = pair(measured)[0] if measured else {}
    return {
        "machine": _machine(measured) if measured else None,
        "threads": ships.get("threads"),
        "batch": ships.get("batch"),
        "taken_at": measured.get("taken_at") if measured else None,
        "noisy": bool(measured and measured.get("noisy")),
        "samples": _samples(report["manifest"], evaluated) if evaluated else None,
    }


def _machine(measured: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: measured["host"][name] for name in _MACHINE if measured["host"].get(name) is not None}
    return known | ({"power_mode": measured["power_mode"]} if measured.get("power_mode") else {})


def _samples(manifest: Mapping[str, Any], evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """Return which samples were evaluated; the digest is that of how their files are found and split."""
    data = manifest["recipe"].get("data")
    found = data if isinstance(data, dict) else {}
    where = {name: found.get(name) for name in ("reader", "wheel", "sha256", "splits")}
    about = {"data": str(found.get("name", "data")), "split": evaluated["split"], "count": evaluated["samples"]}
    return {**about, "sha256": digest_bytes(canonical(where))}


def unlike(rows: Sequence[Row]) -> str:
    """Say in which conditions rows differ such that their latencies or accuracies rank nothing; '' in none."""
    latency = [_machines(rows), _counts(rows, "threads", "with {} threads"), _counts(rows, "batch", "at batches of {}")]
    accuracy = [_metrics(rows), _sets(rows)]
    return _and([said for said in (*latency, *accuracy) if said])


def machine_words(row: Row) -> str:
    """Return machine, threads and batch of a row's latency: `AMD EPYC, 2 cores, 1 thread, batch 1`."""
    said, threads = row["conditions"], row["conditions"]["threads"]
    parts = [str(row["headline"]["latency"]["measured_on"])]
    parts += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads is not None else []
    parts += [f"batch {said['batch']}"] if said["batch"] is not None else []
    return ", ".join(parts)


def _machines(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(str(row["headline"]["latency"]["measured_on"]) for row in rows))
    if len(names) > 1:
        return f"measured on different machines ({'; '.join(names)})"
    machines = [row["conditions"]["machine"] or {} for row in rows]
    keys = sorted({key for machine in machines for key in machine})
    differ = [key for key in keys if len({str(machine.get(key)) for machine in machines}) > 1]
    told = "; ".join(f"{key} {_and(_distinct(machine.get(key) for machine in machines))}" for key in differ)
    return f"measured on machines that only share a name, {names[0]} ({told})" if differ else ""


def _counts(rows: Sequence[Row], name: str, words: str) -> str:
    found = _distinct(row["conditions"][name] for row in rows)
    return f"measured {words.format(_and(found))}" if len(found) > 1 else ""


def _metrics(rows: Sequence[Row]) -> str:
    found = _distinct(row["metric"] for row in rows)
    return f"judged by different metrics ({', '.join(found)})" if len(found) > 1 else ""


def _sets(rows: Sequence[Row]) -> str:
    found = {str(row["conditions"]["samples"]): row["conditions"]["samples"] or {} for row in rows}
    if len(found) < 2:
        return ""
    told = _distinct(f"{each.get('count')} of {each.get('data')}'s {each.get('split')}" for each in found.values())
    return f"evaluated on different samples ({', '.join(told)}{' each' if len(told) == 1 else ''})"


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys("unknown" if value is None else str(value) for value in values))


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
