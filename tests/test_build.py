"""The main job through the front door: what runs, what does not, and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import Project, write_small


def manifest(project: Project, *words: str) -> dict[str, Any]:
    done = project.run("recipe=small", "output=json", *words)
    assert done.returncode in (0, 1), done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {action["name"]: action["status"] for action in document["actions"]}


def ran(document: dict[str, Any]) -> set[str]:
    return {name for name, status in statuses(document).items() if status == "built"}


def builds(project: Project) -> list[Path]:
    folder = project.folder / "outputs" / "small"
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def test_the_first_build_makes_everything_and_the_second_nothing(small: Project) -> None:
    first = small.run("recipe=small")
    second = small.run("recipe=small")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.count("  built ") == 4
    assert "  built " not in second.stdout
    assert "nothing to do" in second.stdout
    assert len(builds(small)) == 1


def test_a_build_folder_has_everything_that_is_promised(small: Project) -> None:
    document = manifest(small)
    folder = (small.folder / "outputs/small/latest").resolve()

    assert {path.name for path in folder.iterdir()} >= {
        "manifest.json", "report.json", "report.html", "summary.md", "junit.xml", "build.log", "artifacts", ".hydra",
    }  # fmt: skip
    assert {f.name for f in (folder / ".hydra").iterdir()} == {"config.yaml", "overrides.yaml", "hydra.yaml"}
    assert [artifact["path"] for artifact in document["artifacts"]] == [
        "artifacts/simplify/model.onnx",
        "artifacts/quantize/model.onnx",
    ]
    stored = json.loads((folder / "manifest.json").read_text())
    assert len(stored.pop("digest")) == 64
    assert set(stored.pop("pages")) == {"report.json", "report.html", "summary.md", "junit.xml"}
    assert stored == document


def test_an_option_re_runs_only_what_depends_on_it_and_says_why(small: Project) -> None:
    manifest(small)
    changed = manifest(small, "steps.quantize.calibration.samples=32")
    reasons = {action["name"]: action["reason"] for action in changed["actions"]}

    assert ran(changed) == {"quantize", "evaluate"}
    assert reasons["quantize"] == "calibration.samples 16 -> 32"
    assert reasons["evaluate"] == "input changed: quantize"


def test_a_change_that_makes_the_same_bytes_stops_there(small: Project) -> None:
    small.add_steps(
        passthrough="""
from __future__ import annotations
import shutil
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    unused: int = 0

@step(options=Options, rank=30, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX})
def passthrough(options: Options, job: Job) -> Result:
    shutil.copy(job.inputs["model"] / "model.onnx", job.folder("model") / "model.onnx")
    return Result()
"""
    )
    manifest(small, "+steps=passthrough")
    again = manifest(small, "+steps=passthrough", "steps.passthrough.unused=1")

    assert ran(again) == {"passthrough"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("summary: a small network", "summary: another word"),
        ("name: small", "# a comment\nname: small"),
        ("max_size_mib: 1", "max_size_mib: 2"),
    ],
)
def test_words_and_limits_re_run_nothing(small: Project, old: str, new: str) -> None:
    manifest(small)
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text().replace(old, new))

    assert ran(manifest(small)) == set()


def test_another_name_for_an_action_re_runs_nothing(small: Project) -> None:
    manifest(small)
    recipe = small.folder / "recipes/small.yaml"
    text = recipe.read_text().replace("[simplify, quantize, evaluate]", "[simplify, evaluate]")
    text = text.replace("defaults:\n", "defaults:\n  - /steps@steps.renamed: quantize\n")
    recipe.write_text(text.replace("quantize: {calibration", "renamed: {calibration"))

    assert statuses(manifest(small)) == dict.fromkeys(["model", "simplify", "renamed", "evaluate"], "cached")


def test_a_broken_gate_fails_a_fully_cached_build_again(small: Project) -> None:
    manifest(small)
    for _ in range(2):
        done = small.run("recipe=small", "gates.max_size_mib=0.0001")
        assert done.returncode == 1
        assert "max_size_mib: the artifact has 0.00" in done.stdout
        assert "the limit is at most 0.0001" in done.stdout
        assert "  built " not in done.stdout


def test_a_failed_build_is_kept_but_is_not_the_latest(small: Project) -> None:
    manifest(small)
    latest = (small.folder / "outputs/small/latest").resolve()
    failed = manifest(small, "gates.max_size_mib=0.0001")

    assert failed["status"] == "failed"
    assert len(builds(small)) == 2
    assert (small.folder / "outputs/small/latest").resolve() == latest


def test_an_edited_artifact_is_delivered_again(small: Project) -> None:
    manifest(small)
    artifact = small.folder / "outputs/small/latest/artifacts/quantize/model.onnx"
    good = artifact.read_bytes()
    artifact.write_bytes(b"edited")
    again = small.run("recipe=small")

    assert again.returncode == 0
    assert "delivered again" in again.stderr
    assert artifact.read_bytes() == good


@pytest.mark.parametrize("name", ["report.html", "report.json", "summary.md", "junit.xml"])
def test_an_edited_page_is_written_again(small: Project, name: str) -> None:
    manifest(small)
    page = small.folder / "outputs/small/latest" / name
    good = page.read_bytes()
    page.write_bytes(b"edited")
    again = small.run("recipe=small")

    assert "delivered again" in again.stderr
    assert page.read_bytes() == good
    assert len(builds(small)) == 1


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"schema": 1, "pages": 3}', None])
def test_an_edited_manifest_is_no_reason_to_trust_its_folder(small: Project, text: str | None) -> None:
    manifest(small)
    file = small.folder / "outputs/small/latest/manifest.json"
    file.write_text(text if text is not None else file.read_text().replace('"small"', '"smell"'))
    again = small.run("recipe=small")

    assert again.returncode == 0, again.stderr
    assert "nothing to do" not in again.stdout
    assert len(builds(small)) == 2


def test_a_changed_sample_re_runs_what_reads_that_split(small: Project) -> None:
    import numpy as np

    manifest(small)
    path = small.folder / "samples/test.npz"
    arrays = dict(np.load(path))
    arrays["labels"][0] = (arrays["labels"][0] + 1) % 3
    np.savez(path, **arrays)
    changed = manifest(small)

    assert ran(changed) == {"evaluate"}
    assert next(a["reason"] for a in changed["actions"] if a["name"] == "evaluate") == "data changed: test test.npz"


def test_calibration_data_that_is_not_finite_is_refused(small: Project) -> None:
    import numpy as np

    path = small.folder / "samples/cal.npz"
    arrays = dict(np.load(path))
    arrays["samples"][3, 0, 0, 0] = np.nan
    np.savez(path, **arrays)
    done = small.run("recipe=small")

    assert done.returncode == 1
    assert "calibration: input 'image' is not finite in sample" in done.stdout


def test_the_same_model_under_another_path_re_runs_nothing(small: Project) -> None:
    manifest(small)
    shutil.move(small.folder / "models", small.folder / "elsewhere")

    assert ran(manifest(small, "model.path=elsewhere/small.onnx")) == set()


def test_two_builds_in_two_folders_and_stores_make_equal_artifacts(make_project: Callable[[str], Project]) -> None:
    first, second = write_small(make_project("one")), write_small(make_project("a-second-longer-name"))
    made = [manifest(project)["artifacts"] for project in (first, second)]

    assert len(made[0]) == 2
    assert made[0] == made[1]


@pytest.mark.slow
def test_the_jetson_recipe_makes_equal_artifacts_in_two_folders_and_stores(
    make_project: Callable[[str], Project],
) -> None:
    words = ("recipe=jetson_int8", "output=json", "~steps.benchmark")
    made = [json.loads(make_project(name).run(*words).stdout) for name in ("one", "a-second-longer-name")]

    assert [artifact["path"] for artifact in made[0]["artifacts"]] == [
        "artifacts/simplify/model.onnx",
        "artifacts/quantize/model.onnx",
    ]
    assert made[0]["artifacts"] == made[1]["artifacts"]


def test_output_json_prints_the_manifest_and_nothing_else(small: Project) -> None:
    done = small.run("recipe=small", "output=json")

    assert json.loads(done.stdout)["schema"] == 1


def test_output_jsonl_is_one_document_a_line(small: Project) -> None:
    done = small.run("recipe=small", "output=jsonl")
    documents = [json.loads(line) for line in done.stdout.splitlines()]

    assert [d["action"] for d in documents if d["kind"] == "finished"] == ["model", "simplify", "quantize", "evaluate"]
    assert documents[-1]["kind"] == "manifest"


def test_manifest_and_report_follow_their_published_schemas(small: Project) -> None:
    import jsonschema

    import builder.report

    document = manifest(small)
    schemas = Path(builder.report.__file__).parent / "schemas"
    report = json.loads((small.folder / "outputs/small/latest/report.json").read_text())
    jsonschema.validate(document, json.loads((schemas / "manifest.schema.json").read_text()))
    read = {path.name: json.loads(path.read_text()) for path in schemas.glob("*.json")}
    from referencing import Registry, Resource

    registry = Registry().with_resources(
        (document_.get("$id", name), Resource.from_contents(document_)) for name, document_ in read.items()
    )
    jsonschema.Draft202012Validator(read["report.schema.json"], registry=registry).validate(report)


def test_a_sweep_makes_each_distinct_action_once(small: Project) -> None:
    done = small.run("-m", "recipe=small", "steps.quantize.calibration.samples=8,16", "output=jsonl")
    finished = [d for d in map(json.loads, done.stdout.splitlines()) if d["kind"] == "finished"]
    built = [d["action"] for d in finished if d["status"] == "built"]
    (sweep,) = (small.folder / "outputs/sweeps").iterdir()

    assert done.returncode == 0, done.stderr
    assert sorted(built) == ["evaluate", "evaluate", "model", "quantize", "quantize", "simplify"]
    pages = {"junit.xml", "report.json", "report.html", "summary.md", "sweep.csv"}
    assert {p.name for p in sweep.iterdir()} == {"0", "1"} | pages
    assert (sweep / "1" / "manifest.json").is_file()


def test_fresh_runs_an_action_again(small: Project) -> None:
    manifest(small)

    assert ran(manifest(small, "fresh=[evaluate]")) == {"evaluate"}


def test_the_store_can_be_put_elsewhere_and_shared(make_project: Callable[[str], Project], tmp_path: Path) -> None:
    first, second = write_small(make_project("one")), write_small(make_project("two"))
    first.run("recipe=small", BUILDER_STORE=str(tmp_path / "shared"))
    again = second.run("recipe=small", BUILDER_STORE=str(tmp_path / "shared"))

    assert "  built " not in again.stdout
    assert (second.folder / "outputs/small/latest/artifacts/quantize/model.onnx").is_file()
    assert not second.store.exists()


@pytest.mark.parametrize("believed", [False, True], ids=["seen by its times", "seen when it is read"])
def test_a_damaged_object_is_told_once_and_rebuilt_and_the_output_is_right(small: Project, believed: bool) -> None:
    from builder.store.statcache import StatCache, file_state

    before = manifest(small)
    digest = before["artifacts"][1]["sha256"]
    target = small.store / "cas" / digest[:2] / digest
    target.chmod(0o644)
    target.write_bytes(b"rot" + target.read_bytes()[3:])
    if believed:
        cache = StatCache(small.folder / ".cache" / "builder")
        cache.believe(target, file_state(target), digest)
        cache.close()
        (small.folder / "outputs/small/latest/artifacts/quantize/model.onnx").unlink()  # so it is copied out again
    again = small.run("recipe=small")

    assert again.returncode == 0
    (told,) = [line for line in again.stderr.splitlines() if digest[:12] in line]
    assert "set aside" in told
    assert "  built     quantize" in again.stdout
    assert target.read_bytes()[:3] != b"rot"


def test_a_missing_object_is_told_once(small: Project) -> None:
    digest = manifest(small)["artifacts"][1]["sha256"]
    (small.store / "cas" / digest[:2] / digest).unlink()
    again = small.run("recipe=small")

    assert again.returncode == 0
    (told,) = [line for line in again.stderr.splitlines() if digest[:12] in line]
    assert f"object {digest[:12]} is missing; what made it runs again" in told
