"""What becomes of actions and builds that fail, are interrupted or killed (faults of native code: test_native.py)."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from faults import add_faulty_step
from projects import Project


def build(project: Project) -> tuple[int, str]:
    done = project.run("recipe=small", "steps=[faulty]")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.invariant(6)
def test_a_failure_is_never_cached(small: Project) -> None:
    flag = small.folder / "mended"
    add_faulty_step(small, f"if not Path({str(flag)!r}).exists(): raise RuntimeError('not yet')")
    first, _ = build(small)
    flag.touch()
    second, text = build(small)

    assert (first, second) == (1, 0), text


def test_a_failed_actions_output_is_in_the_build_log(small: Project) -> None:
    add_faulty_step(small, "print('the last words'); os.abort()")
    build(small)
    (folder,) = (path for path in (small.folder / "outputs/small").iterdir() if not path.is_symlink())

    assert "the last words" in (folder / "build.log").read_text()


def test_what_does_not_depend_on_a_failure_goes_on(small: Project) -> None:
    add_faulty_step(small, "os.abort()")
    done = small.run("recipe=small", "+steps=faulty", "steps.quantize.inputs={model: simplify}", "output=json")
    statuses = {action["name"]: action["status"] for action in json.loads(done.stdout)["actions"]}

    assert done.returncode == 1
    assert statuses == {
        "model": "built", "simplify": "built", "faulty": "failed", "quantize": "built", "evaluate": "built",
    }  # fmt: skip


def test_what_depends_on_a_failure_is_skipped(small: Project) -> None:
    add_faulty_step(small, "os.abort()")
    done = small.run("recipe=small", "+steps=faulty", "output=json")
    statuses = {action["name"]: action["status"] for action in json.loads(done.stdout)["actions"]}

    assert (statuses["quantize"], statuses["evaluate"]) == ("skipped", "skipped")


def test_a_worker_sees_no_variable_of_its_user(small: Project) -> None:
    names = "SECRET PYTHONHASHSEED OMP_NUM_THREADS TZ ORT_DISABLE_TELEMETRY"
    add_faulty_step(
        small, f"(target.parent / 'env.txt').write_text(str([os.environ.get(n) for n in '{names}'.split()]))"
    )
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


@pytest.mark.invariant(2)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_exits_130_and_leaves_nothing_running_or_half_written(small: Project, number: signal.Signals) -> None:
    marker = f"sleep-{os.getpid()}-{number.name}"
    flag = small.folder / "running"
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{marker}'])"
    add_faulty_step(small, f"{child}; Path({str(flag)!r}).touch(); time.sleep(600)")
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


@pytest.mark.invariant(5)
def test_a_killed_builder_takes_its_workers_along_and_the_next_build_is_right(small: Project) -> None:
    flag = small.folder / "running"
    add_faulty_step(
        small, f"Path({str(flag)!r}).write_text(str(os.getpid()))\nif not Path('{flag}.go').exists(): time.sleep(600)"
    )
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


@pytest.mark.invariant(4)
def test_two_builds_at_once_run_every_key_once(small: Project) -> None:
    counter = small.folder / "runs"
    add_faulty_step(
        small,
        f"fd = os.open({str(counter)!r}, os.O_APPEND | os.O_CREAT | os.O_WRONLY); os.write(fd, b'x'); time.sleep(1)",
    )
    builders = [small.start("recipe=small", "steps=[faulty]") for _ in range(3)]
    codes = [builder.communicate(timeout=120) and builder.returncode for builder in builders]

    assert codes == [0, 0, 0]
    assert counter.read_bytes() == b"x"


@pytest.mark.invariant(7)
def test_an_input_that_is_edited_while_an_action_runs_gives_no_result(small: Project) -> None:
    sample = small.folder / "samples/test.npz"
    add_faulty_step(small, f"Path({str(sample)!r}).write_bytes(b'edited')", more="splits=lambda _: ('test',)")
    done = small.run("recipe=small", "steps=[faulty]")

    assert done.returncode == 1
    assert "what it read was changed while it ran" in done.stdout + done.stderr


@pytest.mark.invariant(1)
def test_damage_found_while_inputs_are_read_is_repaired_in_the_same_build(small: Project) -> None:
    from builder.store.statcache import StatCache, file_state

    first = json.loads(small.run("recipe=small", "steps=[simplify]", "output=json").stdout)
    digest = first["artifacts"][0]["sha256"]
    target = small.store / "cas" / digest[:2] / digest
    target.chmod(0o644)
    target.write_bytes(b"rot" + target.read_bytes()[3:])
    cache = StatCache(small.folder / ".cache" / "builder")
    cache.believe(target, file_state(target), digest)
    cache.close()
    again = small.run("recipe=small")

    assert again.returncode == 0, again.stdout + again.stderr
    assert "  built     simplify" in again.stdout
    assert target.read_bytes()[:3] != b"rot"
