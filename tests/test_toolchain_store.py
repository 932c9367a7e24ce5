"""Toolchains in the store: once, whole or not at all, watched, counted, and cleaned away with the rest."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import debris, kill, left_running, needs_root, read_only, wait_until
from projects import Project
from test_toolchains import action, built, statuses
from toolchains import add_toolchain, kept_folders, locked_project
from users import User, open_folder
from wheels import make_wheel, serve

from builder.store.audit import Reader, read_kept, survey
from builder.store.cas import Content, Damaged, Tree
from builder.store.mend import Mender
from builder.store.statcache import StatCache
from builder.store.store import Store


@pytest.fixture
def tiny(project: Project) -> Project:
    """A project with a locked toolchain `tiny` and a recipe `small` whose step `asks` runs in it."""
    return locked_project(project)


@pytest.fixture
def put_together(project: Project) -> Project:
    """A project with the toolchain `tiny` in its store."""
    locked_project(project, user=False)
    assert project.run("toolchain", "build", "tiny").returncode == 0
    return project


def documents(project: Project, *words: str) -> dict[str, Any]:
    done = project.run("cache", *words, "output=json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def edit(file: Path) -> None:
    """Change one letter of a file and none of its times and sizes."""
    before, text = file.stat(), file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(text[:-2] + b"#" + text[-1:])
    file.chmod(before.st_mode)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def add(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("raise SystemExit('never run this')")


def link(path: Path) -> None:
    """Put a link in the place of a file or folder, which holds the same."""
    away = path.parents[2] / f"{path.name}-away"
    path.rename(away)
    path.symlink_to(away)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "__init__.py is not what it was": lambda folder: edit(folder / "tiny/__init__.py"),
    "__init__.py is missing": lambda folder: (folder / "tiny/__init__.py").unlink(),
    "it holds sitecustomize.py": add,
    "it holds hydra, which is not its own": lambda folder: (folder / "hydra").mkdir(),
    "METADATA is not what it was": lambda folder: link(folder / "tiny-1.0.dist-info/METADATA"),
    "damaged": link,
    "missing": shutil.rmtree,
}


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Content, Tree, StatCache]:
    """A content store with one folder that is kept as it is, and is believed to be right."""
    stats = StatCache(tmp_path / "cache")
    content = Content(tmp_path / "store/cas", stats, lambda path, _: shutil.rmtree(path, ignore_errors=True))
    folder, private = tmp_path / "store/tmp/made", tmp_path / "store/tmp"
    for path in ("tiny/__init__.py", "tiny-1.0.dist-info/METADATA", "empty/file"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(f"{path} = 1\n")
    (folder / "empty/file").unlink()
    tree = content.keep_tree(folder, private)
    content.check_kept(tree)
    return content, tree, stats


@pytest.mark.parametrize("words", DAMAGE)
def test_a_damaged_folder_is_never_used(words: str, kept: tuple[Content, Tree, StatCache]) -> None:
    content, tree, stats = kept
    DAMAGE[words](content.folders.path(tree.digest))

    with pytest.raises(Damaged, match=re.escape(words)):
        content.check_kept(tree)
    stats.close()


def test_a_folder_is_taken_in_without_empty_folders_and_can_only_be_read(kept: tuple[Content, Tree, StatCache]) -> None:
    content, tree, stats = kept
    folder = content.folders.path(tree.digest)
    stats.close()

    assert not (folder / "empty").exists()
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in (folder, *folder.rglob("*"))}
    assert modes == {(True, 0o555), (False, 0o444)}


def test_who_comes_second_takes_the_folder_that_lies_there(
    kept: tuple[Content, Tree, StatCache], tmp_path: Path
) -> None:
    content, tree, stats = kept
    again = tmp_path / "store/tmp/again"
    shutil.copytree(content.folders.path(tree.digest), again)
    again.chmod(0o755)

    assert not content.folders.add(again, tree.digest)
    assert content.check_kept(tree, again=True).is_dir()
    stats.close()


def test_a_folder_that_a_build_made_anew_is_not_set_aside(kept: tuple[Content, Tree, StatCache]) -> None:
    content, tree, stats = kept
    store = Store(content.folders.path("").parent, stats, lambda _: None)
    file = store.content.folders.path(tree.digest) / "tiny/__init__.py"
    right = file.read_bytes()
    edit(file)
    reader = Reader(lambda _: None)
    found = survey(store, reader)
    file.chmod(0o644)
    file.write_bytes(right)
    findings = [*Mender(store, reader, found, {}, lambda: store.root, look=False).mend(lambda _: ("", ""))]
    stats.close()

    assert [finding.problem for finding in findings] == ["it is damaged: tiny/__init__.py is not what it was"]
    assert file.read_bytes() == right


@pytest.mark.parametrize("damage", [link, shutil.rmtree], ids=["a link", "gone"])
def test_a_folder_that_goes_while_it_is_read_is_no_surprise(
    damage: Callable[[Path], object], kept: tuple[Content, Tree, StatCache]
) -> None:
    content, tree, stats = kept
    folder = content.folders.path(tree.digest)
    damage(folder)
    said = read_kept(folder, tree, Reader(lambda _: None).hash)
    stats.close()

    assert said == ("a link, not a folder" if folder.is_symlink() else None)


@needs_root
def test_its_owner_can_clean_away_what_can_only_be_read() -> None:
    with open_folder() as folder:
        user = User(1, folder / "user")
        project = locked_project(Project(user.folder), user=False)
        links = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "../wheels"}
        told = []
        for words in (
            ("toolchain", "build", "tiny"),
            ("toolchain", "build", "tiny"),
            ("cache", "gc", "max_age_days=0"),
        ):
            told.append(user.python("-m", "builder", *words, **links).communicate(timeout=120))
            modes = {path.stat().st_mode & 0o777 for path in kept_folders(project)}
            for kept in kept_folders(project) if len(told) == 1 else ():
                edit(kept / "tiny/__init__.py")  # so it is set aside, which moves it
        aside = [*(project.store / "bad").iterdir()]

    assert re.search("built +toolchain.tiny", told[1][0]), told
    assert modes == set(), told
    assert aside == [], told


CACHES = """
    from pathlib import Path
    import tiny
    for made in (lambda at: at.mkdir(), lambda at: at.write_text("x")):
        try:
            made(Path(tiny.__file__).parent / "made")
        except PermissionError as error:
            print(error)
        else:
            raise SystemExit("it was made")
    import os
    (Path(os.environ["NUMBA_CACHE_DIR"]) / "made").write_text("x")
"""


def test_a_library_that_caches_beside_itself_harms_no_toolchain(tiny: Project) -> None:
    source = tiny.folder / "site/extra/asks.py"
    source.write_text(source.read_text().replace("    import importlib\n", f"{CACHES}    import importlib\n"))
    built(tiny)
    again = tiny.run("recipe=small", "steps.asks.number=2")

    assert again.returncode == 0, again.stdout
    assert again.stderr == ""
    assert re.search(r"cached +toolchain\.tiny", again.stdout)


def test_what_is_made_again_takes_the_place_of_rot(kept: tuple[Content, Tree, StatCache], tmp_path: Path) -> None:
    content, tree, stats = kept
    (content.folders.path(tree.digest) / "tiny/__init__.py").unlink()
    again = tmp_path / "store/tmp/again"
    for path in ("tiny/__init__.py", "tiny-1.0.dist-info/METADATA"):
        (again / path).parent.mkdir(parents=True)
        (again / path).write_text(f"{path} = 1\n")

    assert content.keep_tree(again, tmp_path / "store/tmp") == tree
    assert content.check_kept(tree).is_dir()
    stats.close()


def test_an_edit_that_keeps_every_time_is_found_by_the_next_build_and_built_anew(tiny: Project) -> None:
    built(tiny)
    (folder,) = kept_folders(tiny)
    edit(folder / "tiny/__init__.py")
    again = tiny.run("recipe=small", "steps.asks.number=2")

    assert again.returncode == 0, again.stderr
    assert "tiny/__init__.py is not what it was" in again.stderr
    assert re.search(r"built +toolchain\.tiny", again.stdout)
    assert "tiny tiny 1.0" in again.stdout
    assert kept_folders(tiny) == [folder]


def test_verify_finds_a_file_that_somebody_added_and_the_next_build_does_without(tiny: Project) -> None:
    built(tiny)
    (folder,) = kept_folders(tiny)
    add(folder)
    found = tiny.run("cache", "verify")
    again = built(tiny, "steps.asks.number=2")
    intact = tiny.run("cache", "verify")

    assert found.returncode == 1
    assert "it holds sitecustomize.py, which is not its own" in found.stdout
    assert "set aside" in found.stdout
    assert statuses(again) == {"model": "cached", "toolchain.tiny": "built", "asks": "built"}
    assert intact.returncode == 0, intact.stdout
    assert not (folder / "sitecustomize.py").exists()


def test_the_cleaning_keeps_a_toolchain_while_the_newest_build_needs_it(tiny: Project) -> None:
    built(tiny)
    built(tiny)  # nothing to do, and nothing was looked up in it
    first = tiny.run("cache", "gc", "max_age_days=0")
    (folder,) = kept_folders(tiny)
    changed = built(tiny, "steps.asks.number=2")
    plain = tiny.run("recipe=small", "steps=[simplify]")
    dry = tiny.run("cache", "gc", "max_age_days=0", "dry_run=true")
    last = tiny.run("cache", "gc", "max_age_days=0")

    assert first.returncode == 0, first.stderr
    assert action(changed, "toolchain.tiny")["status"] == "cached"
    assert plain.returncode == 0, plain.stderr
    assert re.search(r"would go +1 .* folder of packages", dry.stdout)
    assert "removed" in last.stdout
    assert not folder.exists()
    assert tiny.run("cache", "verify").returncode == 0


def test_its_size_is_counted_where_people_look(put_together: Project) -> None:
    (folder,) = kept_folders(put_together)
    takes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    size = documents(put_together)
    shown = put_together.run("cache")
    cleaned = documents(put_together, "gc", "dry_run=true", "max_size_gib=0")

    assert size["folders"] == {"count": 1, "bytes": takes}
    assert size["total_bytes"] > takes + size["objects"]["bytes"]
    assert re.search(r"toolchains +1 .*folders of packages", shown.stdout)
    assert cleaned["removed"]["folders"] == {"count": 1, "bytes": takes}


def test_two_builds_at_once_put_it_together_once(project: Project) -> None:
    locked_project(project, user=False)
    both = [project.start("toolchain", "build", "tiny") for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]

    assert [process.returncode for process in both] == [0, 0], told
    words = sorted(re.findall(r"(built|cached) +toolchain\.tiny", out)[0] for out, _ in told)
    assert words == ["built", "cached"]
    assert len(kept_folders(project)) == 1


@contextlib.contextmanager
def ended_while_it_fetches(project: Project, number: signal.Signals) -> Iterator[subprocess.CompletedProcess[str]]:
    """End an installation by a signal and yield what came of it, with nothing left running and an index that serves."""
    links = add_toolchain(project)
    make_wheel(links, "tiny")
    assert project.run("toolchain", "lock", "tiny").returncode == 0
    with serve(links) as index:
        index.open.clear()
        project.environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url()}
        builder = project.start("toolchain", "build", "tiny")
        wait_until(lambda: any(path.startswith("/files/") for path in index.asked))
        kill(builder.pid, number=number)
        out, errors = builder.communicate(timeout=60)
        running = left_running(project.store)
        index.open.set()
        assert running == []
        assert kept_folders(project) == []
        yield subprocess.CompletedProcess(builder.args, builder.returncode, out, errors)


def test_a_killed_installation_leaves_nothing(project: Project) -> None:
    with ended_while_it_fetches(project, signal.SIGKILL):
        again = project.run("toolchain", "build", "tiny")

    assert again.returncode == 0, again.stdout + again.stderr
    assert debris(project.store) == []
    assert [path.name for path in (project.store / "tmp").iterdir() if path.is_dir()] == []


def test_an_interrupted_installation_ends_with_130_and_leaves_nothing(project: Project) -> None:
    with ended_while_it_fetches(project, signal.SIGINT) as ended:
        left = debris(project.store)

    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert left == []


@needs_root
def test_a_store_that_can_only_be_read_serves_its_toolchains(put_together: Project) -> None:
    with read_only(put_together.store):
        warm = put_together.run("toolchain", "build", "tiny")
        listed = put_together.run("toolchain", "list", "tiny")
        make_wheel(put_together.folder.parent / "wheels", "tiny", "2.0")
        assert put_together.run("toolchain", "lock", "tiny").returncode == 0
        cold = put_together.run("toolchain", "build", "tiny")

    assert warm.returncode == 0, warm.stderr
    assert re.search(r"cached +toolchain\.tiny", warm.stdout)
    assert "built, 1 KiB" in listed.stdout
    assert cold.returncode == 1
    assert "Read-only file system" in cold.stdout + cold.stderr
    assert "Traceback" not in cold.stdout + cold.stderr


def test_offline_a_warm_store_serves_and_a_cold_one_says_what_to_do(tiny: Project) -> None:
    cold = tiny.run("recipe=small", "offline=true")
    built(tiny)
    (tiny.folder / ".config/pip/pip.conf").unlink()
    warm = built(tiny, "offline=true", "steps.asks.number=2")

    assert cold.returncode == 1
    assert "toolchain tiny is not in the store, and offline=true forbids fetching its packages" in cold.stdout
    assert "python -m builder toolchain build tiny" in cold.stdout
    assert cold.stderr == ""
    assert statuses(warm) == {"model": "cached", "toolchain.tiny": "cached", "asks": "built"}


def test_the_users_environment_and_home_are_as_they_were(tiny: Project) -> None:
    def environment() -> str:
        code = "from importlib.metadata import distributions as d; print(sorted((x.name, x.version) for x in d()))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    def files() -> set[str]:
        found = (path.relative_to(tiny.folder).as_posix() for path in tiny.folder.rglob("*") if path.is_file())
        return {path for path in found if not path.startswith(("outputs/", ".cache/builder/"))}

    temporary = tiny.folder.parent / "temporary"
    temporary.mkdir()
    before = environment(), files()
    assert tiny.run("toolchain", "lock", "tiny", TMPDIR=str(temporary)).returncode == 0
    built(tiny, TMPDIR=str(temporary))

    assert (environment(), files()) == before
    assert [*temporary.iterdir()] == []
    assert debris(tiny.store) == []


@needs_root
def test_what_one_user_built_another_one_uses(tmp_path: Path) -> None:
    with open_folder() as folder:
        store = folder / "store"
        store.mkdir()
        store.chmod(0o2775)
        users = [User(number, folder / f"user{number}", umask=0o077) for number in (1, 2)]
        os.chown(store, users[0].number, users[0].folder.stat().st_gid)
        told = []
        for user in users:
            locked_project(Project(user.folder), user=False)
            builder = user.python(
                "-m", "builder", "toolchain", "build", "tiny",
                BUILDER_STORE=str(store), PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_FIND_LINKS="../wheels",
            )  # fmt: skip
            told.append(builder.communicate(timeout=120))

    assert [re.findall(r"(built|cached|failed) +toolchain", out) for out, _ in told] == [["built"], ["cached"]], told
