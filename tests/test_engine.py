"""Workers and what can go wrong in them; a failure is never cached and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from projects import Project

STEP = """
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    mode: str = "ok"

@step(options=Options, rank=30, inputs={{"model": Kind.ONNX}}, outputs={{"model": Kind.ONNX}})
def {name}(options: Options, job: Job) -> Result:
    import ctypes, os, shutil, subprocess, sys, time
    from pathlib import Path
    target = job.folder("model") / "model.onnx"
    shutil.copy(job.inputs["model"] / "model.onnx", target)
{body}
    return Result()
"""


def add(project: Project, body: str) -> None:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    project.add_steps(faulty=STEP.format(name="faulty", body=indented))


def build(project: Project) -> tuple[int, str]:
    done = project.run("recipe=small", "steps=[faulty]")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("ctypes.string_at(0)", "its process was killed by SIGSEGV"),
        ("os.abort()", "its process was killed by SIGABRT"),
        ("os._exit(7)", "its process ended with exit code 7"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("target.unlink()", "faulty did not write model/model.onnx"),
        ("target.write_bytes(b'garbage')", "rejects the model"),
        ("(job.folder('extra') / 'x').write_text('x')", "wrote a port 'extra'"),
        ("(job.output / 'notes.txt').write_text('x')", "wrote a port 'notes.txt'"),
        ("(target.parent / 'note.txt').write_text(str(job.output))", "holds the path of its folder"),
        ("(target.parent / 'link').symlink_to('/etc/passwd')", "neither a file nor a folder"),
    ],
)
def test_a_faulty_step_fails_its_action_with_a_clear_message(small: Project, body: str, says: str) -> None:
    add(small, body)
    code, text = build(small)

    assert code == 1
    assert says in text
    assert "Traceback" not in text


def test_a_failure_is_never_cached(small: Project) -> None:
    flag = small.folder / "mended"
    add(small, f"if not Path({str(flag)!r}).exists(): raise RuntimeError('not yet')")
    first, _ = build(small)
    flag.touch()
    second, text = build(small)

    assert (first, second) == (1, 0), text


def test_what_native_code_prints_does_not_disturb_the_protocol(small: Project) -> None:
    add(small, "os.write(1, b'{not json}\\n' * 1000); print('noise'); os.write(2, b'noise')")
    code, text = build(small)

    assert code == 0, text


def test_a_failed_actions_output_is_in_the_build_log(small: Project) -> None:
    add(small, "print('the last words'); os.abort()")
    build(small)
    (folder,) = (path for path in (small.folder / "outputs/small").iterdir() if not path.is_symlink())

    assert "the last words" in (folder / "build.log").read_text()


def test_what_does_not_depend_on_a_failure_goes_on(small: Project) -> None:
    add(small, "os.abort()")
    done = small.run("recipe=small", "+steps=faulty", "steps.quantize.inputs={model: simplify}", "output=json")
    statuses = {action["name"]: action["status"] for action in json.loads(done.stdout)["actions"]}

    assert done.returncode == 1
    assert statuses == {
        "model": "built", "simplify": "built", "faulty": "failed", "quantize": "built", "evaluate": "built",
    }  # fmt: skip


def test_what_depends_on_a_failure_is_skipped(small: Project) -> None:
    add(small, "os.abort()")
    done = small.run("recipe=small", "+steps=faulty", "output=json")
    statuses = {action["name"]: action["status"] for action in json.loads(done.stdout)["actions"]}

    assert (statuses["quantize"], statuses["evaluate"]) == ("skipped", "skipped")


def test_a_worker_sees_no_variable_of_its_user(small: Project) -> None:
    names = "SECRET PYTHONHASHSEED OMP_NUM_THREADS TZ ORT_DISABLE_TELEMETRY"
    add(small, f"(target.parent / 'env.txt').write_text(str([os.environ.get(n) for n in '{names}'.split()]))")
    small.run("recipe=small", "steps=[faulty]", SECRET="1", PYTHONHASHSEED="7", OMP_NUM_THREADS="5")

    text = (small.folder / "outputs/small/latest/artifacts/faulty/env.txt").read_text()
    assert text == "[None, '0', '1', 'UTC', '1']"


def alive(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (entry / "cmdline").read_bytes() and (entry / "stat").read_text().split()[2] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_exits_130_and_leaves_nothing_running_or_half_written(small: Project, number: signal.Signals) -> None:
    marker = f"sleep-{os.getpid()}-{number.name}"
    flag = small.folder / "running"
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{marker}'])"
    add(small, f"{child}; Path({str(flag)!r}).touch(); time.sleep(600)")
    process = small.start("recipe=small", "steps=[faulty]")
    wait_for(flag)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert alive(marker) == []
    assert [path for path in (small.store / "tmp").iterdir() if path.is_dir()] == []
    assert not (small.folder / "outputs/small").exists()


def test_a_killed_builder_takes_its_workers_along_and_the_next_build_is_right(small: Project) -> None:
    flag = small.folder / "running"
    add(small, f"Path({str(flag)!r}).write_text(str(os.getpid()))\nif not Path('{flag}.go').exists(): time.sleep(600)")
    process = small.start("recipe=small", "steps=[faulty]")
    wait_for(flag)
    time.sleep(0.2)
    worker = int(flag.read_text())
    process.kill()
    process.communicate(timeout=30)
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.05)

    assert not Path(f"/proc/{worker}").exists()
    Path(f"{flag}.go").touch()
    code, text = build(small)
    assert code == 0, text


def test_two_builds_at_once_run_every_key_once(small: Project) -> None:
    counter = small.folder / "runs"
    add(
        small,
        f"fd = os.open({str(counter)!r}, os.O_APPEND | os.O_CREAT | os.O_WRONLY); os.write(fd, b'x'); time.sleep(1)",
    )
    builders = [small.start("recipe=small", "steps=[faulty]") for _ in range(3)]
    codes = [builder.communicate(timeout=120) and builder.returncode for builder in builders]

    assert codes == [0, 0, 0]
    assert counter.read_bytes() == b"x"


def test_an_input_that_is_edited_while_an_action_runs_gives_no_result(small: Project) -> None:
    sample = small.folder / "samples/test.npz"
    small.write("conf/data/small.yaml", (small.folder / "conf/data/small.yaml").read_text())
    source = STEP.format(name="reader", body=f"    Path({str(sample)!r}).write_bytes(b'edited')")
    small.add_steps(reader=source.replace("outputs={", "splits=lambda o: ('test',), outputs={"))
    done = small.run("recipe=small", "steps=[reader]")

    assert done.returncode == 1
    assert "what it read was changed while it ran" in done.stdout + done.stderr


def test_damage_found_while_inputs_are_read_is_repaired_in_the_same_build(small: Project) -> None:
    from builder.store.statcache import StatCache

    first = json.loads(small.run("recipe=small", "steps=[simplify]", "output=json").stdout)
    digest = first["artifacts"][0]["sha256"]
    target = small.store / "cas" / digest[:2] / digest
    target.chmod(0o644)
    target.write_bytes(b"rot" + target.read_bytes()[3:])
    stat = target.stat()
    cache = StatCache(small.folder / ".cache" / "builder")
    row = (str(target), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest)
    cache._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    cache.close()
    again = small.run("recipe=small")

    assert again.returncode == 0, again.stdout + again.stderr
    assert "  built     simplify" in again.stdout
    assert target.read_bytes()[:3] != b"rot"
