"""`diff`: what differs between two builds and why, from the option to the bytes, and builds named in every way."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from projects import Project, small_model, write_small

from builder.__main__ import run
from builder.diff.changes import changes
from builder.diff.graphs import graph_change
from builder.diff.numbers import Number, measuring_notes, number_changes
from builder.diff.words import arrow, number_arrow
from builder.digest import canonical, digest_bytes, digest_json
from builder.onnxtools import bytewise
from builder.plan.why import Reason, Why, in_words

QUANTIZED = "artifacts/quantize/model.onnx"
SAMPLES = "steps.quantize.calibration.samples"


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


Diff = Callable[..., Said]


def build(project: Project, *words: str, code: int = 0) -> Path:
    done = project.run("recipe=small", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return folders(project)[-1]


def folders(project: Project) -> list[Path]:
    """Return the folders of a project's builds, the oldest first."""
    found = [path for path in (project.folder / "outputs/small").iterdir() if not path.is_symlink()]
    return sorted(found, key=lambda path: (path.name[:19], int(path.name[20:] or 1)))


def reseal(folder: Path, **changed: Any) -> None:
    """Change a manifest as a build elsewhere would have written it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("digest")
    manifest.update(changed)
    text = json.dumps({**manifest, "digest": digest_json("builder.manifest.v1", manifest)})
    (folder / "manifest.json").write_text(text)


def manifest_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return document


def action_of(folder: Path, name: str) -> dict[str, Any]:
    return next(action for action in manifest_of(folder)["actions"] if action["name"] == name)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with three builds, not to be changed: as it is, with more samples (latest), with a broken limit."""
    project = write_small(Project(tmp_path_factory.mktemp("kept") / "project"))
    build(project)
    build(project, f"{SAMPLES}=32")
    build(project, "steps.quantize.exclude.op_types=[Gemm]", "gates.max_size_mib=0.001", code=1)
    return project


@pytest.fixture
def own(kept: Project, tmp_path: Path) -> Project:
    """A copy of that project, to be changed."""
    shutil.copytree(kept.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def diff(kept: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Diff:
    """Run `diff` in the folder of `kept`, or of another project."""
    monkeypatch.delenv("BUILDER_STORE", raising=False)

    def diff_in(*words: str, at: Project | Path = kept) -> Said:
        monkeypatch.chdir(at.folder if isinstance(at, Project) else at)
        code = run(["diff", *words])
        return Said(code, *capsys.readouterr())

    return diff_in


def test_a_name_alone_compares_the_newest_good_build_with_the_one_before(kept: Project, diff: Diff) -> None:
    old, new, failed = folders(kept)
    said = diff("small")

    assert said.code == 1
    assert said.out.startswith(f"small@{old.name} -> small@{new.name}\nrecipe\n")
    assert f"small@{failed.name}" not in said.out


def test_a_change_is_told_from_the_option_to_the_numbers(diff: Diff) -> None:
    said = diff("small", "output=json").json

    assert said["recipe"] == [{"name": SAMPLES, "how": "changed", "old": 16, "new": 32}]
    assert [(action["name"], action["how"]) for action in said["actions"]] == [
        ("quantize", "changed"),
        ("evaluate", "changed"),
    ]
    assert [file["path"] for file in said["files"]] == [QUANTIZED]
    assert said["files"][0]["graph"]["weights"]["changed"] > 0
    assert "snr" in {number["name"] for number in said["numbers"]}
    assert (said["same_actions"], said["same_artifacts"], said["equal"]) == (2, 1, False)


def test_reasons_are_the_words_that_the_build_gave(kept: Project, diff: Diff) -> None:
    new = folders(kept)[1]
    for action in diff("small", "output=json").json["actions"]:
        why = [Why(Reason(each["reason"]), each["detail"]) for each in action["why"]]

        assert in_words(why) == action_of(new, action["name"])["reason"]


def test_the_text_says_what_the_document_says(diff: Diff) -> None:
    out = diff("small").out

    assert f"  changed   {SAMPLES}  16 -> 32\n" in out
    assert "calibration.samples 16 -> 32\n" in out
    assert "input changed: quantize\n" in out
    assert "\nthe same: 2 actions, 1 artifact\n" in out
    assert [line for line in out.splitlines() if not line.startswith(" ")][1:6] == [
        "recipe", "actions", "bytes", "graph", "numbers",
    ]  # fmt: skip


def test_differing_bytes_are_counted_from_the_first(kept: Project, diff: Diff) -> None:
    before, after = ((folder / QUANTIZED).read_bytes() for folder in folders(kept)[:2])
    wrong = [offset for offset, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    (file,) = diff("small", "output=json").json["files"]

    assert file["bytes"] == {"offset": wrong[0], "count": len(wrong), "sizes": [len(before), len(after)]}
    assert [file[side]["sha256"] for side in ("old", "new")] == [digest_bytes(before), digest_bytes(after)]


def test_a_failed_build_differs_in_status_gates_and_operators(kept: Project, diff: Diff) -> None:
    said = diff("small", str(folders(kept)[2]))

    assert said.code == 1
    assert "  changed   gates.max_size_mib  1 -> 0.001\n" in said.out
    assert "  changed   max_size_mib.status  passed -> failed\n" in said.out
    assert "  changed   QuantizeLinear  6 -> 5\n" in said.out
    assert "\ndiffers  built -> failed, 2 actions, 1 artifact\n" in said.out


def test_a_build_equals_itself(diff: Diff) -> None:
    said = diff("small", "small@latest")

    assert said.code == 0
    assert said.out.splitlines()[1:] == [
        "the same: 4 actions, 2 artifacts",
        "equal  every status, and every byte of artifacts and evaluations",
    ]


def test_cached_is_as_good_as_built_and_words_make_no_difference(own: Project, diff: Diff) -> None:
    build(own, "summary=told otherwise")
    said = diff(str(folders(own)[0]), "small", "output=json", at=own)

    assert (said.code, said.json["equal"], said.json["same_actions"]) == (0, True, 4)
    assert [change["name"] for change in said.json["recipe"]] == ["summary"]


def test_another_name_for_an_action_is_no_other_result(own: Project, diff: Diff) -> None:
    recipe = own.folder / "recipes/small.yaml"
    text = recipe.read_text().replace("[simplify, quantize, evaluate]", "[simplify, evaluate]")
    text = text.replace("defaults:\n", "defaults:\n  - /steps@steps.renamed: quantize\n")
    recipe.write_text(text.replace("quantize: {calibration", "renamed: {calibration"))
    build(own)
    said = diff(str(folders(own)[0]), "small", at=own)

    assert said.code == 0, said.out
    assert "  renamed   renamed           was quantize\n" in said.out
    assert "\nthe same: 3 actions, 2 artifacts\n" in said.out


def test_another_name_and_another_version_of_a_tool_may_make_the_same_bytes(own: Project, diff: Diff) -> None:
    actions = manifest_of(folders(own)[0])["actions"]
    actions[1].update(name="first", key="0" * 64, toolchain={**actions[1]["toolchain"], "onnxsim": "0.1"})
    actions[2]["sources"] = {"model": "first"}
    artifacts = manifest_of(folders(own)[0])["artifacts"]
    artifacts[0].update(action="first", path="artifacts/first/model.onnx")
    other = elsewhere(own, actions=actions, artifacts=artifacts)
    (own.folder / other / "artifacts" / "simplify").rename(own.folder / other / "artifacts" / "first")
    said = diff(other, str(folders(own)[0]), at=own)

    assert said.code == 0, said.out
    assert "  was first; " in said.out
    assert "  changed   onnxsim  0.1 -> " in said.out
    assert "it made the same bytes" in said.out
    assert "\nthe same: 3 actions, 2 artifacts\n" in said.out


def test_an_action_more_is_another_result(own: Project, diff: Diff) -> None:
    build(own, "~steps.evaluate")
    said = diff(str(folders(own)[0]), "small", at=own)

    assert said.code == 1
    assert "  removed   evaluate\n" in said.out
    assert "  removed   evaluate: top1  33.33 %\n" in said.out


def test_an_action_that_failed_once_made_no_other_bytes(own: Project, diff: Diff) -> None:
    actions = manifest_of(folders(own)[0])["actions"]
    actions[1].update(status="failed", outputs={}, error="it was stopped")
    said = diff(elsewhere(own, actions=actions), str(folders(own)[0]), at=own)

    assert said.code == 1
    assert "  changed   simplify          failed -> built\n" in said.out
    assert "it was stopped\n" in said.out


def test_an_action_that_has_no_key_is_compared_by_its_options_alone(own: Project, diff: Diff) -> None:
    actions = manifest_of(folders(own)[0])["actions"]
    actions[2].update(status="deferred", key=None, inputs={}, outputs={}, toolchain={})
    said = diff(str(folders(own)[1]), elsewhere(own, actions=actions), at=own)

    assert said.code == 1
    line = next(line for line in said.out.splitlines() if line.startswith("  changed   quantize"))
    assert line.endswith("-> no key  built -> deferred; calibration.samples 32 -> 16")


def test_a_failed_action_is_shown_with_its_error(own: Project, diff: Diff) -> None:
    (own.folder / "samples/test.npz").write_bytes(b"no archive")
    failed = build(own, code=1)
    said = diff(str(folders(own)[0]), str(failed), at=own)

    assert said.code == 1
    assert "built -> failed" in said.out
    assert action_of(failed, "evaluate")["error"] in said.out
    assert f"the store has no record of it in small@{failed.name}" in said.out


def test_external_data_is_found_behind_equal_keys(own: Project, diff: Diff) -> None:
    small_model(own.folder / "models/small.onnx", external="weights.bin")
    build(own, "steps=[simplify]")
    weights = own.folder / "models/weights.bin"
    weights.write_bytes(bytes(8) + weights.read_bytes()[8:])
    build(own, "steps=[simplify]")
    said = diff("small", "output=json", at=own).json

    assert said["actions"][0]["old_key"] == said["actions"][0]["new_key"]
    assert said["actions"][0]["why"] == [{"reason": "external data changed", "detail": "weights.bin"}]
    assert said["actions"][1]["why"] == [{"reason": "input changed", "detail": "model"}]


def elsewhere(project: Project, **changed: Any) -> str:
    """Copy the first build of a project to a folder outside `outputs/` and change its manifest; return the folder."""
    shutil.copytree(folders(project)[0], project.folder / "elsewhere")
    reseal(project.folder / "elsewhere", **changed)
    return "elsewhere"


@pytest.mark.parametrize(
    ("name", "reproducible", "code", "says"),
    [
        ("simplify", "bitwise", 1, "the same key made other bytes, though the step says it is bitwise"),
        ("evaluate", "per_cpu", 1, "the same key made other bytes, though the step says it is per_cpu"),
        ("evaluate", "measured", 0, "measured again"),
    ],
)
def test_equal_keys_with_other_bytes_are_a_finding_unless_it_was_measured(
    own: Project, diff: Diff, name: str, reproducible: str, code: int, says: str
) -> None:
    actions = manifest_of(folders(own)[0])["actions"]
    action = next(action for action in actions if action["name"] == name)
    action["reproducible"] = reproducible
    next(iter(action["outputs"].values()))["sha256"] = "0" * 64
    said = diff(str(folders(own)[0]), elsewhere(own, actions=actions), at=own)

    assert said.code == code
    assert f"  changed   {name:16}  {says}\n" in said.out


def test_a_status_alone_makes_another_result(own: Project, diff: Diff) -> None:
    first = folders(own)[0]
    gate = {**manifest_of(first)["gates"][0], "status": "deferred"}
    said = diff(str(first), elsewhere(own, gates=[gate]), at=own)

    assert said.code == 1
    assert "  changed   max_size_mib.status  passed -> deferred\n" in said.out
    assert "the same: 4 actions, 2 artifacts\ndiffers  gates\n" in said.out


def test_tools_builder_and_host_are_compared(own: Project, diff: Diff) -> None:
    old = folders(own)[0]
    before = manifest_of(old)
    for action in before["actions"]:
        action["toolchain"].update(onnx="1.20.0")
        action["toolchain"].pop("numpy")
    host = {**before["host"], "processor": "another one"}
    other = elsewhere(own, builder="0.0.1", host=host, actions=before["actions"])
    said = diff(other, str(old), "output=json", at=own)

    assert said.code == 0
    assert {change["name"]: change["old"] for change in said.json["tools"]} == {
        "builder": "0.0.1",
        "onnx": "1.20.0",
        "numpy": None,
    }
    assert [(change["name"], change["old"]) for change in said.json["host"]] == [("processor", "another one")]


def test_a_lost_store_is_said_and_the_manifests_are_compared(own: Project, diff: Diff) -> None:
    old, new = folders(own)[:2]
    shutil.rmtree(own.store)
    said = diff("small", at=own)

    assert said.code == 1
    assert "calibration.samples 16 -> 32\n" in said.out
    assert f"the store has no record of it in small@{old.name} and small@{new.name}" in said.out


def test_a_record_that_is_damaged_is_not_believed(own: Project, diff: Diff) -> None:
    old = folders(own)[0]
    (record,) = (own.store / "ac").glob(f"*/{action_of(old, 'quantize')['key']}/*.json")
    record.chmod(0o644)
    record.write_bytes(record.read_bytes().replace(b'"samples":16', b'"samples":17'))

    assert f"the store has no record of it in small@{old.name}:" in diff("small", at=own).out


def test_reasons_of_another_project_come_from_its_own_store(kept: Project, diff: Diff, tmp_path: Path) -> None:
    old, new = (str(folder) for folder in folders(kept)[:2])
    said = diff(old, new, at=tmp_path)

    assert said.out.startswith(f"{old} -> {new}\n")
    assert "calibration.samples 16 -> 32\n" in said.out
    assert "no record" not in said.out


@pytest.mark.parametrize("edit", ["changed", "gone"])
def test_a_delivered_file_that_was_edited_is_not_compared_byte_by_byte(own: Project, diff: Diff, edit: str) -> None:
    file = folders(own)[1] / QUANTIZED
    if edit == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"\0")
    said = diff("small", at=own)

    assert said.code == 1
    assert f"not compared further: {file.relative_to(own.folder)} {'is gone' if edit == 'gone' else 'was changed'}" in (
        said.out
    )
    assert "graph\n" not in said.out
    assert "calibration.samples 16 -> 32" in said.out


def test_numbers_of_an_edited_report_are_not_shown(own: Project, diff: Diff) -> None:
    report = folders(own)[1] / "report.json"
    report.write_text(report.read_text().replace("0.3333", "0.9999"))
    said = diff("small", at=own)

    assert "report.json is not as it was written: no numbers from it" in said.out
    assert "evaluate: " not in said.out


def _edited(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace('"built"', '"failed"', 1))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_edited, "is not as a build wrote it"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"{"), "is not as a build wrote it"),
        (lambda folder: (folder / "manifest.json").write_text('{"name": "small"}'), "or is somebody else's"),
        (lambda folder: reseal(folder, schema=2), "follows schema 2, this version reads 1"),
    ],
)
@pytest.mark.parametrize("words", [("small",), ("small", "small@latest")])
def test_a_manifest_that_is_not_as_it_was_written_is_refused(
    own: Project, diff: Diff, spoil: Callable[[Path], object], says: str, words: tuple[str, ...]
) -> None:
    folder = folders(own)[1]
    spoil(folder)
    said = diff(*words, at=own)

    assert said.code == 1
    assert said.out == ""
    assert f"{folder.relative_to(own.folder)}/manifest.json {says.partition('or ')[0]}" in said.err
    assert says in said.err


@pytest.mark.parametrize(
    "word",
    [
        "small",
        "small@latest",
        "small/latest",
        "small@{time}",
        "small/{time}",
        "outputs/small/{time}",
        "./outputs/small/{time}/",
        "outputs/small/latest",
        "outputs/small/{time}/manifest.json",
        "{folder}",
    ],
)
def test_a_build_has_many_names(kept: Project, diff: Diff, word: str) -> None:
    new = folders(kept)[1]
    said = diff(word.format(time=new.name, folder=new), "small@previous", "output=json").json

    assert said["a"]["label"] == f"small@{new.name}"
    assert said["b"]["label"] == f"small@{folders(kept)[0].name}"


def test_jobs_of_a_sweep_have_names_too(own: Project, diff: Diff) -> None:
    done = own.run("-m", "recipe=small", f"{SAMPLES}=16,32")
    assert done.returncode == 0, done.stderr
    (sweep,) = (own.folder / "outputs/sweeps").iterdir()
    said = diff(f"sweeps/{sweep.name}/0", f"outputs/sweeps/{sweep.name}/1", at=own)
    whole = diff(f"sweeps/{sweep.name}", "small", at=own)

    assert said.code == 1
    assert f"  changed   {SAMPLES}  16 -> 32\n" in said.out
    assert "no record" not in said.out
    assert whole.code == 2
    assert f"hint: name one inside it: outputs/sweeps/{sweep.name}/0" in whole.err


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        ((), "expected two builds, got 0", "write python -m builder diff A B"),
        (("small", "small", "small"), "expected two builds, got 3", "write python -m builder diff A B"),
        (("smal", "small"), "there is no build 'smal'", "did you mean 'small'?"),
        (("", "small"), "there is no build ''", "there is: small"),
        (("nowhere/at/all", "small"), "there is no build 'nowhere/at/all'", "there is: small"),
        (("small@latset", "small"), "'small' has no build 'latset'", "did you mean 'latest'?"),
        (("small@2026", "small"), "'small' has no build '2026'", "there is: "),
        (("models", "small"), "models is not the folder of one build", "a build lies in outputs/NAME/TIME"),
        (("outputs/small/latest",), "nothing says what 'outputs/small/latest' is compared with", "name a second build"),
        (("small", "--json"), "there is no option '--json'", "output=json"),
        (("small", "outptu=json"), "there is no setting 'outptu'", "did you mean 'output'?"),
        (("small", "output=jsno"), "expected text or json, got 'jsno'", "did you mean 'json'?"),
    ],
)
def test_a_wrong_word_is_said_with_what_there_is(diff: Diff, words: tuple[str, ...], says: str, hint: str) -> None:
    said = diff(*words)

    assert said.code == 2
    assert said.out == ""
    assert says in said.err
    assert hint in said.err


def test_without_an_earlier_good_build_there_is_no_previous(own: Project, diff: Diff) -> None:
    shutil.rmtree(folders(own)[0])
    lonely = diff("small", at=own)
    (own.folder / "outputs/small/latest").unlink()
    lost = diff("small", at=own)

    assert (lonely.code, lost.code) == (2, 2)
    assert "has no build before" in lonely.err
    assert f"hint: name two builds; there is also small@{folders(own)[-1].name}\n" in lonely.err
    assert "no build of 'small' ended built or deferred" in lost.err
    assert f"hint: name one: small@{folders(own)[-1].name}" in lost.err


def test_previous_passes_over_builds_that_failed(own: Project, diff: Diff) -> None:
    first, second = folders(own)[:2]
    newest = shutil.copytree(second, second.with_name("2099-01-01_00-00-00"))
    latest = second.with_name("latest")
    latest.unlink()
    latest.symlink_to(newest.name)
    reseal(second, status="failed")

    assert diff("small", "output=json", at=own).json["a"]["label"] == f"small@{first.name}"


def test_help_says_what_the_exit_codes_mean(project: Project) -> None:
    done = project.run("diff", "--help")

    assert done.returncode == 0
    assert "diff A [B] [output=json]" in done.stdout
    assert "Exit code: 0 the results are equal" in " ".join(done.stdout.split())


def test_text_of_a_recipe_cannot_steer_the_terminal(own: Project, diff: Diff) -> None:
    old = folders(own)[0]
    recipe = manifest_of(old)["recipe"]
    out = diff(str(old), elsewhere(own, recipe={**recipe, "summary": "\x1b[2J\x9b1A"}), at=own).out

    assert "\\x1b[2J\\x9b1A" in out
    assert all(character.isprintable() or character == "\n" for character in out)


@pytest.mark.slow
def test_latencies_of_two_runs_are_shown_and_not_ranked(own: Project, diff: Diff) -> None:
    words = (
        "steps=[simplify,benchmark]",
        "steps.benchmark.runs=40",
        "steps.benchmark.blocks=6",
        "steps.benchmark.max_seconds=1",
    )
    build(own, *words)
    build(own, *words, "fresh=[benchmark]")
    said = diff("small", at=own)

    assert said.code == 0
    assert "  changed   benchmark         measured again\n" in said.out
    assert "latencies of two runs are not ranked" in said.out
    assert "benchmark: candidate p50  " in said.out
    assert "faster" not in said.out


def measured(p50: float, low: float, high: float, processor: str = "one") -> dict[str, Any]:
    subject = {"name": "candidate", "latency_ms": {"p50": p50, "p99": 2 * p50}, "p99_valid": False, "memory_mib": 4.0}
    ratio = {"of": "candidate", "to": "baseline", "value": (low + high) / 2, "interval": [low, high], "ranked": True}
    measurement = {"subjects": [subject], "ratios": [ratio], "host": {"processor": processor}}
    size = {"candidate": 1.0, "reference": 4.0}
    return {"headline": {"size": size}, "evaluations": {}, "measurements": {"benchmark": measurement}}


@pytest.mark.parametrize(("bounds", "overlap"), [((0.4, 0.6), True), ((0.6, 0.8), True), ((0.61, 0.8), False)])
def test_intervals_of_ratios_are_held_against_each_other(bounds: tuple[float, float], overlap: bool) -> None:
    found = number_changes(measured(1.0, 0.5, 0.6), measured(1.1, *bounds), {})
    ratio = next((change for change in found if change.name == "candidate / baseline"), None)

    assert {change.name for change in found} >= {"candidate p50"}
    assert not any("p99" in change.name for change in found), "it has too few runs"
    assert ratio is None or ratio.overlap is overlap


def test_a_measurement_on_another_machine_says_so() -> None:
    one, other = measured(1.0, 0.5, 0.6), measured(0.2, 0.1, 0.2, processor="another")
    notes = measuring_notes(one, other, {})

    assert any("latencies of two runs are not ranked" in note for note in notes)
    assert "benchmark: the machines differ: measured on one and another" in notes
    assert measuring_notes(one, one, {}) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (16, 32, "16 -> 32"),
        ("16", 16, '"16" -> 16'),
        (0.1, 0.30000000000000004, "0.1 -> 0.3"),
        (0.3, 0.30000000000000004, "0.3 -> 0.30000000000000004"),
        (None, True, "null -> true"),
        ("", "x", '"" -> x'),
        ("a" * 99, "a" * 98, f'"{"a" * 59}... (it differs further on)'),
    ],
)
def test_values_never_look_alike(old: object, new: object, words: str) -> None:
    assert arrow(old, new) == words


def test_numbers_have_the_digits_that_tell_them_apart() -> None:
    share = Number(0.931401, "share", (0.92, 0.94)), Number(0.931402, "share", (0.92, 0.94))

    assert number_arrow(*share, drop=False) == "93.1401 [92, 94] -> 93.1402 [92, 94] %"
    assert number_arrow(Number(0.01, "share"), Number(-0.005, "share"), drop=True) == "1 -> -0.5 points"
    assert number_arrow(None, Number(1.25, "MiB"), drop=False) == "1.25 MiB"


def test_a_graph_is_compared_inside_control_flow_and_without_weights_beside_it(tmp_path: Path) -> None:
    def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info("y", 1, [2])])

    def model(folder: str, operator: str, opset: int, size: int, seed: float) -> Path:
        import numpy as np

        then, other = (branch(name, helper.make_node(operator, ["x"], ["y"])) for name in ("then", "else"))
        weights = numpy_helper.from_array(np.full(64, seed, np.float32), "w")
        graph = helper.make_graph(
            [helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other)],
            "main",
            [helper.make_tensor_value_info("c", 9, []), helper.make_tensor_value_info("x", 1, ["n", size])],
            [helper.make_tensor_value_info("z", 1, [2])],
            [weights],
        )
        path = tmp_path / folder / "model.onnx"
        path.parent.mkdir()
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        onnx.save(made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
        return path

    old, new = model("a", "Relu", 17, 2, 0.0), model("b", "Neg", 18, 3, 1.0)
    (old.parent / "weights.bin").unlink()
    found = graph_change(old, new)

    assert {change.name: (change.old, change.new) for change in found.operators} == {
        "Relu": (2, None),
        "Neg": (None, 2),
    }
    assert [(change.name, change.old, change.new) for change in found.interface] == [
        ("input x", "float[n,2]", "float[n,3]")
    ]
    assert [(change.name, change.old, change.new) for change in found.versions] == [("opset ai.onnx", 17, 18)]
    assert (found.weights.changed, found.weights.outside) == (0, 1)


def test_a_graph_that_differs_in_names_alone_says_so(tmp_path: Path) -> None:
    model = onnx.load(str(small_model(tmp_path / "a.onnx")))
    model.graph.node[0].name = "another"
    onnx.save(model, str(tmp_path / "b.onnx"))

    assert graph_change(tmp_path / "a.onnx", tmp_path / "b.onnx").empty


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
def test_bytes_are_compared_across_the_pieces_they_are_read_in(start: bytes, tail: bytes, another: bytes) -> None:
    one, other = start + tail, start + another
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(bytewise, "_CHUNK", 7)
        paths = Path(folder) / "one", Path(folder) / "other"
        for path, content in zip(paths, (one, other), strict=True):
            path.write_bytes(content)
        found = bytewise.byte_difference(*paths)
    wrong = [offset for offset, (left, right) in enumerate(zip_longest(one, other)) if left != right]

    assert (found is None) == (one == other)
    assert found is None or (found.offset, found.count) == (wrong[0], len(wrong))


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(mappings, mappings)
@example({"a": True}, {"a": 1})
def test_changes_lead_from_the_old_mapping_to_the_new_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    made = json.loads(json.dumps(old))
    for change in changes(old, new):
        *way, last = change.name.split(".")
        place = made
        for step in way:
            place = place[step]
        if change.how.value == "removed":
            del place[last]
        else:
            place[last] = change.new

    assert canonical(made) == canonical(new)


@pytest.mark.parametrize("edit", ["write", "truncate", "remove"])
def test_a_copy_of_a_build_whose_artifact_was_edited_is_not_equal(own: Project, diff: Diff, edit: str) -> None:
    other = elsewhere(own)
    artifact = own.folder / other / "artifacts/quantize/model.onnx"
    artifact.chmod(0o644)
    content = artifact.read_bytes()
    if edit == "remove":
        artifact.unlink()
    else:
        artifact.write_bytes(content[:100] if edit == "truncate" else b"rot" + content[3:])
    said = diff(other, str(folders(own)[0]), at=own)

    assert said.code == 1
    assert ("is gone" if edit == "remove" else "was changed after the build") in said.out
    assert "equal  " not in said.out
