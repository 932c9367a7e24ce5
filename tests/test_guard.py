"""A step that reads what its key does not hold fails with words for its author; one that reads its inputs does not.

All trespassers run in one build and all lawful steps in another one, each an action of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project, write_small

STEP = """\
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Result, step
{top}

@dataclass
class Options:
    pass

@step(options=Options, rank={rank}, inputs={{"model": Kind.ONNX}}, outputs={{"data": Kind.DATA}},
      from_source=("model",), splits=lambda _: ("test",))
def {name}(options: Options, job: Job) -> Result:
    import importlib, os, sys
    from pathlib import Path
    project = Path({project!r})
{body}
    (job.folder("data") / "made").write_text("made")
    return Result()
"""


def add_steps(project: Project, bodies: dict[str, str], tops: dict[str, str] | None = None) -> None:
    """Install a package `extra` with a step for each of some lines of Python."""
    project.add_steps(
        **{
            name: STEP.format(
                name=name,
                rank=10 + rank,
                project=str(project.folder),
                body=textwrap.indent(textwrap.dedent(body), "    "),
                top=(tops or {}).get(name, ""),
            )
            for rank, (name, body) in enumerate(bodies.items())
        }
    )


def build(project: Project, *names: str, program: tuple[str, ...] = (), **environment: str) -> dict[str, Any]:
    """Build some steps; return each action by its name."""
    words = ["-m", "builder", "recipe=small", f"steps=[{','.join(names)}]", "output=json"]
    done = subprocess.run(
        [*(program or (sys.executable,)), *words],
        cwd=project.folder,
        env={**project.environment, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    return {action["name"]: action for action in json.loads(done.stdout)["actions"]}


FROM_FILE = """\
from importlib import util
spec = util.spec_from_file_location('tools', project / 'tools.py')
spec.loader.exec_module(util.module_from_spec(spec))"""

TRESPASSERS = {
    "by_path": ("(project / 'notes.txt').read_text()", "read notes.txt, which is no input of it"),
    "by_bytes": ("open(os.fsencode(project / 'notes.txt')).close()", "read notes.txt, "),
    "by_descriptor": ("os.close(os.open(project / 'notes.txt', os.O_RDONLY))", "read notes.txt, "),
    "by_chdir": ("os.chdir(project); open('notes.txt').close()", "read notes.txt, "),
    "by_update": ("open(project / 'notes.txt', 'r+').close()", "read notes.txt, "),
    "by_alias": ("(project.parent / 'alias' / 'notes.txt').read_text()", "alias/notes.txt, which is no input"),
    "by_link": ("(project / 'link.txt').read_text()", "read link.txt, "),
    "beside_data": ("(Path(job.data.root) / 'other.txt').read_text()", "read samples/other.txt, "),
    "another_split": ("(Path(job.data.root) / 'cal.npz').read_bytes()", "read samples/cal.npz, "),
    "the_store": ("next((project / 'outputs/store/ac').rglob('*.json')).read_bytes()", "read outputs/store/ac/"),
    "package_data": ("(Path(__file__).parent / 'table.json').read_text()", "read site/extra/table.json, "),
    "while_imported": ("pass", "read site/extra/table.json, "),
    "and_goes_on": ("try:\n    importlib.import_module('extra.' + 'hidden')\nexcept Exception:\n    pass",
                    "extra.hidden is loaded by a computed name"),
    "by_name": ("importlib.import_module('extra.' + 'hidden')", "extra.hidden is loaded by a computed name"),
    "by_star": ("pass", "extra.parts.one is loaded by a computed name"),
    "from_file": (FROM_FILE, "tools."),
    "executed": ("exec((project / 'tools.py').read_text())", "read tools.py, "),
    "project_module": ("sys.path.insert(0, str(project))\nimportlib.import_module('too' + 'ls')",
                       "tools is loaded by a computed name"),
    "bytecode": ("import marshal\nmarshal.loads((project / '__pycache__/old.cpython-311.pyc').read_bytes())",
                 "read __pycache__/old.cpython-311.pyc, "),
}  # fmt: skip


@pytest.fixture(scope="module")
def trespassed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    project = write_small(Project(tmp_path_factory.mktemp("guard") / "project"))
    tops = {
        "while_imported": "from pathlib import Path as P\nTABLE = (P(__file__).parent / 'table.json').read_text()",
        "by_star": "from extra.parts import *",
    }
    add_steps(project, {name: body for name, (body, _) in TRESPASSERS.items()}, tops)
    project.write("notes.txt", "notes")
    project.write("tools.py", "x = 1\n")
    project.write("samples/other.txt", "other")
    project.write("site/extra/table.json", "{}")
    project.write("site/extra/hidden.py", "x = 1\n")
    project.write("site/extra/parts/__init__.py", "__all__ = ['one']\n")
    project.write("site/extra/parts/one.py", "x = 1\n")
    project.write("__pycache__/old.cpython-311.pyc", "")
    (project.folder.parent / "alias").symlink_to(project.folder)
    (project.folder / "link.txt").symlink_to(ROOT / "README.md")
    return build(project, *TRESPASSERS)


@pytest.mark.invariant(7)
@pytest.mark.parametrize("name", TRESPASSERS)
def test_what_a_key_does_not_hold_fails_the_action_that_touches_it(trespassed: dict[str, Any], name: str) -> None:
    assert trespassed[name]["status"] == "failed"
    assert TRESPASSERS[name][1] in trespassed[name]["reason"]


LAWFUL = {
    "inputs": "(job.inputs['model'] / 'model.onnx').read_bytes()",
    "declared_data": "from builder.data.dataset import samples\nassert len(list(samples(job.data, 'test'))) == 60",
    "data_behind_its_link": "(Path(job.data.root) / 'test.npz').resolve().read_bytes()",
    "own_folder": "Path('scratch').write_text('x')\nPath('scratch').read_text()\n"
    "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    Path(file.name).read_bytes()",
    "standard_library": "import encodings.cp1252, inspect, wave\ninspect.getsource(wave)",
    "site_packages": "import packaged\npackaged.table()\nfrom importlib.metadata import version\nversion('packaged')",
    "imports_by_statement": "from extra import near\nassert near.far() == 1\nimport inspect\ninspect.getsource(near)",
    "numpy_and_onnx": "import numpy.testing, onnx\nonnx.load(job.inputs['model'] / 'model.onnx')",
    "looks_around": "os.listdir(project)\n(project / 'notes.txt').exists()\nlist(project.glob('*'))\n"
    "os.close(os.open(project, os.O_RDONLY))",
    "writes_a_note": "with open(project / 'note.log', 'a') as file:\n    file.write('note')",
    "system_files": "Path('/proc/self/status').read_text()\nPath('/dev/null').read_bytes()",
}  # fmt: skip


@pytest.fixture(scope="module")
def obeyed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Build lawful steps in a clone of this repository, in a virtual environment in it, with linked data."""
    project = write_small(Project(tmp_path_factory.mktemp("guard") / "clone"))
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("builder", "conf"):
        shutil.copytree(ROOT / name, project.folder / name, ignore=unwanted, dirs_exist_ok=True)
    (project.folder / "samples").rename(project.folder / "kept")
    (project.folder / "samples").mkdir()
    for file in (project.folder / "kept").iterdir():
        (project.folder / "samples" / file.name).symlink_to(f"../kept/{file.name}")
    project.write("notes.txt", "notes")
    venv.create(project.folder / ".venv", symlinks=True)
    place = next((project.folder / ".venv/lib").glob("python3*/site-packages")).relative_to(project.folder)
    project.write(
        f"{place}/packaged/__init__.py",
        "from pathlib import Path\n"
        "def table():\n    import packaged.deep\n    return Path(__file__).with_name('table.json').read_text()\n",
    )
    project.write(f"{place}/packaged/deep.py", "")
    project.write(f"{place}/packaged/table.json", "{}")
    project.write(f"{place}/packaged-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: packaged\nVersion: 1.0\n")
    project.write("site/extra/near.py", "def far():\n    from .deep import far\n    return far.ONE\n")
    project.write("site/extra/deep/far.py", "ONE = 1\n")  # a namespace package
    add_steps(project, LAWFUL)
    path = os.pathsep.join([str(project.folder / "site"), sysconfig.get_path("purelib")])
    return build(project, *LAWFUL, program=(str(project.folder / ".venv/bin/python"),), PYTHONPATH=path)


@pytest.mark.parametrize("name", LAWFUL)
def test_what_a_step_may_read_does_not_fail_it(obeyed: dict[str, Any], name: str) -> None:
    assert (obeyed[name]["status"], obeyed[name]["reason"]) == ("built", "first build")


FORMAT = """\
from builder.sources.code import call_code
from builder.sources.exported import write_exported
from builder.sources.samples import write_samples
from builder.step import Job, Kind, Result, step

@step(options=type(None), rank=5, inputs={"weights": Kind.WEIGHTS}, toolchain="host", model_facts=("code",),
      outputs={"model": Kind.ONNX, "samples": Kind.SAMPLES}, weights=False)
def called(_options: None, job: Job) -> Result:
    import numpy as np
    from onnx import helper
    value = helper.make_tensor_value_info
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], call_code(job), [value("x", 1, [1])], [value("y", 1, [1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ones = np.ones(1, np.float32)
    write_samples(job, "itself", "ones", [{"x": ones}], [{"y": ones}])
    return Result(write_exported(job, model))
"""


def add_code(project: Project, body: str) -> Path:
    """Let a recipe `small` export what code outside the project makes, and return the code's folder."""
    project.add_steps(called=FORMAT)
    points = project.folder / "site/extra-1.0.dist-info/entry_points.txt"
    points.write_text(points.read_text().replace("builder.steps", "builder.formats"))
    folder = project.folder.parent / "elsewhere"
    project.write(
        "../elsewhere/mytrain.py", f"def fit():\n    from pathlib import Path\n    {body}\n    return 'graph'\n"
    )
    project.write("conf/model/mine.yaml", f"name: mine\nformat: called\ncode: {folder}/mytrain.py:fit\n")
    recipe = "# @package _global_\ndefaults:\n  - override /model: mine\n  - override /steps: [simplify]\n  - _self_\n"
    project.write("recipes/small.yaml", recipe)
    return folder


def test_what_lies_beside_code_outside_the_project_is_no_input_of_it_either(project: Project) -> None:
    folder = add_code(project, "(Path(__file__).parent / 'strength.txt').read_text()")
    (folder / "strength.txt").write_text("5")
    model = build(project, "simplify")["model"]

    assert model["status"] == "failed"
    assert "elsewhere/strength.txt, which is no input of it" in model["reason"]


def test_folders_beside_the_code_that_are_called_as_our_package_and_the_steps_hide_neither(project: Project) -> None:
    folder = add_code(project, "pass")
    for name in ("builder", "extra"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('not this one')")
    built = build(project, "simplify")

    assert {name: each["status"] for name, each in built.items()} == dict.fromkeys(
        ("model", "conversion", "simplify"), "built"
    )
