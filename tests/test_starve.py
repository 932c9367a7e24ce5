"""No room, handles, permission, time or memory: one clear message, nothing left behind, and the next build works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import add_faulty_step, committed, debris, left_running, needs_root, read_only, small_disk, wrong_objects
from projects import Project, write_small
from synthetic import Spec, delivered, expected, start, write_sources

from builder.store.tag import claim

FULL = re.compile(r"no room left on the disk of (\S+): (\d+ KiB|more is) needed, \d+ KiB free")
SPEC: Spec = {
    "actions": [
        {"name": "a", "source": "a.txt", "size": 200_000},
        {"name": "b", "inputs": ["a"], "size": 300_000},
        {"name": "c", "inputs": ["a"]},
        {"name": "d", "inputs": ["b", "c"], "size": 100_000},
    ]
}


def fill(disk: Path, free_kib: int) -> Path:
    """Leave so much room on a disk."""
    state = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(state.f_bavail * state.f_frsize - free_kib * 1024))
    return filler


@pytest.fixture
def plain(small: Project) -> Project:
    """A project whose recipe `faulty` has one step, which does its work."""
    add_faulty_step(small, "pass")
    return small


def clean(folder: Path) -> None:
    assert left_running(folder) == []
    assert debris(folder) == []


def fill_and_mend(folder: Path, free_kib: int) -> bool:
    """Build with so much room for the store, then with enough; return whether it was enough the first time."""
    write_sources(SPEC, folder)
    with small_disk(folder / "store", 4096) as disk:
        claim(disk)
        filler = fill(disk, free_kib)
        process = start(SPEC, folder, jobs=1)
        output, errors = process.communicate(timeout=60)
        said = [json.loads(line) for line in output.splitlines()]
        failed = [line for line in said if line["kind"] == "finished" and line["status"] == "failed"]
        assert (process.returncode, errors) == (1 if failed else 0, "")
        assert [line for line in failed if not FULL.search(line["reason"]) or "cache gc" not in line["hint"]] == []
        assert wrong_objects(disk) == []
        committed(disk)
        assert left_running(folder) == []
        assert debris(folder) == []
        filler.unlink()
        again = start(SPEC, folder)
        output, errors = again.communicate(timeout=60)
        assert again.returncode == 0, output + errors
        assert delivered(folder) == expected(SPEC, folder)
    return not failed


@needs_root
@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
@pytest.mark.invariant(6)
@pytest.mark.parametrize("free_kib", [16, 700])
def test_a_disk_that_fills_up_at_any_moment_damages_nothing(tmp_path: Path, free_kib: int) -> None:
    assert not fill_and_mend(tmp_path, free_kib)


@needs_root
@pytest.mark.slow
@pytest.mark.invariant(2)
@pytest.mark.invariant(3)
@pytest.mark.invariant(6)
def test_a_disk_of_any_size_is_enough_or_the_build_says_that_it_is_not(tmp_path: Path) -> None:
    enough = [fill_and_mend(tmp_path / f"{free_kib}", free_kib) for free_kib in range(0, 2000, 70)]
    assert set(enough) == {False, True}


@needs_root
@pytest.mark.invariant(2)
def test_a_full_disk_below_outputs_leaves_no_part_of_a_folder(plain: Project) -> None:
    plain.environment["BUILDER_STORE"] = str(plain.folder / "elsewhere/store")
    with small_disk(plain.folder / "outputs", 4096) as disk:
        filler = fill(disk, free_kib=30)
        refused = plain.run("recipe=faulty")
        left = [path for path in disk.rglob("*") if path != filler and not path.is_dir()]
        filler.unlink()
        again = plain.run("recipe=faulty")

    assert refused.returncode == 1
    assert re.search(r"^error: no room left on the disk of outputs/faulty.*: .* needed, \d+ KiB free", refused.stderr)
    assert "hint: make room there" in refused.stderr
    assert left == []
    assert again.returncode == 0, again.stdout + again.stderr


@needs_root
def test_a_full_disk_below_the_cache_folder_is_no_trouble(plain: Project) -> None:
    with small_disk(plain.folder / ".cache", 64) as disk:
        fill(disk, free_kib=0)
        done = plain.run("recipe=faulty")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.invariant(2)
@pytest.mark.invariant(6)
def test_a_file_that_may_not_grow_any_further_is_one_clear_message(small: Project) -> None:
    add_faulty_step(small, "(target.parent / 'large').write_bytes(bytes(2_000_000))")
    refused = limited(small, "ulimit -f 1000", "recipe=faulty")  # blocks of 512 bytes or of 1 KiB

    assert (refused.returncode, refused.stderr) == (1, "")
    assert f"a file under {small.store}/tmp" in refused.stdout
    assert "hint: raise the limit: ulimit -f unlimited" in refused.stdout
    clean(small.folder)


def limited(project: Project, limit: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Build under a limit of the shell."""
    return subprocess.run(
        ["sh", "-c", f'{limit} && exec "$@"', "sh", sys.executable, "-m", "builder", *words],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check_handles(project: Project, count: int) -> bool:
    """Build with so few file handles; return whether they were enough, having seen that all is well in both cases."""
    done = limited(project, f"ulimit -n {count}", "recipe=faulty")
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    clean(project.folder)
    if done.returncode:
        assert done.returncode == 1
        clear = (
            rf"no file handles left while \S+ was used: this process may open {count} files\n +hint: raise the limit"
        )
        assert re.search(clear, text), text
    return done.returncode == 0


@pytest.mark.invariant(6)
def test_too_few_file_handles_are_one_clear_message(plain: Project) -> None:
    assert not check_handles(plain, 15)
    again = plain.run("recipe=faulty")
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.invariant(3)
def test_with_any_number_of_file_handles_a_build_is_right_or_says_why(make_project: Callable[[str], Project]) -> None:
    enough = []
    for count in range(6, 30):
        project = write_small(make_project(f"{count}"))
        add_faulty_step(project, "pass")
        enough.append(check_handles(project, count))
    assert enough == sorted(enough)
    assert set(enough) == {False, True}


@needs_root
def test_outputs_that_cannot_be_written_are_told_before_anything_runs(plain: Project) -> None:
    plain.environment["BUILDER_STORE"] = str(plain.folder / "st")
    (plain.folder / "outputs").mkdir()
    with read_only(plain.folder / "outputs"):
        refused = plain.run("recipe=faulty")
    again = plain.run("recipe=faulty")

    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "error: cannot write to outputs: Read-only file system",
        "  hint: build in another folder",
    ]
    assert "built" not in refused.stdout
    assert again.returncode == 0, again.stdout + again.stderr


@needs_root
@pytest.mark.invariant(3)
def test_a_store_on_a_read_only_disk_serves_what_it_has_and_refuses_the_rest_in_one_message(plain: Project) -> None:
    plain.environment["BUILDER_STORE"] = str(plain.folder / "st")
    assert plain.run("recipe=faulty").returncode == 0
    with read_only(plain.folder / "st"):
        served = plain.run("recipe=faulty")
        refused = plain.run("recipe=faulty", "+steps=simplify")
    again = plain.run("recipe=faulty", "+steps=simplify")

    assert (served.returncode, served.stderr) == (0, "")
    assert "nothing to do" in served.stdout
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"error: cannot write to {plain.folder}/st: Read-only file system",
        "  hint: choose another place for the store: BUILDER_STORE=/path",
    ]
    assert again.returncode == 0, again.stdout + again.stderr
    clean(plain.folder)


@pytest.mark.invariant(6)
@pytest.mark.parametrize(
    ("body", "limit", "value", "says", "where"),
    [
        ("time.sleep(600)", "seconds", 1, "did not finish within 1 s", "command line"),
        (
            "kept = b'x' * 400_000_000; time.sleep(600)",
            "memory_mib",
            300,
            r"used \d+ MiB of memory; its limit is 300 MiB",
            "recipe",
        ),
    ],
    ids=["time", "memory"],
)
def test_an_action_over_its_limit_is_stopped_and_says_what_it_used_and_what_to_do(
    small: Project, body: str, limit: str, value: int, says: str, where: str
) -> None:
    flag = small.folder / "mended"
    child = "subprocess.Popen(['sleep', '600'], start_new_session=True)"
    add_faulty_step(small, f"print('the last words')\nif not Path({str(flag)!r}).exists():\n    {child}; {body}")
    words = ["recipe=faulty"]
    if where == "recipe":
        recipe = small.folder / "recipes/faulty.yaml"
        recipe.write_text(f"{recipe.read_text()}limits: {{seconds: 100, faulty: {{{limit}: {value}}}}}\n")
    else:
        words.append(f"+limits.faulty.{limit}={value}")
    stopped = small.run(*words)
    clean(small.folder)
    flag.touch()
    again = small.run(*words)

    assert (stopped.returncode, stopped.stderr) == (1, "")
    assert re.search(f"failed    faulty .* faulty {says}, so it was stopped", stopped.stdout), stopped.stdout
    assert re.search(
        rf"its last output: the last words; give it more: \+\+limits\.faulty\.{limit}=\d+", stopped.stdout
    ), stopped.stdout
    assert again.returncode == 0, again.stdout + again.stderr
