"""Sweeps that Hydra's own launchers and sweepers run: the same builds as ours, on the same store."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import ROOT, Project, write_small

from builder.errors import StepError
from builder.recipe.schema import Objective
from builder.report.figures import best, figures

WORDS = ("recipe=small", "steps.quantize.calibration.method=minmax,entropy", "steps.quantize.per_channel=true,false")
METHODS = ("recipe=small", "steps.quantize.calibration.method=minmax,entropy")
LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib",),
    "submitit_local": ("hydra/launcher=submitit_local",),
    "ray": ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"),
}
LOUD = """\
from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

class Loud(Launcher):
    def setup(self, **context): pass
    def launch(self, job_overrides, initial_job_idx): raise ValueError("no machines:\\n" + "what it was given " * 999)

node = {"_target_": "hydra_plugins.loud.Loud"}
ConfigStore.instance().store(group="hydra/launcher", name="loud", node=node)
"""
LATE = """\
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore

class Late(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        super().launch(job_overrides, initial_job_idx)
        raise RuntimeError("`Study.stop` is supposed to be invoked inside an objective function or a callback.")

ConfigStore.instance().store(group="hydra/launcher", name="late", node={"_target_": "hydra_plugins.late.Late"})
"""
CLEANED = """\
import pathlib, subprocess, sys
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore

class Cleaned(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        done = super().launch(job_overrides, initial_job_idx)
        words = ["-m", "builder", "cache", "gc", "max_age_days=0", "output=json"]
        said = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout
        pathlib.Path("cleaned.json").write_text(said)
        return done

node = {"_target_": "hydra_plugins.cleaned.Cleaned"}
ConfigStore.instance().store(group="hydra/launcher", name="cleaned", node=node)
"""


def sweep(project: Project, *words: str) -> list[dict[str, Any]]:
    """Run a sweep and return the manifests of its builds, in order."""
    done = project.run("-m", *words, "output=json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def made(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each build was made of, and what it made; measurements in keys only."""
    return [
        {
            "actions": {action["name"]: (action["key"], action["inputs"]) for action in manifest["actions"]},
            "artifacts": {each["path"]: each["sha256"] for each in manifest["artifacts"]},
            "recipe": {name: value for name, value in manifest["recipe"].items() if name != "sha256"},
            "digest": manifest["recipe"].get("sha256"),
        }
        for manifest in manifests
    ]


def newest(project: Project) -> Path:
    return max((project.folder / "outputs/sweeps").iterdir())


def test_hydras_launcher_builds_what_our_own_sweep_builds(make_project: Callable[[str], Project]) -> None:
    ours, hydras = (write_small(make_project(name)) for name in ("ours", "hydras"))
    expected, found = sweep(ours, *WORDS), sweep(hydras, "hydra/launcher=basic", *WORDS)
    again = sweep(hydras, *WORDS)

    assert len(found) == 4
    assert made(found) == made(expected) == made(again)
    ran = [action["key"] for manifest in found for action in manifest["actions"] if action["status"] == "built"]
    assert len(ran) == len(set(ran))
    assert {action["status"] for manifest in again for action in manifest["actions"]} == {"cached"}


def test_the_choices_of_a_recipes_own_sweep_are_made(small: Project) -> None:
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text() + "sweep: {steps.quantize.calibration.method: [minmax, entropy]}\n")

    assert len(sweep(small, "hydra/launcher=basic", "recipe=small")) == 2


def test_a_sweep_of_hydras_lies_where_ours_do_and_is_kept_by_the_cleaning(small: Project) -> None:
    sweep(small, "hydra/launcher=basic", *METHODS)
    folder = newest(small)
    cleaned = small.run("cache", "gc", "max_age_days=0")
    again = sweep(small, *METHODS)

    assert cleaned.returncode == 0, cleaned.stderr
    assert {each.name for each in folder.iterdir()} >= {"0", "1", "report.html", "report.json", "sweep.csv"}
    assert not (folder / "jobs").exists()
    assert not (folder / "multirun.yaml").exists()
    assert small.run("show", "sweeps", "--print").stdout.strip().endswith("report.html")
    assert {action["status"] for manifest in again for action in manifest["actions"]} == {"cached"}


def test_a_cleaning_while_jobs_are_launched_takes_nothing_of_those_that_ended(small: Project) -> None:
    small.write("site/hydra_plugins/cleaned.py", CLEANED)
    small.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(small.folder / "site")])
    sweep(small, "hydra/launcher=cleaned", *METHODS)
    cleaned = json.loads((small.folder / "cleaned.json").read_text())
    again = sweep(small, *METHODS)

    assert cleaned["removed"]["results"]["count"] == 0
    assert cleaned["running"]["count"] > 0
    assert {action["status"] for manifest in again for action in manifest["actions"]} == {"cached"}


def test_a_job_that_fails_hides_no_other(small: Project) -> None:
    samples = "steps.quantize.calibration.samples=-1,100,16"
    done = small.run("-m", "hydra/launcher=basic", "recipe=small", samples)
    rows = json.loads((newest(small) / "report.json").read_text())

    assert done.returncode == 1
    assert "calibration.samples is -1; it must be at least 1" in done.stdout
    assert "split 'calibration' holds 60 samples, and 100 are asked for" in done.stderr
    assert "[2] built  recipe=small steps.quantize.calibration.samples=16" in done.stderr
    assert "[2] steps.quantize.calibration.samples=16" in done.stdout
    assert "Traceback" not in done.stderr
    assert "it must be at least 1" in json.dumps(rows)


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("-m", "hydra/launcher=rq"), "comes with the package hydra-rq-launcher", "-m pip install hydra-rq-launcher"),
        (("-m", "hydra/sweeper=ax"), "comes with the package hydra-ax-sweeper", "-m pip install hydra-ax-sweeper"),
        (("-m", "hydra/launcher=basix"), "there is no hydra/launcher 'basix'", "did you mean 'basic'?"),
        (("hydra/launcher=basic",), "this is none", "add -m"),
        (("-m", "hydra/launcher=basic", "hydra.sweep.dir=x"), "'hydra.sweep.dir=x' cannot be set", ""),
        (("objective=latency",), "there is no figure 'latency'; there is: accuracy, accuracy_drop,", "'latency_ms'?"),
        (("objective={accuracy: maximise}",), "objective.accuracy: expected minimize or maximize", "'maximize'?"),
        (("objective=[]",), "objective: expected a figure, got none", "there is: accuracy"),
    ],
)
def test_what_cannot_be_launched_is_said_in_a_sentence(
    small: Project, words: tuple[str, ...], said: str, hint: str
) -> None:
    done = small.run(*words, "recipe=small")

    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert hint in done.stderr
    assert not (small.folder / "outputs/small").exists()


def test_a_launcher_that_ends_early_is_told_in_a_sentence(small: Project) -> None:
    small.write("site/hydra_plugins/loud.py", LOUD)
    small.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(small.folder / "site")])
    done = small.run("-m", "hydra/launcher=loud", *METHODS)

    assert done.returncode == 1
    assert "ended early: ValueError: no machines: what it was given" in done.stderr
    assert len(done.stderr) < 1000


def test_what_optunas_grid_ends_with_after_its_last_trial_is_no_failure(small: Project) -> None:
    small.write("site/hydra_plugins/late.py", LATE)
    small.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(small.folder / "site")])
    done = small.run("-m", "hydra/launcher=late", "recipe=small", "~steps.quantize")

    assert done.returncode == 0, done.stderr
    assert "ended early" not in done.stderr


@pytest.mark.parametrize("value", ["accuracy", "[accuracy,latency_ms]", "{size_mib: minimize}"])
def test_an_objective_is_a_field_of_a_recipe_and_changes_no_key(small: Project, value: str) -> None:
    small.run("recipe=small")
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text() + f"objective: {value}\n")
    done = small.run("recipe=small")

    assert "nothing to do" in done.stdout, done.stderr


def test_identical_outputs_have_an_infinite_snr_which_only_a_search_for_it_alone_can_weigh(small: Project) -> None:
    done = small.run("recipe=small", "~steps.quantize", "+steps=evaluate")
    snr, size = Objective("snr_db", "maximize"), Objective("size_mib", "minimize")

    assert done.returncode == 0, done.stderr
    assert figures(small.folder / "outputs/small/latest", [snr]) == (math.inf,)
    with pytest.raises(StepError, match="the outputs are identical") as refused:
        figures(small.folder / "outputs/small/latest", [snr, size])
    assert refused.value.hint == "search for snr_db alone, or for agreement in its place"


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, math.inf]), st.sampled_from([1.0, 2.0, 3.0])), min_size=1))
def test_the_best_trials_are_those_that_no_other_one_beats(values: list[tuple[float, float]]) -> None:
    found = best(dict(enumerate(values)), [Objective("snr_db", "maximize"), Objective("size_mib", "minimize")])
    beaten = {
        number
        for number, (snr, size) in enumerate(values)
        if any(a >= snr and b <= size and (a, b) != (snr, size) for a, b in values)
    }

    assert {*found} == {*range(len(values))} - beaten
    assert [values[number][0] for number in found] == sorted((values[number][0] for number in found), reverse=True)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the packages of the extras `launchers` and `ray`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    folder = tmp_path_factory.mktemp("launchers")
    packages = [*extras["launchers"], *extras["ray"]]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the extras 'launchers' and 'ray' cannot be fetched here: {done.stderr[-300:]}")
    for name in ("hydra", "omegaconf"):  # those of this environment
        shutil.rmtree(folder / name, ignore_errors=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def plugged(small: Project, plugins: Path) -> Project:
    small.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(plugins)])
    return small


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_launcher_builds_the_same_and_shares_the_store(
    make_project: Callable[[str], Project], plugged: Project, launcher: str
) -> None:
    expected = sweep(write_small(make_project("ours")), *WORDS)
    found = sweep(plugged, *LAUNCHERS[launcher], *WORDS)
    ran = [action["key"] for manifest in found for action in manifest["actions"] if action["status"] == "built"]

    assert made(found) == made(expected)
    assert len(ran) == len(set(ran))
    assert not list(newest(plugged).glob(".submitit/*/*.pkl"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_with_each_launcher_a_job_that_fails_hides_no_other(plugged: Project, launcher: str) -> None:
    samples = "steps.quantize.calibration.samples=100,-1,16"
    done = plugged.run("-m", *LAUNCHERS[launcher], "recipe=small", samples)

    assert done.returncode == 1
    assert "it must be at least 1" in done.stdout
    assert "built  small" in done.stdout
    assert "failed  small" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("key", ["init.num_cpus", "remote.num_cpus"])
def test_what_ray_takes_is_added_with_a_plus(plugged: Project, key: str) -> None:
    done = plugged.run("-m", "hydra/launcher=ray", f"hydra.launcher.ray.{key}=2", "recipe=small")

    assert done.returncode == 2
    assert f"to add it, write +hydra.launcher.ray.{key}=" in done.stderr


@pytest.mark.slow
def test_optuna_searches_for_the_objective_of_the_recipe(plugged: Project) -> None:
    recipe = plugged.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text() + "objective: size_mib\n")
    grid = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=grid")  # in any order
    seeded = ("hydra/sweeper=optuna", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=4")  # the third one fails
    done = plugged.run("-m", *grid, "recipe=small", "steps.quantize.per_channel=true,false", "-q")
    both = plugged.run("-m", *grid, "objective=[size_mib,accuracy]", *METHODS, "-q")
    failing = plugged.run("-m", *seeded, "recipe=small", "steps.quantize.calibration.samples=100,16", "-q")
    last = plugged.run("-m", *grid, "recipe=small", "steps.quantize.calibration.samples=100,-1,16", "-q")
    unmeasured = plugged.run("-m", *grid, "objective=latency_ms", *METHODS, "-q")

    sizes = {row["per_channel"]: row["size"] for row in builds(plugged)}
    assert done.returncode == 0, done.stderr
    assert sizes["False"] < sizes["True"]
    assert "steps.quantize.per_channel=False" in best_of(done.stdout)
    assert both.returncode == 0, both.stderr
    assert len(best_of(both.stdout).split(",")) >= 2
    assert failing.returncode == 1
    assert "steps.quantize.calibration.samples=16" in best_of(failing.stdout)
    assert last.returncode == unmeasured.returncode == 1
    assert "steps.quantize.calibration.samples=16" in last.stdout.splitlines()[-1]
    assert not any(word in last.stderr + unmeasured.stderr for word in ("Traceback", "ended early"))
    assert unmeasured.stdout.count("objective: latency_ms was not measured") == 2
    assert best_of(unmeasured.stdout) == ""


def best_of(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if line.startswith("best"))


def builds(project: Project) -> list[dict[str, Any]]:
    """Return per_channel and size of each build of the first sweep."""
    folder = min((project.folder / "outputs/sweeps").iterdir())
    found = []
    for number in ("0", "1"):
        report = json.loads((folder / number / "report.json").read_text())
        [word] = [word for word in report["manifest"]["command"].split() if "per_channel" in word]
        found.append({"per_channel": word.partition("=")[2], "size": report["headline"]["size"]["candidate"]})
    return found
