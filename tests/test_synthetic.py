"""The harness of synthetic plans tells the truth: what it runs is real, and its model is not the engine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from synthetic import Spec, chains, delivered, executions, expected, identities, run, start, survivors, write_sources

from builder.outcomes import Status

DIAMOND: Spec = {
    "actions": [
        {"name": "a", "source": "a.txt"},
        {"name": "b", "inputs": ["a"], "size": 5000},
        {"name": "c", "inputs": ["a"], "text": "sea"},
        {"name": "d", "inputs": ["b", "c", "b"]},
    ]
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sources(DIAMOND, tmp_path)
    return tmp_path


def ran(folder: Path, spec: Spec) -> list[str]:
    """Return the names of the actions that ran, as often as they did, in the order of the spec."""
    words = [execution.identity for execution in executions(folder)]
    return [name for name, word in identities(spec, folder).items() for _ in range(words.count(word))]


def edited(spec: Spec, name: str, **changes: object) -> Spec:
    return {"actions": [{**action, **(changes if action["name"] == name else {})} for action in spec["actions"]]}


def test_what_is_delivered_is_what_the_model_expects(folder: Path) -> None:
    outcomes = run(DIAMOND, folder)

    assert list(outcomes) == ["a", "b", "c", "d"]
    assert {outcome.status for outcome in outcomes.values()} == {Status.BUILT}
    assert delivered(folder) == expected(DIAMOND, folder)
    assert len(delivered(folder)["b"]) == 5000


def test_every_execution_is_counted_once(folder: Path) -> None:
    run(DIAMOND, folder)
    run(DIAMOND, folder)

    assert ran(folder, DIAMOND) == ["a", "b", "c", "d"]
    assert all(execution.ended and execution.pid != os.getpid() for execution in executions(folder))


def test_an_edit_runs_what_depends_on_it_and_changes_its_bytes(folder: Path) -> None:
    run(DIAMOND, folder)
    before = delivered(folder)
    spec = edited(DIAMOND, "c", text="see")
    outcomes = run(spec, folder)

    assert [name for name, outcome in outcomes.items() if outcome.status is Status.BUILT] == ["c", "d"]
    assert delivered(folder) == expected(spec, folder)
    assert {name for name, made in delivered(folder).items() if made != before[name]} == {"c", "d"}


def test_a_comment_stops_where_it_is_made(folder: Path) -> None:
    run(DIAMOND, folder)
    outcomes = run(edited(DIAMOND, "a", comment="new"), folder)

    assert [name for name, outcome in outcomes.items() if outcome.status is Status.BUILT] == ["a"]


def test_an_edited_source_file_is_seen(folder: Path) -> None:
    run(DIAMOND, folder)
    (folder / "sources" / "a.txt").write_text("other")
    outcomes = run(DIAMOND, folder)

    assert {outcome.status for outcome in outcomes.values()} == {Status.BUILT}
    assert delivered(folder) == expected(DIAMOND, folder)


def test_an_edited_or_superfluous_delivery_is_put_right(folder: Path) -> None:
    run(DIAMOND, folder)
    (folder / "out/a/content").write_text("edited")
    spec = {"actions": DIAMOND["actions"][:3]}
    run(spec, folder)

    assert delivered(folder) == expected(spec, folder)


@pytest.mark.parametrize("word", ["fail", "crash"])
def test_a_fault_is_acted_out_until_it_is_taken_away(folder: Path, word: str) -> None:
    fault = folder / "faults" / f"sea.{word}"
    fault.parent.mkdir()
    fault.touch()
    broken = run(DIAMOND, folder)
    there = set(delivered(folder))
    fault.unlink()
    mended = run(DIAMOND, folder)

    assert {name: outcome.status.word for name, outcome in broken.items()} == {
        "a": "built", "b": "built", "c": "failed", "d": "skipped",
    }  # fmt: skip
    assert there == {"a", "b"}
    assert mended["d"].status is Status.BUILT
    assert delivered(folder) == expected(DIAMOND, folder)


def test_a_builder_process_tells_what_happens_and_leaves_nothing_running(folder: Path) -> None:
    process = start(DIAMOND, folder)
    output, errors = process.communicate(timeout=60)
    said = [json.loads(line) for line in output.splitlines()]

    assert (process.returncode, errors) == (0, "")
    assert [line["status"] for line in said if line["kind"] == "outcome"] == ["built"] * 4
    assert said[-1]["kind"] == "done"
    assert delivered(folder) == expected(DIAMOND, folder)
    assert survivors(folder) == []


def test_a_killed_builder_leaves_an_execution_without_an_end(folder: Path) -> None:
    spec = edited(DIAMOND, "b", sleep_ms=60_000)
    process = start(spec, folder)
    word = identities(spec, folder)["b"]
    deadline = time.monotonic() + 60
    while word not in [execution.identity for execution in executions(folder)] and time.monotonic() < deadline:
        time.sleep(0.02)
    working = survivors(folder)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert process.pid in working
    assert len(working) > 1, "its workers are seen too"
    assert [execution.ended for execution in executions(folder) if execution.identity == word] == [False]
    assert "b" not in delivered(folder)


def test_an_interrupted_builder_process_says_so(folder: Path) -> None:
    process = start(edited(DIAMOND, "a", sleep_ms=60_000), folder)
    deadline = time.monotonic() + 60
    while not executions(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert json.loads(output.splitlines()[-1])["kind"] == "error"
    assert survivors(folder) == []


def test_two_folders_share_a_store(tmp_path: Path) -> None:
    spec, store = chains(1, 3), tmp_path / "shared"
    for name in ("first", "second"):
        write_sources(spec, tmp_path / name)
    run(spec, tmp_path / "first", store=store)
    outcomes = run(spec, tmp_path / "second", store=store)

    assert {outcome.status for outcome in outcomes.values()} == {Status.CACHED}
    assert delivered(tmp_path / "second") == delivered(tmp_path / "first") == expected(spec, tmp_path / "first")
    assert executions(tmp_path / "second") == []
