"""What a device sends back: checked before it counts, filed as a whole, and the build is completed with it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from projects import Project, write_small
from referencing import Registry, Resource
from results import ORIN, RECIPE, Sent, deferred_build, latest, outputs_of, read_manifest

from builder.errors import UsageError
from builder.kit.result import read_result
from builder.plan.devices import setting
from builder.recipe.compose import compose
from builder.report import schema

DEVICE_ACTIONS = {"compile", "evaluate@tensorrt", "benchmark"}
MANIFEST = "urn:model-builder:manifest:1"
AGX = {**ORIN, "name": "NVIDIA Jetson AGX Orin"}


def send(project: Project, name: str = "orin", **how: Any) -> Path:
    return Sent(project, latest(project), **how).write(project.folder / f"{name}.result.tar")


def take(project: Project, archive: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return project.run("resume", "--import", archive.name, *words)


def statuses(project: Project) -> dict[str, str]:
    """Return what `plan` says of the actions that wait for the device."""
    done = project.run("plan", "recipe=small_jetson")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    found = {words[1]: words[0] for words in lines if words[1] in DEVICE_ACTIONS}
    assert done.returncode == ("failed" in found.values()), done.stderr
    return found


def nothing_is_filed(project: Project) -> bool:
    return not (project.store / "devices").exists() and set(statuses(project).values()) == {"deferred"}


def test_an_import_completes_the_build_with_the_devices_numbers(waiting: Project) -> None:
    before = read_manifest(latest(waiting))
    done = take(waiting, send(waiting))
    folder = latest(waiting)
    manifest = read_manifest(folder)
    actions = {action["name"]: action for action in manifest["actions"]}

    assert done.returncode == 0, done.stderr
    assert manifest["status"] == "built"
    assert {name for name, action in actions.items() if action["device"] == ORIN["name"]} == DEVICE_ACTIONS
    assert actions["compile"]["reason"] == f"built on {ORIN['name']}, 2026-11-20"
    assert actions["benchmark"]["reason"] == f"measured on {ORIN['name']}, 2026-11-20"
    assert (folder / "artifacts/compile/engine.plan").read_bytes() == b"an engine of a Jetson"
    assert read_manifest_of(folder / "manifest.deferred.json") == before
    [device] = manifest["devices"]
    assert device["tensorrt"] == "10.3.0"
    assert device["host"]["system"] == "Linux 5.15.148-tegra"
    assert set(device["actions"]) == DEVICE_ACTIONS
    assert "cached (" not in done.stderr
    assert f"filed compile, benchmark, evaluate@tensorrt of {ORIN['name']}" in done.stderr


def read_manifest_of(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_what_was_measured_there_is_judged_and_reported_as_there(waiting: Project) -> None:
    take(waiting, send(waiting))
    folder = latest(waiting)
    manifest, report = read_manifest(folder), read_manifest_of(folder / "report.json")
    gates = {gate["name"]: gate for gate in manifest["gates"]}
    figure = report["headline"]["latency"]
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert gates["max_latency_ms.p50"]["measured_on"] == ORIN["name"]
    assert gates["max_latency_ms.p50"]["value"] == pytest.approx(0.700, abs=1e-3)
    assert gates["max_accuracy_drop"]["measured_on"] == ORIN["name"]
    assert (figure["action"], figure["on_target"]) == ("benchmark", True)
    assert figure["measured_on"].startswith(ORIN["name"])
    Draft202012Validator(schema.load("manifest")).validate(manifest)
    registry: Registry[Any] = Registry().with_resources([(MANIFEST, Resource.from_contents(schema.load("manifest")))])
    Draft202012Validator(schema.load("report"), registry=registry).validate(report)
    assert str(ORIN["name"]) in page
    assert "40 runs each after 500 ms to warm up" in page


def test_the_documents_are_those_that_evaluate_and_benchmark_write(waiting: Project) -> None:
    take(waiting, send(waiting))
    measured = latest(waiting) / "measurements"
    host = read_manifest_of(measured / "evaluate" / "evaluation.json")
    there = read_manifest_of(measured / "evaluate@tensorrt" / "evaluation.json")
    times = read_manifest_of(measured / "benchmark" / "measurement.json")
    replayed = read_manifest_of(measured / "benchmark" / "pytest-benchmark.json")
    subjects = {subject["name"]: subject for subject in times["subjects"]}

    assert there["metrics"] == host["metrics"]  # the same outputs were sent
    assert there["samples"] == 60
    assert there["host"]["processor"] == ORIN["name"]
    assert times["ratios"][0]["value"] == pytest.approx(1 / 3, rel=1e-3)
    assert subjects["candidate"]["runs"] == 40
    assert subjects["candidate"]["memory_mib"] is None
    assert (times["energy_j"], times["power_mode"], times["temperature_c"]) == (None, "MAXN", 51.5)
    assert {entry["name"] for entry in replayed["benchmarks"]} == {
        "test_latency[baseline]",
        "test_latency[candidate]",
    }


def test_a_second_import_says_that_it_is_filed_and_a_build_has_nothing_to_do(waiting: Project) -> None:
    archive = send(waiting)
    take(waiting, archive)
    first = latest(waiting)
    again, later = take(waiting, archive), waiting.run("recipe=small_jetson")

    assert again.returncode == later.returncode == 0
    assert "this result is filed already" in again.stderr
    assert latest(waiting) == first
    assert "nothing to do" in again.stdout
    assert "nothing to do" in later.stdout
    assert f"measured on {ORIN['name']}, 2026-11-20" in later.stdout


def test_a_flipped_byte_is_named_and_nothing_is_filed(waiting: Project) -> None:
    archive = send(waiting)
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"an engine of a Jetson", b"an engine of a jetson"))
    done = take(waiting, archive)

    assert done.returncode == 2
    assert "compile/engine/engine.plan in orin.result.tar is not what the device wrote" in done.stderr
    assert nothing_is_filed(waiting)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


HOSTILE = {
    "a path that leads out": member("../outside"),
    "an absolute path": member("/tmp/outside"),
    "a link": member("compile/engine/link", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": member("compile/engine/hard", tarfile.LNKTYPE, "compile/engine/engine.plan"),
    "a device": member("compile/engine/null", tarfile.CHRTYPE),
    "a pipe": member("compile/engine/pipe", tarfile.FIFOTYPE),
    "a file that nobody named": member("compile/engine/more"),
    "a file twice": member("compile/engine/engine.plan"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_holds_more_than_it_should_is_refused(deferred: Path, tmp_path: Path, what: str) -> None:
    archive = Sent(Project(deferred), latest(Project(deferred))).write(tmp_path / "orin.result.tar")
    with tarfile.open(archive, "a") as tar:
        tar.addfile(HOSTILE[what], io.BytesIO())
    folder = tmp_path / "unpacked"
    folder.mkdir()

    with pytest.raises(UsageError, match=re.escape(HOSTILE[what].name)):
        read_result(archive, folder)
    assert not (tmp_path / "outside").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"orin.result.tar", "unpacked"}


def other_schema(document: dict[str, Any]) -> None:
    document["schema"] = 2


def no_device(document: dict[str, Any]) -> None:
    del document["device"]


def larger(document: dict[str, Any]) -> None:
    document["actions"]["compile"]["files"]["engine/engine.plan"]["bytes"] = 1 << 40


def no_time(document: dict[str, Any]) -> None:
    document["taken_at"] = "yesterday"


def absurd_time(document: dict[str, Any]) -> None:
    document["taken_at"] = "0001-01-01T00:00:00+05:00"


def no_program(document: dict[str, Any]) -> None:
    del document["program"]


def no_name(document: dict[str, Any]) -> None:
    document["device"]["name"] = "a\x1b[2J"


def leads_out(document: dict[str, Any]) -> None:
    document["actions"]["compile"]["files"]["../../outside"] = {"sha256": "0" * 64, "bytes": 1}


def nested_fact(document: dict[str, Any]) -> None:
    document["device"]["clocks"] = {"gpu": 918}


def fact_that_hydra_reads(document: dict[str, Any]) -> None:
    document["device"]["power_mode"] = "${oc.env:HOME}"


def endless_version(document: dict[str, Any]) -> None:
    document["device"]["tensorrt"] = "9" * 5000


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another schema": (other_schema, "has schema 2, and this version reads schema 1"),
    "no device": (no_device, "device is missing"),
    "no time": (no_time, "Invalid isoformat string: 'yesterday'"),
    "a time that nobody has": (absurd_time, "taken_at: '0001-01-01T00:00:00+05:00' is no date"),
    "no program": (no_program, "program is missing"),
    "a name that steers a terminal": (no_name, "device.name: expected a name"),
    "a fact that is no word": (nested_fact, "device.clocks: expected a word or a number"),
    "a fact that Hydra reads": (fact_that_hydra_reads, "device.power_mode: expected a word or a number"),
    "a version without end": (endless_version, "device.tensorrt: expected a word or a number"),
    "another size": (larger, "orin.result.tar is not what the device wrote"),
    "a name that leads out": (leads_out, "which leads out of it"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_document_that_cannot_be_believed_is_refused(deferred: Path, tmp_path: Path, what: str) -> None:
    change, words = SPOILT[what]
    archive = Sent(Project(deferred), latest(Project(deferred)), change=change).write(tmp_path / "orin.result.tar")
    folder = tmp_path / "unpacked"
    folder.mkdir()

    with pytest.raises(UsageError, match=re.escape(words)):
        read_result(archive, folder)
    assert not (tmp_path / "outside").exists()


def test_what_is_no_result_is_refused_in_a_sentence(waiting: Project) -> None:
    (waiting.folder / "text.tar").write_text("no archive", encoding="utf-8")
    shutil.make_archive(str(waiting.folder / "packed"), "gztar", waiting.folder / "models")
    for name in ("text.tar", "packed.tar.gz", "absent.tar"):
        done = waiting.run("resume", "--import", name)
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr


def test_a_result_of_another_build_is_refused_with_what_differs(waiting: Project) -> None:
    archive = send(waiting)
    waiting.write("recipes/small_jetson.yaml", RECIPE.replace("runs: 20", "runs: 30"))
    done = take(waiting, archive)

    assert done.returncode == 2
    assert "this result is of another build: the key of 'benchmark'" in done.stderr
    assert "runs 20 -> 30" in done.stderr
    assert nothing_is_filed(waiting)


def test_a_result_whose_kit_is_not_here_takes_the_kit_beside_it(waiting: Project) -> None:
    archive = send(waiting)
    (latest(waiting) / "kit.tar").rename(waiting.folder / "kit.tar")
    shutil.rmtree(latest(waiting) / "kit")
    without, beside = take(waiting, archive), take(waiting, archive, "kit.tar")

    assert without.returncode == 2
    assert "of the recipe 'small_jetson' whose kit is " in without.stderr
    assert f"the project in {waiting.folder} has no kit of it" in without.stderr
    assert "name the kit: resume --import RESULT KIT" in without.stderr
    assert beside.returncode == 0, beside.stderr


@pytest.mark.parametrize("shared", [True, False])
def test_in_another_project_an_import_says_whose_the_result_is(waiting: Project, tmp_path: Path, shared: bool) -> None:
    archive, other = send(waiting), tmp_path / "another project"
    lost, words = Project(other), ("resume", "--import", str(archive))
    environment = {"BUILDER_STORE": str(waiting.store)} if shared else {}
    done, named = lost.run(*words, **environment), lost.run(*words, str(latest(waiting) / "kit"), **environment)
    [hint] = [line for line in done.stderr.splitlines() if line.startswith("  hint: ")]

    assert (done.returncode, named.returncode) == (2, 2)
    assert f"of the recipe 'small_jetson' whose kit is {read_result_kit(archive)[:12]}" in done.stderr
    assert f"the project in {other} has no kit of it" in done.stderr
    assert "this result is of the recipe 'small_jetson', which cannot be read here: " in named.stderr
    assert "hint: import it in the project that built it" in named.stderr
    project, _, command = hint.partition(": cd ")[2].partition(" && ")
    assert command.startswith(f"python -m builder resume --import {archive}; ")
    assert (Path(project) / "outputs/small_jetson").is_dir() if shared else project == "PROJECT"


def read_result_kit(archive: Path) -> str:
    with tarfile.open(archive) as tar:
        return str(json.load(tar.extractfile("result.json"))["kit"])  # type: ignore[arg-type]


def test_a_kit_that_is_sent_now_is_not_to_be_copied_by_hand(waiting: Project) -> None:
    done = waiting.run("recipe=small_jetson", "target.host=nobody@127.0.0.1")

    assert done.returncode == 1
    assert "copy it to" not in done.stdout
    assert "kit.tar   is finished on nobody@127.0.0.1 now" in done.stdout


def test_help_says_the_three_uses_and_what_the_exit_codes_mean(waiting: Project) -> None:
    done = waiting.run("resume", "--help")

    assert done.returncode == 0
    for words in ("resume KIT ", "resume --import RESULT", "resume KIT --verify", "--work FOLDER", "--driver"):
        assert words in done.stdout
    assert "Exits 0 when all is done; 1 where something failed" in done.stdout
    assert "2 where the command" in done.stdout
    assert "3 on a machine that is not" in done.stdout


def test_the_store_of_the_build_is_found_again(project: Project) -> None:
    deferred_build(write_small(project), "store=elsewhere")
    done = take(project, send(project))

    assert done.returncode == 0, done.stderr
    assert "it is built first" not in done.stderr
    assert list((project.folder / "elsewhere" / "devices").glob("*/*.json"))
    assert not project.store.exists()


def test_without_the_portable_part_it_is_built_first(waiting: Project) -> None:
    archive = send(waiting)
    shutil.rmtree(waiting.store)
    done = take(waiting, archive)

    assert "the portable part of the build is not in this store; it is built first" in done.stderr
    assert done.returncode == 0, done.stderr
    assert set(statuses(waiting).values()) == {"cached"}


def test_two_results_at_once_are_refused(waiting: Project) -> None:
    done = waiting.run("resume", "--import", "one.result.tar", "two.result.tar")

    assert done.returncode == 2
    assert "takes one result at a time" in done.stderr


def test_words_that_belong_to_the_recipe_are_refused(waiting: Project) -> None:
    done = take(waiting, send(waiting), "steps.benchmark.runs=30")

    assert done.returncode == 2
    assert "'steps.benchmark.runs=30' is no setting of the machine" in done.stderr


def test_numbers_that_do_not_fit_the_recipe_file_nothing(waiting: Project) -> None:
    sent = Sent(waiting, latest(waiting))
    sent.predictions(outputs_of(waiting, latest(waiting) / "artifacts/quantize/model.onnx")[:, :2])
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))

    assert done.returncode == 1
    assert "evaluate@tensorrt: the reference's output is of shape [60, 3], the candidate's [60, 2]" in done.stderr
    assert nothing_is_filed(waiting)


@pytest.mark.parametrize("port", ["evaluate@tensorrt/evaluation", "benchmark/measurement"])
def test_a_document_that_is_made_here_is_taken_from_no_device(waiting: Project, port: str) -> None:
    sent, name = Sent(waiting, latest(waiting)), port.partition("/")[0]
    document = b'{"metrics": {"top1": {"drop": -0.9}}}'
    kept = {path: data for path, data in sent.files.items() if not path.startswith(f"{name}/")}
    sent.files = {**kept, f"{port}/{port.rpartition('/')[2]}.json": document}
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))

    assert done.returncode == 2
    assert f"the result brings a finished {port}, which is made here and taken from no device" in done.stderr
    assert nothing_is_filed(waiting)


ABSURD: dict[str, tuple[dict[str, Any], str]] = {
    "seconds": ({"seconds": -5}, "the result says that compile took -5 seconds"),
    "a nested fact": ({"facts": {"layers": {"a": [1]}}}, "the result's fact 'layers' of compile is no text and no"),
    "no folder": ({"files": {"engine": {"sha256": hashlib.sha256(b"plan").hexdigest(), "bytes": 4}}}, "a device sends"),
}


@pytest.mark.parametrize("what", ABSURD)
def test_an_action_that_cannot_have_been_is_refused_in_a_sentence(waiting: Project, what: str) -> None:
    told, words = ABSURD[what]
    sent = Sent(waiting, latest(waiting), change=lambda document: document["actions"]["compile"].update(told))
    if "files" in told:
        sent.files["compile/engine"] = b"plan"
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert nothing_is_filed(waiting)


def test_what_a_device_could_not_evaluate_passes_no_limit_on_the_drop(waiting: Project) -> None:
    before = {gate["name"]: gate["message"] for gate in read_manifest(latest(waiting))["gates"]}
    done = take(waiting, send(waiting, failed=("evaluate@tensorrt",)))

    assert "on the host: evaluate@tensorrt waits for jetson_orin" in before["max_accuracy_drop"]
    assert "does not exist yet (compile waits for jetson_orin)" in before["max_size_mib"]
    assert done.returncode == 1
    assert f"evaluate@tensorrt failed on {ORIN['name']}, 2026-11-20: no" in in_a_line(done.stdout)
    assert "max_accuracy_drop: evaluate@tensorrt failed" in done.stdout


def test_the_manifest_that_is_kept_is_that_of_the_kits_build(waiting: Project) -> None:
    before, archive = read_manifest(latest(waiting)), send(waiting)
    waiting.write("recipes/small_jetson.yaml", RECIPE.replace("runs: 20", "runs: 30"))
    waiting.run("recipe=small_jetson")
    other = read_manifest(latest(waiting))
    waiting.write("recipes/small_jetson.yaml", RECIPE)
    swept = waiting.run("recipe=small_jetson", "-m")
    done = take(waiting, archive)

    assert done.returncode == 0, done.stderr
    assert (swept.returncode, other["actions"] != before["actions"]) == (0, True), swept.stderr
    assert read_manifest_of(latest(waiting) / "manifest.deferred.json") == before


def test_a_device_that_was_given_fewer_samples_is_judged_on_those(waiting: Project) -> None:
    deferred_build(waiting, "steps.evaluate.samples=50")
    sent = Sent(waiting, latest(waiting))
    sent.predictions(outputs_of(waiting, latest(waiting) / "artifacts/quantize/model.onnx")[:50])
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))
    actions = {action["name"]: action for action in read_manifest(latest(waiting))["actions"]}

    assert done.returncode == 0, done.stderr
    assert {actions[name]["facts"]["samples"] for name in ("tensors", "evaluate@tensorrt")} == {"50 of 60"}


@pytest.mark.parametrize(("count", "split"), [(1, "test"), (60, "calibration")])
def test_other_samples_than_a_device_was_given_are_refused(waiting: Project, count: int, split: str) -> None:
    sent = Sent(waiting, latest(waiting))
    sent.predictions(outputs_of(waiting, latest(waiting) / "artifacts/quantize/model.onnx")[:count], split=split)
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))

    why = f"the device ran {count} samples, and 60 were given to it" if count != 60 else f"ran the split '{split}'"
    assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert nothing_is_filed(waiting)


def test_a_broken_limit_on_the_devices_number_fails_the_build(waiting: Project) -> None:
    archive = send(waiting)
    waiting.write("recipes/small_jetson.yaml", RECIPE.replace("p50: 1000", "p50: 0.5"))
    done = take(waiting, archive)

    assert done.returncode == 1
    assert "p50 is 0.700 ms; the limit is at most 0.5" in done.stdout


def in_a_line(text: str) -> str:
    return " ".join(text.split())


def test_what_failed_on_the_device_fails_the_build_until_it_is_resumed_there(waiting: Project) -> None:
    done = take(waiting, send(waiting, failed=("benchmark",)))
    planned = statuses(waiting)
    [failed] = (waiting.folder / "outputs" / "small_jetson").glob("[0-9]*/manifest.deferred.json")
    actions = {action["name"]: action for action in read_manifest(failed.parent)["actions"]}
    gates = {gate["name"]: gate["status"] for gate in read_manifest(failed.parent)["gates"]}
    anew = waiting.run("recipe=small_jetson", "fresh=[benchmark]", "strict=true")
    again = take(waiting, send(waiting, "again"))

    assert done.returncode == 1
    assert f"failed on {ORIN['name']}, 2026-11-20: no" in in_a_line(done.stdout)
    assert "make a new one: 'fresh=[benchmark]'" in in_a_line(done.stdout)
    assert actions["benchmark"]["error"] == f"failed on {ORIN['name']}, 2026-11-20: no"
    assert (actions["compile"]["status"], actions["evaluate@tensorrt"]["status"]) == ("cached", "cached")
    assert gates == {"max_latency_ms.p50": "unmeasured", "max_accuracy_drop": "passed", "max_size_mib": "passed"}
    assert planned == {"compile": "cached", "evaluate@tensorrt": "cached", "benchmark": "failed"}
    assert anew.returncode == 3, anew.stderr
    assert again.returncode == 0, again.stderr


def test_a_result_of_which_nothing_was_finished_says_why(waiting: Project) -> None:
    done = take(waiting, send(waiting, failed=tuple(DEVICE_ACTIONS)))

    assert done.returncode == 1
    assert f"nothing was finished on {ORIN['name']}: compile failed: no" in done.stderr
    assert nothing_is_filed(waiting)


def devices_of(project: Project) -> set[str]:
    """Return the devices that the newest build takes from."""
    return {action["device"] for action in read_manifest(latest(project))["actions"] if action["device"]}


@pytest.mark.parametrize("partial_first", [True, False])
def test_a_partial_result_neither_blocks_a_complete_one_nor_mixes_with_it(
    waiting: Project, partial_first: bool
) -> None:
    partial = send(waiting, "agx", device=AGX, failed=("benchmark",), engine=b"an engine of an AGX")
    complete = send(waiting)
    taken = {archive: take(waiting, archive) for archive in sorted((partial, complete), reverse=not partial_first)}
    done, planned = waiting.run("recipe=small_jetson"), waiting.run("plan", "recipe=small_jetson")
    devices = devices_of(waiting)
    named = waiting.run("recipe=small_jetson", f"target.device={AGX['name']}")

    assert (taken[partial].returncode, taken[complete].returncode) == (1, 0)
    assert done.returncode == 0, done.stderr
    assert devices == {ORIN["name"]}
    words = f"the result of {ORIN['name']} is taken: that of {AGX['name']} lacks benchmark"
    for told in (done, planned):
        assert told.stderr.count(words) == 1
        assert f"'target.device={AGX['name']}' takes it all the same" in told.stderr
    assert named.returncode == 1
    assert f"failed on {AGX['name']}" in in_a_line(named.stdout)


def test_an_edit_that_only_one_device_has_measured_takes_that_one(waiting: Project) -> None:
    take(waiting, send(waiting, "agx", device=AGX))
    waiting.write("recipes/small_jetson.yaml", RECIPE.replace("runs: 20", "runs: 30"))
    waiting.run("recipe=small_jetson", "fresh=[compile]")  # a kit of its own, though there is an engine
    of_orin = take(waiting, send(waiting))
    done = waiting.run("recipe=small_jetson")

    assert of_orin.returncode == done.returncode == 0, of_orin.stderr + done.stderr
    assert devices_of(waiting) == {ORIN["name"]}
    assert f"that of {AGX['name']} lacks benchmark" in done.stderr


def test_without_its_portable_part_a_result_is_taken_beside_those_of_others(waiting: Project) -> None:
    third = send(waiting, "third", device={**ORIN, "name": "NVIDIA Jetson Orin NX"})
    for archive in (send(waiting), send(waiting, "agx", device=AGX)):
        take(waiting, archive)
    [tensors] = [each for each in read_manifest(latest(waiting))["actions"] if each["name"] == "tensors"]
    shutil.rmtree(next((waiting.store / "ac").rglob(tensors["key"])))
    done = take(waiting, third)

    assert done.returncode == 0, done.stderr
    assert "it is built first" in done.stderr
    assert devices_of(waiting) == {"NVIDIA Jetson Orin NX"}


def test_of_several_devices_the_target_must_name_one(waiting: Project) -> None:
    first, second = send(waiting), send(waiting, "agx", device=AGX, latency_ns=300_000)
    take(waiting, first)
    of_second = take(waiting, second)
    unnamed = waiting.run("recipe=small_jetson")
    misspelt = waiting.run("recipe=small_jetson", "target.device=NVIDIA Jetson AGX Ori")
    named = waiting.run("recipe=small_jetson", f"target.device={ORIN['name']}")

    assert of_second.returncode == 0, of_second.stderr
    assert f"measured on {AGX['name']}" in of_second.stdout
    assert unnamed.returncode == misspelt.returncode == 2
    assert "2 devices sent results for target 'jetson_orin'" in unnamed.stderr
    assert f"'target.device={AGX['name']}'" in unnamed.stderr
    assert f"did you mean '{AGX['name']}'?" in misspelt.stderr
    assert named.returncode == 0
    assert f"measured on {ORIN['name']}" in named.stdout


@pytest.mark.parametrize("word", ["target.device=NVIDIA Jetson AGX Ori", f"target.device={AGX['name']}"])
def test_a_device_that_sent_nothing_is_refused_before_anything_runs(waiting: Project, word: str) -> None:
    take(waiting, send(waiting))
    others = waiting.run("recipe=small_jetson", word, "steps.evaluate.samples=50", "output=jsonl")
    events = [json.loads(line)["kind"] for line in others.stdout.splitlines()]

    assert (others.returncode, "nothing came from" in others.stderr) == (2, True), others.stderr
    assert "started" not in events


def test_a_device_that_sent_nothing_is_refused_as_soon_as_what_it_would_be_given_is_made(waiting: Project) -> None:
    take(waiting, send(waiting))
    [quantize] = [each for each in read_manifest(latest(waiting))["actions"] if each["name"] == "quantize"]
    shutil.rmtree(next((waiting.store / "ac").rglob(quantize["key"])))
    others = waiting.run(
        "recipe=small_jetson", f"target.device={AGX['name']}", "steps.evaluate.samples=50", "jobs=1", "output=jsonl"
    )
    events = [json.loads(line) for line in others.stdout.splitlines()]

    assert (others.returncode, "nothing came from" in others.stderr) == (2, True), others.stderr
    assert [event["action"] for event in events if event["kind"] == "started"] == ["quantize"]


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"power_mode": "15W"}, ["15W", "MAXN"]),
        ({"power_mode": None, "clocks": "gpu 306-918 MHz"}, ["MAXN", "no power mode"]),
        ({"clocks": "gpu 306-918 MHz"}, ["gpu 306-918 MHz", "gpu 918 MHz"]),
        ({"tensorrt": "10.3.1"}, ["tensorrt 10.3.0", "tensorrt 10.3.1"]),
        ({"l4t": "R36 (release), REVISION: 5.0"}, [f"l4t R36 (release), REVISION: {each}" for each in ("4.3", "5.0")]),
    ],
    ids=str,
)
def test_two_states_of_one_device_are_told_apart_by_what_differs(
    waiting: Project, fact: dict[str, Any], words: list[str]
) -> None:
    other = send(waiting, "other", device={**ORIN, **fact}, latency_ns=500_000)
    take(waiting, send(waiting))
    imported = take(waiting, other)
    unnamed = waiting.run("plan", "recipe=small_jetson")
    [hint] = [line for line in unnamed.stderr.splitlines() if line.startswith("  hint: name one: ")]
    [word] = shlex.split(hint.partition("name one: ")[2])
    named = waiting.run("recipe=small_jetson", word)

    assert (imported.returncode, unnamed.returncode, named.returncode) == (0, 2, 0), imported.stderr + named.stderr
    shown = ", ".join(f"'{ORIN['name']}@{each}'" for each in words)
    assert f"{ORIN['name']}, in 2 states, sent results for target 'jetson_orin': {shown}" in unnamed.stderr
    assert word in (f"target.device={ORIN['name']}@{words[0]}", f"target.device='{ORIN['name']}@{words[0]}'")
    assert f"measured on {ORIN['name']}" in named.stdout


def test_a_device_can_be_named_whatever_it_is_called(deferred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(deferred)
    for name in ("Orin (rev 2), 8 GB", "12", "true", "a=b", "[1]", "é 1", "~x", "x@0a1b2c3d"):
        assert compose(["recipe=small_jetson", setting(name)]).target.device == name


def test_of_two_measurements_of_one_device_the_last_that_came_counts(waiting: Project) -> None:
    later = send(waiting, "later", latency_ns=500_000, taken_at="2026-11-21T08:00:00+00:00", engine=b"another engine")
    early = send(waiting, "early")
    take(waiting, early)
    second = take(waiting, later)
    third = take(waiting, early)

    assert "that of 2026-11-20T10:00:00+00:00 counts no longer" in second.stderr
    assert "p50 is 0.500 ms" in second.stdout
    assert "p50 is 0.500 ms" in third.stdout
    assert (latest(waiting) / "artifacts/compile/engine.plan").read_bytes() == b"another engine"


def test_a_device_whose_clock_is_slow_counts_when_its_result_came_last(waiting: Project) -> None:
    first = send(waiting, "first", taken_at="2026-11-21T08:00:00+00:00")
    slow = send(waiting, "slow", latency_ns=500_000, taken_at="1970-01-01T00:02:00+00:00", engine=b"another engine")
    take(waiting, first)
    second = take(waiting, slow)

    assert "that of 2026-11-21T08:00:00+00:00 counts no longer" in second.stderr
    assert "p50 is 0.500 ms" in second.stdout
    assert set(statuses(waiting).values()) == {"cached"}
    assert (latest(waiting) / "artifacts/compile/engine.plan").read_bytes() == b"another engine"


def forget(project: Project, device: str) -> None:
    """Remove the records of a device from the store, and leave the index as it is."""
    entries = [json.loads(path.read_text())["entry"] for path in (project.store / "devices").glob("*/*.json")]
    for key in (entry["key"] for entry in entries if entry["device"]["name"] == device):
        [place] = (project.store / "ac").rglob(key)
        shutil.rmtree(place)


def test_a_device_whose_records_are_gone_is_not_one_of_several(waiting: Project) -> None:
    first, second = send(waiting), send(waiting, "agx", device=AGX)
    take(waiting, first)
    take(waiting, second)
    forget(waiting, str(AGX["name"]))
    done = waiting.run("recipe=small_jetson")
    again = take(waiting, second)

    assert done.returncode == 0, done.stderr
    assert f"measured on {ORIN['name']}" in done.stdout
    assert f"of {AGX['name']}" in again.stderr
    assert "counts no longer" not in again.stderr


def test_a_device_that_is_named_and_whose_records_are_gone_is_to_be_imported_again(waiting: Project) -> None:
    take(waiting, send(waiting, "agx", device=AGX))
    forget(waiting, str(AGX["name"]))
    alone = waiting.run("recipe=small_jetson", f"target.device={AGX['name']}")
    take(waiting, send(waiting))
    beside, other = (waiting.run("plan", "recipe=small_jetson", f"target.device={each}") for each in (AGX["name"], "X"))
    gone, again = f"what '{AGX['name']}' sent on 2026-11-20 is gone from this store", "resume --import RESULT"

    assert alone.returncode == 0, alone.stderr
    assert f"note: {gone}; import it again: python -m builder {again}" in alone.stderr
    assert (beside.returncode, other.returncode) == (2, 2)
    assert f"target.device: {gone}" in beside.stderr
    assert again in beside.stderr
    assert "nothing came from 'X'" in other.stderr


@pytest.mark.parametrize("lost", [DEVICE_ACTIONS, {"benchmark"}])
def test_a_device_whose_results_are_gone_counts_for_nothing_and_cleaning_removes_it(
    waiting: Project, lost: set[str]
) -> None:
    archive = send(waiting)
    take(waiting, archive)
    entries = [json.loads(path.read_text())["entry"] for path in (waiting.store / "devices").glob("*/*.json")]
    for key in (entry["key"] for entry in entries if entry["action"] in lost):
        shutil.rmtree(next((waiting.store / "ac").rglob(key)))
    (waiting.store / "devices" / ("0" * 64)).mkdir()
    done, planned = waiting.run("recipe=small_jetson"), statuses(waiting)
    looked, cleaned = waiting.run("cache", "gc", "dry_run=true"), waiting.run("cache", "gc")

    assert (done.returncode, set(planned.values())) == (0, {"deferred"}), done.stderr
    assert (looked.returncode, cleaned.returncode) == (0, 0), cleaned.stderr
    assert not list((waiting.store / "devices").iterdir())
    assert take(waiting, archive).returncode == 0
    assert set(statuses(waiting).values()) == {"cached"}


def test_an_earlier_result_counts_again_where_the_later_is_gone(waiting: Project) -> None:
    first, second = send(waiting), send(waiting, "second", latency_ns=500_000, engine=b"another engine")
    take(waiting, first)
    take(waiting, second)
    newest = max(
        (json.loads(path.read_text())["entry"] for path in (waiting.store / "devices").glob("*/*.json")),
        key=lambda entry: str(entry["filed_at"]),
    )["result"]
    for path in (waiting.store / "devices").glob(f"*/{newest}.json"):
        [place] = (waiting.store / "ac").rglob(json.loads(path.read_text())["entry"]["key"])
        shutil.rmtree(place)
    done = waiting.run("recipe=small_jetson")

    assert done.returncode == 0, done.stderr
    assert (latest(waiting) / "artifacts/compile/engine.plan").read_bytes() == b"an engine of a Jetson"


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "another processor": (
        {"name": "NVIDIA H100", "arch": "x86_64", "tensorrt": "8.5.2"},
        "which is aarch64; the result is of NVIDIA H100, which is x86_64",
    ),
    "another GPU": ({"compute_capability": "7.2"}, "of compute capability 8.7;"),
    "another TensorRT": ({"tensorrt": "8.5.2"}, "which has 8.5.2"),
    "no TensorRT": ({"tensorrt": None}, "which has none"),
    "no architecture": ({"arch": None}, "which is a machine that does not say what it is"),
    "an empty architecture": ({"arch": ""}, "which is a machine that does not say what it is"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_result_of_what_is_not_the_target_is_refused(waiting: Project, what: str) -> None:
    facts, words = OTHERS[what]
    sent = Sent(waiting, latest(waiting))
    sent.device |= facts
    done = take(waiting, sent.write(waiting.folder / "orin.result.tar"))

    assert done.returncode == 2, done.stdout
    assert "the recipe is for jetson_orin, " in done.stderr
    assert words in done.stderr
    assert nothing_is_filed(waiting)


@pytest.mark.parametrize(("says", "code"), [({}, 2), ({"features": "fphp"}, 2), ({"features": "asimd fphp"}, 0)])
def test_a_result_of_a_processor_without_the_targets_instructions_is_refused(
    waiting: Project, says: dict[str, str], code: int
) -> None:
    build = deferred_build(waiting, "target.features=[asimd]")
    done = take(waiting, Sent(waiting, build, device={**ORIN, **says}).write(waiting.folder / "orin.result.tar"))
    words = f"the recipe is for jetson_orin, with asimd; the result is of {ORIN['name']}, which has no asimd"

    assert (done.returncode, words in done.stderr) == (code, code != 0), done.stderr
    assert (waiting.store / "devices").exists() == (code == 0)


def another_program(document: dict[str, Any]) -> None:
    document["program"] = "0" * 64


def test_a_result_of_another_program_is_refused(waiting: Project) -> None:
    done = take(waiting, send(waiting, change=another_program))

    assert done.returncode == 2, done.stdout
    assert "this result was made by another program than its key says" in done.stderr
    assert nothing_is_filed(waiting)


def test_verify_does_not_judge_what_only_the_device_can_make_again(waiting: Project) -> None:
    take(waiting, send(waiting))
    done = waiting.run("verify", "recipe=small_jetson")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("only that device can make it again") == len(DEVICE_ACTIONS)


def test_a_lock_keeps_what_the_device_sent_out_of_its_comparison(waiting: Project) -> None:
    before = waiting.run("lock", "recipe=small_jetson")
    take(waiting, send(waiting))
    locked = waiting.run("recipe=small_jetson", "locked=true")

    assert before.returncode == 0, before.stderr
    assert locked.returncode == 0, locked.stdout + locked.stderr


def test_what_is_asked_for_anew_waits_for_the_device(waiting: Project) -> None:
    take(waiting, send(waiting))
    done = waiting.run("recipe=small_jetson", "fresh=[benchmark]")

    assert done.returncode == 0, done.stderr
    actions = {action["name"]: action["status"] for action in read_manifest(latest(waiting))["actions"]}
    assert (actions["compile"], actions["benchmark"]) == ("cached", "deferred")


def test_a_result_counts_as_a_whole_or_not_at_all(waiting: Project) -> None:
    archive = send(waiting)
    take(waiting, archive)
    [entry, *_] = sorted((waiting.store / "devices").glob("*/*.json"))
    entry.unlink()

    assert set(statuses(waiting).values()) == {"deferred"}
    assert take(waiting, archive).returncode == 0
    assert set(statuses(waiting).values()) == {"cached"}


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_nothing_half(waiting: Project) -> None:
    archive = send(waiting)
    for seconds in (0.8, 1.6, 2.4, 3.2):
        started = waiting.start("resume", "--import", archive.name)
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
        assert len(set(statuses(waiting).values())) == 1

    assert take(waiting, archive).returncode == 0
    assert set(statuses(waiting).values()) == {"cached"}
    assert waiting.run("cache", "verify").returncode == 0


def test_cleaning_keeps_what_came_from_the_device_while_a_build_needs_it(waiting: Project) -> None:
    take(waiting, send(waiting))
    waiting.run("cache", "gc", "max_age_days=0")
    kept = statuses(waiting)
    shutil.rmtree(waiting.folder / "outputs" / "small_jetson")
    waiting.run("cache", "gc", "max_age_days=0")

    assert set(kept.values()) == {"cached"}
    assert not list((waiting.store / "devices").glob("*/*.json"))


def test_a_damaged_entry_is_set_aside_and_told(waiting: Project) -> None:
    take(waiting, send(waiting))
    [entry, *_] = sorted((waiting.store / "devices").glob("*/*.json"))
    entry.chmod(0o644)
    entry.write_bytes(entry.read_bytes().replace(b"MAXN", b"15 W"))
    verified = waiting.run("cache", "verify")

    assert "it is not as it was written" in verified.stdout
    assert "resume --import RESULT" in verified.stdout
    assert not entry.exists()
    assert set(statuses(waiting).values()) == {"deferred"}
