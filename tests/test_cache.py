"""`cache`: sizes that add up, a cleaning that takes nothing anybody needs, a verification that finds every damage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from faults import committed, needs_root, read_only, wait_until, wrong_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from projects import Project, write_small

from builder.__main__ import run
from builder.outcomes import ExitCode
from builder.store import gc
from builder.store.locks import Lock
from builder.store.roots import add_root
from builder.store.statcache import StatCache, file_state
from builder.store.store import Store

ONE_STEP = ("recipe=small", "steps=[simplify]")
KINDS = ("memory", "object", "delivered")
DAY_S = 24 * 60 * 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose recipe `small` is built. Tests work on copies of it."""
    project = write_small(Project(tmp_path_factory.mktemp("cache") / "finished"))
    done = project.run("recipe=small")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def built(finished: Project, tmp_path: Path) -> Project:
    return copied(finished, tmp_path / "built")


def copied(finished: Project, folder: Path) -> Project:
    """Return a copy of a project that knows its newest build by its new place."""
    shutil.copytree(finished.folder, folder, symlinks=True)
    project = Project(folder)
    shutil.rmtree(project.store / "roots")
    add_root(project.store, latest(project), [action["key"] for action in manifest(project)["actions"]])
    return project


def latest(project: Project) -> Path:
    return project.folder / "outputs" / "small" / "latest"


def manifest(project: Project) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((latest(project) / "manifest.json").read_text())
    return document


@contextlib.contextmanager
def inside(project: Project) -> Iterator[None]:
    with contextlib.chdir(project.folder), patch.dict(os.environ, project.environment):
        yield


@pytest.fixture
def cache(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run `cache ... output=json` in this process; return its exit code and the document."""

    def ask(project: Project, *words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        with inside(project):
            code = run(["cache", *words, "output=json"])
        return code, json.loads(capsys.readouterr().out)

    return ask


def objects(project: Project) -> list[Path]:
    return sorted(path for path in (project.store / "cas").rglob("*") if path.is_file())


def results(project: Project) -> list[Path]:
    return sorted((project.store / "ac").rglob("*.json"))


def model_of(project: Project, action: str) -> tuple[Path, Path]:
    """Return an action's model in the store, and as it was delivered."""
    entry = next(entry for entry in manifest(project)["artifacts"] if entry["action"] == action)
    return project.store / "cas" / entry["sha256"][:2] / entry["sha256"], latest(project) / entry["path"]


def deliverables(project: Project) -> dict[str, bytes]:
    folder = latest(project)
    places = [path for name in ("artifacts", "measurements") for path in (folder / name).rglob("*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in places if path.is_file()}


def assert_right(project: Project, finished: Project) -> None:
    """The next build is right, whatever it had to make again, and leaves a store in which all is well."""
    done = project.run("recipe=small")

    assert done.returncode == 0, done.stderr
    assert deliverables(project) == deliverables(finished)
    assert wrong_objects(project.store) == []
    assert committed(project.store) >= {entry["sha256"] for entry in manifest(project)["artifacts"]}


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def flipped(content: bytes, where: int = 0) -> bytes:
    changed = bytearray(content)
    changed[where % len(changed)] ^= 0xFF
    return bytes(changed)


def use_long_ago(project: Project, days: float, keys: Iterator[str] | list[str]) -> None:
    for key in keys:
        moment = time.time() - days * DAY_S
        os.utime(project.store / "ac" / key[:2] / key, (moment, moment))


# Sizes


def test_sizes_are_those_of_the_files(built: Project, cache: Any) -> None:
    code, found = cache(built)

    assert code == ExitCode.OK
    assert found["objects"] == {
        "count": len(objects(built)),
        "bytes": sum(path.stat().st_size for path in objects(built)),
    }
    assert found["results"]["count"] == len(results(built)) == 4
    assert found["newest_needs"] == found["objects"]
    assert [root["folder"] for root in found["newest"]] == [str(latest(built).resolve())]
    assert found["free_bytes"] > 0


def test_a_store_that_is_not_there_holds_nothing_and_is_not_made(
    project: Project, cache: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    size, cleaned, verified = cache(project), cache(project, "gc", "max_size_gib=0"), cache(project, "verify")
    with inside(project):
        run(["cache"])

    assert [size[0], cleaned[0], verified[0]] == [ExitCode.OK] * 3
    assert size[1]["total_bytes"] == verified[1]["objects"]["count"] == 0
    assert capsys.readouterr().out == "there is no store in outputs/store yet: the first build makes it\n"
    assert not project.store.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clean"], "there is no 'clean'"),
        (["gcc"], "did you mean 'gc'?"),
        (["gc", "max_size_gb=1"], "did you mean 'max_size_gib'?"),
        (["gc", "max_size_gib=much"], "expected a number of GiB, 0 or more, got 'much'"),
        (["gc", "max_age_days=-1"], "expected a number of days, 0 or more, got '-1'"),
        (["gc", "dry_run=perhaps"], "expected true or false, got 'perhaps'"),
        (["gc", "verify"], "nothing says what 'verify' is"),
        (["verify", "dry_run=true"], "only 'gc' has a setting 'dry_run'"),
        (["output=yaml"], "expected text or json, got 'yaml'"),
        (["store=nowhere"], "there is no store"),
        (["gc", "store=conf"], "is not a store: it was not made by a build"),
    ],
)
def test_a_wrong_command_is_refused_and_says_what_is_right(
    built: Project, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with inside(built):
        code = run(["cache", *words])

    assert code == ExitCode.USAGE
    assert message in capsys.readouterr().err


# The cleaning


def test_what_newest_builds_of_projects_that_share_a_store_need_stays_and_all_else_goes(
    built: Project, make_project: Callable[[str], Project], cache: Any
) -> None:
    other = write_small(make_project("other"))
    other.environment["BUILDER_STORE"] = str(built.store)
    assert other.run(*ONE_STEP, "steps.simplify.checks=1").returncode == 0
    assert built.run(*ONE_STEP, "steps.simplify.checks=2").returncode == 0
    before = len(results(built))
    code, done = cache(built, "gc", "max_size_gib=0")

    assert code == ExitCode.OK
    assert before - len(results(built)) == done["removed"]["results"]["count"] == 3
    assert done["newest"]["count"] == 3
    assert {root["folder"] for root in done["roots"]} == {str(latest(each).resolve()) for each in (built, other)}
    assert "nothing to do" in other.run(*ONE_STEP, "steps.simplify.checks=1").stdout
    assert "nothing to do" in built.run(*ONE_STEP, "steps.simplify.checks=2").stdout


def test_the_newest_sweep_keeps_what_its_builds_need(built: Project, cache: Any) -> None:
    shutil.rmtree(built.folder / "outputs" / "small")
    assert built.run("-m", *ONE_STEP, "steps.simplify.checks=1,2").returncode == 0
    jobs = (built.folder / "outputs" / "sweeps").glob("*/*/manifest.json")
    needed = {action["key"] for job in jobs for action in json.loads(job.read_text())["actions"]}
    cache(built, "gc", "max_size_gib=0")

    assert {path.parent.name for path in results(built)} == needed
    assert len(needed) == 3


def test_by_age_what_was_not_used_for_long_goes_unless_a_newest_build_needs_it(built: Project, cache: Any) -> None:
    needed, old, new = (path.parent.name for path in results(built)[:3])
    add_root(built.store, latest(built), [needed])
    use_long_ago(built, 10, [needed, old])
    kept, removed = cache(built, "gc", "max_age_days=11"), cache(built, "gc", "max_age_days=9")

    assert kept[1]["removed"]["results"]["count"] == 0
    assert removed[1]["removed"]["results"]["count"] == 1
    assert old not in {path.parent.name for path in results(built)} >= {needed, new}


def test_by_size_the_least_recently_used_goes_first_and_no_more_than_must(built: Project, cache: Any) -> None:
    keys = [path.parent.name for path in results(built)]
    for days, key in enumerate(keys):
        use_long_ago(built, days + 1, [key])
    shutil.rmtree(built.folder / "outputs" / "small")
    whole = cache(built, "gc")[1]["left_bytes"]
    code, done = cache(built, "gc", f"max_size_gib={(whole - 1) / 2**30}")

    assert code == ExitCode.OK
    assert [path.parent.name for path in results(built)] == sorted(keys[:-1])
    assert done["removed"]["roots"]["count"] == 0
    assert done["left_bytes"] < whole


def test_after_everything_went_the_next_build_is_right(built: Project, finished: Project, cache: Any) -> None:
    shutil.rmtree(built.folder / "outputs" / "small")
    done = cache(built, "gc", "max_size_gib=0")[1]

    assert objects(built) == results(built) == []
    assert done["removed"]["roots"]["count"] == 1
    assert_right(built, finished)


def test_without_limits_only_what_nothing_can_use_goes(built: Project, cache: Any) -> None:
    before = {path: path.read_bytes() for path in (*objects(built), *results(built))}
    gone = "ab" * 32
    useless = {
        "objects": built.store / "cas" / "ab" / gone,
        "logs": built.store / "logs" / "ab" / f"{gone}.log",
        "locks": built.store / "locks" / "ab" / gone,
        "set_aside": built.store / "bad" / "damaged-123456",
        "unfinished": built.store / "tmp" / f"{int(time.time()) - 7200}-0123456789ab" / "output",
    }
    for path in useless.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"useless")
    os.utime(useless["unfinished"].parent, (0, 0))
    code, done = cache(built, "gc")

    assert code == ExitCode.OK
    assert {kind: amount["count"] for kind, amount in done["removed"].items() if amount["count"]} == dict.fromkeys(
        useless, 1
    )
    assert not any(path.exists() for path in useless.values())
    assert {path: path.read_bytes() for path in (*objects(built), *results(built))} == before


def test_a_dry_run_says_the_same_and_removes_nothing(built: Project, cache: Any) -> None:
    shutil.rmtree(built.folder / "outputs" / "small")
    before = sorted(path for path in built.store.rglob("*") if path.suffix in ("", ".json"))
    said = cache(built, "gc", "max_size_gib=0", "dry_run=true")[1]

    assert sorted(path for path in built.store.rglob("*") if path.suffix in ("", ".json")) == before
    assert cache(built, "gc", "max_size_gib=0")[1]["removed"] == said["removed"]
    assert said["removed"]["results"]["count"] == 4


def test_a_lock_that_is_held_stays(built: Project, cache: Any) -> None:
    held = Lock(built.store / "locks" / "ab" / ("ab" * 32))
    (built.store / "locks" / "ab").mkdir(exist_ok=True)
    assert held.acquire()
    cache(built, "gc")
    other = Lock(built.store / "locks" / "ab" / ("ab" * 32))

    assert not other.acquire()
    held.release()


WAITING = """
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    gate: str = ""

@step(options=Options, rank=30, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX})
def waiting(options: Options, job: Job) -> Result:
    import os, shutil, time
    shutil.copy(job.inputs["model"] / "model.onnx", job.folder("model") / "model.onnx")
    open(options.gate + ".reached", "w").close()
    while not os.path.exists(options.gate):
        time.sleep(0.01)
    return Result()
"""


@pytest.mark.invariant(4)
def test_what_a_running_build_looked_up_and_made_stays_until_it_ends(built: Project, cache: Any) -> None:
    built.add_steps(waiting=WAITING)
    gate = built.folder / "gate"
    words = ("recipe=small", "steps=[simplify,waiting]", f"steps.waiting.gate={gate}")
    shutil.rmtree(built.folder / "outputs" / "small")
    use_long_ago(built, 10, [path.parent.name for path in results(built)])
    running = built.start(*words)
    wait_until(Path(f"{gate}.reached").exists)
    code, done = cache(built, "gc", "max_size_gib=0")
    gate.touch()
    out, err = running.communicate(timeout=60)

    assert code == ExitCode.OK
    assert done["running"]["count"] == 2  # the model and simplify, which it looked up
    assert done["removed"]["results"]["count"] == 2  # quantize and evaluate, which nobody asked for
    assert running.returncode == 0, err
    assert "warning" not in err
    assert " built     waiting" in out


@pytest.mark.invariant(4)
def test_what_a_build_only_looks_up_stays_until_it_has_delivered_it(built: Project, cache: Any) -> None:
    shutil.rmtree(built.folder / "outputs" / "small")
    (built.store / "locks" / "builds").touch()
    with inside(built), contextlib.closing(StatCache()) as stats, Store(built.store, stats, print).using():
        meanwhile = cache(built, "gc", "max_size_gib=0")[1]
    afterwards = cache(built, "gc", "max_size_gib=0")[1]

    assert (meanwhile["running"]["count"], meanwhile["removed"]["results"]["count"]) == (4, 0)
    assert (afterwards["running"]["count"], afterwards["removed"]["results"]["count"]) == (0, 4)


@pytest.mark.invariant(4)
def test_a_result_that_a_build_looks_up_while_it_is_about_to_go_stays(built: Project, cache: Any) -> None:
    shutil.rmtree(built.folder / "outputs" / "small")
    wanted = results(built)[0].parent
    use_long_ago(built, 10, [path.parent.name for path in results(built)])
    choose = gc._choose

    def looked_up_in_between(*marked: Any) -> Any:
        choice = choose(*marked)
        os.utime(wanted)
        return choice

    with patch.object(gc, "_choose", looked_up_in_between):
        done = cache(built, "gc", "max_size_gib=0")[1]

    assert [path.parent for path in results(built)] == [wanted]
    assert (done["running"]["count"], done["removed"]["results"]["count"]) == (1, 3)
    assert committed(built.store)


# The verification


def damage(fault: str, project: Project) -> None:
    target, _ = model_of(project, "quantize")
    other, _ = model_of(project, "simplify")
    if fault == "flip":
        rewrite(target, flipped(target.read_bytes(), 1000))
    elif fault == "truncate":
        rewrite(target, target.read_bytes()[:-1])
    elif fault == "delete":
        target.unlink()
    elif fault == "swap":
        one, two = target.read_bytes(), other.read_bytes()
        rewrite(target, two)
        rewrite(other, one)
    elif fault == "folder":
        target.unlink()
        target.mkdir()
        (target / "inside").touch()
    elif fault == "link":
        target.unlink()
        target.symlink_to(other)
    elif fault == "listing":
        digest = manifest(project)["actions"][-1]["outputs"]["evaluation"]["sha256"]
        rewrite(project.store / "cas" / digest[:2] / digest, b"{}")


@pytest.mark.invariant(1)
@pytest.mark.parametrize("fault", ["flip", "truncate", "delete", "swap", "folder", "link", "listing"])
def test_a_damaged_object_is_taken_back_from_what_was_delivered(built: Project, cache: Any, fault: str) -> None:
    damage(fault, built)
    code, found = cache(built, "verify")

    assert code == ExitCode.OK
    assert len(found["findings"]) == (2 if fault == "swap" else 1)
    assert all("taken back from" in finding["repair"] for finding in found["findings"])
    assert wrong_objects(built.store) == []
    assert cache(built, "verify")[1]["findings"] == []


@pytest.mark.invariant(1)
def test_what_cannot_be_had_back_is_named_with_the_command_that_makes_it_again(
    built: Project, finished: Project, cache: Any
) -> None:
    in_store, delivered = model_of(built, "quantize")
    rewrite(in_store, flipped(in_store.read_bytes()))
    rewrite(delivered, flipped(delivered.read_bytes()))
    code, found = cache(built, "verify")
    remaining = [finding for finding in found["findings"] if not finding["repair"]]

    assert code == ExitCode.FAILED
    assert {finding["kind"] for finding in remaining} == {"result", "delivered"}
    assert any("quantize of small" in finding["problem"] for finding in remaining)
    assert not any(Path(finding["path"]).exists() for finding in remaining if finding["kind"] == "result")
    assert all(finding["next"] == "python -m builder recipe=small" for finding in remaining)
    assert [path.name.split("-")[0] for path in (built.store / "bad").iterdir() if ".json" not in path.name] == [
        in_store.name
    ]
    assert_right(built, finished)
    assert cache(built, "verify")[0] == ExitCode.OK


def test_a_damaged_result_is_set_aside_and_named(built: Project, finished: Project, cache: Any) -> None:
    key = manifest(built)["actions"][1]["key"]
    (record,) = (built.store / "ac" / key[:2] / key).iterdir()
    rewrite(record, record.read_bytes().replace(b"created", b"Created"))
    code, found = cache(built, "verify")

    assert code == ExitCode.FAILED
    assert [(each["kind"], each["problem"]) for each in found["findings"]] == [
        ("result", "simplify of small: it is not as it was written")
    ]
    assert not record.exists()
    assert_right(built, finished)


@pytest.mark.invariant(3)
def test_delivered_files_that_were_edited_are_delivered_again(built: Project, finished: Project, cache: Any) -> None:
    _, model = model_of(built, "quantize")
    rewrite(model, flipped(model.read_bytes()))
    evaluation = latest(built) / "measurements" / "evaluate" / "evaluation.json"
    evaluation.unlink()
    pages = [latest(built) / name for name in ("report.html", "summary.md", "junit.xml")]
    before = [page.read_bytes() for page in pages]
    for page in pages:
        page.write_bytes(b"<p>all is well</p>")
    code, found = cache(built, "verify")

    assert code == ExitCode.OK
    assert [each["repair"] for each in found["findings"]] == ["delivered again"] * 5
    assert deliverables(built) == deliverables(finished)
    assert [page.read_bytes() for page in pages] == before


def test_a_page_or_manifest_that_cannot_be_written_again_is_named(built: Project, cache: Any) -> None:
    (latest(built) / "report.json").write_text("{}")
    pages = cache(built, "verify")
    (latest(built) / "manifest.json").write_text("{}")
    manifests = cache(built, "verify")

    for (code, found), name in ((pages, "report.json"), (manifests, "manifest.json")):
        assert code == ExitCode.FAILED
        assert [Path(each["path"]).name for each in found["findings"]] == [name]
        assert found["findings"][0]["next"] == "python -m builder recipe=small"


def test_nothing_is_written_through_a_link_that_leads_out_of_a_delivered_folder(
    built: Project, tmp_path: Path, cache: Any
) -> None:
    folder = latest(built) / "artifacts" / "quantize"
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    code, _ = cache(built, "verify")

    assert code == ExitCode.FAILED
    assert list((tmp_path / "elsewhere").iterdir()) == []


def believe(project: Project, path: Path, digest: str) -> None:
    """Make this machine remember a file as it is now under a digest: as if the rot had left even ctime alone."""
    with contextlib.closing(StatCache(project.folder / ".cache" / "builder")) as stats:
        stats.believe(path, file_state(path), digest)


@pytest.mark.invariant(1, 3)
def test_rot_that_leaves_even_ctime_alone_is_found_in_store_and_outputs(
    built: Project, finished: Project, cache: Any
) -> None:
    in_store, delivered = model_of(built, "quantize")[0], model_of(built, "simplify")[1].resolve()
    source = built.folder / "models" / "small.onnx"
    for path in (in_store, delivered):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rewrite(path, flipped(path.read_bytes()))
        believe(built, path, digest)
    believe(built, source, "ab" * 32)
    code, found = cache(built, "verify")
    repaired = {kind: {each["path"] for each in found["findings"] if each["kind"] == kind} for kind in KINDS}

    assert code == ExitCode.OK
    assert repaired["memory"] == {str(in_store), str(delivered), str(source)}
    assert (repaired["object"], repaired["delivered"]) == ({str(in_store)}, {str(delivered)})
    assert "nothing to do" in built.run("recipe=small").stdout
    assert deliverables(built) == deliverables(finished)


def test_a_damaged_database_is_found_and_made_anew(built: Project, finished: Project, cache: Any) -> None:
    file = built.folder / ".cache" / "builder" / "files.sqlite"
    file.write_bytes(b"garbage" * 1000)
    code, found = cache(built, "verify")

    assert code == ExitCode.OK
    assert [(each["kind"], each["repair"]) for each in found["findings"]] == [("memory", "made anew")]
    assert_right(built, finished)


def test_what_does_not_belong_into_a_store_is_set_aside(built: Project, cache: Any) -> None:
    (built.store / "cas" / "notes.txt").touch()
    (built.store / "cas" / "ab").mkdir(exist_ok=True)
    (built.store / "cas" / "ab" / ("cd" * 32)).touch()
    os.mkfifo(results(built)[0].with_name("pipe.json"))
    code, found = cache(built, "verify")

    assert code == ExitCode.OK
    assert [each["kind"] for each in found["findings"]] == ["stray"] * 3
    assert cache(built, "verify")[1]["findings"] == []


def test_while_a_root_is_damaged_nothing_is_removed(
    built: Project, cache: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (root,) = (built.store / "roots").iterdir()
    rewrite(root, flipped(root.read_bytes(), 30))
    with inside(built):
        refused = run(["cache", "gc", "max_size_gib=0"])
    said = capsys.readouterr().err
    code, found = cache(built, "verify")

    assert refused == ExitCode.FAILED
    assert "python -m builder cache verify" in said
    assert len(results(built)) == 4
    assert (code, found["findings"][0]["kind"]) == (ExitCode.OK, "root")
    assert "nothing to do" in built.run("recipe=small").stdout
    assert root.exists()


def test_a_build_that_has_nothing_to_do_leaves_its_root_alone(built: Project) -> None:
    (root,) = (built.store / "roots").iterdir()
    before = root.stat()
    built.run("recipe=small")

    assert [path.stat().st_ino for path in (built.store / "roots").iterdir()] == [before.st_ino]
    assert root.stat().st_mtime_ns == before.st_mtime_ns


@needs_root
def test_a_store_that_can_only_be_read_is_measured_and_judged_but_not_touched(built: Project, cache: Any) -> None:
    damage("flip", built)
    before = {path: path.stat().st_mtime_ns for path in built.store.rglob("*")}
    with read_only(built.store):
        size, verified = cache(built), cache(built, "verify")

    assert size[0] == ExitCode.OK
    assert verified[0] == ExitCode.FAILED
    assert verified[1]["read_only"]
    assert [each["repair"] for each in verified[1]["findings"]] == ["", ""]
    assert {path: path.stat().st_mtime_ns for path in built.store.rglob("*")} == before


def test_people_are_told_what_was_wrong_and_what_to_do(built: Project) -> None:
    damage("flip", built)
    lines = built.run("cache", "verify").stdout.splitlines()

    assert lines[0].startswith("repaired  object    outputs/store/cas/")
    assert lines[1].strip().startswith("taken back from outputs/small/")
    assert lines[-1] == "repaired  outputs/store: 1 repaired, 0 remaining"
    assert built.run("cache", "gc").stdout.splitlines()[-1].endswith("results: needed by the newest build")


FAULTS = st.sampled_from(["flip", "cut", "empty", "remove", "folder", "copy of another"])


@pytest.mark.slow
@pytest.mark.invariant(1, 3)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(st.tuples(st.integers(0, 10_000), FAULTS, st.integers(0, 10_000)), min_size=1, max_size=4))
def test_whatever_is_damaged_after_a_verification_the_next_build_is_right(
    finished: Project, tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[int, str, int]]
) -> None:
    project = copied(finished, tmp_path_factory.mktemp("any") / "project")
    for which, fault, where in damages:
        folders = [project.store / name for name in ("cas", "ac", "roots")]
        files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        spoil(files[which % len(files)], files[where % len(files)], fault, where)
    first = project.run("cache", "verify", "output=json")
    assert first.returncode in (ExitCode.OK, ExitCode.FAILED), first.stderr
    lost = json.loads(first.stdout)["remaining"]

    assert first.returncode == (ExitCode.FAILED if lost else ExitCode.OK)
    assert_right(project, finished)
    assert project.run("cache", "verify").returncode == 0
    shutil.rmtree(project.folder)


def spoil(path: Path, other: Path, fault: str, where: int) -> None:
    content = path.read_bytes()
    if fault == "flip" and content:
        rewrite(path, flipped(content, where))
    elif fault == "cut":
        rewrite(path, content[: where % (len(content) + 1)])
    elif fault == "empty":
        rewrite(path, b"")
    elif fault == "copy of another":
        rewrite(path, other.read_bytes())
    else:
        path.unlink()
        if fault == "folder":
            path.mkdir()


@pytest.mark.slow
@pytest.mark.invariant(4)
def test_builds_and_cleanings_at_the_same_time_do_not_disturb_each_other(
    finished: Project, tmp_path: Path, make_project: Callable[[str], Project]
) -> None:
    """A builder repairs itself if an object vanishes, with a warning; that it never has to is what is shown here."""
    store = tmp_path / "store"
    builders = []
    for name in ("one", "two"):
        project = write_small(make_project(name))
        project.environment["BUILDER_STORE"] = str(store)
        builders.append(project)
    cleaner = Project(tmp_path / "cleaner")
    cleaner.environment["BUILDER_STORE"] = str(store)
    cleanings = removed = 0
    for round_ in range(8):
        shutil.rmtree(store / "roots", ignore_errors=True)
        for path in (*(store / "ac").glob("*/*"), *(store / "cas").glob("*/*")):
            os.utime(path, (0, 0))
        running = [
            project.start("recipe=small", f"steps.quantize.calibration.samples={4 * (1 + (round_ + index) % 2)}")
            for index, project in enumerate(builders)
        ]
        while any(process.poll() is None for process in running):
            done = cleaner.run("cache", "gc", "max_size_gib=0", "output=json")
            assert (done.returncode, done.stderr) == (0, "")
            removed += json.loads(done.stdout)["removed"]["results"]["count"]
            cleanings += 1
        for process in running:
            _, err = process.communicate()
            assert process.returncode == 0, err
            assert "warning" not in err, err
    assert cleanings >= 8
    assert removed > 0
    assert wrong_objects(store) == []
    assert committed(store)
    assert cleaner.run("cache", "verify").returncode == 0
