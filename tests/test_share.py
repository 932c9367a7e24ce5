"""Many builders and many users on one store: every key once, nobody waits for ever, nobody is served what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import committed, kill, left_running, needs_root, wait_until, wrong_objects
from projects import Project, write_small
from synthetic import Spec, delivered, executions, expected, start, write_sources
from synthetic import __file__ as builder_program
from users import GROUP, User, open_folder

WITHOUT_LOCKS = "import fcntl; fcntl.flock = lambda *_: None; from builder.__main__ import main; main()"


def overlapping(number: int) -> Spec:
    """Return a plan of which a part is in every other one, a part in one other, and a part its own."""
    common: list[Spec] = [{"name": f"all{n}", "source": "s.txt", "sleep_ms": 20} for n in range(4)]
    pair: Spec = {"name": f"pair{number // 2}", "inputs": ["all0", "all1"], "sleep_ms": 50}
    own: Spec = {"name": f"own{number}", "inputs": ["all2", pair["name"]]}
    return {"actions": [*common, pair, own]}


def counted(*folders: Path) -> Counter[str]:
    return Counter(execution.identity for folder in folders for execution in executions(folder))


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Wait for a builder, see that it ended well, and return what it said."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.invariant(3)
@pytest.mark.invariant(4)
def test_eight_builders_on_one_cold_store_run_every_key_once(tmp_path: Path) -> None:
    plans = {tmp_path / f"{number}": overlapping(number) for number in range(8)}
    for folder, spec in plans.items():
        write_sources(spec, folder)
    builders = [start(spec, folder, "--store", str(tmp_path / "store")) for folder, spec in plans.items()]
    for builder in builders:
        finish(builder)

    assert all(delivered(folder) == expected(spec, folder) for folder, spec in plans.items())
    assert set(counted(*plans).values()) == {1}
    assert len(counted(*plans)) == 4 + 4 + 8
    assert wrong_objects(tmp_path / "store") == []


@pytest.mark.slow
@pytest.mark.invariant(4)
def test_eight_builds_of_overlapping_recipes_in_one_project_run_every_key_once(small: Project) -> None:
    recipes = [
        ("steps=[simplify]",),
        ("steps=[simplify,quantize]",),
        ("steps=[quantize,evaluate]",),
        ("steps=[simplify,quantize,evaluate]",),
        ("steps=[simplify,quantize,evaluate]",),
        ("steps=[simplify,quantize]", "steps.quantize.calibration.samples=8"),
        ("steps=[simplify,evaluate]",),
        ("steps=[simplify,quantize,evaluate]", "steps.evaluate.samples=30"),
    ]
    builders = [small.start("recipe=small", *words, "output=json") for words in recipes]
    ended = [(builder.communicate(timeout=300), builder.returncode) for builder in builders]

    assert [code for _, code in ended] == [0] * 8, [errors for (_, errors), _ in ended]
    manifests = [json.loads(output) for (output, _), _ in ended]
    built = Counter(a["key"] for manifest in manifests for a in manifest["actions"] if a["status"] == "built")
    assert set(built.values()) == {1}
    assert set(built) == {action["key"] for manifest in manifests for action in manifest["actions"]}


@pytest.mark.invariant(4)
@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped, then killed"])
def test_a_dead_lock_holder_blocks_nobody(tmp_path: Path, *, stopped: bool) -> None:
    spec: Spec = {"actions": [{"name": "slow", "sleep_ms": 3000}]}
    folders = [tmp_path / "first", tmp_path / "second"]
    holder = start(spec, folders[0], "--store", str(tmp_path / "store"))
    wait_until(lambda: executions(folders[0]))
    if stopped:
        kill(holder.pid, number=signal.SIGSTOP)
    other = start(spec, folders[1], "--store", str(tmp_path / "store"))
    assert other.stdout is not None
    said = [json.loads(other.stdout.readline()) for _ in range(2)]
    kill(holder.pid)
    holder.communicate(timeout=60)
    finish(other)

    process = f"process {holder.pid}{f', which is stopped: kill -CONT {holder.pid}' if stopped else ''}"
    assert said[1]["message"] == f"another build ({process}) is making slow; waiting for it"
    assert [execution.ended for execution in executions(folders[0])] == [False]
    assert delivered(folders[1]) == expected(spec, folders[1])
    assert left_running(tmp_path) == []


@pytest.mark.invariant(4)
def test_a_file_system_that_gives_one_lock_to_two_holders_is_refused_before_anything_runs(small: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS, "recipe=small"],
        cwd=small.folder,
        env=small.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert f"error: {small.store}/tmp: this file system gives one lock to two holders" in done.stderr
    assert "BUILDER_STORE=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small.store / "ac").exists()


class Colleague(User):
    """A user who builds plans in a store that others build in too."""

    def __init__(self, number: int, base: Path, umask: int) -> None:
        super().__init__(number, base / f"user{number}", umask)
        self._store = base / "store"

    def start(self, spec: Spec) -> subprocess.Popen[str]:
        write_sources(spec, self.folder)
        file = self.folder / "spec.json"
        file.write_text(json.dumps(spec), encoding="utf-8")
        return self.python(builder_program, str(file), str(self.folder), "--store", str(self._store))

    def build(self, spec: Spec) -> list[dict[str, Any]]:
        return finish(self.start(spec))


MakeStore = Callable[[int, int, int], tuple[Colleague, Colleague, Path]]


@pytest.fixture
def two_users() -> Iterator[MakeStore]:
    """A function from the store's mode and two umasks to two users and their store, which belongs to the first."""
    with open_folder() as base:

        def make(mode: int, first_umask: int, second_umask: int) -> tuple[Colleague, Colleague, Path]:
            users = Colleague(1, base, first_umask), Colleague(2, base, second_umask)
            (base / "store").mkdir()
            os.chown(base / "store", GROUP + 1, GROUP)
            (base / "store").chmod(mode)
            return *users, base / "store"

        yield make


def statuses(said: list[dict[str, Any]]) -> dict[str, str]:
    return {line["action"]: line["status"] for line in said if line["kind"] == "outcome"}


@needs_root
@pytest.mark.invariant(4)
@pytest.mark.parametrize("umasks", [(0o077, 0o022), (0o002, 0o077)], ids=["077 and 022", "002 and 077"])
def test_two_users_share_a_store_that_their_group_may_write(two_users: MakeStore, umasks: tuple[int, int]) -> None:
    first, second, store = two_users(0o2775, *umasks)
    builders = first.start(overlapping(0)), second.start(overlapping(1))
    for builder in builders:
        finish(builder)

    assert set(counted(first.folder, second.folder).values()) == {1}
    assert set(statuses(first.build(overlapping(1))).values()) == {"cached"}
    assert set(statuses(second.build(overlapping(0))).values()) == {"cached"}
    assert set(statuses(second.build(overlapping(2))).values()) == {"cached", "built"}
    assert delivered(second.folder) == expected(overlapping(2), second.folder)
    assert {path.stat().st_uid for path in (store / "ac").rglob("*.json")} == {GROUP + 1, GROUP + 2}


@needs_root
@pytest.mark.invariant(1)
def test_what_one_user_damaged_is_found_when_another_first_uses_it(two_users: MakeStore) -> None:
    first, second, store = two_users(0o2775, 0o022, 0o022)
    spec = overlapping(0)
    first.build(spec)
    target = store / "cas" / (digest := min(committed(store)))[:2] / digest
    before = target.stat()
    with target.open("r+b") as file:
        file.write(b"x" if file.read(1) != b"x" else b"y")
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = second.build(spec)

    assert target.stat().st_size == before.st_size
    assert [line["message"] for line in said if line["kind"] == "warning" and digest[:12] in line["message"]]
    assert list(statuses(said).values()).count("built") == 1
    assert delivered(second.folder) == expected(spec, second.folder)
    assert wrong_objects(store) == []


@needs_root
@pytest.mark.invariant(3)
def test_a_store_that_only_its_owner_may_write_serves_others_and_says_so_where_something_must_be_built(
    two_users: MakeStore,
) -> None:
    first, second, store = two_users(0o755, 0o022, 0o022)
    first.build(overlapping(0))
    served = second.build(overlapping(0))
    refused = second.start(overlapping(2))
    output, errors = refused.communicate(timeout=60)
    last = json.loads(output.splitlines()[-1])

    assert set(statuses(served).values()) == {"cached"}
    assert delivered(second.folder) == expected(overlapping(0), second.folder)
    assert (refused.returncode, errors) == (1, "")
    assert last == {
        "kind": "error",
        "message": f"cannot write to {store}: Permission denied",
        "hint": "choose another place for the store: BUILDER_STORE=/path",
    }


@needs_root
def test_a_store_that_only_its_owner_may_enter_is_one_clear_error(two_users: MakeStore) -> None:
    _, second, store = two_users(0o700, 0o022, 0o022)
    write_small(Project(second.folder))
    refused = second.python("-m", "builder", "recipe=small", BUILDER_STORE=str(store))
    output, errors = refused.communicate(timeout=60)

    assert (refused.returncode, errors) == (1, "")
    assert f"cannot read {store}/" in output
    assert "hint: choose another place for the store: BUILDER_STORE=/path" in output
