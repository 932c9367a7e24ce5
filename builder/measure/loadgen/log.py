"""LoadGen's own logs: mlperf_log_detail.txt, one JSON document a line behind `:::MLLOG`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import StepError

__all__ = ["DETAIL", "SUMMARY", "Stated", "read_log"]

DETAIL, SUMMARY = "mlperf_log_detail.txt", "mlperf_log_summary.txt"
_MARK = ":::MLLOG "
_PERCENTILES = {"p50": "50.00", "p90": "90.00", "p99": "99.00"}
# LoadGen's word for its figure in each scenario; a stream of several samples has none.
_RATES = ("result_samples_per_second", "result_completed_samples_per_sec", "result_qps_with_loadgen_overhead")


@dataclass(frozen=True)
class Stated:
    """What LoadGen says of one test. `reasons` are its own sentences on why the test is invalid."""

    version: str
    valid: bool
    reasons: tuple[str, ...]
    queries: int
    latency_ms: Mapping[str, float]  # percentiles; of whole queries where these hold several samples
    per_second: float | None  # samples; None for a stream of several samples, of which LoadGen states no rate
    holds: bool  # the bound on latency, where the scenario has one

    def plain(self) -> dict[str, Any]:
        """Return what section.json holds of it."""
        return {
            "valid": self.valid,
            "reasons": [*self.reasons],
            "queries": self.queries,
            "latency_ms": {name: round(value, 6) for name, value in self.latency_ms.items()} or None,
            "per_second": self.per_second,
        }


def read_log(folder: Path) -> Stated:
    """Read the log of one test. Raises StepError where it holds no result."""
    try:
        lines = (folder / DETAIL).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StepError(f"loadgen: LoadGen wrote no {DETAIL}") from error
    entries = [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]
    found = {entry["key"]: entry["value"] for entry in entries}
    if "result_validity" not in found:
        raise StepError(f"loadgen: {DETAIL} holds no result: LoadGen ended before the test did")
    return Stated(
        version=str(found["loadgen_version"]),
        valid=found["result_validity"] == "VALID",
        reasons=tuple(dict.fromkeys((*_reasons(found), *_errors(entries)))),
        queries=int(found["result_query_count"]),
        latency_ms=_latency(found),
        per_second=next((float(found[key]) for key in _RATES if key in found), None),
        holds=bool(found.get("result_perf_constraints_met", True)),
    )


def _latency(found: Mapping[str, Any]) -> dict[str, float]:
    """Return percentiles of the latency of a query; none where all samples are one."""
    if found["effective_scenario"] == "Offline":
        return {}
    kind = "per_query_latency_ns" if "result_50.00_percentile_per_query_latency_ns" in found else "latency_ns"
    return {name: found[f"result_{share}_percentile_{kind}"] / 1e6 for name, share in _PERCENTILES.items()}


def _reasons(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a test is invalid, sentence by sentence."""
    if found["result_validity"] == "VALID":
        return
    texts = [found.get("result_invalid_reason", "")]
    texts += [found["early_stopping_result"]] if not found.get("early_stopping_met", True) else []
    for text in texts:
        yield from (" ".join(each.split()) for each in str(text).split("*") if each.strip())


def _errors(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what LoadGen logged as errors of the system under test."""
    for entry in entries:
        if entry["metadata"]["is_error"]:
            yield f"{entry['key']}: {entry['value']}"
