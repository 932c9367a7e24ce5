"""An edit of anything that a result depends on re-runs exactly what depends on it, and says why.

One project, built once, in which every test edits something, builds, and takes the edit back: what was, is a hit again.
"""

from __future__ import annotations

import contextlib
import os
import py_compile
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from projects import Project, small_data, small_model

from builder import registry
from builder.api import Recipe, Status, build, compose, plan
from builder.digest import digest_file
from builder.plan.implementation import Code
from builder.plan.toolchain import Toolchain
from builder.sources.step import model_source
from builder.store import statcache
from builder.store.statcache import StatCache

STEP = """\
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step
{top}

@dataclass
class Options:
    word: str = "one"

@step(options=Options, rank={rank}, inputs={inputs}, outputs={{"made": Kind.ENGINE}}, from_source=("model",){more})
def {name}(options: Options, job: Job) -> Result:
    from pathlib import Path
    made = options.word
{body}
    (job.folder("made") / "engine.plan").write_text(made)
    return Result()
"""

FROM_MODEL = '{"model": Kind.ONNX}'
FROM_FIRST = '{"words": Kind.ENGINE}'


def step(name: str, body: str, *, rank: int, top: str = "", inputs: str = "{}", more: str = "") -> str:
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return STEP.format(name=name, body=indented, rank=rank, top=top, inputs=inputs, more=more)


STEPS = {
    # its helper `near` imports `far` in a function; `third` takes what it made
    "first": step("first", "made += near.suffix()", rank=10, top="from stale import near"),
    "third": step("third", "made = (job.inputs['words'] / 'engine.plan').read_text().rstrip()", rank=11,
                  inputs=FROM_FIRST),
    # a module in a folder without __init__.py, and one of the project that no installer put where it is
    "second": step("second", "import plain\nfrom stale.deep import inner\nmade += inner.WORD + plain.word()", rank=12),
    "of_model": step("of_model", "made = str(len((job.inputs['model'] / 'model.onnx').read_bytes()))", rank=13,
                     inputs=FROM_MODEL),
    "of_facts": step("of_facts", "made = job.model.task.value", rank=14, more=", model_facts=('task',)"),
    "of_target": step("of_target", "made = job.target['precisions'][0]", rank=15,
                      more=", target_facts=('precisions',)"),
    "tooled": step("tooled", "import tool\nmade = tool.VERSION", rank=16, more=", packages=('tool',)"),
    "reads": step(
        "reads",
        "import hashlib\nsplit = Path(job.data.root) / job.data.splits['test'].path\n"
        "files = sorted(split.rglob('*.png')) if split.is_dir() else [split]\n"
        "made = hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()",
        rank=17, more=", splits=lambda _: ('test',)",
    ),
}  # fmt: skip

DATA = {"arrays": "npz", "images": "image_folder", "table": "csv"}
TESTS = {"arrays": "test.npz", "images": "test", "table": "test.csv"}


class Builds:
    """Builds in this process, in the working directory, and what became of each action the last time."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def run(self, recipe: Recipe) -> dict[str, str]:
        """Build, and return why each action ran, or why it failed; those that were cached or skipped are left out."""
        (done,) = build([recipe])
        self.keys = {action["name"]: action["key"] for action in done.manifest["actions"]}
        self.made = {path.parent.name: path.read_text() for path in done.folder.glob("artifacts/*/engine.plan")}
        return {a["name"]: a["reason"] for a in done.manifest["actions"] if a["status"] not in ("cached", "skipped")}


class Stale(Builds):
    """The project that every test edits."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.folder = project.folder
        self.recipes = {name: compose([f"recipe=stale_{name}"]) for name in DATA}

    def build(self, *overrides: str, data: str = "arrays") -> dict[str, str]:
        """Build a recipe, with overrides or as it is."""
        return self.run(compose([f"recipe=stale_{data}", *overrides]) if overrides else self.recipes[data])

    def path(self, name: str) -> Path:
        return self.folder / name

    @contextlib.contextmanager
    def edit(self, name: str, change: Callable[[bytes], bytes], *, data: str = "arrays") -> Iterator[None]:
        """Edit a file, and take it back in the end, when what was built before must be a hit again."""
        path = self.folder / name
        keys, before = self.keys_of(data), path.read_bytes()
        write(path, change(before))
        try:
            yield
        finally:
            write(path, before)
        assert self.build(data=data) == {}
        assert self.keys == keys

    def keys_of(self, data: str) -> dict[str, str]:
        self.build(data=data)
        return self.keys


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def replace(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


def flip(content: bytes, place: int = -3) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def install(project: Project) -> None:
    """Install a package of steps with helpers, and a tool that needs another one, as pip would."""
    project.write("site/stale/__init__.py", "")
    for name, source in STEPS.items():
        project.write(f"site/stale/{name}.py", source)
    project.write("site/stale/near.py", "def suffix():\n    from .far import SUFFIX\n    return SUFFIX\n")
    project.write("site/stale/far.py", 'SUFFIX = "!"\n')
    project.write("site/stale/deep/inner.py", 'WORD = "two"\n')
    project.write("site/stale/apart.py", "nobody = 'imports this'\n")
    project.write("src/plain.py", "def word():\n    import plainer\n    return plainer.WORD\n")
    project.write("src/plainer.py", 'WORD = "plain"\n')
    points = "\n".join(f"{name} = stale.{name}" for name in STEPS)
    project.write("site/stale-1.0.dist-info/entry_points.txt", f"[builder.steps]\n{points}\n")
    project.write("site/stale-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: stale\nVersion: 1.0\n")
    project.write("site/tool/__init__.py", 'VERSION = "1.0"\n')
    project.write(
        "site/tool-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\nRequires-Dist: base-tool\n",
    )
    project.write("site/base_tool.egg-info/PKG-INFO", "Metadata-Version: 2.1\nName: base-tool\nVersion: 3.0\n")


def fill(project: Project) -> None:
    """Write a model with its weights beside it, three datasets, and a recipe for each."""
    from PIL import Image

    small_model(project.folder / "models/small.onnx", external="weights.bin")
    small_data(project.folder / "arrays")
    for number, name in enumerate(("a", "b")):
        for index in range(2):
            file = project.folder / f"images/test/{name}/{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * number + index).save(file)
    shutil.copytree(project.folder / "images/test", project.folder / "table/pictures")
    (project.folder / "table/pictures/b/0.png").unlink()
    (project.folder / "table/pictures/b/0.png").symlink_to("../../../kept.png")
    shutil.copy(project.folder / "images/test/b/0.png", project.folder / "kept.png")
    project.write("table/test.csv", "path,label\npictures/a/0.png,0\npictures/b/0.png,1\n")
    project.write("conf/model/stale.yaml", "name: stale\npath: models/small.onnx\ntask: classification\n")
    for name, reader in DATA.items():
        project.write(
            f"conf/data/stale_{name}.yaml",
            f"name: {name}\nreader: {reader}\nroot: {name}\nsplits: {{test: {{path: {TESTS[name]}}}}}\n",
        )
        project.write(
            f"recipes/stale_{name}.yaml",
            f"# @package _global_\ndefaults:\n  - override /model: stale\n  - override /data: stale_{name}\n"
            f"  - override /steps: [{', '.join(STEPS)}]\n  - _self_\nname: stale_{name}\n",
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stale]:
    project = Project(tmp_path_factory.mktemp("stale") / "project")
    install(project)
    fill(project)
    with pytest.MonkeyPatch.context() as patch, at_home(project, patch):
        stale = Stale(project)
        assert set(stale.build()) == {"model", *STEPS}
        for name in DATA:
            stale.build(data=name)
        time.sleep(2.1)  # from now on, what is not edited is remembered by its times
        for name in DATA:
            assert stale.build(data=name) == {}
        yield stale


@contextlib.contextmanager
def at_home(project: Project, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process work in a project, with the steps that are installed there."""
    patch.chdir(project.folder)
    patch.setenv("XDG_CACHE_HOME", str(project.folder / ".cache"))
    patch.setattr(sys, "path", [str(project.folder / "site"), str(project.folder / "src"), *sys.path])
    forget_steps()
    yield
    forget_steps()


def forget_steps() -> None:
    """Let this process be as one that has just started, as far as steps are concerned."""
    for known in (registry._find, registry._module, registry._installed):
        known.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stale", "extra")]:
        del sys.modules[name]


@pytest.fixture
def stale(built: Stale, monkeypatch: pytest.MonkeyPatch) -> Stale:
    monkeypatch.chdir(built.folder)
    return built


EDITS = {
    "a helper two imports away": (
        "site/stale/far.py", replace("!", "?"),
        {"first": "code changed: stale.far", "third": "input changed: first"},
    ),
    "a comment in a helper, whose bytes are the same": (
        "site/stale/near.py", replace("def", "# nothing\ndef"), {"first": "code changed: stale.near"},
    ),
    "white space at the end of what a step hands on": (
        "site/stale/far.py", replace('"!"', '"!  "'),
        {"first": "code changed: stale.far", "third": "input changed: first"},
    ),
    "the package of all steps": (
        "site/stale/__init__.py", lambda _: b"x = 1\n",
        dict.fromkeys(STEPS, "code changed: stale"),
    ),
    "a module in a folder without __init__.py": (
        "site/stale/deep/inner.py", replace("two", "tow"), {"second": "code changed: stale.deep.inner"},
    ),
    "a module of the project that another one imports": (
        "src/plainer.py", replace("plain", "clear"), {"second": "code changed: plainer"},
    ),
    "a module that nobody imports": ("site/stale/apart.py", replace("nobody", "no_one"), {}),
    "a helper that Python cannot read any more": (
        "site/stale/far.py", lambda _: b"SUFFIX = ", {"first": "SyntaxError: invalid syntax (far.py, line 1)"},
    ),
    "external data of the model": (
        "models/weights.bin", flip, {"model": "external data changed: weights.bin", "of_model": "input changed: model"},
    ),
    "one file of arrays": ("arrays/test.npz", flip, {"reads": "data changed: test test.npz"}),
    "a file of arrays that the split does not name": ("arrays/cal.npz", flip, {}),
    "a tool's version, in place": (
        "site/tool-1.0.dist-info/METADATA", replace("Version: 1.0", "Version: 1.1"), {"tooled": "tool 1.0 -> 1.1"},
    ),
    "the version of what a tool requires, in place": (
        "site/base_tool.egg-info/PKG-INFO", replace("3.0", "3.1"), {"tooled": "base-tool 3.0 -> 3.1"},
    ),
}  # fmt: skip


@pytest.mark.invariant(7)
@pytest.mark.parametrize("what", EDITS)
def test_an_edit_runs_what_depends_on_it_and_taking_it_back_runs_nothing(stale: Stale, what: str) -> None:
    name, change, expected = EDITS[what]
    with stale.edit(name, change):
        assert stale.build() == expected


IMAGES = {
    "an image": ("images", "images/test/b/1.png", "test test/b/1.png"),
    "an image that a table names": ("table", "table/pictures/a/0.png", "test pictures/a/0.png"),
    "what a link leads to": ("table", "kept.png", "test pictures/b/0.png"),
}


@pytest.mark.invariant(7)
@pytest.mark.parametrize("what", IMAGES)
def test_one_changed_image_of_a_dataset_is_seen(stale: Stale, what: str) -> None:
    data, name, said = IMAGES[what]
    with stale.edit(name, flip, data=data):
        assert stale.build(data=data) == {"reads": f"data changed: {said}"}


@pytest.mark.invariant(7)
def test_a_changed_label_in_a_table_is_seen(stale: Stale) -> None:
    with stale.edit("table/test.csv", replace("0.png,1", "0.png,2"), data="table"):
        assert stale.build(data="table") == {"reads": "data changed: test test.csv"}


@pytest.mark.invariant(7)
def test_an_image_that_nobody_names_runs_nothing(stale: Stale) -> None:
    with stale.edit("table/pictures/a/1.png", flip, data="table"):
        assert stale.build(data="table") == {}


@pytest.mark.invariant(7)
def test_an_image_under_another_name_is_another_dataset(stale: Stale) -> None:
    one, other = stale.path("images/test/a/1.png"), stale.path("images/test/b/2.png")
    one.rename(other)
    changed = stale.build(data="images")
    other.rename(one)

    assert changed == {"reads": "data changed: test test/a/1.png, test test/b/2.png"}
    assert stale.build(data="images") == {}


@pytest.mark.invariant(7)
def test_a_link_to_equal_content_runs_nothing_and_to_other_content_something(stale: Stale) -> None:
    link = stale.path("table/pictures/b/0.png")
    kept = link.readlink()

    def lead_to(target: Path) -> dict[str, str]:
        link.unlink()
        link.symlink_to(target)
        return stale.build(data="table")

    assert lead_to(stale.path("images/test/b/0.png")) == {}
    assert lead_to(stale.path("images/test/b/1.png")) == {"reads": "data changed: test pictures/b/0.png"}
    assert lead_to(kept) == {}


@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("site/stale/far.py", {"first": "code changed: stale.far", "third": "input changed: first"}),
        ("arrays/test.npz", {"reads": "data changed: test test.npz"}),
        ("models/weights.bin", {"model": "external data changed: weights.bin", "of_model": "input changed: model"}),
    ],
)
def test_a_file_with_the_size_and_time_of_the_one_it_replaces_is_seen(
    stale: Stale, name: str, expected: dict[str, str]
) -> None:
    path = stale.path(name)
    before = path.stat()
    if path.suffix == ".py":
        py_compile.compile(str(path))  # Python itself takes this for current by size and time
    other = replace("!", "#") if path.suffix == ".py" else lambda content: flip(content, -5)
    with stale.edit(name, other):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        changed = stale.build()
        made = stale.made["first"]
        os.utime(path)

    assert path.stat().st_size == before.st_size
    assert changed == expected
    assert made == ("one#" if path.suffix == ".py" else "one!")


@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps.third.word=two", {"third": "word one -> two"}),
        ("steps.first.word=two", {"first": "word one -> two", "third": "input changed: first"}),
        ("model.task=binary", {"of_facts": "task classification -> binary"}),
        ("target.precisions=[fp16]", {"of_target": "precisions ['fp32', 'fp16', 'int8'] -> ['fp16']"}),
        ("data.preprocess.scale=2", {"reads": "data changed: preprocess.scale 1.0 -> 2.0"}),
        ("+data.splits.test.portion=[0,0.5]", {"reads": "data changed: splits.test.portion [0.0, 1.0] -> [0.0, 0.5]"}),
        ("summary=other", {}),
        ("target.summary=other", {}),
        ("model.license=other", {}),
    ],
)
def test_what_a_recipe_says_runs_what_reads_it(stale: Stale, override: str, expected: dict[str, str]) -> None:
    keys = stale.keys_of("arrays")
    changed = stale.build(override)

    assert changed == expected
    assert stale.build() == {}
    assert stale.keys == keys


@pytest.mark.invariant(7)
def test_an_installed_version_is_seen_as_pip_changes_it(stale: Stale) -> None:
    old, new = stale.path("site/tool-1.0.dist-info"), stale.path("site/tool-2.0.dist-info")
    old.rename(new)
    write(new / "METADATA", replace("Version: 1.0", "Version: 2.0")((new / "METADATA").read_bytes()))
    changed = stale.build()
    write(new / "METADATA", replace("Version: 2.0", "Version: 1.0")((new / "METADATA").read_bytes()))
    new.rename(old)

    assert changed == {"tooled": "tool 1.0 -> 2.0"}
    assert stale.build() == {}


class Workplace(Builds):
    """A project whose steps come into each other's way; `once` is a condition that holds in its first build."""

    once = "not (project / 'done').exists() and not (project / 'done').touch()"

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project

    def add(self, tops: dict[str, str] | None = None, more: dict[str, str] | None = None, **bodies: str) -> None:
        """Install steps that run one after the other, each with the output of the one before it."""
        head = f"import os, sys\nproject = Path({str(self.project.folder)!r})\n"
        steps = {}
        for rank, (name, body) in enumerate(bodies.items()):
            inputs = '{"before": Kind.ENGINE}' if rank else "{}"
            top = (tops or {}).get(name, "")
            declared = (more or {}).get(name, "")
            steps[name] = step(name, head + body, rank=10 + rank, inputs=inputs, top=top, more=declared)
        self.project.add_steps(**steps)
        self.names = list(bodies)

    def build(self) -> dict[str, str]:
        """Build everything in one worker."""
        return self.run(compose(["model=stale", "data=stale_arrays", f"steps=[{','.join(self.names)}]", "jobs=1"]))


@pytest.fixture
def workplace(built: Stale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    project = Project(tmp_path / "workplace")
    for name in ("models", "arrays", "conf"):
        shutil.copytree(built.folder / name, project.folder / name)
    monkeypatch.setenv("BUILDER_STORE", str(built.folder / "outputs/store"))  # it has the model
    with at_home(project, monkeypatch):
        yield Workplace(project)


CHANGED = "what it read was changed while it ran"


@pytest.mark.invariant(7)
def test_a_step_whose_own_source_is_edited_while_it_runs_gives_no_result(workplace: Workplace) -> None:
    workplace.add(
        tops={"edited": "WORD = 'red'"},
        edited=f"""\
source = Path(__file__)
if {workplace.once}:
    source.write_text(source.read_text().replace('red', 'blue'))
made = WORD""",
    )
    source = workplace.project.folder / "site/extra/edited.py"
    old = source.read_bytes()

    assert workplace.build() == {"edited": CHANGED}
    assert "edited" in workplace.build()
    assert workplace.made["edited"] == "blue"
    write(source, old)
    assert "edited" in workplace.build(), "its first run left no result under the key of its old source"
    assert workplace.made["edited"] == "red"


@pytest.mark.invariant(7)
def test_a_helper_that_is_edited_and_restored_around_its_import_gives_no_result(workplace: Workplace) -> None:
    workplace.project.write("site/extra/helper.py", "WORD = 'right'\n")
    workplace.add(
        stashed=f"""\
helper = Path(__file__).with_name('helper.py')
if {workplace.once}:
    helper.write_text("WORD = 'wrong'\\n")
try:
    from extra.helper import WORD
finally:
    helper.write_text("WORD = 'right'\\n")
made = WORD"""
    )

    assert workplace.build() == {"stashed": "extra.helper was changed while it was built"}
    assert "stashed" in workplace.build()
    assert workplace.made["stashed"] == "right"


@pytest.mark.invariant(7)
def test_data_that_is_edited_and_restored_around_its_reading_gives_no_result(workplace: Workplace) -> None:
    workplace.add(
        more={"stashed": ", splits=lambda _: ('test',)"},
        stashed=f"""\
file = Path(job.data.root) / 'test.npz'
right = file.read_bytes()
if {workplace.once}:
    file.write_bytes(b'wrong')
made = str(len(file.read_bytes()))
if made == '5':
    file.write_bytes(right)""",
    )

    assert workplace.build() == {"stashed": CHANGED}
    assert "stashed" in workplace.build()
    assert workplace.made["stashed"] == str((workplace.project.folder / "arrays/test.npz").stat().st_size)


@pytest.mark.invariant(7)
def test_a_helper_that_a_warm_worker_has_loaded_is_not_run_under_the_key_of_its_edit(workplace: Workplace) -> None:
    helper = workplace.project.write("site/extra/helper.py", "WORD = 'old'\n")
    use = "from extra.helper import WORD\nmade = WORD"
    workplace.add(
        early=use,
        editor=f"if {workplace.once}:\n    (project / 'site/extra/helper.py').write_text(\"WORD = 'new'\\n\")",
        late=use,
    )

    assert workplace.build() == {"early": "first build", "editor": "first build", "late": CHANGED}
    workplace.build()
    assert (workplace.made["early"], workplace.made["late"]) == ("new", "new")
    helper.write_text("WORD = 'old'\n")
    workplace.build()
    assert (workplace.made["early"], workplace.made["late"]) == ("old", "old")


@pytest.mark.invariant(7)
def test_a_tool_that_is_upgraded_during_a_build_is_not_run_under_another_version(
    workplace: Workplace,
) -> None:
    workplace.project.write("site/gear/__init__.py", "VERSION = '1'\n")
    notes = "Metadata-Version: 2.1\nName: gear\nVersion: {}\n"
    workplace.project.write("site/gear-1.dist-info/METADATA", notes.format(1))
    use = "import gear\nmade = gear.VERSION"
    workplace.add(
        more={"early": ", packages=('gear',)", "late": ", packages=('gear', 'other')"},
        early=use,
        installer=f"""\
if {workplace.once}:
    (project / 'site/gear/__init__.py').write_text("VERSION = '2'\\n")
    (project / 'site/gear-1.dist-info').rename(project / 'site/gear-2.dist-info')
    (project / 'site/gear-2.dist-info/METADATA').write_text({notes.format(2)!r})""",
        late=use,
    )

    assert workplace.build() == {"early": "first build", "installer": "first build", "late": CHANGED}
    workplace.build()
    assert (workplace.made["early"], workplace.made["late"]) == ("2", "2")


@pytest.mark.invariant(7)
def test_what_an_action_leaves_behind_in_its_worker_does_not_reach_the_next_one(workplace: Workplace) -> None:
    workplace.add(
        untidy="os.environ['MODE'] = 'fast'\nsys.path.insert(0, '/elsewhere')\nos.chdir('/')",
        tidy="made = f\"{os.environ.get('MODE')} {'/elsewhere' in sys.path} {os.getcwd() == '/'}\"",
    )
    workplace.build()

    assert workplace.made["tidy"] == "None False False"


@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("import importlib\nimportlib.import_module('extra.' + 'helper')", "extra.helper is loaded by a computed name"),
        ("import extra\nextra.helper.WORD", "AttributeError: module 'extra' has no attribute 'helper'"),
    ],
)
def test_what_an_earlier_action_has_loaded_is_there_only_for_those_that_import_it(
    workplace: Workplace, use: str, says: str
) -> None:
    workplace.project.write("site/extra/helper.py", "WORD = 'one'\n")
    workplace.add(lawful="from extra import helper", lawless=use, lawful_again="from extra import helper")
    ran = workplace.build()

    assert ran["lawful"] == "first build"
    assert says in ran["lawless"]


@pytest.mark.invariant(7)
def test_a_module_that_read_a_file_when_it_was_imported_fails_every_action_that_uses_it(workplace: Workplace) -> None:
    workplace.project.write("site/extra/table.txt", "table")
    workplace.project.write(
        "site/extra/shared.py", "from pathlib import Path\nTABLE = Path(__file__).with_name('table.txt').read_text()\n"
    )
    workplace.add(one="from extra.shared import TABLE\nmade = TABLE")
    workplace.names.append("other")
    body = "from extra.shared import TABLE\nmade = TABLE"
    workplace.project.add_steps(one=step("one", body, rank=10), other=step("other", body, rank=11))
    ran = workplace.build()

    for name in ("one", "other"):
        assert f"{name} read site/extra/table.txt, which is no input of it" in ran[name]


@pytest.mark.invariant(7)
def test_a_default_is_not_taken_from_an_old_bytecode_file(workplace: Workplace) -> None:
    workplace.add(plain="")
    workplace.build()
    source = workplace.project.folder / "site/extra/plain.py"
    before = source.stat()
    py_compile.compile(str(source))
    write(source, replace('word: str = "one"', 'word: str = "two"')(source.read_bytes()))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    forget_steps()
    workplace.build()

    assert workplace.made["plain"] == "two"


@pytest.mark.invariant(7)
def test_a_step_that_reads_more_than_its_key_was_made_from_gives_no_result(workplace: Workplace) -> None:
    workplace.add(plain="made = job.model.task.value")
    workplace.build()
    source = workplace.project.folder / "site/extra/plain.py"
    write(source, replace("from_source=", "model_facts=('task',), from_source=")(source.read_bytes()))

    assert workplace.build() == {"plain": "plain was edited after this program had imported it"}
    forget_steps()
    assert "plain" in workplace.build()
    assert workplace.made["plain"] == "classification"


@pytest.mark.invariant(7)
def test_a_file_that_was_young_when_its_slow_reading_began_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"content")
    clock = [time.time_ns()]

    def slowly(path: Path) -> str:
        clock[0] += 10 * 10**9  # meanwhile a second edit could have left its times alone
        return digest_file(path)

    monkeypatch.setattr(statcache, "digest_file", slowly)
    monkeypatch.setattr("time.time_ns", lambda: clock[0])
    stats = StatCache(tmp_path / "cache")
    stats.digest(file)
    young = stats.rows()
    stats.digest(file)
    old = stats.rows()
    stats.close()

    assert (young, [path for path, _ in old]) == ([], [file])


@pytest.mark.invariant(7)
@pytest.mark.parametrize("name", ["source", *registry.step_names()])
def test_the_version_of_every_package_that_a_step_imports_is_in_its_key(name: str, tmp_path: Path) -> None:
    step = model_source if name == "source" else registry.find_step(name)
    stats = StatCache(tmp_path)
    code = Code(stats)
    modules = code.reached([step.run.__module__, "builder.engine.worker"])
    tops = {
        top for module in modules for top in code._imports(module, code._file(module) or tmp_path) if "." not in top
    }
    distributions = packages_distributions()
    needed = {canonicalize_name(each) for top in tops - {"builder"} for each in distributions.get(top, ())}
    declared = set(Toolchain(stats).installed(step.packages).versions)
    stats.close()

    assert needed <= declared


def readers_of(path: Path, folder: Path) -> tuple[str, set[str]]:
    """Return the dataset with which a file matters, and the actions that read it."""
    name = path.relative_to(folder).as_posix()
    if name.startswith("models"):
        return "arrays", {"model"}
    if name.startswith(("images", "table", "arrays", "kept")):
        return {"kept.png": "table"}.get(name, name.partition("/")[0]), {"reads"}
    named = {"near": {"first"}, "far": {"first"}, "inner": {"second"}, "plain": {"second"}, "plainer": {"second"}}
    everything = set(STEPS) if name == "site/stale/__init__.py" else {path.stem}
    return "arrays", named.get(path.stem, everything)


INPUTS = [
    "models/small.onnx", "models/weights.bin", "arrays/test.npz",
    "table/test.csv", "table/pictures/a/0.png", "kept.png",
    *(f"images/test/{name}/{index}.png" for name in "ab" for index in range(2)),
    "site/stale/far.py", "site/stale/near.py", "site/stale/deep/inner.py", "src/plain.py", "src/plainer.py",
    *(f"site/stale/{name}.py" for name in STEPS),
]  # fmt: skip


@pytest.mark.invariant(7)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(INPUTS), place=st.integers(0, 2**20), bits=st.integers(1, 255))
def test_any_byte_of_any_input_is_in_the_key_of_what_reads_it(stale: Stale, name: str, place: int, bits: int) -> None:
    path = stale.path(name)
    data, readers = readers_of(path, stale.folder)
    before = path.read_bytes()
    changed = bytearray(before)
    changed[place % len(before)] ^= bits
    assume(bytes(changed) not in (flip(before), flip(before, -5)))  # which other tests have built
    write(path, bytes(changed))
    try:
        edited = {each.decision.action.name: each for each in plan(stale.recipes[data], print)}
    finally:
        write(path, before)
    again = {each.decision.action.name: each for each in plan(stale.recipes[data], print)}

    assert {each.status for each in again.values()} == {Status.CACHED}
    for action, planned in edited.items():
        if action in readers:
            assert planned.status is not Status.CACHED
            assert planned.decision.key != again[action].decision.key or "external data" in planned.reason
        else:
            below = {"model": "of_model", "first": "third"}
            waits = any(below.get(reader) == action for reader in readers)
            assert planned.status is (Status.BUILT if waits else Status.CACHED), action
