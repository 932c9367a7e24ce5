"""`target.host`: a build that waits for a device is finished there over a real sshd, by another user, and completed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kits import build_kit
from projects import Project
from sshd import HOST, Server, ssh_server

FINISHED = {"compile", "evaluate@tensorrt", "benchmark"}


@pytest.fixture
def server() -> Iterator[Server]:
    with ssh_server() as found:
        yield found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("ssh") / "project")
    build_kit(project)
    return project.folder


@pytest.fixture
def waiting(built: Path, tmp_path: Path) -> Project:
    """A project with a build that waits for a device."""
    shutil.copytree(built, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def manifest(project: Project) -> dict[str, Any]:
    path = project.folder / "outputs" / "kitted" / "latest" / "manifest.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def heard(started: subprocess.Popen[str], words: str) -> None:
    """Read what a command says until these words."""
    assert started.stderr is not None
    assert any(words in line for line in started.stderr)


@pytest.mark.slow
def test_one_command_has_the_device_finish_the_build(waiting: Project, server: Server) -> None:
    server.admit(waiting)
    done = waiting.run("recipe=kitted", f"target.host={HOST}")
    actions = {action["name"]: action for action in manifest(waiting)["actions"]}

    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest(waiting)["status"] == "built"
    assert {name for name, action in actions.items() if action["device"]} == FINISHED
    assert f"{HOST}: evaluate@tensorrt: done in" in done.stderr
    assert HOST not in json.dumps(manifest(waiting))
    [work] = server.work
    assert work.stat().st_uid == server.number  # another user did it
    assert work.stat().st_mode & 0o077 == 0

    later = waiting.run("recipe=kitted", f"target.host={HOST}")
    assert "nothing to do" in later.stdout
    assert HOST not in later.stderr


@pytest.mark.slow
def test_after_a_cut_the_same_command_goes_on(waiting: Project, server: Server) -> None:
    server.admit(waiting)
    with waiting.start("recipe=kitted", f"target.host={HOST}") as started:
        heard(started, "compile: done")
        server.cut()
        _, errors = started.communicate()

    assert started.returncode == 1
    assert f"the connection to {HOST} failed" in errors
    assert "run the same command again: what is done there is kept" in errors
    assert manifest(waiting)["status"] == "deferred"

    again = waiting.run("recipe=kitted", f"target.host={HOST}")
    assert again.returncode == 0, again.stderr
    assert f"{HOST} has the kit already; it goes on where it stopped" in again.stderr
    assert "compile: was done before" in again.stderr
    assert manifest(waiting)["status"] == "built"


@pytest.mark.slow
def test_an_interrupt_leaves_no_ssh_behind(waiting: Project, server: Server) -> None:
    server.admit(waiting)
    with waiting.start("recipe=kitted", f"target.host={HOST}") as started:
        heard(started, f"{HOST}: ")
        os.kill(started.pid, signal.SIGINT)
        _, errors = started.communicate()

    assert started.returncode == 130
    assert "interrupted" in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)


def test_a_host_key_that_is_not_known_is_refused(waiting: Project, server: Server) -> None:
    server.admit(waiting, known=False)
    done = waiting.run("recipe=kitted", f"target.host={HOST}")

    assert done.returncode == 1
    assert f"{HOST} is not known to this machine, or its key is not the one that is known" in done.stderr
    assert f"accept it once by hand: ssh {HOST}" in done.stderr
    assert (waiting.folder / "ssh" / "known_hosts").read_text() == ""


def test_a_missing_key_is_said_and_nobody_is_asked_for_a_password(waiting: Project, server: Server) -> None:
    server.admit(waiting, key=False)
    done = waiting.run("recipe=kitted", f"target.host={HOST}")

    assert done.returncode == 1
    assert f"{HOST} accepts no key of yours" in done.stderr
    assert f"ssh-copy-id {HOST}" in done.stderr
    assert manifest(waiting)["status"] == "deferred"


def test_a_device_that_is_not_the_target_ends_with_3(tmp_path: Path, server: Server) -> None:
    project = Project(tmp_path / "project")
    build_kit(project, capability="8.7")
    server.admit(project)
    done = project.run("recipe=kitted", f"target.host={HOST}")

    assert done.returncode == 3, done.stderr
    assert "compute capability 8.7" in done.stderr


def test_a_kit_that_was_damaged_there_is_sent_again(tmp_path: Path, server: Server) -> None:
    project = Project(tmp_path / "project")
    kit = build_kit(project, capability="8.7")
    server.admit(project)
    project.run("recipe=kitted", f"target.host={HOST}")
    [there] = [work / "kit" for work in server.work]
    for name, damage in (("model/model.onnx", b"another model"), ("resume.pyz", b"no program")):
        (there / name).chmod(0o644)
        (there / name).write_bytes(damage)
        done = project.run("recipe=kitted", f"target.host={HOST}")

        assert f"the kit on {HOST} is not what was sent; it is sent again" in done.stderr
        assert done.returncode == 3, done.stderr  # the kit is whole again, and the device not its target
        assert (there / name).read_bytes() == (kit / name).read_bytes()

    again = project.run("recipe=kitted", f"target.host={HOST}")
    assert "it is sent again" not in again.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=touch outside", "a;touch outside", "$(touch outside)@a", "a b", ""])
def test_a_host_that_is_no_name_never_reaches_a_shell(waiting: Project, host: str) -> None:
    done = waiting.run("recipe=kitted", f"target.host='{host}'")

    assert done.returncode == 2
    assert "target" in done.stderr
    assert not list(waiting.folder.rglob("outside"))


def test_a_program_that_reads_stdout_gets_one_manifest(waiting: Project, server: Server) -> None:
    server.admit(waiting, key=False)
    done = waiting.run("recipe=kitted", f"target.host={HOST}", "output=json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "deferred"
