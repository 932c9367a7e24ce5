"""Warm workers: one process serves many actions, and pays for its imports once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import Project

from builder.build import build
from builder.engine.pool import Pool
from builder.errors import Interrupted
from builder.recipe.compose import compose

STEP = """
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    text: str = ""
    leave: bool = False

@step(options=Options, rank=80, inputs={"model": Kind.ONNX}, outputs={"data": Kind.DATA})
def warm(options: Options, job: Job) -> Result:
    import os, subprocess, sys
    known = "onnx" in sys.modules
    import onnx
    if options.leave:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (job.folder("data") / "text").write_text(options.text)
    return Result(facts={"process": os.getpid(), "imported before": known})
"""


def facts(project: Project, *words: str) -> list[tuple[int, bool]]:
    uses = [word for name in "abc" for word in (f"+steps@steps.{name}=warm", f"steps.{name}.text={name}")]
    done = project.run("recipe=small", "steps=[]", "gates.max_size_mib=null", "jobs=1", "output=json", *uses, *words)
    assert done.returncode == 0, done.stderr
    actions = {action["name"]: action["facts"] for action in json.loads(done.stdout)["actions"]}
    return [(actions[name]["process"], actions[name]["imported before"]) for name in "abc"]


def test_one_worker_serves_one_action_after_another_and_imports_once(small: Project) -> None:
    small.add_steps(warm=STEP)
    found = facts(small)

    assert len({process for process, _ in found}) == 1
    assert [known for _, known in found][1:] == [True, True]


def test_a_worker_is_not_used_again_after_an_action_that_left_something_running(small: Project) -> None:
    small.add_steps(warm=STEP)
    first, second, third = facts(small, "steps.a.leave=true")

    assert first[0] != second[0]
    assert second[0] == third[0]


def test_a_worker_that_was_started_ahead_ends_with_a_build_that_is_interrupted_then(
    small: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    really = Pool.warm

    def warm_and_interrupt(pool: Pool) -> None:
        really(pool)
        started.extend(each._process.pid for each in pool._all)
        raise KeyboardInterrupt

    monkeypatch.chdir(small.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", small.environment["XDG_CACHE_HOME"])
    monkeypatch.setattr(Pool, "warm", warm_and_interrupt)

    with pytest.raises(Interrupted):
        build([compose(["recipe=small"])])

    assert len(started) == 1
    assert not Path(f"/proc/{started[0]}").exists()
