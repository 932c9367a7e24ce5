"""Sweeps: composed from what the jobs share, as each would be alone."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import Project

from builder.errors import BuilderError
from builder.recipe.compose import Unmade, compose, compose_jobs, compose_sweep

CONF_THAT_ASKS_HYDRA = "name: asks\npath: ${hydra.job.override_dirname}\ntask: classification\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


SWEEPS = [
    ["recipe=cpu_int8,jetson_int8", "steps.quantize.calibration.samples=8,16", "steps.quantize.per_channel=true,false"],
    ["recipe=cpu_int8", "model=silero_vad,fashion_mobilenet", "name=a,b"],
    ["recipe=cpu_int8", "steps=[simplify],[simplify,quantize]", "summary=x,'y z'"],
    ["steps.quantize.calibration.samples=9,10", "recipe=cpu_int8", "+steps@steps.b=evaluate", "steps.b.samples=5,6"],
    ["recipe=cpu_int8", "~steps.simplify", "gates.max_latency_ms={p99: 3},4"],
    ["recipe=cpu_int8", "gates={max_size_mib: 3},{}", "+limits.quantize.seconds=3,4"],
    ["recipe=cpu_int8", "name=a,b", "summary=${name}"],
    ["recipe=cpu_int8", "model=asks", "name=a,b"],
    ["recipe=cpu_int8", "name=a,b", "summary=${hydra.job.config_name}"],
]  # fmt: skip


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_jobs_that_share_are_what_they_are_alone(folder: Path, words: list[str]) -> None:
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/asks.yaml").write_text(CONF_THAT_ASKS_HYDRA, encoding="utf-8")
    made = compose_sweep(words)

    assert len(made) > 1
    assert made == [compose(recipe.overrides) for recipe in made]


@pytest.mark.parametrize(
    "bad",
    [
        "steps.quantize.calibration.method=entropi",
        "steps.quantize.calibration.smaples=3",
        "model=fashion_mobilnet",
        "+steps=evalute",
        "steps.quantize=null",
        "+name=again",
        "~model.nothing",
        "summary=${nowhere}",
        "summary=${hydra:job.name}",
    ],
)
def test_a_job_that_shares_fails_as_it_does_alone(folder: Path, bad: str) -> None:
    with pytest.raises(BuilderError) as alone:
        compose(["recipe=cpu_int8", "name=a", bad])
    with pytest.raises(BuilderError) as shared:
        compose_sweep(["recipe=cpu_int8", "name=a,b", bad])

    assert type(shared.value) is type(alone.value)
    assert (shared.value.message, shared.value.hint) == (alone.value.message, alone.value.hint)


def test_jobs_share_nothing_that_one_could_change(folder: Path) -> None:
    first, second = compose_sweep(["recipe=cpu_int8", "summary=a,b"])
    first.resolved["model"]["name"] = "changed"

    assert second.resolved["model"]["name"] == compose(["recipe=cpu_int8"]).resolved["model"]["name"]


BASE = """\
defaults:
  - override /model: fashion_mobilenet
  - override /steps: [simplify, quantize]
  - _self_
"""


def swept(folder: Path, block: str, *words: str) -> list[tuple[str, ...]]:
    """Return the words that each job of a recipe's sweep adds, or the message of what is wrong with it."""
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes/mine.yaml").write_text(BASE + block, encoding="utf-8")
    jobs = compose_jobs(["recipe=mine", *words])
    return [
        (job.error.message, job.error.hint) if isinstance(job, Unmade) else job.overrides[1 + len(words) :]
        for job in jobs
    ]


def test_a_recipes_sweep_is_every_combination_of_its_choices(folder: Path) -> None:
    block = "sweep: {steps.quantize.calibration.samples: [8, 16], steps.quantize.per_channel: [true, false]}"

    assert swept(folder, block) == [
        ("steps.quantize.calibration.samples=8", "steps.quantize.per_channel=true"),
        ("steps.quantize.calibration.samples=8", "steps.quantize.per_channel=false"),
        ("steps.quantize.calibration.samples=16", "steps.quantize.per_channel=true"),
        ("steps.quantize.calibration.samples=16", "steps.quantize.per_channel=false"),
    ]


def test_the_same_keys_may_be_nested_and_hydras_words_for_a_sweep_are_taken(folder: Path) -> None:
    nested = "sweep: {steps: {quantize: {calibration: {samples: 'range(8,33,8)'}}}}"

    assert [job[0] for job in swept(folder, nested)] == [
        f"steps.quantize.calibration.samples={count}" for count in (8, 16, 24, 32)
    ]


def test_what_the_command_line_sets_is_not_swept(folder: Path) -> None:
    block = "sweep: {steps.quantize.calibration.samples: [8, 16], name: [a, b]}"

    assert swept(folder, block, "name=c") == [
        ("steps.quantize.calibration.samples=8",),
        ("steps.quantize.calibration.samples=16",),
    ]


def test_groups_and_lists_can_be_swept(folder: Path) -> None:
    block = "sweep: {model: [fashion_mobilenet, silero_vad], steps: [[simplify], [simplify, quantize]]}"

    assert swept(folder, block)[1] == ("model=fashion_mobilenet", "steps=[simplify,quantize]")
    assert len(swept(folder, block)) == 4


@pytest.mark.parametrize(
    ("block", "message", "hint"),
    [
        ("sweep: {steps.quantise.per_channel: [true]}", "sweep: there is no key 'steps.quantise.per_", "'quantize'"),
        ("sweep: {steps.quantize.per_chanel: [true]}", "there is no key 'steps.quantize.per_chanel'", "'per_channel'"),
        ("sweep: {steps.quantize.per_channel: []}", "steps.quantize.per_channel: the list of choices is empty", ""),
        ("sweep: {steps.quantize.per_channel: true}", "expected a list of choices, got True", "[minmax, entropy]"),
        ("sweep: {name: once}", "sweep.name: expected a list of choices, got 'once'", "[minmax, entropy]"),
        ("sweep: {recipe: [a, b]}", "'recipe' cannot be swept", ""),
        ("sweep: {store: [/tmp/a]}", "is a setting of the machine", "recipes are data"),
        ("sweep: {model.url: ['https://a.example/m']}", "names a host to connect to", "recipes are data"),
        ("sweep: {hydra.run.dir: [a]}", "reaches Hydra's own configuration", ""),
        ("sweep: {model: [../../x]}", "leaves the configuration folders", ""),
        ("sweep: {+steps@hydra.x: [evaluate]}", "reaches Hydra's own configuration", ""),
        ("sweep: {a b: [c]}", "'a b' cannot be swept", "name a key"),
        ("sweep: [a]", "shape", "mappings"),
    ],
)
def test_a_mistake_in_a_sweep_is_told_with_the_nearest_spelling(
    folder: Path, block: str, message: str, hint: str
) -> None:
    ((said, helped),) = swept(folder, block)

    assert message in said
    assert hint in helped


TEXT = st.text(st.characters(exclude_characters="$"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_choice_is_read_back_as_it_is_written(value: Any) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString

    from builder.recipe.sweep import _text

    def plain(read: Any) -> Any:
        if isinstance(read, QuotedString):
            return read.text
        if isinstance(read, list):
            return [*map(plain, read)]
        return {plain(key): plain(item) for key, item in read.items()} if isinstance(read, dict) else read

    assert plain(OverridesParser.create().parse_override(f"key={_text(value)}").value()) == value


SAMPLES = "steps.quantize.calibration.samples"


def sweep_of(project: Project) -> Path:
    return max((project.folder / "outputs/sweeps").glob("[0-9]*"))


def test_a_recipe_with_a_sweep_is_built_without_it_and_says_how_to_sweep(small: Project) -> None:
    recipe = small.folder / "recipes/small.yaml"
    recipe.write_text(recipe.read_text() + f"sweep: {{{SAMPLES}: [8, 16]}}\n", encoding="utf-8")
    plain, every, chosen = (
        small.run("plan", "recipe=small"),
        small.run("plan", "-m", "recipe=small", "output=json"),
        small.run("plan", "recipe=small", f"{SAMPLES}=8"),
    )

    assert f"small has a sweep of {SAMPLES}: python -m builder -m recipe=small" in plain.stderr
    assert len(json.loads(every.stdout)) == 2
    assert "sweep" not in every.stderr + chosen.stderr


def test_a_job_that_cannot_be_composed_or_built_hides_no_other(small: Project) -> None:
    done = small.run("-m", "recipe=small", f"{SAMPLES}=8,0,61,16")
    bad = f"{SAMPLES}=0"

    assert done.returncode == 1
    assert done.stderr.count(f"error: {bad}: on the command line ({bad}): ") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.count("failed  small: ") == 1  # 61 samples, of 60
    assert done.stdout.count("built  small: ") == 2
    assert f"failed  [1] {bad}: " in done.stdout
    assert {path.name for path in sweep_of(small).glob("[0-9]")} == {"0", "2", "3"}
    found = json.loads((sweep_of(small) / "report.json").read_text())["finding"]
    assert done.stdout.splitlines()[-2] == found, "what the sweep shows stands before its page"


def test_a_job_goes_by_its_place_in_the_product_of_the_choices_everywhere(small: Project) -> None:
    words = ("-m", "recipe=small", f"{SAMPLES}=8,0,16")
    events = [json.loads(line) for line in small.run(*words, "output=jsonl").stdout.splitlines()]
    listed, shown = json.loads(small.run(*words, "output=json").stdout), small.run(*words)
    drawn = small.run("plan", "--graph=mermaid", *words)
    table = [*csv.DictReader((sweep_of(small) / "sweep.csv").read_text().splitlines())]

    assert {event["build"] for event in events if event["kind"] == "finished"} == {"0", "2"}
    assert [f"{SAMPLES}=0" in document.get("overrides", ()) for document in listed] == [False, True, False]
    assert f"[2] {SAMPLES}=16" in shown.stdout
    assert "[2] small" in drawn.stdout
    assert [(row["build"], row[SAMPLES]) for row in table] == [("0", "8"), ("1", "0"), ("2", "16")]


def test_a_job_that_its_lock_refuses_hides_no_other(small: Project) -> None:
    recipe = (small.folder / "recipes/small.yaml").read_text()
    small.write("recipes/other.yaml", recipe.replace("name: small", "name: other"))
    assert small.run("lock", "recipe=small").returncode == 0
    done = small.run("-m", "recipe=small,other", "locked=true", "fresh=quantize")
    drifted = small.run("-m", "recipe=small", f"{SAMPLES}=16,24", "locked=true", "model.path=models/small.onnx,none")

    assert done.returncode == drifted.returncode == 1
    assert "built  small: " in done.stdout
    assert "failed  [1] recipe=other: there is no lock of 'other'" in done.stdout
    assert "hint: write it: python -m builder lock recipe=other" in done.stderr
    assert drifted.stdout.count("built  small: ") == 1
    assert drifted.stdout.count("'small' has drifted from ") == 1
    assert drifted.stdout.count("cannot read none") == 2


def test_a_sweeps_choices_are_words_of_yaml(folder: Path) -> None:
    made = compose_sweep(["recipe=cpu_int8", "steps.quantize.per_channel=true,false", "summary='True',null"])
    jobs = swept(folder, "sweep: {steps.quantize.per_channel: 'True,False'}")

    assert [recipe.overrides[1:] for recipe in made] == [
        (f"steps.quantize.per_channel={flag}", f"summary={text}")
        for flag in ("true", "false")
        for text in ("'True'", "null")
    ]
    assert jobs == [("steps.quantize.per_channel=true",), ("steps.quantize.per_channel=false",)]


def test_a_sweep_of_which_nothing_can_be_built_is_a_usage_error(small: Project) -> None:
    done = small.run("-m", "recipe=small", f"{SAMPLES}=0,-1")

    assert (done.returncode, done.stdout) == (2, "")
    assert f"{SAMPLES}=-1" in done.stderr
    assert not (small.folder / "outputs/sweeps").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_goes_on_where_it_was(small: Project, number: int) -> None:
    words = ("-m", "recipe=small", f"{SAMPLES}=8,16,24", "jobs=1", "output=jsonl")
    sweep = small.start(*words)
    assert sweep.stdout
    finished = []
    for line in sweep.stdout:
        event = json.loads(line)
        if event["kind"] == "finished":
            finished.append((event["build"], event["action"]))
        if finished and finished[-1][1] == "quantize":
            break
    sweep.send_signal(number)
    sweep.communicate(timeout=60)
    again = small.run(*words)
    events = [event for event in map(json.loads, again.stdout.splitlines()) if event["kind"] == "finished"]
    cached = {(event["build"], event["action"]) for event in events if event["status"] == "cached"}

    assert again.returncode == 0, again.stderr
    assert set(finished) <= cached
    assert len(events) == 3 * 4
