"""Subjects in their processes: alternation, sleepers, deaths. The latencies here are scripted, never timed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ModelError, StepError
from builder.measure.blocks import Schedule, measure
from builder.measure.cost.energy import Counter
from builder.measure.loadgen.turns import Served, asleep
from builder.measure.process import Subject, preempted
from builder.measure.ratio import Ratio
from builder.measure.series import Series

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "conf/assets/fashion_mobilenet"
SPEC: dict[str, Any] = {"threads": 1, "device": "", "batch": 1, "seed": 0, "shapes": {}, "constants": {}, "states": []}
QUICK = Schedule(warmup_runs=1, runs=10, blocks=6, max_seconds=30)

SCRIPTED = """
import ctypes, itertools, json, threading, time
from pathlib import Path
from builder.measure.subject import Runner, main

class Scripted(Runner):
    def load(self, spec, **warmup):
        self.script = json.loads(Path(spec["folder"]).read_text())
        self.latencies = itertools.cycle(self.script["ns"])
        if self.script.get("burn"):
            threading.Thread(target=self.burn, daemon=True).start()
        return {"load_ms": 1.0, "run_ns": 20_000_000, "warmup_runs": 1}

    def burn(self):
        while True:
            pass

    def block(self, runs, untimed):
        print("not the protocol", flush=True)
        if self.script.get("crash"):
            ctypes.string_at(0)
        time.sleep(self.script.get("seconds", 0.004))
        with Path(self.script["log"]).open("a") as log:
            log.write(self.script["name"] + " ")
        return {"ns": [next(self.latencies)] * runs}

    def memory(self):
        return {"memory_mib": 1.5}

    def execution(self):
        return {"runtime": "scripted"}

main(Scripted())
"""

Measure = Callable[..., tuple[list[Series], list[Ratio]]]


@pytest.fixture
def scripted(tmp_path: Path) -> Measure:
    """Measure subjects whose blocks take the given latencies in ns, over and over."""
    program = tmp_path / "scripted.py"
    program.write_text(SCRIPTED, encoding="utf-8")

    class Scripted(Subject):
        script = program

    def run(
        schedule: Schedule,
        progress: Callable[[int, int, str], None] = lambda *_: None,
        counter: Counter | None = None,
        **scripts: dict[str, Any],
    ) -> tuple[list[Series], list[Ratio]]:
        with ExitStack() as stack:
            subjects = []
            for name, script in scripts.items():
                model = tmp_path / f"{name}.json"
                model.write_text(json.dumps({"name": name, "log": str(tmp_path / "log"), **script}), encoding="utf-8")
                subjects.append(stack.enter_context(Scripted(name, model, SPEC)))
            return measure(subjects, schedule, progress, counter)

    return run


def test_blocks_alternate_in_reverse_order_every_other_round(scripted: Measure, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    scripted(QUICK, lambda *event: seen.append(event), a={"ns": [1000]}, b={"ns": [1000]}, c={"ns": [1000]})
    order = (tmp_path / "log").read_text(encoding="utf-8").split()
    assert order == ["a", "b", "c", "c", "b", "a"] * 3
    assert seen == [(done + 1, 18, name) for done, name in enumerate(order)]


def test_every_subject_is_compared_with_each_before_it(scripted: Measure) -> None:
    series, ratios = scripted(QUICK, a={"ns": [1000, 1500]}, b={"ns": [2000, 3000]}, c={"ns": [500, 750]})
    found = [(each.of, each.to, round(each.value, 9)) for each in ratios]
    assert found == [("b", "a", 2.0), ("c", "a", 0.5), ("c", "b", 0.25)]
    assert all(each.ranked for each in ratios)
    assert [one.execution for one in series] == [{"runtime": "scripted"}] * 3
    assert series[0].medians_ms == [0.001, 0.0015] * 3
    assert series[0].memory_mib == 1.5


def test_blocks_are_taken_until_the_ratio_is_known_to_2_percent(scripted: Measure) -> None:
    spread = [1000, 1200, 900, 1100, 1000, 1001, 1000, 1000, 1000, 1002, 1000]
    series, (found,) = scripted(QUICK, a={"ns": [1000]}, b={"ns": spread})
    assert 6 < len(series[0].blocks_ns) < 60
    assert found.half_width <= 0.02


def test_a_ratio_that_never_settles_ends_at_ten_times_the_blocks(scripted: Measure) -> None:
    series, (found,) = scripted(QUICK, a={"ns": [1000]}, b={"ns": [500, 2000]})
    assert [len(one.blocks_ns) for one in series] == [60, 60]
    assert found.half_width > 0.02


def test_max_seconds_ends_it_after_the_fewest_blocks_that_give_an_interval(scripted: Measure) -> None:
    short = Schedule(warmup_runs=1, runs=1000, blocks=50, max_seconds=0.001)
    series, (found,) = scripted(short, a={"ns": [1000]}, b={"ns": [500, 2000]})
    assert [len(one.blocks_ns) for one in series] == [6, 6]
    assert found.interval == pytest.approx((0.5, 2.0))


def test_runs_per_block_fill_the_least_runs_a_steady_time_and_the_budget() -> None:
    assert Schedule(runs=1000, blocks=20).runs_per_block([1_000_000, 1_000_000]) == 50
    assert Schedule(runs=1000, blocks=20).runs_per_block([100_000, 400_000]) == 200
    assert Schedule(runs=1000, blocks=20).runs_per_block([1000, 1000]) == 500
    assert Schedule(runs=1000, blocks=20, max_seconds=60).runs_per_block([100_000_000, 200_000_000]) == 10
    assert Schedule(runs=1000, blocks=20, max_seconds=1).runs_per_block([10**9, 10**9]) == 1


def test_a_subject_that_does_not_sleep_is_refused(scripted: Measure) -> None:
    with pytest.raises(StepError, match=r"'b' used \d+% of a processor while 'a' was timed"):
        scripted(QUICK, a={"ns": [1000], "seconds": 0.05}, b={"ns": [1000], "burn": True})


def test_a_subject_that_does_not_sleep_while_loadgen_tests_another_is_refused() -> None:
    spec = {**SPEC, "samples": 1}
    with (
        Served("a", MODEL, spec) as tested,
        Served("b", MODEL, spec) as other,
        pytest.raises(StepError, match=r"loadgen: 'b' used \d+% of a processor while 'a' was tested"),
        asleep(tested, [other]),
    ):
        other.load(1, 1.0)


def test_a_subject_that_crashes_is_named_with_its_signal(scripted: Measure) -> None:
    with pytest.raises(StepError, match="the process of 'b' was killed by SIGSEGV while running the model"):
        scripted(QUICK, a={"ns": [1000]}, b={"ns": [1000], "crash": True})


def test_a_subject_that_died_asleep_is_named() -> None:
    with Subject("baseline", MODEL, SPEC) as subject:
        subject.load(1, 1.0)
        os.kill(subject.pid, signal.SIGKILL)
        with pytest.raises(StepError, match="'baseline' was killed by SIGKILL"):
            subject.block(1)


LIMITED = """
import resource
from pathlib import Path
import numpy, onnxruntime
from builder.measure.subject import Runner, main

now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (400 << 20),) * 2)
main(Runner())
"""


@pytest.mark.parametrize("batch", [10_000, 1_000_000])  # too large for the runtime, for its inputs
def test_a_batch_that_memory_does_not_hold_is_said_with_the_way_out(tmp_path: Path, batch: int) -> None:
    program = tmp_path / "limited.py"
    program.write_text(LIMITED, encoding="utf-8")

    class Limited(Subject):
        script = program

    with Limited("candidate", MODEL, {**SPEC, "batch": batch}) as subject, pytest.raises(StepError) as error:
        subject.load(1, 1.0)

    assert error.value.message == "benchmark: 'candidate': there is not enough memory to run it"
    assert error.value.hint == f"try a smaller batch than {batch:,}"


@pytest.mark.parametrize(
    ("batches", "remedy"),
    [({"batch": 64}, "a smaller batch than 64"), ({"batches": [2, 8]}, "a smaller batch than 8"), ({}, "takes memory")],
)
def test_a_subject_that_the_system_killed_may_have_had_too_large_a_batch(batches: dict[str, Any], remedy: str) -> None:
    with Subject("candidate", MODEL, {**SPEC, **batches}) as subject:
        os.kill(subject.pid, signal.SIGKILL)
        with pytest.raises(StepError, match="was killed by SIGKILL") as error:
            subject.block(1)
    assert error.value.hint.startswith("it may have run out of memory: ")
    assert remedy in error.value.hint


def test_a_file_that_is_no_model_is_a_model_error_with_the_subjects_name(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with (
        Subject("candidate", tmp_path, SPEC) as subject,
        pytest.raises(ModelError, match=r"'candidate': ONNX Runtime .* rejects the model"),
    ):
        subject.load(1, 1.0)


@pytest.mark.parametrize("after", ["", "x86_Thread_features:\t\nx86_Thread_features_locked:\t\n"])
def test_interruptions_are_read_whatever_the_kernel_says_after_them(after: str) -> None:
    assert preempted(f"voluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t12\n{after}") == 12


def test_leaving_the_block_ends_the_process() -> None:
    with Subject("candidate", MODEL, SPEC) as subject:
        subject.load(1, 1.0)
    assert not alive(subject.pid)


def test_subjects_die_with_their_parent_in_the_middle_of_a_block() -> None:
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from builder.measure.process import Subject
subject = Subject("candidate", Path({str(MODEL)!r}), {SPEC!r})
subject.load(1, 1.0)
print(subject.pid, flush=True)
subject.block(1_000_000)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        loaded = processor_ticks(pid)
        wait_for(lambda: processor_ticks(pid) > loaded + 10)  # it is in the block
        parent.kill()
    wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def wait_for(condition: Callable[[], bool], seconds: Sequence[float] = (0.01,) * 1000) -> None:
    for pause in seconds:
        if condition():
            return
        time.sleep(pause)
    pytest.fail("it did not happen in 10 seconds")
