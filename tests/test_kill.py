"""Kill anything at any moment: the next build is right, and nothing that was started lives on.

`KILL_SEED=... python -m pytest -m 'slow or not slow' tests/test_kill.py` repeats the moments of an earlier run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import committed, kill, left_running, supervisors, wait_until, workers, wrong_objects
from projects import Project
from synthetic import Spec, delivered, executions, expected, identities, start, write_sources

SEED = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(10**9))
VICTIMS = ("builder", "worker", "supervisor", "builder and worker", "builder and supervisor")


def chain(tag: str) -> list[Spec]:
    return [{"name": f"{n}", "inputs": [f"{n - 1}"] if n else [], "text": f"{n}-{tag}"} for n in range(7)]


def diamonds(tag: str) -> list[Spec]:
    shape = {"a": "", "b": "a", "c": "a", "d": "bc", "e": "d", "f": "d", "g": "ef"}
    return [{"name": name, "inputs": [*inputs], "text": f"{name}-{tag}"} for name, inputs in shape.items()]


def wide(tag: str) -> list[Spec]:
    leaves = [f"w{n}" for n in range(9)]
    made: list[Spec] = [{"name": name, "text": f"{name}-{tag}"} for name in leaves]
    return [*made, {"name": "all", "inputs": leaves, "text": f"all-{tag}"}]


class Target:
    """A folder in which plans are built and killed, each plan new but for its source file."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder.resolve()
        self.random = random.Random(seed)
        self.seed = seed
        self.round = 0
        self.before: dict[str, bytes] = {}  # what the newest build that went well delivered
        (folder / "faults").mkdir(parents=True)

    def plan(self) -> Spec:
        """Return a plan that was never built; some of its actions leave a process behind that goes on writing."""
        self.round += 1
        shape = self.random.choice((chain, diamonds, wide))
        actions = shape(f"{self.seed}-{self.round}")
        for action in actions:
            action["size"] = self.random.choice((0, 3000, 300_000))
            action["sleep_ms"] = self.random.choice((0, 0, 10, 30))
            if self.random.random() < 0.3:
                (self.folder / "faults" / f"{action['text']}.writer").touch()
        actions[0]["source"] = "source.txt"
        write_sources({"actions": actions}, self.folder)
        return {"actions": actions}

    def kill_and_mend(self, victim: str) -> bool:
        """Build a plan, strike and build again; return False if the build was done before the strike."""
        spec = self.plan()
        hanging = self._let_hang(spec) if self.random.random() < 0.5 else ""
        struck = self._build_and_strike(spec, victim, hanging)
        assert left_running(self.folder) == []
        assert wrong_objects(self.folder / "store") == []
        kept = {digest[:16] for digest in committed(self.folder / "store")}
        wanted = expected(spec, self.folder)
        assert all(made in (wanted.get(name), self.before.get(name)) for name, made in delivered(self.folder).items())
        ran = len(executions(self.folder))

        again = start(spec, self.folder)
        output, errors = again.communicate(timeout=120)
        assert again.returncode == 0, output + errors
        assert delivered(self.folder) == wanted
        words = [execution.identity for execution in executions(self.folder)[ran:]]
        assert not kept & set(words), "a committed result ran again"
        assert len(words) == len(set(words)), "one key ran twice in one build"
        assert left_running(self.folder) == []
        self.before = wanted
        return struck

    def _let_hang(self, spec: Spec) -> str:
        """Make an action hang, which leaves a process behind too; return the word for it in the log of executions."""
        action = self.random.choice(spec["actions"])
        for word in ("hang", "writer"):
            (self.folder / "faults" / f"{action['text']}.{word}").touch()
        return identities(spec, self.folder)[action["name"]]

    def _build_and_strike(self, spec: Spec, victim: str, hanging: str) -> bool:
        process = start(spec, self.folder)
        try:
            worker = self._wait_for_the_moment(process, len(spec["actions"]), hanging)
            struck = strike(process, victim, worker, self.random)
            for fault in (self.folder / "faults").glob("*.hang"):
                fault.unlink()
            output, errors = process.communicate(timeout=120)
        finally:
            process.kill()
        killed = struck and "builder" in victim
        late = killed and process.returncode == 0  # it was ending by itself when the signal came
        assert late or process.returncode in ((-signal.SIGKILL,) if killed else (0, 1)), output + errors
        assert "Traceback" not in errors
        if process.returncode == 0:
            assert delivered(self.folder) == expected(spec, self.folder)
        return struck and not late

    def _wait_for_the_moment(self, process: subprocess.Popen[str], actions: int, hanging: str) -> int | None:
        """Wait for an action that hangs and return its worker; or let the builder say some lines, from none to all."""
        assert process.stdout is not None
        lines = 0 if hanging else self.random.randint(0, 3 * actions)
        for _ in range(lines):
            if not process.stdout.readline():
                break
        if hanging:
            wait_until(lambda: self._workers_of(hanging))
        time.sleep(self.random.uniform(0, 0.03 if lines or hanging else 0.25))
        return self._workers_of(hanging)[0] if hanging else None

    def _workers_of(self, identity: str) -> list[int]:
        return [execution.pid for execution in executions(self.folder) if execution.identity == identity]


def strike(process: subprocess.Popen[str], victim: str, worker: int | None, moment: random.Random) -> bool:
    """Kill what is named; return False if the builder has ended before there was such a process."""
    found: list[int] = []
    while not found and process.poll() is None and "worker" in victim:
        found = [worker] if worker else workers(process.pid)
    while not found and process.poll() is None and "supervisor" in victim:
        found = supervisors(process.pid, worker)
    struck = moment.sample(found, 1) if found else []
    if "builder" in victim:
        struck.append(process.pid)
    if not struck or process.poll() is not None:
        return False
    kill(*struck)
    return True


def campaign(folder: Path, seed: int, kills: int) -> None:
    """Kill as often as asked, each victim in its turn."""
    print(f"KILL_SEED={SEED}")
    target, done = Target(folder, seed), 0
    while done < kills:
        done += target.kill_and_mend(VICTIMS[done % len(VICTIMS)])


@pytest.mark.invariant(1)
@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
def test_after_any_kill_the_next_build_is_right(tmp_path: Path) -> None:
    campaign(tmp_path / "plan", SEED, 10)


@pytest.mark.slow
@pytest.mark.invariant(1)
@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.parametrize("part", range(9))
def test_after_180_kills_the_next_build_is_right(tmp_path: Path, part: int) -> None:
    campaign(tmp_path / "plan", SEED + 1 + part, 20)


CPU_INT8 = (
    "recipe=cpu_int8",
    "~steps.benchmark",
    "steps.quantize.calibration.samples=16",
    "steps.evaluate.samples=200",
)
LENIENT = ("~gates.max_accuracy_drop", "~gates.min_agreement")  # so few samples cannot keep a limit


@pytest.mark.slow
@pytest.mark.invariant(1)
@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
def test_after_20_kills_of_a_real_build_the_next_one_is_right(make_project: Callable[[str], Project]) -> None:
    print(f"KILL_SEED={SEED}")
    moment = random.Random(SEED)
    begun = time.monotonic()
    wanted = artifacts(manifest_of(make_project("reference")))
    seconds = time.monotonic() - begun
    done = 0
    for number in range(60):
        project = make_project(f"{number}")
        process = project.start(*CPU_INT8, *LENIENT)
        time.sleep(moment.uniform(0.1, seconds))
        done += strike(process, VICTIMS[done % len(VICTIMS)], None, moment)
        process.communicate(timeout=120)
        assert left_running(project.folder) == []
        assert wrong_objects(project.store) == []
        committed(project.store)
        kept = {path.parent.name for path in project.store.glob("ac/*/*/*.json")}

        manifest = manifest_of(project)
        assert artifacts(manifest) == wanted
        assert {action["key"] for action in manifest["actions"] if action["status"] == "built"}.isdisjoint(kept)
        check_delivered(project)
        if done == 20:
            return
    raise AssertionError(f"only {done} of 60 builds were still at work when they were struck")


def manifest_of(project: Project) -> dict[str, Any]:
    built = project.run(*CPU_INT8, *LENIENT, "output=json")
    assert built.returncode == 0, built.stdout + built.stderr
    manifest: dict[str, Any] = json.loads(built.stdout)
    return manifest


def artifacts(manifest: dict[str, Any]) -> dict[str, str]:
    return {artifact["path"]: artifact["sha256"] for artifact in manifest["artifacts"]}


def check_delivered(project: Project) -> None:
    """Every folder with a final name is whole: its artifacts are what its manifest says."""
    folders = list((project.folder / "outputs/cpu_int8").glob("[!.]*"))
    assert (project.folder / "outputs/cpu_int8/latest") in folders
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        for path, digest in artifacts(manifest).items():
            assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == digest
