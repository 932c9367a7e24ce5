"""`verify` runs every action again from nothing, names the one whose bytes differ, and blames nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from faults import small_disk
from projects import Project, small_model, write_small
from test_sources import wheel

STEP = """
from __future__ import annotations
from dataclasses import dataclass
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    mode: str = "ok"

@step(options=Options, rank={rank}, inputs={{"model": Kind.ONNX}}, outputs={{"model": Kind.ONNX}}, {more})
def {name}(options: Options, job: Job) -> Result:
    import hashlib, os, secrets, shutil, subprocess, sys, time
    from pathlib import Path
    folder = job.folder("model")
    target = folder / "model.onnx"
    shutil.copy(job.inputs["model"] / "model.onnx", target)
{body}
    return Result()
"""
# The second of two runs is the one that finds the marker of the first.
SECOND = "marker = Path({marker!r}); again = marker.exists(); marker.touch()\n"
PERTURB = """
import onnx
model = onnx.load(target)
weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w1")
weights.raw_data = secrets.token_bytes(3) + weights.raw_data[3:]
target.write_bytes(model.SerializeToString(deterministic=True))
"""
CULPRITS = {
    "chance": "(folder / 'noise').write_bytes(bytes(100) + secrets.token_bytes(8))",
    "process": "(folder / f'pid-{os.getpid()}').touch()",
    "address": "(folder / 'order').write_text(str([id(each) for each in {object() for _ in range(9)}]))",
    "place": "(folder / 'place').write_text(hashlib.sha256(str(job.output).encode()).hexdigest())",
    "weights": PERTURB,
    "clock": "(folder / 'made').write_text(f'made at {int(time.time()) // 2}')",  # as coarse as a zip archive's
}
OTHERS = {
    "honest": "(folder / 'notes').write_text('as before')",
    "timed": "(folder / 'latency').write_text(str(time.perf_counter_ns()))",
    "half": "(folder / 'noise').write_bytes(secrets.token_bytes(8)); return Result(deferred='no such device')",
}
CLASSES = {"timed": "MEASURED", "half": "REPLAYABLE"}


def step(name: str, body: str, *, rank: int = 30, more: str = "") -> str:
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return STEP.format(name=name, body=indented, rank=rank, more=more)


def scratch(project: Project) -> Path:
    """Make a folder where `verify` puts its second copy, so that what is left there can be seen."""
    folder = project.folder / "scratch"
    folder.mkdir(exist_ok=True)
    project.environment["TMPDIR"] = str(folder)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: files by digest, links by where they lead."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()) if path.is_symlink() else sha256(path.read_bytes()).hexdigest()
        )
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def judged(done: subprocess.CompletedProcess[str]) -> Mapping[str, dict[str, Any]]:
    return {action["name"]: action for action in json.loads(done.stdout)["actions"]}


def test_what_can_be_had_again_verifies_as_equal_and_leaves_everything_as_it_was(small: Project) -> None:
    folder = scratch(small)
    small.run("recipe=small")
    before = contents(small.folder / "outputs")
    done = small.run("verify", "recipe=small")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["equal", name] for name in ("model", "simplify", "quantize", "evaluate")
    ]
    assert lines[-1] == "equal  small: 4 equal"
    assert contents(small.folder / "outputs") == before
    assert list(folder.iterdir()) == []


def test_what_has_no_result_yet_is_built_first_whatever_its_gates_say(small: Project) -> None:
    small.add_steps(plain=step("plain", "pass"))
    words = ("recipe=small", "steps=[plain]", "gates.max_size_mib=0.000001")
    done = small.run("verify", *words, "output=jsonl")
    again = small.run(*words, "output=json")
    documents = [json.loads(line) for line in done.stdout.splitlines()]

    assert (done.returncode, again.returncode) == (0, 1), done.stderr
    assert {"started", "finished"} <= {document["kind"] for document in documents}
    assert documents[-1]["kind"] == "verification"
    assert documents[-1]["verification"]["verdict"] == "equal"
    assert documents[-1]["verification"]["first_built"] == ["model", "plain"]
    assert {action["status"] for action in json.loads(again.stdout)["actions"]} == {"cached"}


@pytest.fixture(scope="module")
def culprits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a chain of steps, most of which write what nobody can have again."""
    project = write_small(Project(tmp_path_factory.mktemp("culprits")))
    bodies = {
        **CULPRITS,
        **OTHERS,
        "timed": f"{OTHERS['timed']}; open({str(project.folder / 'runs')!r}, 'a').write('x')",
    }
    project.add_steps(
        **{
            name: step(name, body, rank=30 + index, more=f"reproducible=Reproducible.{CLASSES.get(name, 'BITWISE')}")
            for index, (name, body) in enumerate(bodies.items())
        }
    )
    return project


@pytest.fixture(scope="module")
def report(culprits: Project) -> subprocess.CompletedProcess[str]:
    return culprits.run(*words(), "output=json", f"keep={culprits.folder / 'kept'}")


def words() -> tuple[str, ...]:
    return "verify", "recipe=small", f"steps=[{','.join((*CULPRITS, *OTHERS))}]"


def test_each_step_that_is_not_reproducible_is_named_and_no_other(report: subprocess.CompletedProcess[str]) -> None:
    verdicts = {name: action["verdict"] for name, action in judged(report).items()}

    assert report.returncode == 1
    assert {name: verdicts[name] for name in CULPRITS} == dict.fromkeys(CULPRITS, "differs")
    assert (verdicts["model"], verdicts["honest"]) == ("equal", "equal")


def test_a_measurement_is_not_taken_again(report: subprocess.CompletedProcess[str], culprits: Project) -> None:
    verdict = judged(report)["timed"]

    assert verdict["verdict"] == "not judged"
    assert "measurement" in verdict["reason"]
    assert (culprits.folder / "runs").read_text() == "x"


def test_the_portable_part_of_what_is_deferred_is_judged(report: subprocess.CompletedProcess[str]) -> None:
    verdict = judged(report)["half"]

    assert verdict["verdict"] == "differs"
    assert [found["path"] for found in verdict["differences"]] == ["model/noise"]


@pytest.mark.parametrize(
    ("name", "path", "offset", "most"),
    [
        ("clock", "model/made", range(8, 18), 10),
        ("chance", "model/noise", range(100, 108), 8),
        ("address", "model/order", range(200), 400),
        ("place", "model/place", range(64), 64),
    ],
)
def test_the_file_and_the_bytes_that_differ_are_named(
    report: subprocess.CompletedProcess[str], culprits: Project, name: str, path: str, offset: range, most: int
) -> None:
    (found,) = judged(report)[name]["differences"]
    first, second = ((culprits.folder / "kept" / name / when / path).read_bytes() for when in ("first", "second"))

    assert found["path"] == path
    assert found["offset"] in offset
    assert first[: found["offset"]] == second[: found["offset"]]
    assert first[found["offset"]] != second[found["offset"]]
    assert 0 < found["differing_bytes"] <= most
    assert found["first"] == {"sha256": sha256(first).hexdigest(), "bytes": len(first)}
    assert found["second"] == {"sha256": sha256(second).hexdigest(), "bytes": len(second)}


def test_a_file_that_one_run_did_not_write_is_named(report: subprocess.CompletedProcess[str]) -> None:
    first, second = sorted(judged(report)["process"]["differences"], key=lambda found: found["first"] is None)

    assert first["path"].startswith("model/pid-")
    assert (first["second"], second["first"]) == (None, None)
    assert first["path"] != second["path"]


def test_what_differs_inside_a_model_is_named(report: subprocess.CompletedProcess[str]) -> None:
    (found,) = judged(report)["weights"]["differences"]

    assert found["path"] == "model/model.onnx"
    assert [(each["part"], each["name"]) for each in found["graph"]] == [("initializer", "w1")]
    assert found["graph"][0]["what"].startswith("1 of 72 values differ, by at most ")


def test_both_copies_are_kept_only_where_they_are_asked_for_and_differ(
    report: subprocess.CompletedProcess[str], culprits: Project
) -> None:
    kept = culprits.folder / "kept"

    assert json.loads(report.stdout)["kept"] == str(kept)
    assert {path.name for path in kept.iterdir()} == {*CULPRITS, "half"}
    assert {path.name for path in (kept / "clock").iterdir()} == {"first", "second"}


def test_people_are_told_what_differs_and_what_to_do(culprits: Project, report: object) -> None:
    folder = scratch(culprits)
    done = culprits.run(*words())
    text = done.stdout

    assert done.returncode == 1
    assert "model/noise: " in text
    assert "bytes differ, the first at offset 10" in text
    assert "initializer w1: 1 of 72 values differ" in text
    assert "keep=DIR" in text
    assert text.splitlines()[-1] == "differs  small: 2 equal, 7 differs, 1 not judged"
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What `verify` says where the model comes from a package that is gone, and goes to a device that is not here."""
    project = write_small(Project(tmp_path_factory.mktemp("elsewhere")))
    file = small_model(project.folder / "elsewhere/model.onnx")
    archive = wheel(project.folder / "wheels", file)
    project.environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(archive.parent))
    project.write(
        "conf/model/small.yaml",
        "name: small\ntask: classification\n"
        "wheel: {name: tiny-model, version: '1.0', member: tiny_model/data/model.onnx}\n"
        f"sha256: {sha256(file.read_bytes()).hexdigest()}\n",
    )
    words = ("recipe=small", "target=jetson_orin", "steps=[plain,compile]")
    project.add_steps(plain=step("plain", "pass"))
    project.run(*words)
    archive.unlink()
    return project.run("verify", *words, "offline=true", "output=json")


def test_what_was_fetched_is_judged_by_its_declared_sha256_without_the_network(
    elsewhere: subprocess.CompletedProcess[str],
) -> None:
    verdicts = judged(elsewhere)

    assert elsewhere.returncode == 0, elsewhere.stderr
    assert (verdicts["model"]["verdict"], verdicts["plain"]["verdict"]) == ("equal", "equal")
    assert "declared" in verdicts["model"]["reason"]


def test_what_waits_for_the_target_is_not_judged_and_its_reason_is_said(
    elsewhere: subprocess.CompletedProcess[str],
) -> None:
    verdict = judged(elsewhere)["compile"]

    assert verdict["verdict"] == "not judged"
    assert "without an NVIDIA GPU" in verdict["reason"]


def test_an_action_that_fails_the_second_time_fails_the_verification(small: Project) -> None:
    folder = scratch(small)
    marker = SECOND.format(marker=str(small.folder / "marker"))
    small.add_steps(
        moody=step("moody", f"{marker}\nif again: print('the last words'); raise RuntimeError('not again')")
    )
    small.run("recipe=small", "steps=[moody]")
    before = contents(small.folder / "outputs")
    done = small.run("verify", "recipe=small", "steps=[moody]")

    assert done.returncode == 1
    assert "failed the second time: RuntimeError: not again" in done.stdout
    assert "the last words" in done.stdout
    assert done.stdout.splitlines()[-1] == "failed  small: 1 equal, 1 failed"
    assert contents(small.folder / "outputs") == before
    assert list(folder.iterdir()) == []


def test_an_action_that_fails_the_first_time_fails_the_verification(small: Project) -> None:
    small.add_steps(broken=step("broken", "raise RuntimeError('no luck')"))
    done = small.run("verify", "recipe=small", "steps=[broken,quantize]", "output=json")
    verdicts = judged(done)

    assert done.returncode == 1
    assert {name: each["verdict"] for name, each in verdicts.items()} == {
        "model": "equal", "broken": "failed", "quantize": "not judged",
    }  # fmt: skip


def test_an_edit_between_the_two_runs_is_no_difference_but_said(small: Project) -> None:
    sample = f"Path({str(small.folder / 'samples/test.npz')!r})"
    once = f"{sample}.stat().st_size == 6 or {sample}.write_bytes(b'edited')"  # the second runs go side by side
    small.add_steps(
        reader=step("reader", "pass", more="splits=lambda options: ('test',)"),
        editor=step("editor", once, rank=31),
    )
    done = small.run("verify", "recipe=small", "steps=[reader,editor]", "output=json")
    verdicts = judged(done)

    assert done.returncode == 1
    assert (verdicts["reader"]["verdict"], verdicts["editor"]["verdict"]) == ("failed", "equal")
    assert "was changed between the two runs: data changed: test test.npz" in verdicts["reader"]["reason"]


def test_rot_that_only_reading_finds_is_no_difference_but_said_and_repaired(small: Project) -> None:
    from builder.store.statcache import StatCache, file_state

    small.add_steps(plain=step("plain", "pass"))
    first = json.loads(small.run("recipe=small", "steps=[plain]", "output=json").stdout)
    source = first["actions"][0]["outputs"]["model"]["sha256"]
    tree = json.loads((small.store / "cas" / source[:2] / source).read_text())
    digest = tree["files"][0]["sha256"]
    target = small.store / "cas" / digest[:2] / digest
    target.chmod(0o644)
    target.write_bytes(b"rot" + target.read_bytes()[3:])
    cache = StatCache(small.folder / ".cache" / "builder")
    cache.believe(target, file_state(target), digest)
    cache.close()
    done = small.run("verify", "recipe=small", "steps=[plain]")
    again = small.run("verify", "recipe=small", "steps=[plain]")

    assert done.returncode == 1
    assert f"object {digest[:12]} is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert again.returncode == 0, again.stderr


def test_a_second_copy_that_finds_no_room_says_where_to_put_it(small: Project) -> None:
    small.add_steps(plain=step("plain", "pass"))
    small.run("recipe=small", "steps=[plain]")
    with small_disk(small.folder / "disk", 64) as folder:
        small.environment["TMPDIR"] = str(folder)
        done = small.run("verify", "recipe=small", "steps=[plain]")
        left = list(folder.iterdir())

    assert done.returncode == 1
    assert f"no room left on the disk of {folder}" in done.stderr
    assert "TMPDIR=/path" in done.stderr
    assert "Traceback" not in done.stderr
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_second_run_leaves_nothing_behind(small: Project, number: signal.Signals) -> None:
    folder, running, word = scratch(small), small.folder / "running", f"asleep-{os.getpid()}-{number.name}"
    marker = SECOND.format(marker=str(small.folder / "marker"))
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {word!r}])"
    small.add_steps(slow=step("slow", f"{marker}if again: {child}; Path({str(running)!r}).touch(); time.sleep(600)"))
    small.run("recipe=small", "steps=[slow]")
    before = contents(small.folder / "outputs")
    process = small.start("verify", "recipe=small", "steps=[slow]")
    wait_for(running)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list(folder.iterdir()) == []
    assert contents(small.folder / "outputs") == before
    assert not any(word.encode() in command for command in commands())


def wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def commands() -> list[bytes]:
    """Return the command line of every process that lives."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["recipe=smal"], "did you mean 'small'?"),
        (["recipe=small", "keep=samples"], "name a folder that is not there yet"),
        (["-m", "recipe=small"], "verify has no option '-m'"),
    ],
)
def test_a_wrong_command_is_told_before_anything_runs(small: Project, extra: list[str], says: str) -> None:
    done = small.run("verify", *extra)

    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert not (small.folder / "outputs").exists()
