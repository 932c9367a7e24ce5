"""From OpenVINO's counters to the time of each layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.measure.layers.events import Node
from builder.measure.ratio import median

if TYPE_CHECKING:
    from builder.runtimes.openvino import Layer

__all__ = ["DISTURBED", "mean_times", "named_once"]

DISTURBED = 1.25  # times the median of a block's runs: one that took longer was interrupted
_DROPPED = 1.0  # us of each layer and run, on average


def mean_times(
    layers: Iterable[Layer], told: Sequence[Mapping[str, int]], ahead: int, samples_ns: Sequence[int]
) -> dict[Node, float]:
    """Return the mean time of each layer in us over a block's undisturbed runs, given what its counters told.

    They tell the mean of all runs since the model was loaded, of which the first takes many times as long: `told[0]` is
    that of the runs `ahead`, and `told[i]` that of i more. A median over runs cannot be had of these, and a mean over
    all would be that of the interruptions. OpenVINO counts whole us and drops the rest, of each run and of their mean
    (PerfCount in its processor plugin): half a us is given back for each, but no more than was told, so that
    a sum of many layers is not short of 1 us for each. Each stretch of runs left out adds an error of its own, of
    either sign: in simulated blocks of 200 runs the time of a layer was off by 0.4 us (standard deviation) with none,
    by 1 us with 8, and the median of 20 such blocks by 0.5 us.
    """
    limit = DISTURBED * median(samples_ns)
    kept = [run for run, took in enumerate(samples_ns, 1) if took <= limit]
    times = {}
    for layer in layers:
        if layer.name not in told[-1]:
            continue  # it ran when the model was loaded
        totals = [means[layer.name] * (ahead + run) for run, means in enumerate(told)]
        node = Node(layer.name, layer.kind, layer.precision, layer.shape, layer.kernel, layer.fused)
        us = max(0.0, sum(totals[run] - totals[run - 1] for run in kept) / len(kept))
        times[node] = us + min(us, _DROPPED)
    return times


def named_once(nodes: Iterable[Node], times: Mapping[Node, float]) -> dict[Node, float]:
    """Return the times of a session under the nodes of another one of the same model.

    OpenVINO puts the layers of each into the same order, but numbers some that it adds from one session to the next.
    """
    return dict(zip(nodes, times.values(), strict=True))
