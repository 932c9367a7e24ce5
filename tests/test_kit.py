"""What a kit holds: everything that a device needs to finish a build, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from kits import build_kit
from projects import Project

from builder.device.files import canonical
from builder.kit.commands import commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("home") / "project")


@pytest.fixture(scope="module")
def kit(home: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit beside its `.tar`, copied: the next build takes its place."""
    built, folder = build_kit(home), tmp_path_factory.mktemp("kit")
    shutil.copyfile(built.with_name("kit.tar"), folder / "kit.tar")
    return Path(shutil.copytree(built, folder / "kit"))


def document(kit: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kit / "kit.json").read_text())
    return found


def test_a_kit_holds_both_models_the_samples_the_recipe_and_a_program(kit: Path) -> None:
    names = {str(path.relative_to(kit)) for path in kit.rglob("*") if path.is_file()}

    assert names == {
        *("kit.json", "manifest.json", "recipe.json", "COMMANDS.md", "resume.sh", "resume.pyz"),
        *("model/model.onnx", "source/model.onnx", "tensors/tensors.json"),
        *("tensors/input/0.bin", "tensors/expected/0.bin", "tensors/reference/0.bin"),
    }
    quantized = {node.op_type for node in onnx.load(kit / "model/model.onnx").graph.node}
    assert "QuantizeLinear" in quantized
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(kit / "source/model.onnx").graph.node}


def test_every_file_of_a_kit_is_listed_by_its_digest(kit: Path) -> None:
    listed = document(kit)["files"]
    stated = {name: value for name, value in document(kit).items() if name != "digest"}

    assert {*listed} == {str(p.relative_to(kit)) for p in kit.rglob("*") if p.is_file() and p.name != "kit.json"}
    assert all(
        hashlib.sha256((kit / path).read_bytes()).hexdigest() == entry["sha256"] for path, entry in listed.items()
    )
    assert document(kit)["digest"] == hashlib.sha256(canonical(stated)).hexdigest()


def test_a_kit_says_what_is_to_be_done_and_in_which_order(kit: Path) -> None:
    actions = document(kit)["device_actions"]

    assert [(action["name"], action["step"]) for action in actions] == [
        ("compile", "compile"),
        ("evaluate@tensorrt", "evaluate"),
        ("benchmark", "benchmark"),
    ]
    assert [action["inputs"] for action in actions] == [
        {},
        {"model": ["compile", "engine"]},
        {"model": ["compile", "engine"]},
    ]
    assert document(kit)["portable"] == {action["name"]: action["portable_key"] for action in actions}
    assert document(kit)["models"]["candidate"]["precisions"] == ["fp32", "int8"]
    assert document(kit)["profiles"]["image"]["opt"] == [1, 1, 8, 8]


def test_the_tar_holds_the_kit_and_nothing_of_where_it_was_made(home: Project, kit: Path) -> None:
    with tarfile.open(kit.with_name("kit.tar")) as tar:
        members = tar.getmembers()
        contents = {member.name: tar.extractfile(member) for member in members}
        read = {name: file.read() for name, file in contents.items() if file}

    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
    assert read == {f"kit/{path.relative_to(kit)}": path.read_bytes() for path in kit.rglob("*") if path.is_file()}
    own = {name: content for name, content in read.items() if not name.endswith(".pyz")}
    assert [name for name, content in own.items() if str(home.folder).encode() in content] == []


@pytest.mark.parametrize("words", [(), ("jobs=1", "verbosity=quiet")])
def test_the_same_build_gives_the_same_kit(home: Project, kit: Path, words: tuple[str, ...]) -> None:
    shutil.rmtree(home.folder / "outputs" / "kitted")

    again = build_kit(home, *words)

    assert again.with_name("kit.tar").read_bytes() == kit.with_name("kit.tar").read_bytes()


def test_another_model_gives_another_kit(home: Project, kit: Path) -> None:
    other = document(build_kit(home, "steps.quantize.calibration.samples=8"))

    assert other["digest"] != document(kit)["digest"]
    assert other["portable"] != document(kit)["portable"]
    assert "steps.quantize.calibration.samples=8" in other["overrides"]


def test_a_build_that_waits_for_nothing_has_no_kit(home: Project) -> None:
    build_kit(home)

    done = home.run("recipe=kitted", "target=host", "~steps.compile", "~steps.benchmark")

    assert done.returncode == 0, done.stderr
    assert not (home.folder / "outputs/kitted/latest/kit").exists()


def test_the_program_of_a_kit_holds_our_device_package_and_nothing_else(kit: Path) -> None:
    with zipfile.ZipFile(kit / "resume.pyz") as archive:
        names = archive.namelist()

    assert all(
        name.startswith("builder/device/") for name in names if name not in ("__main__.py", "builder/__init__.py")
    )
    done = subprocess.run(
        [sys.executable, "-I", kit / "resume.pyz", "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "usage:" in done.stdout) == (0, True)


def test_the_commands_are_those_of_each_version_that_the_target_takes(kit: Path) -> None:
    text = (kit / "COMMANDS.md").read_text()
    blocks = {block.partition(" (")[0].partition(":")[0]: block for block in text.split("\n## ")[1:]}

    assert [*blocks] == ["TensorRT 10.3 to 10.11", "TensorRT 10.12 to 10.16", "TensorRT 11"]
    assert "--int8" in blocks["TensorRT 10.3 to 10.11"]
    assert "--stronglyTyped" in blocks["TensorRT 10.12 to 10.16"]
    assert not {"--int8", "--fp16", "--stronglyTyped"} & {*blocks["TensorRT 11"].split()}
    assert all(
        "--onnx=kit/model/model.onnx" in block and "--onnx=kit/source/model.onnx" in block for block in blocks.values()
    )


def test_a_target_of_one_version_gets_its_commands_alone(kit: Path) -> None:
    narrow = document(kit)
    narrow["target"] = {**narrow["target"], "runtime_versions": ">=10.13,<10.14"}

    assert [line for line in commands(narrow, kit).splitlines() if line.startswith("## ")] == [
        "## TensorRT 10.12 to 10.16 (JetPack 7): types come from the graph, by a flag"
    ]
