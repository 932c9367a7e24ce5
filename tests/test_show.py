"""`show`: the page of a build, opened or named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from projects import Project, write_small

from builder.outcomes import ExitCode


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a build, one that failed after it, and a sweep: to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("built") / "project"))
    assert project.run("recipe=small").returncode == 0
    assert project.run("recipe=small", "gates.max_size_mib=0.0001").returncode == 1
    assert project.run("-m", "recipe=small", "steps.quantize.calibration.samples=16,32").returncode == 0
    return project


def builds(project: Project, name: str = "small") -> list[Path]:
    return sorted(path for path in (project.folder / "outputs" / name).iterdir() if not path.is_symlink())


def printed(project: Project, *words: str) -> Path:
    done = project.run("show", *words, "--print")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return project.folder / done.stdout.strip()


def test_without_a_word_it_is_the_newest_of_all(built: Project) -> None:
    (sweep,) = builds(built, "sweeps")

    assert printed(built) == sweep / "report.html"


def test_the_newest_is_told_also_of_builds_that_began_in_the_same_second(project: Project) -> None:
    for folder, written_at in (("small/{}", 1), ("small/{}-2", 2), ("sweeps/{}", 3)):
        page = project.folder / "outputs" / folder.format("2026-11-22_06-00-00") / "report.html"
        page.parent.mkdir(parents=True)
        page.touch()
        os.utime(page, (written_at, written_at))

    assert printed(project).parent.parent.name == "sweeps"
    assert printed(project, "small").parent.name == "2026-11-22_06-00-00-2"


def test_a_recipe_is_its_newest_build_also_one_that_failed(built: Project) -> None:
    first, second = builds(built)

    assert printed(built, "small") == second / "report.html"
    assert printed(built, "recipe=small") == second / "report.html"
    assert printed(built, "small@latest") == first / "report.html"


def test_a_build_is_also_named_by_its_time_its_folder_and_its_page(built: Project) -> None:
    first, _ = builds(built)
    (sweep,) = builds(built, "sweeps")

    for word in (
        f"small@{first.name}",
        f"small/{first.name}",
        f"outputs/small/{first.name}",
        str(first / "report.html"),
    ):
        assert printed(built, word) == first / "report.html"
    assert printed(built, "sweeps") == sweep / "report.html"
    assert printed(built, f"outputs/sweeps/{sweep.name}/1/") == sweep / "1" / "report.html"


def test_the_page_goes_to_the_browser(built: Project, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/address\n')
    browser.chmod(0o755)
    done = built.run("show", "small@latest", BROWSER=f"{browser} %s")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "address").read_text().strip() == (builds(built)[0] / "report.html").as_uri()
    assert done.stdout.startswith("opened  outputs/small/")


@pytest.mark.parametrize("environment", [{}, {"BROWSER": "/nowhere/browser"}], ids=["no display", "no such browser"])
def test_without_a_browser_it_says_where_the_page_is(built: Project, environment: dict[str, str]) -> None:
    done = built.run("show", "small", **environment)

    assert done.returncode == 0, done.stderr
    path = builds(built)[1].relative_to(built.folder) / "report.html"
    assert done.stdout == f"no browser can be opened here; the page is {path}\n"


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["smal"], "there is no build 'smal'", "did you mean 'small'?"),
        (["cpu_int8"], "there is no build 'cpu_int8'", "build it first: python -m builder recipe=cpu_int8"),
        (["small@2020-01-01_00-00-00"], "'small' has no build '2020-01-01_00-00-00'", "20"),
        (["small", "other"], "expected one build, got 2", "python -m builder show"),
        (["--prin"], "there is no option '--prin'", "did you mean '--print'?"),
    ],
)
def test_a_word_that_names_no_build_is_an_error_with_the_next_thing_to_do(
    built: Project, words: list[str], says: str, hint: str
) -> None:
    done = built.run("show", *words)

    assert done.returncode == ExitCode.USAGE
    assert says in done.stderr
    assert hint in done.stderr


def test_before_the_first_build_there_is_nothing_to_show(project: Project) -> None:
    bare, named = project.run("show"), project.run("show", "mine")

    assert (bare.returncode, named.returncode) == (ExitCode.USAGE, ExitCode.USAGE)
    assert "nothing was built here yet" in bare.stderr
    assert "there is no build 'mine'; nothing was built here yet" in named.stderr
    assert not (project.folder / "outputs").exists()


def test_a_page_that_is_gone_is_said_to_be(built: Project, project: Project) -> None:
    shutil.copytree(built.folder / "outputs/small", project.folder / "outputs/small", symlinks=True)
    for page in (project.folder / "outputs/small").glob("*/report.html"):
        page.unlink(missing_ok=True)
    done = project.run("show", "small")

    assert done.returncode == ExitCode.USAGE
    assert "the page of 'small' is gone" in done.stderr


def test_help_says_what_a_build_is(project: Project) -> None:
    done = project.run("show", "--help")

    assert done.returncode == 0
    assert "NAME@TIME" in done.stdout
