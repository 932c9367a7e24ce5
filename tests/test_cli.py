"""The command: verbs, exit codes, and errors without tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import Project

import builder


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "name a recipe: recipe=NAME"),
        (("pln", "recipe=small"), 2, "there is no verb 'pln'"),
        (("pln", "recipe=small"), 2, "did you mean 'plan'?"),
        (("recipe=smal",), 2, "did you mean 'small'?"),
        (("recipe=small", "steps.quantize.calibration.smaples=3"), 2, "did you mean 'samples'?"),
        (("recipe=small", "--frsh"), 2, "there is no option '--frsh'"),
        (("recipe=small", "fresh=[quantise]"), 2, "did you mean 'quantize'?"),
        (("plan", "recipe=small", "fresh=[quantise]"), 2, "did you mean 'quantize'?"),
        (("-m", "recipe=small", "jobs=1,2"), 2, "the same for all builds of a sweep"),
        (("plan", "-m", "recipe=small", "jobs=1,2"), 2, "the same for all builds of a sweep"),
        (("-m", "recipe=small", "jobs=range("), 2, "cannot read 'jobs=range('"),
        (("list", "recipe"), 2, "did you mean 'recipes'?"),
        (("--cfg", "job", "recipe=nope"), 2, "there is no recipe 'nope'"),
        (("recipe=small", "steps.evaluate.split=tset"), 2, "did you mean 'test'?"),
        (("recipe=small", "steps.evaluate.metrics=[top11]"), 2, "did you mean 'top1'?"),
        (("recipe=small", "data.root=nowhere"), 1, "nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_error_with_its_exit_code(
    small: Project, words: tuple[str, ...], code: int, says: str
) -> None:
    done = small.run(*words)
    text = done.stdout + done.stderr

    assert done.returncode == code, text
    assert says in text
    assert "Traceback" not in text


def test_version(project: Project) -> None:
    assert project.run("--version").stdout == f"builder {builder.__version__}\n"


def test_help_names_verbs_recipes_and_steps(project: Project) -> None:
    done = project.run("--help")

    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("plan", "init", "jetson_int8", "quantize", "fashion_mobilenet"))


def test_cfg_shows_what_a_recipe_resolves_to(project: Project) -> None:
    done = project.run("--cfg", "job", "recipe=jetson_int8", "--package", "steps.quantize.calibration")

    assert done.returncode == 0, done.stderr
    assert "samples: 256" in done.stdout


def test_list_names_what_there_is(small: Project) -> None:
    done = small.run("list")

    assert done.returncode == 0, done.stderr
    assert all(f"  {word}" in done.stdout for word in ("small", "jetson_int8", "host", "quantize", "fashion_mnist"))


def test_strict_makes_a_deferred_build_exit_3(small: Project) -> None:
    steps = ("steps=[quantize,compile]", "steps.quantize.style=tensorrt", "steps.compile.parser=never")
    words = ("recipe=small", "target=jetson_orin", *steps)
    relaxed, strict = small.run(*words), small.run(*words, "strict=true")

    assert (relaxed.returncode, strict.returncode) == (0, 3), relaxed.stdout + relaxed.stderr
    assert "waiting for jetson_orin: compile" in strict.stdout


def test_a_limit_for_another_machine_is_not_judged_here(small: Project) -> None:
    import platform

    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    small.write("conf/target/other.yaml", f"name: other\narch: {other}\nruntime: onnxruntime\n")
    quick = ("steps.benchmark.runs=20", "steps.benchmark.max_seconds=1", "steps.benchmark.warmup_runs=1")
    words = (
        "recipe=small",
        "target=other",
        "steps=[benchmark]",
        "gates.max_latency_ms=1000",
        "~gates.max_size_mib",
        *quick,
    )
    done = small.run(*words, "strict=true")

    assert done.returncode == 3, done.stdout + done.stderr
    assert "deferred gate max_latency_ms.p50: waits for the target" in " ".join(done.stdout.split())
    assert "benchmark@host" in done.stdout


def test_a_store_that_cannot_be_written_is_one_clear_error(small: Project) -> None:
    small.write("file", "no folder")
    done = small.run("recipe=small", "store=file/store")

    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_crash(small: Project) -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m builder list | head -n 1"
    done = subprocess.run(
        command, shell=True, cwd=small.folder, env=small.environment, capture_output=True, text=True, check=False
    )

    assert done.stdout == "recipes\n"
    assert "Traceback" not in done.stderr


def test_colours_only_on_a_terminal(small: Project) -> None:
    assert "\x1b" not in small.run("recipe=small").stdout


def test_a_pipe_where_a_file_should_be_is_refused_at_once(small: Project) -> None:
    os.mkfifo(small.folder / "samples" / "pipe.npz")
    done = small.run("recipe=small", "+data.splits.test.portion=[0.0,1.0]", "data.splits.test.path=pipe.npz")

    assert done.returncode == 1
    assert "not a regular file" in done.stdout + done.stderr


def test_nothing_is_imported_from_the_folder_that_it_runs_in(small: Project) -> None:
    small.write("packaging.py", "raise RuntimeError('this is somebody else')")
    small.write("yaml.py", "raise RuntimeError('this is somebody else')")

    assert small.run("recipe=small").returncode == 0


def test_a_module_in_the_working_directory_is_not_imported(project: Project) -> None:
    for name in ("json", "onnx", "builder_helper"):
        project.write(f"{name}.py", "raise SystemExit('imported from the working directory')")
    done = project.run("list")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cpu_int8",), "did you mean recipe=cpu_int8?"),
        (("-q", "verify", "recipe=cpu_int8"), "the verb comes first"),
        (("recipe=cpu_int8", "limits.quantize.seconds=3"), "write +limits.quantize.NAME=..."),
    ],
)
def test_a_word_in_the_wrong_form_is_answered_with_the_right_one(
    project: Project, words: tuple[str, ...], says: str
) -> None:
    done = project.run(*words)

    assert done.returncode == 2
    assert says in done.stderr


def test_a_full_disk_behind_stdout_is_told_as_such(project: Project) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "builder", "list"],
            cwd=project.folder,
            env=project.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "cannot write the output" in done.stderr
