"""What a kit's own program does on a device: an old Python, the standard library, and a program in trtexec's place."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import toolchain_store
from faults import kill, left_running, needs_root, small_disk, wait_until
from kits import RECIPE, Device, build_kit, old_pythons, read_result
from projects import ROOT, Project, write_small
from trt_toolchain import find_rtx
from users import User, open_folder

from builder.device.energy import find_meter
from builder.device.files import canonical
from builder.device.itself import program_digest
from builder.device.machine import describe_device
from builder.processor import features
from builder.runtimes.machine import board
from builder.runtimes.tensorrt import has_gpu


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project at home; each kit that is built in it shares what was built before."""
    return Project(tmp_path_factory.mktemp("home") / "project")


@pytest.fixture(scope="module")
def kit(home: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit of the recipe `kitted` for a device of this machine's own architecture."""
    return Path(shutil.copytree(build_kit(home), tmp_path_factory.mktemp("kit") / "kit"))


@pytest.fixture(scope="module")
def finished(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A device that has finished the kit."""
    device = Device(tmp_path_factory.mktemp("device") / "d", kit)
    done = device.resume()
    assert done.returncode == 0, done.stderr
    return device


@pytest.fixture
def device(kit: Path, tmp_path: Path) -> Device:
    return Device(tmp_path / "d", kit)


def result_of(device: Device) -> Path:
    return next(device.folder.glob("*.result.tar"))


def engines(device: Device) -> list[str]:
    return [call for call in device.calls if "--onnx=" in call]


@pytest.mark.parametrize(
    ("version", "trtexec", "words"), [("3.8", "v101200", "--stronglyTyped"), ("3.10", "v110401", "--skipInference")]
)
def test_an_old_python_with_the_standard_library_alone_finishes_a_kit(
    kit: Path, tmp_path: Path, version: str, trtexec: str, words: str
) -> None:
    python = next((found for found in old_pythons() if found.endswith(version)), "")
    if not python:
        pytest.skip(f"there is no Python {version} here, neither from pyenv nor on PATH")
    device = Device(tmp_path / "d", kit, python=python)

    done = device.resume(TRTEXEC_VERSION=trtexec)

    assert (done.returncode, done.stdout) == (0, f"{result_of(device)}\n"), done.stderr
    assert words in engines(device)[0]
    document, _ = read_result(result_of(device))
    assert document["host"]["python"].startswith(version)
    assert document["device"]["tensorrt"].startswith({"v101200": "10.12.0", "v110401": "11.4.1"}[trtexec])


def test_a_result_holds_the_engine_the_outputs_and_the_times_each_by_its_digest(finished: Device) -> None:
    document, files = read_result(result_of(finished))
    kit = json.loads((finished.kit / "kit.json").read_text())

    stated = {name: value for name, value in document.items() if name != "digest"}
    assert document["digest"] == hashlib.sha256(canonical(stated)).hexdigest()
    assert (document["schema"], document["kit"], document["portable"]) == (1, kit["digest"], kit["portable"])
    assert document["program"] == kit["program"] == program_digest()
    assert {name: done["status"] for name, done in document["actions"].items()} == {
        "compile": "built",
        "evaluate@tensorrt": "built",
        "benchmark": "built",
    }
    listed = {
        f"{name}/{path}": entry for name, done in document["actions"].items() for path, entry in done["files"].items()
    }
    assert {*files} == {*listed, "result.json"}
    assert all(hashlib.sha256(files[path]).hexdigest() == entry["sha256"] for path, entry in listed.items())


def test_a_result_says_nothing_of_who_made_it(finished: Device) -> None:
    with tarfile.open(result_of(finished)) as tar:
        members = tar.getmembers()

    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    document, _ = read_result(result_of(finished))
    assert str(finished.folder) not in json.dumps(document)


def test_the_outputs_are_those_of_the_engine_for_every_sample(finished: Device) -> None:
    _, files = read_result(result_of(finished))
    sent = json.loads(files["evaluate@tensorrt/predictions/tensors.json"])
    output = sent["tensors"][0]
    found = np.frombuffer(files[f"evaluate@tensorrt/predictions/{output['file']}"], output["dtype"])
    expected = np.fromfile(finished.kit / "tensors/expected/0.bin", "float32")

    assert (sent["samples"], output["name"], output["role"], output["shape"]) == (5, "scores", "output", [5, 3])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # trtexec writes six digits


def test_candidate_and_baseline_are_timed_in_turns(finished: Device) -> None:
    _, files = read_result(result_of(finished))
    times = json.loads(files["benchmark/times/times.json"])
    timed = [call.split("/engine/")[0].rpartition("/")[2] for call in finished.calls if "--exportTimes" in call]

    assert [subject["name"] for subject in times["subjects"]] == ["candidate", "baseline"]
    assert [len(subject["blocks_ns"]) for subject in times["subjects"]] == [2, 2]
    assert all(run > 0 for subject in times["subjects"] for block in subject["blocks_ns"] for run in block)
    assert times["subjects"][0]["timed_by"] == "trtexec --noDataTransfers --useCudaGraph --useSpinWait"
    assert timed[2:] == ["compile", "baseline"] * 2  # after a short run of each, to reckon a block's length
    assert times["energy_j"] is None or times["energy_j"] > 0
    assert times["energy_method"]


def test_a_second_resume_does_nothing_and_says_so(finished: Device) -> None:
    before, made = len(finished.calls), result_of(finished).read_bytes()

    again = finished.resume()

    assert (again.returncode, again.stdout) == (0, f"{result_of(finished)}\n")
    assert "nothing to do" in again.stderr
    assert (len(finished.calls), result_of(finished).read_bytes()) == (before, made)


def test_a_lost_result_is_written_again_from_what_was_kept(finished: Device) -> None:
    before, (earlier, _) = len(finished.calls), read_result(result_of(finished))
    result_of(finished).unlink()

    again = finished.resume()

    assert (again.returncode, len(finished.calls)) == (0, before)
    assert read_result(result_of(finished))[0]["actions"] == earlier["actions"]


def test_a_kit_is_finished_from_its_tar_and_from_anywhere(kit: Path, finished: Device, tmp_path: Path) -> None:
    device = Device(tmp_path / "d", kit)
    with tarfile.open(tmp_path / "kit.tar", "w") as tar:
        tar.add(kit, "kit")
    shutil.copytree(finished.folder / "work", tmp_path / "elsewhere" / "work")

    done = device.resume(str(tmp_path / "kit.tar"), "--work", str(tmp_path / "elsewhere"))

    assert (done.returncode, len(engines(device))) == (0, 0), done.stderr
    assert done.stdout == f"{next((tmp_path / 'elsewhere').glob('*.result.tar'))}\n"


def test_another_architecture_is_refused(home: Project, tmp_path: Path) -> None:
    other = "aarch64" if platform.machine() != "aarch64" else "x86_64"
    device = Device(tmp_path / "d", build_kit(home, arch=other))

    done = device.resume()

    assert done.returncode == 3
    assert f"the kit is for desk, which is {other}; this machine is {platform.machine()}" in done.stderr
    assert device.calls == []


def test_a_gpu_of_another_kind_is_refused(home: Project, tmp_path: Path) -> None:
    device = Device(tmp_path / "d", build_kit(home, capability="8.7"))
    says = device.programs / "nvidia-smi"
    says.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 3060, 8.6, 570.1'\n")
    says.chmod(0o755)

    done = device.resume()

    assert done.returncode == 3
    assert "of compute capability 8.7; this machine has 8.6" in done.stderr


def test_what_a_device_says_of_itself_is_sent_as_one_plain_line(device: Device) -> None:
    says = device.programs / "nvpmodel"
    says.write_text('#!/bin/sh\necho "NV Power Mode: it\'s \\${HOME}\\t15W"\n')
    says.chmod(0o755)

    done = device.resume()

    assert done.returncode == 0, done.stderr
    assert read_result(result_of(device))[0]["device"]["power_mode"] == "it s {HOME} 15W"


def test_another_version_of_tensorrt_is_refused(device: Device) -> None:
    done = device.resume(TRTEXEC_VERSION="v8502")

    assert done.returncode == 3
    assert "with tensorrt >=10.3,<12; this machine has 8.5.2" in done.stderr


def test_a_device_without_tensorrt_is_told_what_is_missing(device: Device) -> None:
    (device.programs / "trtexec").unlink()

    done = device.resume()

    assert done.returncode == 3
    assert "cannot import tensorrt, and trtexec is neither on PATH" in done.stderr


@pytest.mark.parametrize("path", ["model/model.onnx", "tensors/input/0.bin", "recipe.json"])
def test_a_flipped_byte_is_found_and_named(device: Device, path: str) -> None:
    content = bytearray((device.kit / path).read_bytes())
    content[len(content) // 2] ^= 1
    (device.kit / path).write_bytes(content)

    done = device.resume()

    assert (done.returncode, device.calls) == (2, [])
    assert f"{path} in the kit is not what it was" in done.stderr


def test_an_edited_list_of_files_is_found(device: Device) -> None:
    document = json.loads((device.kit / "kit.json").read_text())
    document["target"]["runtime_versions"] = ">=8,<12"
    (device.kit / "kit.json").write_text(json.dumps(document))

    done = device.resume()

    assert (done.returncode, "kit.json in the kit is not what it was" in done.stderr) == (2, True)


def test_a_kit_for_another_version_of_the_program_is_refused(device: Device) -> None:
    document = json.loads((device.kit / "kit.json").read_text()) | {"program": "0" * 64}
    stated = {name: value for name, value in document.items() if name != "digest"}
    document["digest"] = hashlib.sha256(canonical(stated)).hexdigest()
    (device.kit / "kit.json").write_text(json.dumps(document))

    done = device.resume()

    assert (done.returncode, device.calls) == (2, [])
    assert "the kit was made for another version of the program that finishes it" in done.stderr


SAY_TOO_LITTLE = ['{"schema":1}', '{"schema":1,"files":[],"name":1}', '{"schema":1,"files":{', "[[1]]", "9"]


@pytest.mark.parametrize("text", SAY_TOO_LITTLE)
def test_a_kit_json_that_says_too_little_is_refused_in_one_sentence(device: Device, text: str) -> None:
    (device.kit / "kit.json").write_text(text)
    done = device.resume()

    assert done.returncode == 2
    assert any(words in done.stderr for words in ("its kit.json cannot be read", "does not say all that a kit says"))
    assert "Traceback" not in done.stderr


def test_another_schema_is_refused_in_one_sentence(device: Device) -> None:
    document = json.loads((device.kit / "kit.json").read_text()) | {"schema": 0}
    (device.kit / "kit.json").write_text(json.dumps(document))

    done = device.resume()

    assert done.returncode == 2
    assert "the kit has schema 0 (builder" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_kit_is_refused(device: Device, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no archive")

    for words in ([str(tmp_path)], [str(tmp_path / "x.tar")], [str(tmp_path / "absent.tar")]):
        done = device.resume(*words)
        assert (done.returncode, "Traceback" in done.stderr, "kit" in done.stderr) == (2, False, True)


@pytest.mark.parametrize("place", [".", "work", "link"])
def test_to_work_inside_the_kit_is_refused_at_once(device: Device, place: str) -> None:
    before = {path.name for path in device.kit.iterdir()}
    (device.folder / "link").symlink_to(device.kit)
    done = device.resume("--work", str(device.folder / "link" if place == "link" else device.kit / place))

    assert (done.returncode, device.calls) == (2, [])
    assert "is inside the kit, which holds nothing but its own files" in done.stderr
    assert f"--work {device.folder}" in done.stderr
    assert {path.name for path in device.kit.iterdir()} == before


def test_a_bad_unpacked_kit_is_unpacked_again(device: Device, tmp_path: Path) -> None:
    archive = tmp_path / "kit.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(device.kit, "kit")
    other = {"TRTEXEC_VERSION": "v8502"}  # so that it goes no further than to look at the kit
    first = device.resume(str(archive), **other)
    [unpacked] = tmp_path.glob("work/kit-*/kit")
    cut = (unpacked / "kit.json").read_bytes()[:100]
    for name, content in {"kit.json": cut, "model/model.onnx": b"no model", "more": b""}.items():
        (unpacked / name).write_bytes(content)
        again = device.resume(str(archive), **other)
        assert (again.returncode, again.stderr.splitlines()[-2:]) == (3, first.stderr.splitlines()[-2:]), name
        assert (unpacked / name).exists() == (name != "more")


def test_a_kit_whose_kit_json_is_cut_short_is_refused_each_time(device: Device, tmp_path: Path) -> None:
    (device.kit / "kit.json").write_bytes((device.kit / "kit.json").read_bytes()[:100])
    with tarfile.open(tmp_path / "kit.tar", "w") as tar:
        tar.add(device.kit, "kit")

    for _ in range(2):
        done = device.resume(str(tmp_path / "kit.tar"))
        assert (done.returncode, "its kit.json cannot be read" in done.stderr) == (2, True), done.stderr
        assert not list(tmp_path.glob("work/kit-*"))


def test_an_archive_that_leads_out_of_its_folder_is_refused(device: Device, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "kit.tar", "w") as tar:
        tar.add(device.kit / "kit.json", "../kit.json")

    done = device.resume(str(tmp_path / "kit.tar"))

    assert (done.returncode, "no plain file inside it" in done.stderr) == (2, True)


@pytest.fixture
def broken_off(device: Device) -> Iterator[Callable[[signal.Signals], tuple[Device, int, str]]]:
    """Resume, and send a signal when two samples were run."""

    def break_off(number: signal.Signals) -> tuple[Device, int, str]:
        process = device.start()
        wait_until(lambda: len(list(device.folder.glob("work/*/*/.evaluate*.calls/*.bin"))) >= 2)
        kill(process.pid, number=number)
        _, errors = process.communicate(timeout=60)
        return device, process.returncode, errors

    yield break_off
    left_running(device.folder)


def test_a_resume_that_was_killed_goes_on_where_it_was(
    broken_off: Callable[[signal.Signals], tuple[Device, int, str]],
) -> None:
    device, _, _ = broken_off(signal.SIGKILL)
    left_running(device.folder)
    assert list(device.folder.glob("*.result.tar")) == []
    before = len(device.calls)

    done = device.resume()

    assert done.returncode == 0, done.stderr
    assert "compile: was done before" in done.stderr
    assert "of 5 calls were run before" in done.stderr
    again = [call for call in device.calls[before:] if "--exportOutput" in call]
    assert len(again) <= 3
    assert read_result(result_of(device))[0]["actions"]["evaluate@tensorrt"]["status"] == "built"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_resume_leaves_nothing_running(
    broken_off: Callable[[signal.Signals], tuple[Device, int, str]], number: signal.Signals
) -> None:
    device, code, errors = broken_off(number)

    assert (code, "Traceback" in errors) == (130, False)
    assert "interrupted; what is done is kept" in errors
    assert left_running(device.folder) == []
    assert list(device.folder.glob("*.result.tar")) == []


def test_only_one_process_resumes_a_kit_at_a_time(device: Device) -> None:
    first = device.start()
    wait_until(lambda: any(device.folder.glob("work/*/*/lock")))

    second = device.resume()
    kill(first.pid, number=signal.SIGTERM)
    first.communicate(timeout=60)

    assert (second.returncode, "another process is resuming this kit" in second.stderr) == (1, True)


@needs_root
def test_a_disk_without_room_is_told_before_anything_is_done(device: Device, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        done = device.resume("--work", str(disk))

    assert (done.returncode, device.calls) == (1, [])
    assert "no room left on the disk of" in done.stderr


@needs_root
@pytest.mark.slow
def test_a_disk_that_fills_up_on_the_way_loses_nothing_that_was_done(device: Device, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 << 10) as disk:
        process = device.start("--work", str(disk))
        wait_until(lambda: any(disk.glob("work/*/*/compile/done.json")))
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, check=False)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in errors, list(disk.glob("*.result.tar"))) == (1, False, [])
        assert "no room left on the disk of" in errors
        filler.unlink()
        built = len(engines(device))

        done = device.resume("--work", str(disk))

        assert done.returncode == 0, done.stderr
        assert len(engines(device)) == built + 1  # the baseline's: the candidate's was kept
        assert read_result(next(disk.glob("*.result.tar")))[0]["actions"]["compile"]["status"] == "built"


@needs_root
@pytest.mark.slow
def test_another_user_finishes_a_kit_that_can_only_be_read(kit: Path) -> None:
    with open_folder() as folder:
        device = Device(folder / "shared", kit)
        device.log.touch()
        device.log.chmod(0o666)
        user = User(2, folder / "somebody")
        words = [str(device.kit / "resume.pyz"), "--work", str(user.folder / "place"), str(device.kit)]
        environment = {**device.environment(), "PATH": f"{device.programs}:{os.environ['PATH']}"}
        environment["HOME"] = str(user.folder)
        with user.python(*words, **environment) as process:
            output, errors = process.communicate(timeout=120)

        assert process.returncode == 0, errors
        assert read_result(Path(output.strip()))[0]["name"] == "kitted"


def test_a_model_that_tensorrt_refuses_is_in_the_result_in_its_words(device: Device) -> None:
    done = device.resume(TRTEXEC_REFUSES="1")

    document, files = read_result(result_of(device))
    actions = document["actions"]
    assert (done.returncode, {*files}) == (1, {"result.json"})
    assert actions["compile"]["status"] == "failed"
    assert "no implementation for node conv1" in actions["compile"]["error"]
    assert [actions[name]["status"] for name in ("evaluate@tensorrt", "benchmark")] == ["skipped", "skipped"]
    assert device.resume().returncode == 0  # a failure is not kept


@pytest.mark.parametrize(
    ("fault", "words"), [("noise", "dB from those of ONNX Runtime"), ("nan", "infinite or no num")]
)
def test_an_engine_that_computes_something_else_does_not_count(device: Device, fault: str, words: str) -> None:
    done = device.resume(TRTEXEC_WRONG=fault)

    document, _ = read_result(result_of(device))
    assert (done.returncode, document["actions"]["compile"]["status"]) == (1, "failed")
    assert words in document["actions"]["compile"]["error"]


@pytest.fixture
def rtx(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A Python, and the search path on which it finds tensorrt_rtx and us."""
    store = toolchain_store(tmp_path_factory, "tensorrt_rtx")
    python, packages = find_rtx(store)
    return str(python), os.pathsep.join([str(packages), str(ROOT)])


@pytest.mark.formats
def test_the_child_builds_with_the_real_python_interface_and_says_that_there_is_no_gpu(
    kit: Path, tmp_path: Path, rtx: tuple[str, str]
) -> None:
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU: what the child does there is another test's")
    shape = [1, 1, 8, 8]
    request: dict[str, Any] = {
        "onnx": str(kit / "model/model.onnx"),
        "engine": str(tmp_path / "plan"),
        "runtime": "tensorrt_rtx",
    }
    request |= {"profiles": {"image": dict.fromkeys(("min", "opt", "max"), shape)}, "compute_capabilities": ["8.6"]}
    asked, answered = tmp_path / "request", tmp_path / "answer"
    asked.write_text(json.dumps({"do": "build", "request": request, "layers": str(tmp_path / "layers")}))

    done = subprocess.run(
        [rtx[0], "-s", "-S", "-B", "-m", "builder.device.run_tensorrt", asked, answered],
        env={"PYTHONPATH": rtx[1]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "no NVIDIA driver" in json.loads(answered.read_text())["failed"]
    assert (tmp_path / "plan").stat().st_size > 100_000


@pytest.mark.formats
def test_a_kit_is_finished_with_engines_of_tensorrt_rtx(device: Device, rtx: tuple[str, str]) -> None:
    done = device.resume(TRTEXEC_RTX=rtx[0], TRTEXEC_RTX_PATH=rtx[1])

    assert done.returncode == 0, done.stderr
    engine = read_result(result_of(device))[1]["compile/engine/engine.plan"]
    assert len(engine) > 100_000


def test_a_kits_model_is_verified_on_any_processor_that_has_onnx_runtime(kit: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, kit / "resume.pyz", "--verify"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (0, "", []), done.stderr
    assert "verified: the outputs of 5 samples" in done.stderr


WARM = "steps.benchmark.warmup_runs=100000000"


def test_a_kit_for_a_board_with_onnx_runtime_is_timed_with_it(home: Project, tmp_path: Path) -> None:
    if board():
        pytest.skip("this machine is a board that says its name, so that nothing waits for it")
    name, machine = describe_device("", "")["name"], platform.machine()
    has = min(features())
    write_small(home)
    home.write(
        "conf/target/board.yaml", f"name: board\nsummary: x\narch: {machine}\nhardware: '{name}'\nfeatures: [{has}]\n"
    )
    home.write("recipes/boarded.yaml", RECIPE.replace("target: desk", "target: board"))
    done = home.run("recipe=boarded", "name=boarded", "~steps.compile", "steps.benchmark.batch=4", WARM)
    assert done.returncode == 0, done.stdout + done.stderr
    device = Device(tmp_path / "d", home.folder / "outputs/boarded/latest/kit", python=sys.executable)

    done = device.resume()

    assert done.returncode == 0, done.stderr
    document, files = read_result(result_of(device))
    assert document["device"]["features"] == has
    assert {name: entry["status"] for name, entry in document["actions"].items()} == {"benchmark": "built"}
    subjects = json.loads(files["benchmark/times/times.json"])["subjects"]
    assert [(each["runtime"], len(each["blocks_ns"]), each["warmup_runs"] > 0) for each in subjects] == [
        ("onnxruntime", 2, True),
        ("onnxruntime", 2, True),
    ]
    assert [each["batch"] for each in subjects] == [4, 4]
    assert [each["warmup_ms"] for each in subjects] == [1250, 1250]  # as long as a block of 5 s in 2 x 2 may take
    given = json.loads((device.kit / "tensors@benchmark/tensors.json").read_text())
    assert next(each["shape"] for each in given["tensors"] if each["role"] == "input")[0] == 4


def test_power_is_read_from_the_rail_that_feeds_the_whole_module(tmp_path: Path) -> None:
    sensors = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    sensors.mkdir(parents=True)
    for number, (label, millivolts, milliamperes) in enumerate([("VDD_CPU", 5000, 400), ("VDD_IN", 5000, 2000)], 1):
        (sensors / f"in{number}_label").write_text(f"{label}\n")
        (sensors / f"in{number}_input").write_text(f"{millivolts}\n")
        (sensors / f"curr{number}_input").write_text(f"{milliamperes}\n")

    meter, _ = find_meter(tmp_path)

    assert meter is not None
    with meter:
        wait_until(lambda: len(meter._samples) > 15)
    assert meter.watts(0, 1e12) == pytest.approx(10.0)
    assert "VDD_IN" in meter.method


def test_a_sensor_that_fails_midway_gives_no_power_and_says_why(tmp_path: Path) -> None:
    sensors = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    sensors.mkdir(parents=True)
    for name, text in (("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "400")):
        (sensors / name).write_text(text)
    meter, _ = find_meter(tmp_path)

    assert meter is not None
    with meter:
        wait_until(lambda: len(meter._samples) > 15)
        (sensors / "in1_input").unlink()
        wait_until(lambda: bool(meter.lost))
    assert meter.watts(0, 1e12) is None
    assert "rail VDD_IN (the whole module), 20 readings a second could not be read any more" in meter.lost


def test_a_part_of_a_modules_power_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    sensors = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    sensors.mkdir(parents=True)
    for name, text in (("in1_label", "VDD_CPU_CV"), ("in1_input", "5000"), ("curr1_input", "400")):
        (sensors / name).write_text(text)

    assert find_meter(tmp_path) == (None, "the INA sensors measure VDD_CPU_CV: none of them is the whole module")
