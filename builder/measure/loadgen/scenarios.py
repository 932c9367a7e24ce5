"""The scenarios of MLPerf Inference: what LoadGen is told for each, and what it is measured by.

Source: MLCommons, "MLPerf Inference Rules", section "Scenarios"; Reddi et al., "MLPerf Inference Benchmark", ISCA 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from builder.measure.loadgen.log import Stated

__all__ = ["MLPERF_SECONDS", "Load", "Metric", "Scenario", "most_per_second"]

MLPERF_SECONDS = 600  # that a test lasts at least, by the rules of MLPerf Inference 6.0
_FASTER = 1.25  # than what was timed: LoadGen makes its queries ahead, and of too few the test is invalid


@dataclass(frozen=True)
class Metric:
    """What a scenario is measured by; `latency` names a percentile, and without it samples per second count."""

    unit: str
    latency: str = ""

    @property
    def less_is_better(self) -> bool:
        return bool(self.latency)

    def of(self, stated: Stated) -> float:
        """Return the value of one test."""
        return stated.latency_ms[self.latency] if self.latency else float(stated.per_second or 0.0)


class Scenario(Enum):
    """How queries come."""

    SINGLE_STREAM = "single_stream"  # one sample, and the next as soon as it is done
    MULTI_STREAM = "multi_stream"  # several samples at a time, and the next as soon as they are done
    OFFLINE = "offline"  # all samples at once
    SERVER = "server"  # one sample at a time, as a Poisson process, with a bound on latency

    @property
    def title(self) -> str:
        """Return what LoadGen calls it."""
        return self.value.title().replace("_", "")

    @property
    def metric(self) -> Metric:
        """Return what it is measured by, as MLPerf does."""
        return {
            Scenario.SINGLE_STREAM: Metric("ms", "p90"),
            Scenario.MULTI_STREAM: Metric("ms", "p99"),
            Scenario.OFFLINE: Metric("samples/s"),
            Scenario.SERVER: Metric("queries/s"),
        }[self]


@dataclass(frozen=True)
class Load:
    """What is asked for. A subject's `timed` holds `run_ns` of one sample and `batch_ns` of the largest batch."""

    batch: int  # the largest
    min_seconds: float  # of each test
    max_seconds: float  # of each test, where `min_queries` take longer: LoadGen ends it early, and calls it invalid
    min_queries: int
    multi_stream_samples: int
    server_latency_ms: float
    server_percentile: float
    seed: int

    def settings(
        self, scenario: Scenario, timed: Mapping[str, int], turn: int, rate: float = 0.0, part: float = 1.0
    ) -> dict[str, Any]:
        """Return LoadGen's settings of one test, of its whole length or a part of it.

        In every turn queries come in another order, or at other times; `rate` is what the server is asked in a second.
        """
        seed = self.seed + turn
        least = max(1, round(self.min_seconds * part * 1000))
        common = {
            "min_duration_ms": least,
            "max_duration_ms": max(2 * least, round(self.max_seconds * 1000)),
            "min_query_count": self.min_queries,
        }
        seeds = dict.fromkeys(("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"), seed)
        return {**common, **seeds, **self._of(scenario, timed, rate)}

    def _of(self, scenario: Scenario, timed: Mapping[str, int], rate: float) -> dict[str, Any]:
        if scenario is Scenario.SINGLE_STREAM:
            return {
                "single_stream_expected_latency_ns": int(timed["run_ns"] / _FASTER),
                "single_stream_target_latency_percentile": 0.9,
            }
        if scenario is Scenario.MULTI_STREAM:
            query_ns = timed["batch_ns"] * self.multi_stream_samples / self.batch
            return {
                "multi_stream_samples_per_query": self.multi_stream_samples,
                "multi_stream_expected_latency_ns": int(query_ns / _FASTER),
                "multi_stream_target_latency_percentile": 0.99,
            }
        if scenario is Scenario.OFFLINE:
            return {"offline_expected_qps": _FASTER * most_per_second(timed, self.batch)}
        return {
            "server_target_qps": rate,
            "server_target_latency_ns": round(self.server_latency_ms * 1e6),
            "server_target_latency_percentile": self.server_percentile,
        }


def most_per_second(timed: Mapping[str, int], batch: int) -> float:
    """Return how many samples there can be in a second at best."""
    return batch * 1e9 / timed["batch_ns"]
