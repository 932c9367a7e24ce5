"""Times the candidate and its baseline on the device, block by block in turns, and what a run of each costs."""

from __future__ import annotations

import math
import statistics
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from builder.device.calls import feed_of
from builder.device.compiling import build_engine, check_engine
from builder.device.driver import Block, Feed
from builder.device.energy import Meter, find_meter
from builder.device.files import remove, write_json
from builder.device.machine import power_mode, temperature_c
from builder.device.stop import Failed
from builder.device.work import Work

__all__ = ["WARMUP_MS", "benchmark"]

WARMUP_MS = 500
_PROBE_RUNS = 10  # from which the length of a block is reckoned
_ENERGY_S, _MARGIN_S = 8.0, 1.0  # of a steady run; its first and last second do not count


def benchmark(work: Work, name: str, part: Path) -> dict[str, Any]:
    """Time both subjects and write times.json. Raises Failed, also where the power mode changed meanwhile."""
    options = work.kit.action(name)["options"]
    if work.kit.engine:  # which nothing has run before
        check_engine(work, name, work.engine, part)
    engines = {"candidate": work.engine, "baseline": _baseline(work)}
    feed = feed_of(work.given, 0, work.log(name).with_suffix(".in"))
    mode, taken_at = power_mode(), datetime.now(timezone.utc)
    medians = {subject: _probe_ns(work, subject, engine, feed) for subject, engine in engines.items()}
    runs = min(_runs(options, median) for median in medians.values())
    warmups = {subject: _warmup_ms(options, median) for subject, median in medians.items()}
    blocks: dict[str, list[Block]] = {subject: [] for subject in engines}
    for block in range(options["blocks"]):
        for subject, engine in engines.items():
            blocks[subject].append(_time(work, subject, engine, feed, runs=runs, warmup_ms=warmups[subject]))
        work.say(f"{name}: block {block + 1} of {options['blocks']}, {runs} runs each")
    meter, why_not = find_meter()
    joules = {subject: _joules(work, subject, engine, feed, meter) for subject, engine in engines.items()}
    if meter and meter.lost:
        why_not, meter, joules = meter.lost, None, dict.fromkeys(engines)
    remove(work.log(name).with_suffix(".in"))
    if power_mode() != mode:
        raise Failed(f"the power mode changed from {mode} to {power_mode()} while it was measured")
    document = {
        "schema": 1,
        "subjects": [
            _subject(work, each, engines[each], blocks[each], joules[each], warmups[each]) for each in engines
        ],
        "energy_j": joules["candidate"],
        "energy_method": f"{meter.method}; mean power of a steady run of {_ENERGY_S:g} s" if meter else why_not,
        "power_mode": mode or None,
        "clocks": work.facts["clocks"],
        "temperature_c": temperature_c(),
        "blocks": options["blocks"],
        "runs_per_block": runs,
        "taken_at": taken_at.isoformat(timespec="seconds"),
    }
    write_json(part / "times" / "times.json", document)
    return {each["name"]: f"{_median_ms(blocks[each['name']]):.4g} ms p50" for each in document["subjects"]}


def _baseline(work: Work) -> Path:
    """Return the source model's engine, built once, or the source model where none has to be."""
    if work.kit.build_options is None:
        return (work.kit.folder / "source" / work.driver.artifact).resolve()
    if work.journal.kept("baseline") is None:
        part, began = work.journal.begin("baseline"), time.monotonic()
        facts = build_engine(work, "baseline", part / "engine")
        work.journal.finish("baseline", part, facts, time.monotonic() - began, {})
    return (work.journal.place("baseline") / "engine" / work.driver.artifact).resolve()


def _probe_ns(work: Work, subject: str, engine: Path, feed: Feed) -> float:
    """Return how long a run takes, about."""
    return max(1.0, statistics.median(_time(work, subject, engine, feed, runs=_PROBE_RUNS).latencies_ns))


def _runs(options: dict[str, Any], median_ns: float) -> int:
    """Return how many runs a block has, so that the subject's blocks keep within the time that is given."""
    enough: int = math.ceil(options["runs"] / options["blocks"])
    return max(1, min(enough, int(_block_ns(options) / median_ns)))


def _warmup_ms(options: dict[str, Any], median_ns: float) -> int:
    """Return how long a subject warms up before a block: as long as the runs take that are asked for, or longer.

    By time, since trtexec knows no other way, and a GPU's clocks take theirs to rise; at most as long as a block.
    """
    asked: float = min(options["warmup_runs"] * median_ns, _block_ns(options))
    return max(WARMUP_MS, math.ceil(asked / 1e6))


def _block_ns(options: dict[str, Any]) -> float:
    """Return how long a block of each subject may take."""
    share: float = options["max_seconds"] / 2 / options["blocks"]
    return share * 1e9


def _time(
    work: Work,
    subject: str,
    engine: Path,
    feed: Feed,
    *,
    runs: int,
    seconds: float = 0,
    warmup_ms: int = WARMUP_MS,
) -> Block:
    """Return a block, of which the driver has timed each run, or one of some seconds."""
    block = work.driver.time(
        engine,
        feed,
        work.tensors(subject),
        work.log(f"times-{subject}"),
        runs=runs,
        seconds=seconds,
        warmup_ms=warmup_ms,
    )
    if not block.latencies_ns and not seconds:
        raise Failed(f"{work.driver.name} timed no run of the {subject}")
    return block


def _joules(work: Work, subject: str, engine: Path, feed: Feed, meter: Meter | None) -> float | None:
    """Return what a run costs: the mean power of a steady run, over the runs in a second."""
    if meter is None:
        return None
    work.say(f"measures what the {subject} draws")
    with meter:
        block = _time(work, subject, engine, feed, runs=1, seconds=_ENERGY_S)
        ended = time.monotonic()
    watts = meter.watts(ended - _ENERGY_S + _MARGIN_S, ended - _MARGIN_S)
    return None if watts is None or not block.per_second else watts / block.per_second


def _subject(
    work: Work, name: str, engine: Path, blocks: list[Block], joules: float | None, warmup_ms: int
) -> dict[str, Any]:
    loads = [block.load_ms for block in blocks if block.load_ms is not None]
    warmed = [block.warmup_runs for block in blocks if block.warmup_runs is not None]
    return {
        "name": name,
        "runtime": work.driver.runtime,
        "runtime_version": work.driver.version,
        "driver": work.driver.name,
        "timed_by": work.driver.timed_by,
        "batch": work.given.batch,
        "blocks_ns": [block.latencies_ns for block in blocks],
        "warmup_ms": warmup_ms,
        "warmup_runs": min(warmed) if warmed else None,
        "load_ms": round(statistics.median(loads), 3) if loads else None,
        "memory_mib": None,
        "bytes": engine.stat().st_size,
        "energy_j": joules,
    }


def _median_ms(blocks: list[Block]) -> float:
    return statistics.median([value for block in blocks for value in block.latencies_ns]) / 1e6
