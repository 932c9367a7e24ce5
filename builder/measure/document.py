"""measurement.json and pytest-benchmark.json: what was timed of each subject, as documents and in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import canonical
from builder.measure.ratio import Ratio, median_interval, summary

if TYPE_CHECKING:
    from builder.measure.series import Series

__all__ = ["in_words", "subject_entry", "write_documents"]

_SHOWN = 2000  # samples of each subject in measurement.json, for the report's scatter; pytest-benchmark.json has all


def subject_entry(
    series: Series, size_bytes: int, *, threads: int, batch: int, confidence: float, cores: Sequence[int] = ()
) -> dict[str, Any]:
    """Return what measurement.json holds of a subject; `cores` are those it was kept on, none: any."""
    samples = series.samples_ms
    every = -(-len(samples) // _SHOWN)
    return {
        "name": series.name,
        **series.execution,
        "threads": threads,
        "cores": list(cores),
        "batch": batch,
        **summary(samples),
        "p50_interval_of": "block medians",  # neighbouring runs are too alike for an interval from single ones
        "p50_interval_ms": [round(end, 6) for end in median_interval(series.medians_ms, confidence)],
        "warmup_runs": series.warmup_runs,
        "load_ms": round(series.load_ms, 3),
        "first_inference_ms": _rounded(series.first_inference_ms, 3),
        "memory_loaded_mib": _rounded(series.memory_loaded_mib, 2),
        "memory_mib": _rounded(series.memory_mib, 2),
        "energy_mj": _rounded(series.energy_mj, 4),
        "bytes": size_bytes,
        "blocks_ms": [round(value, 6) for value in series.medians_ms],
        "blocks_refused": series.refused,
        "interruptions": series.interruptions,
        "samples_ms": [round(value, 6) for value in samples[::every]],
        "samples_every": every,
    }


def write_documents(document: Mapping[str, Any], series: Sequence[Series], folder: Path) -> None:
    """Write both documents into a folder; raise StepError where pytest-benchmark takes no samples."""
    from builder.measure.replay import Replayed, replay

    (folder / "measurement.json").write_bytes(canonical(document) + b"\n")
    replayed = {}
    for one in series:
        ratios = [each for each in document["ratios"] if one.name in (each["of"], each["to"])]
        extra = {"runs_per_block": len(one.blocks_ns[0]), "blocks_ms": one.medians_ms, "ratios": ratios}
        replayed[one.name] = Replayed(one.samples_ms, extra)
    replay(replayed, document["host"], folder / "pytest-benchmark.json")


def in_words(document: Mapping[str, Any], ratios: Sequence[Ratio]) -> dict[str, str]:
    """Say what was found of the candidate, and after it of what was compiled."""
    subjects = {each["name"]: each for each in document["subjects"]}
    compiled = [name for name in subjects if name not in ("baseline", "candidate")]
    candidate = subjects["candidate"]
    to = {(each.of, each.to): each for each in ratios}
    facts = {"latency": _latency(candidate)}
    if ("candidate", "baseline") in to:
        facts["ratio"] = to["candidate", "baseline"].short
    if candidate["memory_mib"] is not None:
        facts["memory"] = f"{candidate['memory_mib']:.1f} MiB"
    for name in compiled:
        facts[name] = f"{_latency(subjects[name])}, beside the candidate {to[name, 'candidate'].short}"
    if document["noisy"]:
        worst = max(each.half_width for each in ratios if each.noisy)
        why = str(document["noisy"]).partition(": ")[2]
        again = "it will be measured again next time"
        facts["noisy"] = f"too noisy to rank (+-{worst:.0%}): {f'{why} Then {again}' if why else again}"
    return facts


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _latency(subject: Mapping[str, Any]) -> str:
    latency = subject["latency_ms"]
    p99 = f"{latency['p99']:.3g} p99" if subject["p99_valid"] else f"no p99 from {subject['runs']} runs"
    return f"{latency['p50']:.3g} ms p50 ({p99})"
