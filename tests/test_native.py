"""A step that goes wrong, in native code or not, fails its own action, is named with its log, and all others go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faults import add_faulty_step, debris, left_running, wrong_objects
from projects import Project, write_small
from users import User, open_folder

# Each prints its last words first. What it does, and what is said of it.
FATAL = {
    "segfault": ("ctypes.string_at(0)", "its process was killed by SIGSEGV"),
    "abort": ("os.abort()", "its process was killed by SIGABRT"),
    "leaves": ("os._exit(0)", "its process ended with exit code 0"),
    "kills_supervisor": ("orphan(); os.kill(os.getppid(), 9); time.sleep(600)", "its process was killed by SIGKILL"),
    "kills_group": ("orphan(); os.kill(0, 9)", "its process was killed by SIGKILL"),
    "stops": ("os.kill(os.getpid(), signal.SIGSTOP)", "did not finish within 1 s"),
    "ignores_signals": (
        "for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)",
        "did not finish within 1 s",
    ),
    "garbage": (
        "for n in range(3, 64):\n try: os.write(n, b'garbage\\n' * 100)\n except OSError: pass",
        "its process wrote what is no answer",
    ),
    "closes_all": ("os.closerange(3, 64)", "its process ended with exit code 1"),
    "removes_output": ("shutil.rmtree(job.output)", "No such file or directory"),
    "prints_much": ("os.write(1, (b'x' * 99 + b'\\n') * 1_000_000); print(words); os.abort()", "killed by SIGABRT"),
    "prints_one_line": ("os.write(1, b'x' * 20_000_000); print(); print(words); os.abort()", "killed by SIGABRT"),
    "not_unicode": ("raise RuntimeError('no luck \\udc80')", "RuntimeError: no luck ?"),
    "leaves_with_7": ("os._exit(7)", "its process ended with exit code 7"),
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "makes_nothing": ("target.unlink()", "did not write model/model.onnx"),
    "makes_garbage": ("target.write_bytes(b'garbage')", "rejects the model"),
    "undeclared_port": ("(job.folder('extra') / 'x').touch()", "wrote a port 'extra'"),
    "undeclared_file": ("(job.output / 'notes.txt').touch()", "wrote a port 'notes.txt'"),
    "own_path": ("(target.parent / 'note').write_text(str(job.output))", "holds the path of its folder"),
    "link": ("(target.parent / 'link').symlink_to('/etc/passwd')", "neither a file nor a folder"),
    "pipe": ("os.mkfifo(target.parent / 'pipe')", "neither a file nor a folder"),
    "odd_name": ("open(os.fsencode(target.parent) + b'/\\xff', 'w')", "is not UTF-8"),
}
HARMLESS = {
    "plain": "pass",
    "noise": "os.write(1, b'{not json}\\n' * 1000); os.write(2, b'\\xff\\0')",
    "children": "orphan(); os.fork() or endless(target.parent / 'late')",
    "thread": "threading.Thread(target=endless, args=[target.parent / 'late'], daemon=True).start()",
    "elsewhere": "os.chdir('/'); os.umask(0o777); os.environ.clear()",
    "read_only": "target.chmod(0o400); target.parent.chmod(0o500); job.output.chmod(0o500)",
}
MENDED = "mended"  # a file: while it is there, nothing goes wrong
BODY = """\
words = f"the last words of {{options.mode}}"
print(words)
def orphan():
    subprocess.Popen(["setsid", "sh", "-c", "sleep 600 &"], stdout=subprocess.DEVNULL).wait()
def endless(file):
    while True:
        file.open("ab").write(b"x")
        time.sleep(0.001)
bodies = {bodies}
if not Path({flag!r}).exists():
    exec(bodies[options.mode], {{**globals(), **locals()}})
"""


def write_recipe(project: Project) -> None:
    """Write a recipe in which each of these actions is once, beside each other."""
    bodies = {name: body for name, (body, _) in FATAL.items()} | HARMLESS
    add_faulty_step(project, BODY.format(bodies=bodies, flag=str(project.folder / MENDED)))
    uses = "".join(f"  - /steps@steps.{name}: faulty\n" for name in bodies)
    modes = "".join(f"  {name}: {{mode: {name}}}\n" for name in bodies)
    project.write(
        "recipes/native.yaml",
        f"# @package _global_\ndefaults:\n{uses}  - override /model: small\n  - _self_\nsteps:\n{modes}"
        "limits: {stops: {seconds: 1}, ignores_signals: {seconds: 1}}\n",
    )


@dataclass
class Ended:
    """A build that is over: its exit code, what it printed, its newest folder, and its own peak memory."""

    project: Project
    code: int
    text: str
    manifest: dict[str, Any]
    folder: Path
    peak_mib: float

    def action(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(action for action in self.manifest["actions"] if action["name"] == name)
        return found


def run_and_watch(project: Project) -> Ended:
    process, peak_kib = project.start("recipe=native"), 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak_kib = max([peak_kib, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
        time.sleep(0.02)
    output, errors = process.communicate()
    assert process.returncode in (0, 1), output + errors
    folder = max((project.folder / "outputs/native").glob("[0-9]*"))
    manifest = json.loads((folder / "manifest.json").read_text())
    return Ended(project, process.returncode, output + errors, manifest, folder, peak_kib / 1024)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    project = write_small(Project(tmp_path_factory.mktemp("native")))
    write_recipe(project)
    return run_and_watch(project)


@pytest.mark.parametrize("name", FATAL)
def test_a_fatal_fault_is_named_with_its_last_output_and_its_log(broken: Ended, name: str) -> None:
    action, says = broken.action(name), FATAL[name][1]

    assert action["status"] == "failed"
    assert says in action["error"]
    assert f"the last words of {name}" in (broken.folder / action["log"]).read_text(errors="replace")
    if "its process" in says or "did not finish" in says:
        assert action["hint"].startswith("its last output: ")


@pytest.mark.invariant(3)
@pytest.mark.parametrize("name", HARMLESS)
def test_what_others_do_beside_it_is_no_action_s_fault(broken: Ended, name: str) -> None:
    made = [artifact for artifact in broken.manifest["artifacts"] if artifact["action"] == name]

    assert broken.action(name)["status"] == "built"
    assert f"artifacts/{name}/model.onnx" in [artifact["path"] for artifact in made]
    for artifact in made:
        assert hashlib.sha256((broken.folder / artifact["path"]).read_bytes()).hexdigest() == artifact["sha256"]


@pytest.mark.invariant(2)
@pytest.mark.invariant(5)
def test_nothing_is_left_of_a_build_with_faults(broken: Ended) -> None:
    assert broken.code == 1
    assert "Traceback" not in broken.text
    assert left_running(broken.project.folder) == []
    assert debris(broken.project.folder) == []
    assert wrong_objects(broken.project.store) == []


def test_what_actions_print_is_never_all_in_the_builder_s_memory(broken: Ended) -> None:
    assert (broken.folder / "logs/prints_much.log").stat().st_size > 100_000_000
    assert broken.peak_mib < 150


@pytest.mark.invariant(6)
def test_when_the_faults_are_mended_only_what_failed_runs_again(broken: Ended) -> None:
    (broken.project.folder / MENDED).touch()
    mended = run_and_watch(broken.project)

    assert mended.code == 0, mended.text
    assert {name: mended.action(name)["status"] for name in FATAL} == dict.fromkeys(FATAL, "built")
    assert {name: mended.action(name)["status"] for name in HARMLESS} == dict.fromkeys(HARMLESS, "cached")


def test_after_a_failure_nothing_new_starts_where_the_build_shall_not_go_on(small: Project) -> None:
    write_recipe(small)
    done = small.run("recipe=native", "keep_going=false", "jobs=1", "output=jsonl")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    statuses = [line["status"] for line in said if line["kind"] == "finished"]
    failed = statuses.index("failed")

    assert done.returncode == 1
    assert [line["action"] for line in said if line["kind"] == "started"][failed + 1 :] == []
    assert set(statuses[failed + 1 :]) == {"skipped"}
    assert all("keep_going=false" in line["reason"] for line in said if line.get("status") == "skipped")


@pytest.mark.invariant(3)
def test_an_output_that_cannot_be_read_is_no_result_and_goes(tmp_path: Path) -> None:
    with open_folder() if os.geteuid() == 0 else nullcontext(tmp_path) as folder:  # permissions do not bind root
        project = write_small(Project(folder / "project"))
        closing = "closed = target.parent / 'closed'; closed.mkdir(); (closed / 'x').touch(); closed.chmod(0)"
        add_faulty_step(project, f"{closing}; target.parent.chmod(0o500)")
        user = User(1, project.folder) if os.geteuid() == 0 else None
        words, path = ("-m", "builder", "recipe=faulty"), project.environment["PYTHONPATH"]
        process = user.python(*words, PYTHONPATH=path) if user else project.start(words[-1])
        output, _ = process.communicate(timeout=60)

        assert process.returncode == 1
        assert "closed cannot be read: Permission denied" in output
        assert debris(project.folder) == []
