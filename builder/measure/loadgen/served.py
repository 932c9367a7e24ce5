"""The process of one subject under MLPerf LoadGen, which sends its queries from within: a pipe would cost 60 us each.

Started and asked as `builder.measure.subject` is; `serve` answers with what we saw ourselves, beside LoadGen's logs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.measure.loadgen.system import Queued, System
from builder.measure.subject import Runner, main

__all__ = ["SCRIPT", "UnderTest"]

SCRIPT = Path(__file__).resolve()
_TIMED = 5  # runs of the largest batch, of which the fastest says how much there is to ask for


class UnderTest(Runner):
    """A model behind LoadGen. Each method answers one kind of request."""

    _system: System

    def load(self, spec: Mapping[str, Any], warmup_runs: int, warmup_seconds: float) -> dict[str, Any]:
        """Load and warm up as ever, once more with the largest batch; `batch_ns` is the time of that."""
        told = super().load({**spec, "batch": 1}, warmup_runs, warmup_seconds)
        self._system = System(self._session, spec)
        samples = [index % spec["samples"] for index in range(spec["batch"])]
        batches = []
        for _ in range(_TIMED):
            start = time.perf_counter_ns()
            self._system.run(samples)
            batches.append(time.perf_counter_ns() - start)
        return {**told, "batch_ns": min(batches)}

    def serve(self, scenario: str, settings: Mapping[str, Any], folder: str) -> dict[str, Any]:
        """Run one test of LoadGen, which writes its logs into a folder; return what we recorded of the queries.

        Raises ModelError where the model fails at a query.
        """
        import mlperf_loadgen as loadgen

        system = Queued(self._system) if scenario == "Server" else self._system
        sut = loadgen.ConstructSUT(system.issue, lambda: None)
        count = self._system.samples
        qsl = loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
        self._system.begin()
        try:
            loadgen.StartTestWithLogSettings(sut, qsl, _settings(scenario, settings), _logs(folder), "")
        finally:
            system.close()
            loadgen.DestroyQSL(qsl)
            loadgen.DestroySUT(sut)
        return self._system.recorded(scenario)


def _settings(scenario: str, wanted: Mapping[str, Any]) -> Any:
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    for name, value in wanted.items():
        setattr(settings, name, value)
    return settings


def _logs(folder: str) -> Any:
    """Write logs into a folder and nothing to the terminal."""
    import mlperf_loadgen as loadgen

    output = loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = folder, False
    settings = loadgen.LogSettings()
    settings.log_output, settings.enable_trace = output, False
    return settings


if __name__ == "__main__":
    main(UnderTest())
