"""The plan: order, inputs, reasons; it starts nothing and imports no model library."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import Project, small_model

from builder.digest import canonical
from builder.errors import RecipeError
from builder.plan.graph import graph
from builder.plan.implementation import implementation
from builder.plan.keys import key_of
from builder.plan.part import Part
from builder.plan.why import Reason, compare, in_words
from builder.recipe.compose import compose
from builder.store.statcache import StatCache


def plan(project: Project, *words: str) -> dict[str, dict[str, Any]]:
    done = project.run("plan", "recipe=small", "output=json", *words)
    assert done.returncode == 0, done.stderr
    return {action["name"]: action for action in json.loads(done.stdout)["actions"]}


def test_a_plan_is_in_order_and_names_inputs_and_reasons(small: Project) -> None:
    actions = plan(small)

    assert list(actions) == ["model", "simplify", "quantize", "evaluate"]
    assert actions["evaluate"]["inputs"] == {"model": "quantize", "reference": "model"}
    assert actions["model"]["why"] == [{"reason": "first build", "detail": ""}]
    assert actions["quantize"]["message"] == "waits for: simplify"


def test_a_plan_as_json_lines_has_a_line_for_each_build(small: Project) -> None:
    words = ("-m", "recipe=small", "steps.quantize.calibration.samples=8,16", "output=jsonl")
    done = small.run("plan", *words)

    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["small", "small"]


def test_a_quiet_plan_is_one_line_and_a_verbose_one_has_whole_keys(small: Project) -> None:
    small.run("recipe=small")
    quiet, verbose = small.run("plan", "-q", "recipe=small").stdout, small.run("plan", "-v", "recipe=small").stdout

    assert quiet == "small: 4 cached\n"
    assert all(action["key"] in verbose for action in plan(small).values())


def test_a_plan_starts_and_writes_nothing(small: Project) -> None:
    plan(small)

    assert not (small.folder / "outputs").exists()


def test_a_plan_after_a_build_is_all_cached(small: Project) -> None:
    small.run("recipe=small")

    assert {action["status"] for action in plan(small).values()} == {"cached"}


def test_a_plan_imports_no_model_library(small: Project) -> None:
    small.run("recipe=small")
    script = """
import sys
from builder.__main__ import run
for words in ([], ["--graph"], ["--graph=dot"]):
    run(["plan", "recipe=small", *words])
print(sorted(sys.modules))
"""
    environment = {**small.environment}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=small.folder, env=environment, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in eval(done.stdout.splitlines()[-1])}

    assert loaded & {"onnx", "onnxruntime", "onnxsim", "numpy", "torch", "PIL", "jinja2", "rich"} == set()


def test_what_only_toolchains_need_is_not_imported_to_plan(small: Project) -> None:
    script = "import sys, builder.plan.report, builder.recipe.read; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=small.environment, capture_output=True, text=True, check=True
    )
    needless = {
        "subprocess",
        "tempfile",
        "shutil",
        "csv",
        "zipfile",
        "builder.toolchains.lock",
        "builder.toolchains.uv",
    }

    assert needless & {*done.stdout.split()} == set()


def test_a_plan_foretells_what_a_changed_option_re_runs(small: Project) -> None:
    small.run("recipe=small")
    actions = plan(small, "steps.quantize.calibration.samples=32")

    assert {name: action["status"] for name, action in actions.items()} == {
        "model": "cached", "simplify": "cached", "quantize": "run", "evaluate": "run",
    }  # fmt: skip
    assert actions["quantize"]["message"] == "calibration.samples 16 -> 32"


def test_a_plan_names_a_changed_tool(small: Project) -> None:
    old = {"toolchain": {"onnxruntime": "1.31.0", "numpy": "2"}}
    new = {"toolchain": {"onnxruntime": "1.31.1", "numpy": "2"}}

    assert in_words(compare(old, new, {})) == "onnxruntime 1.31.0 -> 1.31.1"


def test_a_plan_names_changed_external_data(small: Project) -> None:
    small_model(small.folder / "models/small.onnx", external="weights.bin")
    small.run("recipe=small")
    weights = small.folder / "models/weights.bin"
    weights.write_bytes(bytes(8) + weights.read_bytes()[8:])

    assert plan(small)["model"]["message"] == "external data changed: weights.bin"


def test_a_plan_says_what_cannot_be_read(small: Project) -> None:
    (small.folder / "models/small.onnx").unlink()
    done = small.run("plan", "recipe=small")

    assert done.returncode == 1
    assert "cannot read models/small.onnx: No such file or directory" in done.stdout


def test_a_lost_result_is_a_reason(small: Project) -> None:
    import shutil

    small.run("recipe=small")
    shutil.rmtree(small.store)

    assert plan(small)["model"]["message"] == Reason.RESULT_LOST.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inputs(*overrides: str) -> dict[str, dict[str, str]]:
    actions = graph(compose(["model=fashion_mobilenet", *overrides]))
    return {a.name: {port: name for port, (name, _) in a.inputs.items()} for a in actions}


def test_a_step_takes_the_model_of_the_one_before_it(folder: Path) -> None:
    assert inputs("steps=[simplify,quantize,evaluate]") == {
        "model": {},
        "simplify": {"model": "model"},
        "quantize": {"model": "simplify"},
        "evaluate": {"model": "quantize", "reference": "model"},
    }


def test_a_removed_step_leaves_no_gap(folder: Path) -> None:
    assert inputs("steps=[simplify,quantize]", "~steps.simplify")["quantize"] == {"model": "model"}


def test_two_candidates_for_one_port_are_named_with_the_line_to_write(folder: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        inputs("steps=[quantize,evaluate]", "+steps@steps.q2=quantize")

    assert "both 'q2' and 'quantize' could be its model" in caught.value.message
    assert caught.value.hint == "write steps.evaluate.inputs: {model: quantize}"


def test_inputs_choose_between_two_candidates(folder: Path) -> None:
    chosen = inputs("steps=[quantize,evaluate]", "+steps@steps.q2=quantize", "steps.evaluate.inputs={model: q2}")

    assert chosen["evaluate"]["model"] == "q2"


def test_a_measurement_for_another_machine_is_two_actions(folder: Path) -> None:
    names = inputs("target=jetson_orin", "steps=[quantize,compile,benchmark]")

    assert names["benchmark"]["model"] == "compile"
    assert names["benchmark@host"]["model"] == "quantize"


def test_a_processor_of_another_kind_is_another_machine(folder: Path) -> None:
    assert "benchmark@host" in inputs("target.arch=aarch64", "steps=[quantize,benchmark]")


def test_a_step_that_makes_no_sense_for_the_target_is_a_recipe_error(folder: Path) -> None:
    with pytest.raises(RecipeError, match="steps.compile: target 'host' runs onnxruntime"):
        inputs("steps=[quantize,compile]")


def test_a_step_that_needs_data_says_so_before_anything_runs(folder: Path) -> None:
    with pytest.raises(RecipeError, match="steps.evaluate needs data"):
        graph(compose(["model.path=x.onnx", "steps=[evaluate]"]))


def test_the_plan_does_not_depend_on_the_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [action.name for action in graph(compose(["recipe=jetson_int8"]))]
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    assert [action.name for action in graph(compose(["recipe=jetson_int8"]))] == before


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `made` whose module `step` reaches `far` by two imports, and does not reach `apart`."""
    sources = {
        "__init__": "",
        "step": "from made import near\n",
        "near": "def f():\n    from .far import x\n",
        "far": "x = 1\n",
        "apart": "y = 1\n",
    }
    folder = tmp_path / "made"
    folder.mkdir()
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_an_edit_two_imports_away_changes_the_implementation(package: Path, tmp_path: Path) -> None:
    stats = StatCache(tmp_path / "cache")
    before = implementation(["made.step"], stats)
    (package / "far.py").write_text("x = 2\n")
    changed = implementation(["made.step"], stats)
    (package / "apart.py").write_text("y = 2\n")

    assert set(before) == {"made", "made.step", "made.near", "made.far"}
    assert {name for name in before if before[name] != changed[name]} == {"made.far"}
    assert implementation(["made.step"], stats) == changed
    stats.close()


def test_how_time_is_measured_is_in_no_key_of_an_evaluation(tmp_path: Path) -> None:
    stats = StatCache(tmp_path / "cache")
    reached = implementation(["builder.steps.evaluate"], stats)
    stats.close()

    assert reached.keys().isdisjoint({f"builder.measure.{name}" for name in ("blocks", "cost", "process", "subject")})


def test_the_implementation_of_a_step_does_not_reach_the_planner_or_the_report(tmp_path: Path) -> None:
    stats = StatCache(tmp_path / "cache")
    for name in ("simplify", "quantize", "evaluate", "compile", "benchmark"):
        reached = implementation([f"builder.steps.{name}", "builder.engine.worker"], stats)
        packages = {".".join(module.split(".")[:2]) for module in reached}
        assert (
            packages & {"builder.recipe", "builder.plan", "builder.report", "builder.store", "builder.build"} == set()
        )
    stats.close()


def test_the_key_of_an_action_holds_no_path_or_name(folder: Path, tmp_path: Path) -> None:
    from builder.plan.facts import Facts
    from builder.plan.keys import key_parts

    stats = StatCache(tmp_path / "cache")
    actions = graph(compose(["recipe=jetson_int8", "steps.quantize.calibration.kernels=onnxruntime"]))
    quantize = next(action for action in actions if action.name == "quantize")
    parts = key_parts(quantize, {"model": "0" * 64}, Facts(stats))
    renamed = key_parts(replace(quantize, name="other"), {"model": "0" * 64}, Facts(stats))
    stats.close()

    assert str(Path.home()) not in json.dumps(parts)
    assert key_of(parts) == key_of(renamed)
    assert set(parts) == {
        "step", "implementation", "options", "inputs", "toolchain", "installed", "model", "data", "instruction_set",
        "libc",
    }  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_keys_are_equal_exactly_when_the_parts_are(one: object, other: object) -> None:
    assert (key_of({"x": one}) == key_of({"x": other})) == (canonical(one) == canonical(other))


@given(st.sampled_from(["implementation", "data", "options"]), st.dictionaries(st.text(), values), values)
def test_a_part_that_is_encoded_once_for_many_keys_counts_as_any_other(
    name: str, part: dict[str, Any], new: Any
) -> None:
    key = key_of({"step": "x", name: Part(part)})

    assert key == key_of({"step": "x", name: part})
    assert (key == key_of({"step": "x", name: new})) == (canonical(new) == canonical(part))


@given(st.dictionaries(st.text(), values, max_size=4))
def test_the_order_of_parts_is_in_no_key(parts: dict[str, object]) -> None:
    assert key_of(parts) == key_of(dict(reversed(parts.items())))


@pytest.mark.parametrize(
    ("parser", "code", "said"),
    [
        ("auto", 0, [["skipped", "toolchain.tensorrt_rtx"], ["skipped", "parser"]]),
        ("require", 1, [["cannot", "toolchain.tensorrt_rtx"]]),
        ("never", 0, []),
    ],
)
def test_offline_a_plan_says_what_a_build_leaves_out_for_want_of_a_toolchain(
    small: Project, parser: str, code: int, said: list[list[str]]
) -> None:
    words = ("target=jetson_orin", "steps=[compile]", f"steps.compile.parser={parser}", "offline=true")
    done = small.run("plan", "model=small", *words)

    why = "<- toolchain tensorrt_rtx is not in the store, and offline=true forbids fetching its packages"
    assert done.returncode == code, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.endswith(why)] == said
    assert ("2 skipped" in done.stdout.splitlines()[-1]) == (parser == "auto")
