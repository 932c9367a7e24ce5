"""The system under test, in MLPerf's words: it takes queries of samples, runs the model, and says when each is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from builder.runtimes.inputs import made_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.runtimes.interface import Loaded

__all__ = ["Queued", "System"]

_MS = 1e-6  # of a nanosecond


class System:
    """A loaded model with made-up samples; a query's samples run one after another in batches of at most `batch`.

    `spec` is the subject's: samples (how many distinct ones), batch, seed, shapes, constants, states. Raises ModelError
    where a batch over 1 has no open dimension to go to.
    """

    def __init__(self, session: Loaded, spec: Mapping[str, Any]) -> None:
        self._session = session
        self.samples: int = spec["samples"]
        self.batch: int = spec["batch"]
        given = {name: spec[name] for name in ("shapes", "constants", "states")}
        seeds = range(spec["seed"], spec["seed"] + self.samples)
        self._feeds = [made_up(session.inputs, **given, batch=1, seed=seed) for seed in seeds]
        largest = made_up(session.inputs, **given, batch=self.batch, seed=0)
        self._axes = {name: _differs(self._feeds[0][name].shape, value.shape) for name, value in largest.items()}
        self.begin()

    def begin(self) -> None:
        """Forget what was recorded."""
        self._times: list[tuple[int, int]] = []  # of each query: when it came, when its last sample was done
        self._done = 0
        self._error: Exception | None = None

    def run(self, indices: Sequence[int]) -> None:
        """Run some samples as one batch."""
        self._session.run(self._feed(indices))

    def issue(self, queries: Sequence[Any]) -> None:
        """Answer a query of LoadGen before returning: a sample of it is one of ours, by index."""
        came = time.perf_counter_ns()
        for start in range(0, len(queries), self.batch):
            self.answer([(query.id, query.index) for query in queries[start : start + self.batch]])
        self._times.append((came, time.perf_counter_ns()))

    def answer(self, queries: Sequence[tuple[int, int]], came: Sequence[int] = ()) -> None:
        """Run samples, of which LoadGen's id and our index are given, as one batch, and tell LoadGen.

        After a run that failed nothing is run any more, so that the test comes to its end.
        """
        import mlperf_loadgen as loadgen

        if self._error is None:
            try:
                self.run([index for _, index in queries])
            except Exception as error:  # noqa: BLE001  it is raised when the test has ended: C++ called us
                self._error = error
        done = time.perf_counter_ns()
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0) for number, _ in queries])
        self._done += len(queries)
        self._times += [(start, done) for start in came]

    def close(self) -> None:
        """Do nothing: no thread of ours is left."""

    def recorded(self, scenario: str) -> dict[str, Any]:
        """Return what we saw, in LoadGen's terms: latency percentiles of queries in ms, samples per second.

        A latency begins when the query comes here, and LoadGen's when it was due. A percentile is the value at
        floor(n * share) in order, as in LoadGen's results.cc. Raises what the model failed with.
        """
        if self._error is not None:
            raise self._error
        seconds = (max(done for _, done in self._times) - self._times[0][0]) / 1e9
        ordered = sorted(done - came for came, done in self._times)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        latency = {name: round(ordered[int(len(ordered) * share)] * _MS, 6) for name, share in shares.items()}
        counted = self._done - 1 if scenario == "Server" else self._done  # its clock starts with the first query
        return {
            "queries": len(ordered),
            "samples": self._done,
            "per_second": round(counted / seconds, 3),
            "latency_ms": None if scenario == "Offline" else latency,
        }

    def _feed(self, indices: Sequence[int]) -> dict[str, NDArray[Any]]:
        import numpy as np

        feeds = [self._feeds[index] for index in indices]
        if len(feeds) == 1:
            return feeds[0]
        first = feeds[0]
        return {
            name: first[name] if axis is None else np.concatenate([feed[name] for feed in feeds], axis)
            for name, axis in self._axes.items()
        }


class Queued:
    """The same system behind a queue: a thread answers what waits, so that LoadGen can go on sending on schedule."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._waiting: SimpleQueue[tuple[tuple[int, int], int] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="server")
        self._thread.start()

    def issue(self, queries: Sequence[Any]) -> None:
        """Put a query's samples into the queue."""
        came = time.perf_counter_ns()
        for query in queries:
            self._waiting.put(((query.id, query.index), came))  # the query itself is LoadGen's

    def close(self) -> None:
        """End the thread once the queue is empty."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            taken, last = [first], False
            while len(taken) < self._system.batch and not last:
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
                last = following is None
                taken += [following] if following is not None else []
            self._system.answer([query for query, _ in taken], [came for _, came in taken])
            if last:
                return


def _differs(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Return the axis along which samples are put together; None where a batch has the shape of a sample."""
    return next((axis for axis, (size, larger) in enumerate(zip(one, other, strict=True)) if size != larger), None)
