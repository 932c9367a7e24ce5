"""A build that waits for a device delivers its kit, as a folder and as one archive, and keeps it as it was."""

from __future__ import annotations

import hashlib
import shutil
import tarfile

import pytest
from projects import Project
from results import Sent, latest, read_manifest


def test_the_manifest_names_the_archive_and_the_terminal_what_to_do(waiting: Project) -> None:
    folder = latest(waiting)
    kit, archive = read_manifest(folder)["kit"], folder / "kit.tar"
    said = waiting.run("recipe=small_jetson").stdout

    assert kit == {
        "path": "kit.tar",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "bytes": archive.stat().st_size,
    }
    with tarfile.open(archive) as tar:
        assert {name.removeprefix("kit/") for name in tar.getnames()} == {
            path.relative_to(folder / "kit").as_posix() for path in (folder / "kit").rglob("*") if path.is_file()
        }
    assert f"outputs/small_jetson/{folder.name}/kit.tar" in said
    assert "tar xf kit.tar && sh kit/resume.sh" in said


@pytest.mark.parametrize("damaged", ["kit.tar", "kit/kit.json", "kit/model/model.onnx", "kit/resume.pyz"])
def test_a_kit_that_somebody_changed_is_delivered_again(waiting: Project, damaged: str) -> None:
    folder = latest(waiting)
    before = {path: path.read_bytes() for path in [folder / "kit.tar", *(folder / "kit").rglob("*")] if path.is_file()}
    (folder / damaged).write_bytes(b"something else")
    done = waiting.run("recipe=small_jetson")

    assert done.returncode == 0, done.stderr
    assert f"{damaged} was changed or removed; it is delivered again" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert latest(waiting) == folder
    assert "delivered again" not in waiting.run("recipe=small_jetson").stderr


def test_a_kit_that_is_gone_is_delivered_again(waiting: Project) -> None:
    folder = latest(waiting)
    (folder / "kit.tar").unlink()
    shutil.rmtree(folder / "kit")
    done = waiting.run("recipe=small_jetson")

    assert done.returncode == 0, done.stderr
    assert (folder / "kit.tar").is_file()
    assert (folder / "kit" / "resume.sh").is_file()


@pytest.mark.parametrize("waited", ["there", "changed", "gone"])
def test_the_manifest_of_the_build_that_waited_is_delivered_again(waiting: Project, waited: str) -> None:
    before = latest(waiting)
    archive = Sent(waiting, before).write(waiting.folder / "orin.result.tar")
    assert waiting.run("resume", "--import", archive.name).returncode == 0
    folder = latest(waiting)
    file, content = folder / "manifest.deferred.json", (before / "manifest.json").read_bytes()
    if waited == "changed":
        file.write_bytes(b"edited")
    else:
        file.unlink()
    if waited == "gone":
        shutil.rmtree(before)
    done, again = waiting.run("recipe=small_jetson"), waiting.run("resume", "--import", archive.name)

    assert done.returncode == 0, done.stderr
    assert "manifest.deferred.json was changed or removed; it is delivered again" in done.stderr
    assert latest(waiting) == folder
    assert (file.read_bytes() if file.exists() else None) == (None if waited == "gone" else content)
    assert "delivered again" not in again.stderr


def test_verifying_the_store_tells_of_a_changed_kit(waiting: Project) -> None:
    waiting.run("recipe=small_jetson")  # the store learns where this copy lies
    (latest(waiting) / "kit.tar").write_bytes(b"something else")
    done = waiting.run("cache", "verify")

    assert done.returncode == 1
    assert "kit.tar: its bytes are not what the build delivered" in done.stdout


def test_a_build_for_this_machine_has_no_kit(small: Project) -> None:
    small.run("recipe=small")
    folder = (small.folder / "outputs" / "small" / "latest").resolve()

    assert read_manifest(folder)["kit"] is None
    assert not (folder / "kit").exists()
