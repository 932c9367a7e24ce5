"""`compare`: any builds on one page, with the keys in which their recipes differ."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from projects import Project, write_small
from schemas import validator
from test_report_page import cpu_int8, failed_build

from builder.__main__ import run
from builder.digest import digest_bytes
from builder.report.comparison import comparison_document
from builder.report.manifest import read_manifest, sealed
from builder.report.variants_page import render_variants

SHORT = ["+steps=benchmark", "steps.benchmark.runs=20", "steps.benchmark.blocks=6", "steps.benchmark.max_seconds=2"]
QUICK = [*SHORT, "steps.benchmark.warmup_runs=1"]
PER_CHANNEL = "steps.quantize.per_channel"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Compare = Callable[..., Said]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with builds of two recipes and a sweep, to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("compared") / "project"))
    for words in (
        ["recipe=small", *QUICK],
        ["recipe=small", "name=plain", "~steps.quantize", *QUICK, "steps.benchmark.threads=2"],
        ["-m", "recipe=small", "name=swept", *QUICK, f"{PER_CHANNEL}=true,false", "gates.max_size_mib=1,0.001"],
    ):
        assert project.run(*words).returncode in (0, 1)
    return project


@pytest.fixture
def compare(kept: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    def compare_in(*words: str, verb: str = "compare") -> Said:
        monkeypatch.chdir(kept.folder)
        return Said(run([verb, *words]), *capsys.readouterr())

    return compare_in


def only(parent: Path) -> Path:
    (found,) = parent.glob("[0-9]*")
    return found


def page_of(kept: Project, said: Said) -> Path:
    return kept.folder / said.out.split()[-1]


def test_builds_of_two_recipes_and_a_job_of_a_sweep_lie_on_one_page(kept: Project, compare: Compare) -> None:
    sweep = only(kept.folder / "outputs/sweeps").relative_to(kept.folder)
    said = compare("small", f"plain/{only(kept.folder / 'outputs/plain').name}", f"{sweep}/1")
    page = page_of(kept, said)
    document = json.loads((page.parent / "report.json").read_text())
    rows = [*csv.DictReader((page.parent / "comparison.csv").read_text().splitlines())]

    assert said.code == 0, said.err
    validator("sweep").validate(document)
    assert [row["title"].partition("@")[0] for row in document["builds"]] == ["small", "plain", f"{sweep}/1"]
    assert {"steps.quantize", "steps.benchmark.threads"} <= {*document["keys"]}
    assert [row["varies"]["steps.quantize"] for row in document["builds"]] == ["quantize", None, "quantize"]
    assert "not ranked: they were measured with 1 and 2 threads" in document["finding"]
    assert len(rows) == 3
    for row in document["builds"]:
        assert (page.parent / row["folder"] / "report.html").is_file()
        assert f'href="{row["folder"]}/report.html"' in page.read_text()


def test_only_what_differs_is_in_the_table_in_words_of_yaml(kept: Project, compare: Compare) -> None:
    sweep = only(kept.folder / "outputs/sweeps").relative_to(kept.folder)
    document = json.loads(compare(f"{sweep}/0", f"{sweep}/2", "output=json").out)

    assert document["keys"] == [PER_CHANNEL]
    assert [row["varies"] for row in document["builds"]] == [{PER_CHANNEL: "true"}, {PER_CHANNEL: "false"}]
    assert document["builds"][0]["conditions"]["threads"] == 1


def test_a_sweeps_own_document_follows_the_schema_and_says_true_as_yaml_does(kept: Project) -> None:
    folder = only(kept.folder / "outputs/sweeps")
    document = json.loads((folder / "report.json").read_text())

    validator("sweep").validate(document)
    assert [row["own"] for row in document["builds"]][1] == [f"{PER_CHANNEL}=true", "gates.max_size_mib=0.001"]
    assert [row["status"] for row in document["builds"]] == ["built", "failed"] * 2
    assert not document["builds"][1]["front"]


def test_the_same_comparison_is_written_once_and_diff_says_where(kept: Project, compare: Compare) -> None:
    first, second = compare("small", "plain"), compare("small", "plain")
    told = compare("small", "plain", verb="diff")

    assert page_of(kept, first) == page_of(kept, second) == page_of(kept, told)
    assert told.code == 1
    assert "steps.quantize" in told.out
    assert compare("small", "small", verb="diff").out.endswith("every byte of artifacts and evaluations\n")


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (("small", "plian"), "there is no build 'plian'", "did you mean 'plain'?"),
        (("small", "small@1999"), "'small' has no build '1999'", ""),
        (("small",), "compare: expected two builds or more, got 1", "python -m builder compare A B"),
        (("small", "small"), "all these words name one and the same build", "name another"),
        (("small", "outputs/sweeps"), "is not the folder of one build", ""),
        (("small", "plain", "output=yaml"), "expected text or json, got 'yaml'", ""),
        (("small", "plain", "outptu=json"), "there is no setting 'outptu'", "did you mean 'output'?"),
        (("small", "plain", "--page"), "there is no option '--page'", ""),
    ],
)
def test_a_wrong_word_is_said_with_what_there_is(
    compare: Compare, words: tuple[str, ...], says: str, hint: str
) -> None:
    said = compare(*words)

    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert hint in said.err


def test_where_nothing_is_built_the_next_command_is_said(tmp_path: Path) -> None:
    project = Project(tmp_path / "empty")
    nothing, ours = project.run("compare", "mine", "yours"), project.run("compare", "cpu_int8", "cpu_openvino")
    project.write("outputs/sweeps/2026-11-22_06-00-00/0/manifest.json", "{}")
    swept = project.run("compare", "mine", "yours")

    assert "there is no build 'mine'; nothing was built here yet" in nothing.stderr
    assert "python -m builder list shows what there is to build" in nothing.stderr
    assert "build it first: python -m builder recipe=cpu_int8" in ours.stderr
    assert "there is: outputs/sweeps/2026-11-22_06-00-00/0" in swept.stderr


def test_a_build_without_a_report_is_refused_by_compare_and_noted_by_diff(kept: Project, compare: Compare) -> None:
    report = only(kept.folder / "outputs/plain") / "report.json"
    content = report.read_bytes()
    report.unlink()
    try:
        refused, noted = compare("small", "plain"), compare("small", "plain", verb="diff")
    finally:
        report.write_bytes(content)

    assert refused.code == 1
    assert "report.json is not there or not as it was written" in refused.err
    assert noted.code == 1
    assert "no page: " in noted.err
    assert noted.out.startswith("small@")


@pytest.mark.parametrize("change", [{"schema": 2}, {"headline": None}])
def test_a_report_of_another_version_is_refused_by_compare_and_noted_by_diff(
    kept: Project, compare: Compare, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "later"
    shutil.copytree(only(kept.folder / "outputs/plain"), folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    document = {**json.loads((folder / "report.json").read_text()), **change}
    content = json.dumps({key: value for key, value in document.items() if value is not None}).encode()
    (folder / "report.json").write_bytes(content)
    manifest["pages"]["report.json"] = digest_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
    refused, noted = compare("small", str(folder)), compare("small", str(folder), verb="diff")

    assert refused.code == 1
    assert "not as it was written" in refused.err
    assert "no numbers from it" in noted.out
    assert "no page: " in noted.err


def test_a_comparison_is_shown_and_its_name_is_no_recipes(kept: Project, compare: Compare) -> None:
    page = page_of(kept, compare("small", "plain"))
    word = f"comparisons@{page.parent.name}"

    assert compare(word, "--print", verb="show").out.strip() == str(page.relative_to(kept.folder))
    assert kept.run("recipe=small", "name=comparisons").returncode == 2


def report(name: str, recipe: dict[str, Any], base: Callable[[], dict[str, Any]] = cpu_int8) -> dict[str, Any]:
    found = base()
    found["manifest"] |= {"name": name, "recipe": recipe}
    return found


def test_a_model_that_differs_is_one_key_and_a_step_that_one_lacks_too() -> None:
    one = {"name": "a", "model": {"name": "m", "path": "p", "task": "t"}, "steps": {"quantize": {"step": "q", "x": 1}}}
    two = {"name": "b", "model": {"name": "n", "url": "u"}, "steps": {}, "gates": {"max_size_mib": 2}}
    document = comparison_document([("a@1", "../a", report("a", one)), ("b@1", "../b", report("b", two))])

    assert document["builds"][0]["varies"] == {"model": "m", "steps.quantize": "q", "gates.max_size_mib": None}
    assert document["builds"][1]["varies"] == {"model": "n", "steps.quantize": None, "gates.max_size_mib": "2"}


def test_builds_of_one_recipe_say_that_nothing_in_it_differs() -> None:
    builds = [(f"a@{time}", f"../a/{time}", report("a", {"name": "a"})) for time in (1, 2)]
    document = comparison_document(builds)

    assert document["keys"] == []
    assert "Their recipes are the same in every key" in render_variants(document)


def test_a_build_that_failed_has_a_row_without_numbers() -> None:
    builds = [("a@1", "../a", report("a", {"x": 1})), ("a@2", "../b c", report("a", {"x": 2}, failed_build))]
    document = comparison_document(builds)
    html = render_variants(document)

    assert [row["accuracy"] is None for row in document["builds"]] == [False, True]
    assert "matches no node" in html
    assert 'href="../b%20c/report.html"' in html


def test_hostile_words_of_a_recipe_are_shown_and_not_run() -> None:
    hostile = "</script><script>alert(1)</script>\"'"
    document = comparison_document(
        [(hostile, hostile, report(hostile, {hostile: hostile})), ("b", "b", report("b", {hostile: 2}))]
    )
    html = render_variants(document)

    assert "<script>alert" not in html
    assert "alert(1)" in html
