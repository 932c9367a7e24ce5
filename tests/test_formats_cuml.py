"""What RAPIDS cuML would fit: with scikit-learn where there is no GPU, and never under the same key."""

from __future__ import annotations

from pathlib import Path

import pytest
from exports import exporting, toolchain_store
from projects import Project

from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.plan.keys import key_parts
from builder.recipe.compose import compose
from builder.runtimes import tensorrt
from builder.store.statcache import StatCache


def parts(folder: Path, recipe: str) -> dict[str, object]:
    """Return the key's parts of the export of a recipe, asked for anew."""
    export = next(action for action in graph(compose([f"recipe={recipe}"])) if action.name == "model")
    return key_parts(export, {}, Facts(StatCache(folder / "stats.sqlite")))


def test_what_a_gpu_has_fitted_has_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "_NODES", ())
    without = {name: parts(tmp_path, name) for name in ("digits_cuml", "digits_pca")}
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100, 9.0, 580.65'\n")
    driver.chmod(0o755)
    monkeypatch.setattr(tensorrt, "_NODES", (str(driver),))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with_gpu = {name: parts(tmp_path, name) for name in without}
    gpu = {"name": "NVIDIA H100", "compute_capability": "9.0", "driver": "580.65"}
    found = with_gpu["digits_cuml"].pop("device")

    assert without["digits_cuml"].pop("device") is None
    assert isinstance(found, dict)
    assert gpu.items() <= found.items()
    assert with_gpu["digits_cuml"] == without["digits_cuml"]
    assert with_gpu["digits_pca"] == without["digits_pca"]


def test_the_recipe_alone_says_which_toolchain_it_runs_in(project: Project) -> None:
    small, large = (project.run("plan", "recipe=digits_cuml", *words) for words in ((), ("model.toolchain=cuml",)))

    assert (small.returncode, large.returncode) == (0, 0), small.stderr + large.stderr
    assert "toolchain.sklearn" in small.stdout
    assert "toolchain.cuml" in large.stdout


@pytest.mark.formats
def test_without_a_gpu_scikit_learn_fits_it_and_the_build_says_so(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if tensorrt.find_gpu() is not None:
        pytest.skip("there is an NVIDIA GPU here")
    done = exporting(project, toolchain_store(tmp_path_factory, "sklearn")).run("recipe=digits_cuml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "(no NVIDIA GPU here: cuML was not used)" in done.stdout
    assert "labels 474 of 474 equal" in done.stdout
