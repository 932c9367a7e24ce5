"""What a device is given to run, and that its result is of that: each evaluation its own samples, all of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from faults import kill, left_running, wait_until
from kits import RECIPE, Device, build_kit, read_result
from projects import Project

DATA = """\
name: small
reader: npz
root: samples
splits: {calibration: {path: cal.npz}, test: {path: test.npz}, val: {path: test.npz, portion: [0.5, 1]}}
"""
TWO = RECIPE.replace(
    "  evaluate: {samples: 5}\n", "  evaluate: {samples: 5}\n  evaluate_val: {step: evaluate, split: val, samples: 4}\n"
).partition("gates:")[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("home") / "project")


@pytest.fixture(scope="module")
def kit(home: Project) -> Path:
    """The kit of the first build: other tests build again, and `latest` goes on with them."""
    return build_kit(home).resolve()


@pytest.fixture(scope="module")
def waiting(home: Project, kit: Path) -> Project:
    """A project with the recipe `kitted`, as far as it goes here."""
    assert kit.is_relative_to(home.folder.resolve())
    return home


@pytest.fixture
def two(waiting: Project, tmp_path: Path) -> Project:
    """A project of its own, whose recipe `two` has two evaluations on two splits: what is imported stays in it."""
    project = Project(Path(shutil.copytree(waiting.folder, tmp_path / "project", symlinks=True)))
    project.write("conf/data/small.yaml", DATA)
    project.write("recipes/two.yaml", TWO.replace("name: kitted", "name: two"))
    done = project.run("recipe=two")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_each_evaluation_on_a_device_runs_the_samples_of_its_own_split(two: Project, tmp_path: Path) -> None:
    device = Device(tmp_path / "d", two.folder / "outputs/two/latest/kit")
    done = device.resume()
    assert done.returncode == 0, done.stderr
    archive = next(device.folder.glob("*.result.tar"))
    _, files = read_result(archive)
    sent = {n: json.loads(files[f"{n}@tensorrt/predictions/tensors.json"]) for n in ("evaluate", "evaluate_val")}

    assert {name: (each["split"], each["samples"]) for name, each in sent.items()} == {
        "evaluate": ("test", 5),
        "evaluate_val": ("val", 4),
    }
    taken = two.run("resume", "--import", str(archive))
    assert taken.returncode == 0, taken.stderr
    measured = two.folder / "outputs/two/latest/measurements"
    for name in sent:
        judged = json.loads((measured / f"{name}@tensorrt" / "evaluation.json").read_text())
        at_home = json.loads((measured / name / "evaluation.json").read_text())
        assert judged["fidelity"]["snr_db"] == pytest.approx(at_home["fidelity"]["snr_db"], abs=0.1)


@pytest.fixture
def finished(kit: Path, tmp_path: Path) -> Device:
    device = Device(tmp_path / "d", kit)
    done = device.resume()
    assert done.returncode == 0, done.stderr
    return device


def test_an_engine_that_was_built_again_is_run_and_timed_again(finished: Device) -> None:
    engine = next(finished.folder.glob("work/*/*/compile/engine/engine.plan"))
    engine.write_bytes(b"spoilt")
    next(finished.folder.glob("*.result.tar")).unlink()

    again = finished.resume()

    assert again.returncode == 0, again.stderr
    assert "was done before" not in again.stderr
    assert "evaluate@tensorrt: runs 5 calls" in again.stderr


def test_outputs_of_an_engine_that_is_gone_are_run_again(kit: Path, tmp_path: Path) -> None:
    device = Device(tmp_path / "d", kit)
    process = device.start()
    wait_until(lambda: len(list(device.folder.glob("work/*/*/.evaluate*.calls/*.bin"))) >= 2)
    kill(process.pid)
    process.communicate(timeout=60)
    left_running(device.folder)
    next(device.folder.glob("work/*/*/compile/engine/engine.plan")).write_bytes(b"spoilt")

    again = device.resume()

    assert again.returncode == 0, again.stderr
    assert "were run before" not in again.stderr


def test_a_given_timing_cache_is_what_trtexec_begins_with(waiting: Project, tmp_path: Path) -> None:
    (waiting.folder / "times.cache").write_bytes(b"known")
    device = Device(tmp_path / "d", build_kit(waiting, "steps.compile.timing_cache=times.cache"))

    done = device.resume()

    assert done.returncode == 0, done.stderr
    _, files = read_result(next(device.folder.glob("*.result.tar")))
    assert files["compile/engine/timing.cache"] == b"knowntimes"
    assert next((device.kit / "timing_cache").iterdir()).read_bytes() == b"known"
    text = (device.kit / "COMMANDS.md").read_text()
    block = next(block for block in text.split("\n## ") if block.startswith("TensorRT 10.3 to"))
    lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
    by_hand = [line.removeprefix("trtexec ") for line in lines if line.startswith("trtexec ")]
    assert lines.index("cp kit/timing_cache/weights.cache candidate.cache") < lines.index(f"trtexec {by_hand[0]}")
    assert {*map(without_paths, by_hand)} == {*map(without_paths, device.calls)}


def without_paths(line: str) -> str:
    """Return a command line of trtexec that says nothing of where its files lie."""
    line = re.sub(r"--onnx=\S*(model|source)/model.onnx", r"--onnx=\1", line)
    line = re.sub(r"--loadInputs=\S+?:\S+", "--loadInputs", line)
    return re.sub(r"--(saveEngine|loadEngine|timingCacheFile|export\w+)=\S+", r"--\1", line)


def test_what_takes_from_a_second_compile_is_not_in_the_kit(waiting: Project) -> None:
    second = RECIPE.replace(
        "  compile: {parser: never}\n", "  compile: {parser: never}\n  other: {step: compile, parser: never}\n"
    )
    waiting.write("recipes/second.yaml", second.replace("name: kitted", "name: second").partition("gates:")[0])

    done = waiting.run("recipe=second")

    assert done.returncode == 0, done.stdout + done.stderr
    kit = json.loads((waiting.folder / "outputs/second/latest/kit/kit.json").read_text())
    names = {action["name"] for action in kit["device_actions"]}
    assert {"compile", "evaluate@tensorrt"} <= names
    assert not {"other", "evaluate@other"} & names
    ports = [action["inputs"].get("model") for action in kit["device_actions"] if action["step"] != "compile"]
    assert all(port == ["compile", "engine"] for port in ports)


ONE_OF_TWO = "the kit is for 'compile' alone: for 'other', build again without it: '~steps.compile'"


def write_two(project: Project) -> None:
    """Write a recipe that compiles twice."""
    first, other = "  compile: {parser: never}\n", "  other: {step: compile, parser: never, optimization_level: 2}\n"
    second = RECIPE.replace(first, first + other)
    project.write("recipes/two.yaml", second.replace("name: kitted", "name: two").partition("gates:")[0])


def test_of_two_engines_it_is_said_which_one_the_kit_is_for_and_how_to_get_the_other(waiting: Project) -> None:
    write_two(waiting)
    words = ONE_OF_TWO

    planned = waiting.run("plan", "recipe=two")
    done = waiting.run("recipe=two")
    other = waiting.run("recipe=two", "~steps.compile")

    assert (words in planned.stdout, words in done.stdout) == (True, True), planned.stdout + done.stdout
    assert (other.returncode, "alone" in other.stdout) == (0, False), other.stdout + other.stderr
    kit = json.loads((waiting.folder / "outputs/two/latest/kit/kit.json").read_text())
    assert "alone" not in done.stderr + other.stderr
    assert {"other", "evaluate@other", "benchmark"} == {action["name"] for action in kit["device_actions"]}


def test_when_one_of_two_engines_is_there_it_is_said_how_to_get_a_kit_for_the_other(
    waiting: Project, tmp_path: Path
) -> None:
    home = Project(Path(shutil.copytree(waiting.folder, tmp_path / "project", symlinks=True)))
    write_two(home)
    home.run("recipe=two")
    device = Device(tmp_path / "d", home.folder / "outputs/two/latest/kit")
    device.resume()

    done = home.run("resume", "--import", str(next(device.folder.glob("*.result.tar"))))

    assert (done.returncode, "kit.tar" in done.stdout) == (0, False), done.stderr
    assert "waiting for desk: other, evaluate@other" in done.stdout
    assert ONE_OF_TWO in done.stderr


@pytest.mark.parametrize("path", ["model/more.onnx", "extra.sh", "new/file"])
def test_a_file_that_a_kit_does_not_list_is_refused(kit: Path, tmp_path: Path, path: str) -> None:
    device = Device(tmp_path / "d", kit)
    (device.kit / path).parent.mkdir(exist_ok=True)
    (device.kit / path).write_text("added")

    done = device.resume()

    assert (done.returncode, device.calls) == (2, [])
    assert f"{path} in the kit is not in its list of files" in done.stderr


def inputs(waiting: Project, *words: str) -> dict[str, dict[str, str]]:
    """Return the keys of inputs by action, as the kit's manifest has them."""
    build = build_kit(waiting, *words)
    manifest = json.loads((build.parent / "manifest.json").read_text())
    return {action["name"]: {**action["inputs"], "": action["portable"]} for action in manifest["actions"]}


def test_other_samples_are_another_work_for_a_device_and_not_at_home(waiting: Project) -> None:
    five, four = inputs(waiting), inputs(waiting, "steps.evaluate.samples=4")

    assert five["benchmark"][""] != four["benchmark"][""]
    assert five["evaluate@tensorrt"][""] != four["evaluate@tensorrt"][""]
    assert five["compile"][""] == four["compile"][""]
    assert five["benchmark@host"] == four["benchmark@host"]
    assert not any("tensors" in ports for ports in (five["evaluate"], five["benchmark@host"]))
