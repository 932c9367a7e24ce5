"""A lock says what a recipe is made of and which bytes that makes; `locked=true` keeps to it or names what drifted."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults import add_faulty_step, needs_root, read_only, wait_until
from projects import ROOT, Project, small_data, small_model, write_small

from builder.errors import ToolchainError
from builder.locking.document import external_names, read_lock
from builder.locking.drift import differences
from builder.locking.inputs import inputs_of
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.recipe.compose import compose
from builder.store.statcache import StatCache
from builder.toolchains.interpreter import find_interpreter

ZEROS = "0" * 64
Edit = Callable[[dict[str, Any]], object]


def lock_file(project: Project, name: str = "small") -> Path:
    return project.folder / "recipes" / "locks" / f"{name}.lock.yaml"


def edit(project: Project, change: Edit, name: str = "small") -> None:
    """Change what a lock says, as a hand or a merge would."""
    document = yaml.safe_load(lock_file(project, name).read_text(encoding="utf-8"))
    change(document)
    lock_file(project, name).write_text(yaml.safe_dump(document), encoding="utf-8")


def builds(project: Project) -> list[str]:
    return sorted(path.name for path in (project.folder / "outputs" / "small").glob("2*"))


def latest(project: Project) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((project.folder / "outputs/small/latest/manifest.json").read_text())
    return manifest


def digests(manifest: dict[str, Any]) -> dict[str, Any]:
    return {action["name"]: action["outputs"] for action in manifest["actions"]}


def sandbox(project: Project, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build with a store of its own, in which nothing is cached."""
    return project.run(*words, BUILDER_STORE=str(project.folder / "other-store"), **environment)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = write_small(Project(tmp_path_factory.mktemp("once") / "project"))
    done = project.run("lock", "recipe=small")
    assert done.returncode == 0, done.stderr
    return project.folder


@pytest.fixture
def locked(once: Path, tmp_path: Path) -> Project:
    """A project that is built and locked."""
    shutil.copytree(once, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_a_lock_names_files_toolchains_version_and_digests_and_nothing_of_this_machine(locked: Project) -> None:
    text = lock_file(locked).read_text(encoding="utf-8")
    lock, manifest = yaml.safe_load(text), latest(locked)
    actions = {action["name"]: action for action in manifest["actions"]}

    assert set(lock["inputs"]["data"]) == {"calibration", "test"}
    assert len(lock["inputs"]["model"]["sha256"]) == 64
    assert lock["builder"] == manifest["builder"]
    assert lock["settings"]["steps"]["quantize"] == {"step": "quantize", "calibration": {"samples": 16}}
    assert {name: each["reproducible"] for name, each in lock["artifacts"].items()} == {
        "model": "bitwise", "simplify": "per_cpu", "quantize": "per_cpu", "evaluate": "per_cpu",
    }  # fmt: skip
    for name, artifact in lock["artifacts"].items():
        assert artifact["outputs"] == {port: made["sha256"] for port, made in actions[name]["outputs"].items()}
        assert ("libc" in artifact) == (artifact["reproducible"] == "per_cpu")
    assert str(locked.folder) not in text
    assert manifest["created"][:10] not in text
    assert os.uname().nodename not in text


def test_two_folders_write_the_same_lock_byte_for_byte(locked: Project, make_project: Callable[[str], Project]) -> None:
    other = write_small(make_project("elsewhere"))
    done = other.run("lock", "recipe=small", "gates.max_size_mib=2", "jobs=1")

    assert done.returncode == 0, done.stderr
    assert lock_file(other).read_bytes() == lock_file(locked).read_bytes()


def test_locking_again_writes_nothing(locked: Project) -> None:
    before = lock_file(locked).stat()
    done = locked.run("lock", "recipe=small")

    assert "unchanged  recipes/locks/small.lock.yaml" in done.stdout
    assert lock_file(locked).stat().st_mtime_ns == before.st_mtime_ns


def test_a_locked_build_of_what_is_there_has_nothing_to_do(locked: Project) -> None:
    before = builds(locked)
    done = locked.run("recipe=small", "locked=true")

    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert builds(locked) == before


def test_a_locked_build_in_another_folder_and_an_empty_store_makes_the_same_bytes(
    locked: Project, make_project: Callable[[str], Project]
) -> None:
    other = write_small(make_project("elsewhere"))
    shutil.copytree(locked.folder / "recipes", other.folder / "recipes", dirs_exist_ok=True)
    done = other.run("recipe=small", "locked=true", "output=json")

    assert done.returncode == 0, done.stderr
    assert {action["status"] for action in json.loads(done.stdout)["actions"]} == {"built"}
    assert digests(latest(other)) == digests(latest(locked))


def test_json_output_is_the_lock_itself(locked: Project) -> None:
    done = locked.run("lock", "recipe=small", "output=json")
    lines = locked.run("lock", "recipe=small", "output=jsonl").stdout.splitlines()

    assert json.loads(done.stdout) == yaml.safe_load(lock_file(locked).read_text(encoding="utf-8"))
    assert json.loads(lines[-1]) == {"kind": "lock", "lock": json.loads(done.stdout)}


INPUTS: dict[str, tuple[Callable[[Project], object], tuple[str, ...], str]] = {
    "the model's bytes": (lambda p: small_model(p.folder / "models/small.onnx", seed=7), (), "model.sha256: "),
    "a data file": (lambda p: small_data(p.folder / "samples", seed=7), (), "data.test.test.npz: "),
    "an option": (lambda _: None, ("steps.quantize.per_channel=false",), "per_channel: its default in the lock, false"),
    "a nested option": (lambda _: None, ("steps.quantize.calibration.samples=17",), "samples: 16 in the lock, 17 here"),
    "a step less": (lambda _: None, ("~steps.evaluate",), "steps.evaluate: "),
    "the target": (lambda _: None, ("target.arch=aarch64",), "target.arch: its default in the lock, aarch64 here"),
    "the task": (lambda _: None, ("model.task=none",), "model.task: classification in the lock, its default here"),
    "the builder": (lambda p: edit(p, lambda lock: lock.update(builder="0.0.9")), (), "builder: 0.0.9 in the lock, "),
    "a class": (
        lambda p: edit(p, lambda lock: lock["artifacts"]["evaluate"].update(reproducible="bitwise")),
        (),
        "artifacts.evaluate.reproducible: bitwise in the lock, per_cpu here",
    ),
    "a toolchain": (
        lambda p: edit(p, lambda lock: lock["toolchains"].update(sklearn={"lock": ZEROS})),
        (),
        "toolchains.sklearn: ",
    ),
}


@pytest.mark.parametrize(("change", "words", "says"), INPUTS.values(), ids=INPUTS)
def test_an_input_that_drifted_is_named_before_anything_runs(
    locked: Project, change: Callable[[Project], object], words: tuple[str, ...], says: str
) -> None:
    change(locked)
    before = builds(locked)
    done = sandbox(locked, "recipe=small", "locked=true", *words)

    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "python -m builder lock recipe=small" in done.stderr
    assert not (locked.folder / "other-store" / "ac").exists()
    assert builds(locked) == before


def test_the_lock_of_a_toolchain_is_held_fast(project: Project) -> None:
    shutil.copytree(ROOT / "recipes" / "locks", project.folder / "recipes" / "locks")
    same = project.run("recipe=digits_pca", "locked=true", "offline=true", "output=json")
    edit(project, lambda lock: lock["toolchains"]["sklearn"].update(lock=ZEROS), "digits_pca")
    done = project.run("recipe=digits_pca", "locked=true", "offline=true")

    assert "has drifted" not in same.stderr
    assert done.returncode == 2, done.stderr
    assert "toolchains.sklearn.lock: 000000000000 in the lock, " in done.stderr


@pytest.mark.parametrize("name", [path.name.split(".")[0] for path in (ROOT / "recipes/locks").glob("*.lock.yaml")])
def test_the_locks_that_are_checked_in_are_those_of_the_recipes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe, lock = compose([f"recipe={name}"]), read_lock(name)
    assert lock is not None
    with closing(StatCache(Path(os.devnull))) as stats:
        found = differences(lock, inputs_of(recipe, graph(recipe), Facts(stats), external_names(lock)))

    assert found == [], f"python -m builder lock recipe={name}"


def test_a_file_of_tensors_beside_the_model_is_held_fast(small: Project) -> None:
    small_model(small.folder / "models/small.onnx", external="weights.bin")
    first = small.run("lock", "recipe=small")
    assert first.returncode == 0, first.stderr
    weights = small.folder / "models/weights.bin"
    weights.write_bytes(bytes(4) + weights.read_bytes()[4:])
    done = small.run("recipe=small", "locked=true")

    assert done.returncode == 2, done.stdout
    assert "model.external.weights.bin: " in done.stderr


def test_of_many_files_the_listing_is_held_fast(project: Project) -> None:
    write_small(project)
    from PIL import Image

    for index in range(120):
        folder = project.folder / "samples" / "pictures" / f"class{index % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), index).save(folder / f"{index}.png")
    project.write(
        "conf/data/small.yaml",
        "name: small\nreader: image_folder\nroot: samples\n"
        "splits:\n  calibration: {path: pictures, portion: [0, 0.5]}\n  test: {path: pictures, portion: [0.5, 1]}\n"
        "preprocess: {channels: 1, layout: NCHW}\n",
    )
    first = project.run("lock", "recipe=small")
    assert first.returncode == 0, first.stderr
    Image.new("L", (8, 8), 200).save(project.folder / "samples/pictures/class0/0.png")
    done = project.run("recipe=small", "locked=true")

    assert lock_file(project).read_text(encoding="utf-8").count(".png") == 0
    assert done.returncode == 2, done.stdout
    assert "data.test.sha256: " in done.stderr


def test_a_plan_shows_what_has_drifted_and_refuses_where_a_build_would(locked: Project) -> None:
    words = ("plan", "recipe=small", "~steps.evaluate", "steps.quantize.calibration.samples=17")
    still = locked.run("plan", "recipe=small")
    shown = locked.run(*words)
    listed = locked.run(*words, "output=json")
    off = locked.run(*words, "locked=false")
    refused = locked.run(*words, "locked=true")
    lines = [line.split(maxsplit=1)[1] for line in shown.stdout.splitlines() if line.startswith("  drift ")]

    assert (still.returncode, shown.returncode, off.returncode, refused.returncode) == (0, 0, 0, 2)
    assert "  drift " not in still.stdout + off.stdout
    assert "steps.quantize.calibration.samples: 16 in the lock, 17 here" in lines
    assert any(line.startswith("steps.evaluate") for line in lines)
    assert json.loads(listed.stdout)["drift"] == lines
    assert lines[0] in refused.stderr
    assert "recipes/locks/small.lock.yaml" in refused.stderr


def test_a_plan_goes_on_beside_a_lock_that_is_damaged(locked: Project) -> None:
    lock_file(locked).write_text("half: [\n")
    done = locked.run("plan", "recipe=small")

    assert done.returncode == 0
    assert "warning: recipes/locks/small.lock.yaml is damaged" in done.stderr


def test_gates_and_limits_are_no_drift(locked: Project) -> None:
    words = ("gates.max_size_mib=0.5", "limits.seconds=600", "jobs=1")

    assert locked.run("recipe=small", "locked=true", *words).returncode == 0


def test_bytes_that_differ_fail_the_action_and_are_not_delivered_as_latest(locked: Project) -> None:
    before = (locked.folder / "outputs/small/latest").readlink()
    edit(locked, lambda lock: lock["artifacts"]["simplify"]["outputs"].update(model=ZEROS))
    done = locked.run("recipe=small", "locked=true", "output=json")
    manifest = json.loads(done.stdout)
    actions = {action["name"]: action for action in manifest["actions"]}

    assert (done.returncode, manifest["status"]) == (1, "failed"), done.stderr
    assert [actions[name]["status"] for name in ("model", "simplify", "quantize")] == ["cached", "failed", "skipped"]
    got = digests(latest(locked))["simplify"]["model"]["sha256"][:12]
    assert f"expected {ZEROS[:12]}, got {got}" in actions["simplify"]["error"]
    assert "simplify is not what recipes/locks/small.lock.yaml says: model: " in actions["simplify"]["error"]
    assert "python -m builder lock recipe=small" in actions["simplify"]["hint"]
    assert (locked.folder / "outputs/small/latest").readlink() == before
    assert "nothing to do" in locked.run("recipe=small", "locked=false").stdout


def test_what_was_made_with_other_packages_is_told_where_bytes_differ(locked: Project) -> None:
    def change(lock: dict[str, Any]) -> None:
        lock["artifacts"]["simplify"]["outputs"]["model"] = ZEROS
        lock["toolchains"]["host"]["onnxsim"] = "0.0.1"

    edit(locked, change)
    done = locked.run("recipe=small", "locked=true")
    edit(locked, lambda lock: lock["artifacts"]["simplify"].update(outputs={"model": digest(locked, "simplify")}))

    assert done.returncode == 1
    assert "onnxsim 0.0.1 -> " in done.stdout
    assert locked.run("recipe=small", "locked=true").returncode == 0, "equal bytes are equal whatever made them"


def digest(project: Project, action: str) -> str:
    [output] = digests(latest(project))[action].values()
    return str(output["sha256"])


def test_a_step_that_is_not_bitwise_as_it_says_is_caught_in_another_store(small: Project) -> None:
    add_faulty_step(small, "import secrets; (target.parent / 'noise').write_bytes(secrets.token_bytes(8))")
    first = small.run("lock", "recipe=faulty")
    done = sandbox(small, "recipe=faulty", "locked=true")

    assert first.returncode == 0, first.stderr
    assert done.returncode == 1, done.stdout
    assert "faulty is not what recipes/locks/faulty.lock.yaml says: model: " in done.stdout


def other_processor(lock: dict[str, Any]) -> None:
    """Make a lock that of a machine with other instructions, where two steps made other bytes."""
    for name in ("simplify", "quantize", "evaluate"):
        lock["artifacts"][name]["instruction_set"] = "avx512_vnni_of_tomorrow"
    for name in ("simplify", "quantize"):
        lock["artifacts"][name]["outputs"]["model"] = ZEROS


def test_bytes_of_another_instruction_set_are_told_and_not_refused(locked: Project) -> None:
    edit(locked, other_processor)
    done = locked.run("recipe=small", "locked=true")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "simplify cannot be compared with recipes/locks/small.lock.yaml here" in done.stderr
    assert "it was made on avx512_vnni_of_tomorrow with " in done.stderr
    assert "quantize cannot be compared with recipes/locks/small.lock.yaml here: its input simplify" in done.stderr


def test_another_c_library_is_told_and_not_refused(locked: Project) -> None:
    def change(lock: dict[str, Any]) -> None:
        lock["artifacts"]["evaluate"].update(libc="glibc 1.0", outputs={"evaluation": ZEROS})

    edit(locked, change)
    done = locked.run("recipe=small", "locked=true")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "with glibc 1.0, this is " in done.stderr


def test_a_measurement_and_an_engine_have_no_digest(small: Project) -> None:
    quick = ("steps.benchmark.runs=20", "steps.benchmark.max_seconds=1", "steps.benchmark.warmup_runs=1")
    steps = ("steps=[compile,benchmark]", "steps.compile.parser=never", *quick)
    words = ("recipe=small", "target=jetson_orin", "gates.max_size_mib=null", *steps)
    done = small.run("lock", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    lock = yaml.safe_load(lock_file(small).read_text(encoding="utf-8"))

    assert lock["artifacts"]["compile"] == {"reproducible": "replayable"}
    assert lock["artifacts"]["benchmark@host"] == {"reproducible": "measured"}
    assert small.run(*words, "fresh=[benchmark]", "locked=true").returncode == 0


@pytest.mark.parametrize("value", ["true", "1", "TRUE", "yes", "woodpecker", "00"])
def test_ci_set_to_anything_holds_to_the_lock(locked: Project, value: str) -> None:
    edit(locked, lambda lock: lock.update(builder="0.0.9"))

    assert locked.run("recipe=small", CI=value).returncode == 2


@pytest.mark.parametrize("value", ["", "0", "false", "False", " "])
def test_ci_set_to_no_does_not(locked: Project, value: str) -> None:
    edit(locked, lambda lock: lock.update(builder="0.0.9"))

    assert locked.run("recipe=small", CI=value).returncode == 0


def test_locked_false_wins_over_ci(locked: Project) -> None:
    edit(locked, lambda lock: lock.update(builder="0.0.9"))

    assert locked.run("recipe=small", "steps.quantize.per_channel=false", "locked=false", CI="true").returncode == 0


def test_without_a_lock_ci_builds_and_says_how_to_write_one(small: Project) -> None:
    done = small.run("recipe=small", CI="true")

    assert done.returncode == 0, done.stderr
    assert "there is no lock of 'small'" in done.stderr
    assert "python -m builder lock recipe=small writes it" in done.stderr
    assert "lock" not in small.run("recipe=small").stderr


def test_a_lock_that_is_asked_for_and_missing_is_an_error(small: Project) -> None:
    done = small.run("recipe=small", "locked=true")

    assert done.returncode == 2
    assert "there is no lock of 'small': recipes/locks/small.lock.yaml is not there" in done.stderr
    assert "write it: python -m builder lock recipe=small" in done.stderr
    assert not (small.folder / "outputs" / "small").exists()


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "expected a mapping"),
    "cut short": (lambda text: text[: len(text) // 2], "is damaged"),
    "half a merge": (lambda text: f"<<<<<<< ours\n{text}", "is damaged"),
    "of another time": (lambda text: text.replace("schema: 1", "schema: 2"), "expected schema 1, got 2"),
    "no digest": (lambda text: text.replace("model: ", "model: nothing", 1), "64 hexadecimal digits"),
    "not text": (lambda _: "\x00", "is damaged"),
    "a list": (lambda text: text.replace("name: small", "name: [small]"), "is damaged: name: expected text"),
    "a section that is text": (
        lambda text: text.replace("  model:\n    sha256: ", "  model: "),
        "inputs.model: expected",
    ),
    "of another recipe": (lambda text: text.replace("name: small\nschema", "name: other\nschema"), "another recipe"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_lock_is_refused_and_written_anew(locked: Project, damage: Callable[[str], str], says: str) -> None:
    whole = lock_file(locked).read_text(encoding="utf-8")
    lock_file(locked).write_text(damage(whole), encoding="utf-8")
    done = locked.run("recipe=small", CI="true")

    assert done.returncode == 2, done.stdout + done.stderr
    assert "recipes/locks/small.lock.yaml" in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert locked.run("lock", "recipe=small", CI="true").returncode == 0
    assert lock_file(locked).read_text(encoding="utf-8") == whole


def test_a_sweep_holds_each_recipe_to_its_own_lock(locked: Project) -> None:
    recipe = (locked.folder / "recipes/small.yaml").read_text(encoding="utf-8")
    locked.write(
        "recipes/other.yaml", recipe.replace("samples: 16", "samples: 8").replace("name: small", "name: other")
    )
    first = locked.run("lock", "recipe=other")
    good = locked.run("-m", "recipe=small,other", "locked=true")
    edit(locked, lambda lock: lock["artifacts"]["quantize"]["outputs"].update(model=ZEROS), "other")
    bad = locked.run("-m", "recipe=small,other", "locked=true", "output=json")
    options = locked.run("-m", "recipe=small", "steps.quantize.calibration.samples=16,17", "locked=true")

    assert (first.returncode, good.returncode, bad.returncode) == (0, 0, 1), first.stderr + good.stderr + bad.stderr
    assert [manifest["status"] for manifest in json.loads(bad.stdout)] == ["built", "failed"]
    assert options.returncode == 1  # the job that keeps to its lock is built
    assert "samples: 16 in the lock, 17 here" in options.stderr
    assert "built  small: " in options.stdout


def test_lock_takes_one_recipe(small: Project) -> None:
    done = small.run("lock", "-m", "recipe=small", "steps.quantize.calibration.samples=16,17")
    asked = small.run("lock", "recipe=small", "locked=true")

    assert (done.returncode, asked.returncode) == (2, 2)
    assert "lock takes one recipe: each has a lock of its own" in done.stderr
    assert "lock writes what locked=true keeps to" in asked.stderr
    assert not lock_file(small).exists()


def test_a_build_that_breaks_a_limit_writes_no_lock(small: Project) -> None:
    done = small.run("lock", "recipe=small", "gates.max_size_mib=0.000001")

    assert done.returncode == 1
    assert "no lock is written: small failed" in done.stderr
    assert not lock_file(small).exists()


def test_an_interrupted_build_writes_no_lock(small: Project) -> None:
    running = small.folder / "running"
    add_faulty_step(small, f"Path({str(running)!r}).touch()\ntime.sleep(600)")
    process = small.start("lock", "recipe=faulty")
    wait_until(running.exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert not lock_file(small, "faulty").exists()


def test_an_input_that_is_edited_while_it_is_built_is_not_locked(small: Project) -> None:
    running = small.folder / "running"
    add_faulty_step(small, f"Path({str(running)!r}).touch()\ntime.sleep(1)")
    process = small.start("lock", "recipe=faulty")
    wait_until(running.exists)
    small_model(small.folder / "models/small.onnx", seed=7)
    _, errors = process.communicate(timeout=60)

    assert process.returncode != 0
    assert "was edited while it was built" in errors
    assert not lock_file(small, "faulty").exists()


def test_two_that_lock_at_once_leave_one_whole_lock(small: Project) -> None:
    processes = [small.start("lock", "recipe=small") for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], ended
    assert [path.name for path in lock_file(small).parent.iterdir()] == ["small.lock.yaml"]
    assert small.run("recipe=small", "locked=true").returncode == 0


def test_a_place_where_no_lock_can_be_written_is_told_before_the_build(small: Project) -> None:
    small.write("recipes/locks", "in the way")
    done = small.run("lock", "recipe=small")

    assert done.returncode == 1
    assert "recipes/locks is not a folder" in done.stderr
    assert not (small.folder / "outputs" / "small").exists()


@needs_root
def test_a_read_only_recipes_folder_is_told_before_the_build(small: Project) -> None:
    with read_only(small.folder / "recipes"):
        done = small.run("lock", "recipe=small")

    assert done.returncode == 1
    assert "no lock can be written to recipes: it is read-only" in done.stderr
    assert not (small.folder / "outputs" / "small").exists()


def test_locks_are_no_recipes(locked: Project) -> None:
    assert "locks" not in locked.run("list", "recipes").stdout
    assert "recipe/locks" not in locked.run("--help").stdout


def test_a_recipe_cannot_switch_its_lock_off(locked: Project) -> None:
    recipe = locked.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8") + "locked: false\n", encoding="utf-8")

    assert "'locked' is a setting of the machine" in locked.run("recipe=small").stderr


OTHER_PYTHONS = [each for each in ("3.11", "3.12", "3.13") if not platform.python_version().startswith(f"{each}.")]


def other_builder(version: str, project: Project, folder: Path) -> Path:
    """Install this checkout for another Python, with the packages that the project's lock was made with."""
    try:
        with closing(StatCache(Path(os.devnull))) as stats:
            python = find_interpreter(version, stats).path
    except ToolchainError as error:
        pytest.skip(error.message)
    subprocess.run([python, "-m", "venv", folder], check=True)
    lock = yaml.safe_load(lock_file(project).read_text(encoding="utf-8"))
    pins = "".join(f"{name}=={each}\n" for name, each in lock["toolchains"]["host"].items())
    (folder / "pins.txt").write_text(pins, encoding="utf-8")
    install: list[str | Path] = [folder / "bin/pip", "install", "--quiet", "--constraint", folder / "pins.txt", ROOT]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip(f"the package index cannot be reached, or has no such packages for Python {version}")
    assert done.returncode == 0, done.stderr
    return folder / "bin/python"


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_a_lock_of_one_python_holds_for_another(locked: Project, tmp_path: Path, version: str) -> None:
    python = other_builder(version, locked, tmp_path / "venv")
    other = write_small(Project(tmp_path / "elsewhere"))
    shutil.copytree(locked.folder / "recipes", other.folder / "recipes", dirs_exist_ok=True)
    command: list[str | Path] = [python, "-m", "builder", "recipe=small", "output=json"]
    environment = {**other.environment, "PYTHONPATH": "", "CI": "true"}
    runs = [
        subprocess.run(command, cwd=other.folder, env=environment, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    statuses = [{action["status"] for action in json.loads(done.stdout)["actions"]} for done in runs]

    assert [done.returncode for done in runs] == [0, 0], runs[0].stderr
    assert statuses == [{"built"}, {"cached"}]
    assert "cannot be compared" not in runs[0].stderr
    assert latest(other)["host"]["python"].startswith(f"{version}.")
    assert digests(latest(other)) == digests(latest(locked))
