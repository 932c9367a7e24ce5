"""`toolchain list|build|lock`: what can be wrong with a toolchain is told in one sentence, with what to do."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from projects import ROOT, Project
from toolchains import PYTHON, add_toolchain, kept_folders, locked_project
from wheels import make_wheel

from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.keys import key_parts
from builder.recipe.toolchains import find_locked
from builder.specs import Model, Target
from builder.store.statcache import StatCache
from builder.toolchains.lock import parse
from builder.toolchains.spec import Toolchain
from builder.toolchains.step import toolchain_step

LOCK = "conf/toolchain/tiny.lock"


@pytest.fixture
def locked(project: Project) -> Project:
    """A project with a locked toolchain `tiny`, and no recipe."""
    return locked_project(project, user=False)


def write_lock(project: Project, *pins: str, python: str = PYTHON, packages: tuple[str, ...] = ("tiny",)) -> Path:
    """Write a lock that answers what is asked for, whatever it holds."""
    asked = Toolchain("tiny", python, list(packages)).asked
    return project.write(LOCK, "\n".join([f"# python {python}", f"# for {asked}", *pins, ""]))


def pin(name: str = "tiny", version: str = "1.0", digit: str = "0") -> str:
    return f"{name}=={version} --hash=sha256:{digit * 64}"


def wheels(project: Project) -> Path:
    return project.folder.parent / "wheels"


def told(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return what a command said that failed in words of its own."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


def test_a_lock_holds_versions_and_hashes_and_no_place(locked: Project) -> None:
    text = (locked.folder / LOCK).read_text()

    assert re.search(r"^tiny==1\.0 \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert "://" not in text
    assert str(wheels(locked)) not in text
    assert f"# python {PYTHON}\n" in text


def test_the_list_says_of_each_whether_it_can_be_used(locked: Project) -> None:
    locked.write("conf/toolchain/bare.yaml", f'python: "{PYTHON}"\npackages: [tiny]\nlicense: ask first\n')
    locked.write("conf/toolchain/broken.yaml", "python: [\n")
    before = locked.run("toolchain", "list", "tiny", "bare", "broken")
    locked.run("toolchain", "build", "tiny")
    after = locked.run("toolchain", "list", "tiny")
    rows = before.stdout.splitlines()

    assert before.returncode == 0, before.stderr
    assert re.match(rf"tiny +python {PYTHON} +locked, not built yet +a tiny one", rows[0])
    assert re.match(rf"bare +python {PYTHON} +cannot be used", rows[1])
    assert "has no lock that can be read at conf/toolchain/bare.lock" in rows[2]
    assert rows[3].strip() == "ask first"
    assert re.match(r"broken +conf/toolchain/broken\.yaml: not YAML", rows[4])
    assert "built, 1 KiB" in after.stdout


def test_building_twice_says_cached(locked: Project) -> None:
    first, second = (locked.run("toolchain", "build", "tiny", "tiny") for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0)
    assert re.fullmatch(r"  built +toolchain\.tiny .*packages 1, size 1 KiB, files \d\n", first.stdout)
    assert re.fullmatch(r"  cached +toolchain\.tiny .*packages 1, size 1 KiB, files \d\n", second.stdout)


def test_an_installation_is_told_line_by_line_where_there_is_no_terminal(locked: Project) -> None:
    shown = locked.run("toolchain", "build", "tiny")
    shutil.rmtree(locked.store)
    quiet = locked.run("toolchain", "build", "tiny", "verbosity=quiet")

    assert re.findall(r"running +toolchain\.tiny: (\S+ \S+)", shown.stderr) == [
        "0/1 fetching", "1/1 installing", "1/1 compiling",
    ]  # fmt: skip
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_terminal_shows_what_an_installation_is_at(locked: Project) -> None:
    modules = {f"tiny/part{index}.py": "def part(): return [1]\n" * 5_000 for index in range(10)}  # compiled in seconds
    make_wheel(wheels(locked), "tiny", files=modules)
    assert locked.run("toolchain", "lock", "tiny").returncode == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "builder", "toolchain", "build", "tiny"],
        cwd=locked.folder, env={**locked.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                seen += os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
    os.close(ours)

    assert process.returncode == 0
    assert b"running" in seen
    assert b"toolchain.tiny" in seen
    assert re.search(rb"1/1 (installing|compiling)|0/1 fetching", seen)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["biuld", "tiny"], "there is no 'biuld'", "did you mean 'build'?"),
        (["build", "tinny"], "there is no toolchain 'tinny'", "did you mean 'tiny'?"),
        (["lock"], "toolchain lock: which one?", "there is: "),
        (["build", "tiny", "ofline=true"], "no setting 'ofline'", "did you mean 'offline'?"),
        (["build", "tiny", "offline=perhaps"], "offline", "perhaps"),
        (["build", "tiny", "store=["], "store: expected a value, got '['", ""),
        (["lock", "tiny", "offline=true"], "toolchain lock asks the package index, and offline=true forbids it", ""),
        (["build", "host"], "there is no toolchain 'host'", ""),
    ],
)
def test_a_slip_in_the_command_is_named(words: list[str], message: str, hint: str, locked: Project) -> None:
    said = told(locked.run("toolchain", *words), 2)

    assert message in said
    assert hint in said


def test_help_is_help(project: Project) -> None:
    assert project.run("toolchain", "--help").stdout.startswith("usage: python -m builder toolchain list|build NAME...")
    assert project.run("toolchain").returncode == 2


DESCRIPTIONS = {
    "python: 3.11\npackages: [tiny]\n": "python: expected",
    'python: "3.9"\npackages: [tiny]\n': "the worker needs 3.11 or newer, got '3.9'",
    'python: "four"\npackages: [tiny]\n': "expected a version such as '3.11', got 'four'",
    f'python: "{PYTHON}"\npackages: []\n': "packages: expected at least one package",
    f'python: "{PYTHON}"\npackage: [tiny]\n': "did you mean 'packages'?",
    f'python: "{PYTHON}"\npackages: [--index-url, tiny]\n': "expected a package of an index such as 'numpy>=2'",
    f'python: "{PYTHON}"\npackages: ["tiny @ https://me:secret@index/tiny.whl"]\n': "expected a package of an index",
    f'python: "{PYTHON}"\npackages: [./tiny]\n': "expected a package of an index",
    f'name: other\npython: "{PYTHON}"\npackages: [tiny]\n': "a toolchain has the name of its file, got 'other'",
    "- tiny\n": "a toolchain is a mapping of keys",
}


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_slip_in_a_description_is_named(text: str, locked: Project) -> None:
    locked.write("conf/toolchain/tiny.yaml", text)

    assert DESCRIPTIONS[text] in told(locked.run("toolchain", "lock", "tiny"), 2)


def test_a_built_in_toolchain_cannot_be_replaced(locked: Project) -> None:
    locked.write("conf/toolchain/sklearn.yaml", f'python: "{PYTHON}"\npackages: [tiny]\n')

    said = told(locked.run("toolchain", "lock", "sklearn"), 2)
    assert "conf/toolchain/sklearn.yaml: there is a built-in toolchain sklearn already" in said
    assert not (locked.folder / "conf/toolchain/sklearn.lock").exists()


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {
    "half a hash": (lambda text: text[: len(text) // 2 + 60], ""),
    "no hash": (lambda text: re.sub(r" \\\n.*", "", text), "is no pinned package with hashes"),
    "no version": (lambda text: text.replace("tiny==1.0", "tiny>=1.0"), "is no pinned package with hashes"),
    "another hash": (lambda text: text.replace("sha256", "md5"), "is no pinned package with hashes"),
    "an address": (lambda text: text + "# from https://me:secret@the.index/simple\n", "an address or an option"),
    "an option": (lambda text: "--index-url localhost\n" + text, "an address or an option"),
    "a place": (lambda text: text.replace("tiny==1.0", "tiny @ file:tiny.whl"), "an address or an option"),
    "a package twice": (lambda text: text + pin("Tiny"), "tiny is pinned twice"),
    "no package": (lambda text: text[: text.index("tiny==")], "its lock does not hold tiny"),
    "no Python": (lambda text: text.replace("# python", "#"), "says '# python' once, this one 0 times"),
    "nothing": (lambda text: "", "a lock says"),
    "no text": (lambda text: "\0\udcff", "no lock that can be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_lock_is_refused_with_the_way_out(damage: str, locked: Project) -> None:
    spoil, message = DAMAGE[damage]
    file = locked.folder / LOCK
    file.write_bytes(spoil(file.read_text()).encode(errors="surrogateescape"))
    said = told(locked.run("toolchain", "build", "tiny"), 2)

    assert message in said
    assert "python -m builder toolchain lock tiny" in said
    assert "secret" not in said
    assert kept_folders(locked) == []


def test_a_lock_that_answers_another_question_is_out_of_date(locked: Project) -> None:
    make_wheel(wheels(locked), "other")
    add_toolchain(locked, "tiny", "other")
    stale = told(locked.run("toolchain", "build", "tiny"), 2)
    again = locked.run("toolchain", "lock", "tiny")

    assert "its lock was made for other packages or another Python than it names now" in stale
    assert again.returncode == 0, again.stderr
    assert "conf/toolchain/tiny.lock: 2 packages" in again.stdout
    assert locked.run("toolchain", "build", "tiny").returncode == 0


def test_how_a_lock_is_laid_out_changes_no_key(locked: Project) -> None:
    file = locked.folder / LOCK
    text = file.read_text()
    plain = re.sub(r" \\\n +", " ", text).replace("tiny==", "Tiny==") + "# somebody's note\n\n"
    first = locked.run("toolchain", "build", "tiny")
    file.write_text(plain)

    assert parse(plain, "tiny").digest == parse(text, "tiny").digest
    assert first.returncode == 0
    assert "cached    toolchain.tiny" in locked.run("toolchain", "build", "tiny").stdout


def test_what_lays_a_toolchain_out_and_what_is_built_from_source_are_in_its_key(
    locked: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(locked.folder)
    found = find_locked("tiny")
    tools = Action(found.action, toolchain_step, None, {}, Model("none"), None, Target("host"), locked=found)
    parts = key_parts(tools, {}, Facts(StatCache(tmp_path / "cache")))

    assert {"builder.toolchains.step", "builder.toolchains.uv"} <= parts["implementation"].keys()
    assert parts["libc"]
    assert replace(found.lock, sources=("tiny",)).digest != found.lock.digest == parts["toolchain"]["lock"]


def test_a_missing_interpreter_is_one_error_that_says_what_to_install(project: Project) -> None:
    add_toolchain(project, python="3.99")
    write_lock(project, pin(), python="3.99")

    for words in (("lock", "tiny"), ("build", "tiny")):
        said = told(project.run("toolchain", *words), 1)
        assert said.count("there is no Python 3.99 on this machine") == 1
        assert "uv python install 3.99, or pyenv install 3.99" in said
    assert "there is no Python 3.99 on this machine" in told(project.run("toolchain", "list", "tiny"), 0)


def test_what_cannot_be_resolved_is_told_by_package_and_reason(project: Project) -> None:
    links = add_toolchain(project)
    make_wheel(links, "tiny")
    make_wheel(links, "first", requires="tiny<1")
    make_wheel(links, "second", requires="tiny>=1")
    make_wheel(links, "native", tag="cp39-cp39-manylinux_2_17_aarch64")
    reasons = {
        "absent": "absent was not found",
        "'tiny>=7'": "only tiny==1.0 is available and you require tiny>=7",
        "first, second": "all versions of second depend on tiny>=1 and all versions of first depend on tiny<1",
        "native": "native==1.0 has no wheels with a matching Python",
    }
    for packages, reason in reasons.items():
        add_toolchain(project, packages)
        said = told(project.run("toolchain", "lock", "tiny"), 1)
        assert "error: toolchain tiny: No solution found when resolving dependencies: Because " in said
        assert reason in said
        assert "choose other versions in conf/toolchain/tiny.yaml" in said
        assert not (project.folder / LOCK).exists()


def test_what_was_locked_and_cannot_be_had_is_told_by_package_and_reason(locked: Project) -> None:
    good = (locked.folder / LOCK).read_text()
    (locked.folder / LOCK).write_text(re.sub("sha256:....", "sha256:0000", good))
    other = told(locked.run("toolchain", "build", "tiny"), 1)
    (locked.folder / LOCK).write_text(good)
    (wheels(locked) / "tiny-1.0-py3-none-any.whl").unlink()
    gone = told(locked.run("toolchain", "build", "tiny"), 1)
    make_wheel(wheels(locked), "tiny", tag="cp39-cp39-manylinux_2_17_aarch64")
    foreign = told(locked.run("toolchain", "build", "tiny"), 1)

    assert "Hash mismatch for `tiny==1.0`" in other
    assert "what the index serves is not what was locked" in other
    assert "tiny was not found" in gone
    assert "what was locked cannot be had here" in gone
    assert "tiny==1.0 has no wheels with a matching Python" in foreign
    assert kept_folders(locked) == []


def test_a_lock_that_lost_what_a_package_requires_is_told(project: Project) -> None:
    links = add_toolchain(project, "first")
    make_wheel(links, "tiny")
    make_wheel(links, "first", requires="tiny")
    assert project.run("toolchain", "lock", "tiny").returncode == 0
    file = project.folder / LOCK
    file.write_text(file.read_text().partition("tiny==")[0])

    said = told(project.run("toolchain", "build", "tiny"), 1)
    assert "no trusted hash was provided for: `tiny`" in said
    assert "the lock has lost it: python -m builder toolchain lock tiny" in said


def test_a_package_without_a_wheel_is_built_only_where_the_description_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = project.folder / "source/tiny-1.0"
    backend = (ROOT / "tests/wheels.py").read_text()
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny"\nversion = "1.0"\n',
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "wheels.py": backend,
        "backend.py": "import wheels\nfrom pathlib import Path\n"
        "def build_wheel(folder, settings=None, metadata=None):\n"
        "    return wheels.make_wheel(Path(folder), 'tiny').name\n",
    }
    for name, text in files.items():
        project.write(f"source/tiny-1.0/{name}", text)
    links = add_toolchain(project)
    shutil.make_archive(str(links / "tiny-1.0"), "gztar", source.parent, source.name)
    refused = told(project.run("toolchain", "lock", "tiny"), 1)
    with (project.folder / "conf/toolchain/tiny.yaml").open("a") as file:
        file.write("sources: [tiny]\n")
    locked = project.run("toolchain", "lock", "tiny")
    built = project.run("toolchain", "build", "tiny")

    assert "tiny" in refused
    assert (locked.returncode, built.returncode) == (0, 0), locked.stderr + built.stdout
    monkeypatch.chdir(project.folder)
    assert find_locked("tiny").lock.sources == ("tiny",)
