"""Composition: groups, overrides, inheritance, repetition, and every mistake with its place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import BuilderError, RecipeError, UsageError
from builder.recipe.compose import compose, compose_sweep, group_options
from builder.recipe.locations import share
from builder.typed import to_plain


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    return tmp_path


def recipe(folder: Path, name: str, body: str) -> None:
    (folder / "recipes" / f"{name}.yaml").write_text(body, encoding="utf-8")


def names(*overrides: str) -> list[str]:
    return [use.name for use in compose(overrides).steps]


BASE = """\
defaults:
  - override /model: fashion_mobilenet
  - override /steps: [simplify, quantize]
  - _self_
summary: a base
steps: {quantize: {calibration: {samples: 99}}}
"""


@pytest.mark.parametrize("name", [f.stem for f in sorted((share() / "recipes").glob("*.yaml"))])
def test_every_built_in_recipe_composes_to_its_own_name(name: str) -> None:
    assert compose([f"recipe={name}"]).name == name


def test_users_recipes_come_before_ours(folder: Path) -> None:
    recipe(folder, "jetson_int8", BASE)

    assert compose(["recipe=jetson_int8"]).summary == "a base"


def test_the_list_of_recipes_has_the_users_and_ours(folder: Path) -> None:
    recipe(folder, "mine", BASE)

    assert {"mine", "jetson_int8"} <= set(group_options("recipe"))


def test_a_recipe_without_a_package_header_is_global(folder: Path) -> None:
    recipe(folder, "mine", BASE)

    assert compose(["recipe=mine"]).summary == "a base"


def test_a_recipe_inherits_and_changes_only_what_differs(folder: Path) -> None:
    recipe(folder, "base", BASE)
    recipe(folder, "child", "defaults: [base, _self_]\nsteps: {quantize: {per_channel: false}}\n")
    child = compose(["recipe=child"])
    quantize = child.steps[1].options

    assert (child.name, quantize.calibration.samples, quantize.per_channel) == ("child", 99, False)


def test_a_child_recipe_appends_steps(folder: Path) -> None:
    recipe(folder, "base", BASE)
    recipe(folder, "child", "defaults:\n  - base\n  - /steps: [evaluate]\n  - _self_\n")

    assert names("recipe=child") == ["simplify", "quantize", "evaluate"]


def test_a_recipe_in_a_sub_folder_inherits_by_its_full_name(folder: Path) -> None:
    recipe(folder, "base", BASE)
    (folder / "recipes" / "vision").mkdir()
    recipe(folder, "vision/v", "defaults: [/recipe/base, _self_]\n")

    assert compose(["recipe=vision/v"]).name == "v"


def test_steps_are_added_removed_and_overridden_on_the_command_line(folder: Path) -> None:
    recipe(folder, "base", BASE)

    assert names("recipe=base", "+steps=evaluate") == ["simplify", "quantize", "evaluate"]
    assert names("recipe=base", "~steps.simplify") == ["quantize"]
    assert names("recipe=base", "steps=[evaluate]") == ["evaluate"]
    assert compose(["recipe=base", "steps.quantize.calibration.samples=64"]).steps[1].options.calibration.samples == 64


def test_a_step_is_used_twice_under_two_names(folder: Path) -> None:
    recipe(folder, "base", BASE)
    made = compose(["recipe=base", "+steps@steps.q2=quantize", "steps.q2.per_channel=false"])

    assert [(use.name, use.step) for use in made.steps] == [
        ("simplify", "simplify"),
        ("q2", "quantize"),
        ("quantize", "quantize"),
    ]


def test_the_command_line_beats_the_recipe(folder: Path) -> None:
    recipe(folder, "base", BASE)

    assert compose(["recipe=base", "model=silero_vad"]).model.name == "silero_vad"


def test_a_sweep_is_every_combination(folder: Path) -> None:
    recipe(folder, "base", BASE)
    made = compose_sweep(["recipe=base,jetson_int8", "steps.quantize.calibration.samples=8,16"])

    assert [(r.name, r.steps[1].options.calibration.samples) for r in made] == [
        ("base", 8),
        ("base", 16),
        ("jetson_int8", 8),
        ("jetson_int8", 16),
    ]


def test_a_sweep_takes_a_glob_of_recipes(folder: Path) -> None:
    recipe(folder, "mine_a", BASE)
    recipe(folder, "mine_b", BASE)

    assert [r.name for r in compose_sweep(["recipe=glob(mine_*)"])] == ["mine_a", "mine_b"]


def test_options_of_a_step_that_is_left_out_are_noted_not_refused(folder: Path) -> None:
    recipe(folder, "base", BASE)

    assert "steps.quantize has options" in compose(["recipe=base", "steps=[simplify]"]).notes[0]


def test_the_resolved_recipe_holds_no_path_of_the_dataset(folder: Path) -> None:
    assert "root" not in compose(["recipe=jetson_int8"]).resolved["data"]


MISTAKES = [
    (["recipe=bsae"], "there is no recipe 'bsae'", "'base'"),
    (["recpie=base"], "there is no key 'recpie'", "'recipe'"),
    (["recipe=base", "model=fashion_mobilnet"], "there is no model 'fashion_mobilnet'", "'fashion_mobilenet'"),
    (["recipe=base", "target=jetson_orn"], "there is no target 'jetson_orn'", "'jetson_orin'"),
    (["recipe=base", "data=fashion_mnits"], "there is no dataset 'fashion_mnits'", "'fashion_mnist'"),
    (["recipe=base", "+steps=evalute"], "there is no step 'evalute'", "'evaluate'"),
    (["recipe=base", "steps.quantize.per_chanel=true"], "there is no key 'per_chanel'", "'per_channel'"),
    (["recipe=base", "++steps.quantize.per_chanel=true"], "there is no key 'per_chanel'", "'per_channel'"),
    (["recipe=base", "steps.quantize.calibration.method=entropi"], "minmax, entropy, percentile", "'entropy'"),
    (["recipe=base", "steps.quantize.calibration.samples=many"], "expected a whole number, got 'many'", ""),
    (["recipe=base", "steps.quantize.calibration.samples=0"], "at least 1", ""),
    (["recipe=base", "gates.max_accuracy=1"], "there is no key 'max_accuracy'", "'max_accuracy_drop'"),
    (["recipe=base", "gates.max_accuracy_drop=low"], "expected a number, got 'low'", ""),
    (["recipe=base", f"gates.max_accuracy_drop={10**400}"], "expected at most 64 bits, got a number of 1329", ""),
    (["recipe=base", f"steps.quantize.calibration.samples={2**63}"], "at most 64 bits, got a number of 64", ""),
    (["recipe=base", "gates.max_latency_ms={p95: 3}"], "there is no key 'p95'", "'p99'"),
    (["recipe=base", "model=null"], "names nothing", "give a name"),
    (["recipe=base", "jobs=0"], "at least 1", ""),
    (["recipe=base", "name=../../x"], "small letters", ""),
    (["recipe=base", "name=store"], "'store' is taken", ""),
    (["recipe=base", f"name={'x' * 65}"], "at most 64", ""),
    (["recipe=base", "steps.quantize=null"], "expected a mapping, got None", "~steps.quantize"),
    (["recipe=base", "steps=[simplify,null]"], "", ""),
    (["recipe=base", "a.b.c=1"], "on the command line (a.b.c=1): there is no key 'a'", ""),
    (["recipe=base", "summary='a\u001b[2J'"], "control characters", ""),
    (["recipe=base", "steps.quantize.inputs={modle: simplify}"], "there is no key 'modle'", "'model'"),
    (["recipe=base", "steps.quantize.inputs={model: simplfy}"], "there is no action 'simplfy'", "'simplify'"),
    (["recipe=base", "model.sha256=abc"], "64 hexadecimal digits", ""),
    (["recipe=["], "cannot read 'recipe=['", "quote"),
    (["recipe=base,jetson_int8"], "names several", "-m recipe=A,B"),
    (["recipe=base", "limits.seconds=60,120"], "names several", "-m limits.seconds=60,120; or write one list"),
    (["recipe=base", "model=[fashion_mobilenet]"], "names several", "-m model=A,B"),
    (["recipe=base", "gates.max_size_mib=inf"], "expected a number, got inf", ""),
    (["recipe=base", "model.path=5"], "expected text, got the number 5", "'5'"),
    (["recipe=base", "steps.simplify=5"], "steps.simplify: expected a mapping, got 5", ""),
    (["recipe=base", "+gates.quantize=5"], "gates.quantize: expected a mapping of limits, got 5", ""),
    (["recipe=base", "~gates"], "there is no key 'gates' any more", "~gates"),
    (["recipe=base", "gates.confidence=95"], "expected a number between 0 and 1", ""),
    (["recipe=base", "jobs=a"], "(jobs=a): jobs: expected a whole number, got 'a'", ""),
    ([], "nothing says what to build", "recipe=NAME"),
]


def test_each_action_of_the_recipes_own_can_have_limits() -> None:
    names = ("data", "tokenizer", "tokens", "weights", "model", "conversion")
    recipe = compose(["recipe=cpu_int8", *(f"+limits.{name}.seconds=7" for name in names)])

    assert {name: recipe.limits[name].seconds for name in names} == dict.fromkeys(names, 7)


@pytest.mark.parametrize(("overrides", "says", "hints"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_error_that_names_the_right_spelling(
    folder: Path, overrides: list[str], says: str, hints: str
) -> None:
    recipe(folder, "base", BASE)
    with pytest.raises(BuilderError) as caught:
        compose(overrides)

    assert says in caught.value.message
    assert hints in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "steps:\n  quantize:\n    calibration:\n      smaples: 3\n",
            "recipes/wrong.yaml:5: steps.quantize.calibration",
        ),
        ("steps:\n  quantise: {per_channel: true}\n", "recipes/wrong.yaml:3: steps: there is no key 'quantise'"),
        ("sumary: x\n", "recipes/wrong.yaml:2: there is no key 'sumary'"),
        ("gates: {max_size: 1}\n", "recipes/wrong.yaml:2: gates: there is no key 'max_size'"),
        (
            "steps: {quantize: {per_channel: 3}}\n",
            "recipes/wrong.yaml:2: steps.quantize.per_channel: expected true or false",
        ),
        ("steps: simplify\n", "recipes/wrong.yaml:2: steps: expected a mapping, got 'simplify'"),
        ("summary: ${summary}\n", "summary: "),
        ("model: null\n", "recipes/wrong.yaml:2: model: expected a mapping, got None"),
        ("data: x\n", "recipes/wrong.yaml:2: data: expected a mapping, got 'x'"),
        ("steps: [\n", "recipes/wrong.yaml: not YAML"),
        ("steps: [simplify]\n", "recipe 'wrong': a value has another shape"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_with_file_and_line(folder: Path, body: str, says: str) -> None:
    recipe(folder, "base", BASE)
    recipe(folder, "wrong", "defaults: [base, _self_]\n" + body)
    with pytest.raises(RecipeError) as caught:
        compose(["recipe=wrong"])

    assert says in caught.value.message


def test_a_composed_recipe_is_plain_python(folder: Path) -> None:
    made = compose(["recipe=jetson_int8"])
    modules = {type(value).__module__ for value in _values(to_plain(made.model)) + _values(made.resolved)}

    assert modules == {"builtins"}


def _values(value: object) -> list[object]:
    if isinstance(value, dict):
        return [value, *(inner for item in value.values() for inner in _values(item))]
    if isinstance(value, list):
        return [value, *(inner for item in value for inner in _values(item))]
    return [value]


def test_recipes_can_be_composed_in_several_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        names = [*pool.map(lambda name: compose([f"recipe={name}"]).name, ["cpu_int8", "jetson_int8"] * 4)]

    assert names == ["cpu_int8", "jetson_int8"] * 4


def test_one_text_instead_of_a_list_of_overrides_is_refused() -> None:
    with pytest.raises(UsageError, match="a list of words"):
        compose("recipe=cpu_int8")
