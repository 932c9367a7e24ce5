"""Keys of what a device makes: the target that was meant is in them, and the device that it was made on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, Project, write_small
from results import HOST, ORIN, RECIPE

from builder.device.files import digest
from builder.device.itself import program_digest
from builder.digest import digest_file
from builder.errors import RecipeError
from builder.plan.action import Action
from builder.plan.devices import Sent, by_device, choose, label_of
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.plan.keys import key_of, key_parts
from builder.plan.portable import portable_parts
from builder.recipe.compose import compose
from builder.specs import Target
from builder.store.devices import Entry
from builder.store.statcache import StatCache

PI = (
    RECIPE.replace("jetson_orin", "raspberry_pi_5")
    .replace("small_jetson", "small_pi")
    .replace("evaluate, compile", "evaluate")
)
PI = PI.replace("  compile: {parser: never}\n", "").replace("tensorrt", "onnxruntime")
H100 = {**ORIN, "name": "NVIDIA H100 80GB HBM3", "arch": "x86_64", "compute_capability": "9.0"}


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = write_small(Project(tmp_path / "project"))
    project.write("recipes/small_jetson.yaml", RECIPE)
    project.write("recipes/small_pi.yaml", PI)
    monkeypatch.chdir(project.folder)
    return project


@pytest.fixture
def stats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StatCache]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = StatCache()
    yield found
    found.close()


def action(name: str, *words: str) -> Action:
    return next(each for each in graph(compose([*words])) if each.name == name)


def portable(stats: StatCache, name: str, *words: str) -> str:
    found = action(name, *words)
    return key_of(portable_parts(found, dict.fromkeys(found.inputs, "0" * 64), Facts(stats)))


class Here(Facts):
    """A machine that is the target, with a device of these facts."""

    def __init__(self, stats: StatCache, here: dict[str, Any]) -> None:
        super().__init__(stats)
        self.here = here

    def device(self, action: Action) -> tuple[dict[str, Any] | None, str]:
        return self.here, ""


@pytest.mark.parametrize(
    "word",
    [
        "target.hardware='Orange Pi*'",
        "target.features=[asimd]",
        "target.runtime_versions='>=1.28,<2'",
        "target.arch=x86_64",
        "target.accelerator=cuda",
        "target.compute_capability='8.7'",
    ],
)
def test_a_measurement_for_another_target_has_another_portable_key(
    recipes: Project, stats: StatCache, word: str
) -> None:
    other = portable(stats, "benchmark", "recipe=small_pi", word)

    assert other != portable(stats, "benchmark", "recipe=small_pi")


@pytest.mark.parametrize("name", ["compile", "evaluate@tensorrt", "benchmark"])
def test_gpus_of_one_compute_capability_and_another_name_share_nothing(
    recipes: Project, stats: StatCache, name: str
) -> None:
    words = ("recipe=small_jetson", "target=h100")

    assert portable(stats, name, *words) != portable(stats, name, *words, "target.hardware='NVIDIA H200*'")


@pytest.mark.parametrize("name", ["compile", "evaluate@tensorrt", "benchmark"])
@pytest.mark.parametrize("fact", ["tensorrt", "driver", "power_mode"])
def test_the_device_that_is_here_is_in_the_key_of_all_that_it_makes(
    recipes: Project, stats: StatCache, name: str, fact: str
) -> None:
    found = action(name, "recipe=small_jetson")
    inputs = dict.fromkeys(found.inputs, "0" * 64)
    before, after = (key_parts(found, inputs, Here(stats, facts)) for facts in (ORIN, {**ORIN, fact: "another"}))

    assert key_of(before) != key_of(after)


def test_what_is_measured_on_any_host_has_no_device_in_its_key(recipes: Project, stats: StatCache) -> None:
    found = action("benchmark", "recipe=small_pi", "target=host")

    assert "device" not in key_parts(found, dict.fromkeys(found.inputs, "0" * 64), Facts(stats))


def entry(device: dict[str, Any], result: str = "1", **more: Any) -> Entry:
    facts = {"portable": "0" * 64, "key": "0" * 64, "action": "benchmark", "host": HOST, "siblings": ("0" * 64,)}
    return Entry(**{**facts, "device": device, "taken_at": "2026-11-20T10:00:00+00:00", "result": result * 64, **more})


def chosen(entries: list[Entry], target: Target) -> Entry | None:
    found, _ = choose(by_device([Sent(each, {}, {}) for each in entries]), (), target)
    return found.entry if found else None


def test_a_device_that_is_not_the_target_is_not_chosen(recipes: Project) -> None:
    target = compose(["recipe=small_jetson"]).target
    orin, old = entry(ORIN), entry({**ORIN, "tensorrt": "8.5.2"})

    assert chosen([entry(H100)], target) is None
    assert chosen([old], target) is None
    assert chosen([entry(H100), orin, old], target) is orin


def test_a_device_may_be_named_in_full_though_its_name_would_do(recipes: Project) -> None:
    orin = entry(ORIN)

    assert chosen([orin], compose(["recipe=small_jetson", f"target.device={ORIN['name']}@{orin.identity[:8]}"]).target)
    with pytest.raises(RecipeError, match="nothing came from"):
        chosen([orin], compose(["recipe=small_jetson", f"target.device={ORIN['name']}@00000000"]).target)


def test_a_device_that_is_called_as_a_state_of_another_is_told_apart_from_it(recipes: Project) -> None:
    slow, fast = entry({**ORIN, "power_mode": "15W"}), entry(ORIN)
    called = entry({**ORIN, "name": f"{ORIN['name']}@15W"})
    entries = [slow, fast, called]
    labels = [label_of(each, entries) for each in entries]

    assert labels == [f"{ORIN['name']}@{slow.identity[:8]}", f"{ORIN['name']}@MAXN", called.name]
    for label, meant in zip(labels, entries, strict=True):
        assert chosen(entries, compose(["recipe=small_jetson", f"target.device={label}"]).target) is meant
    with pytest.raises(RecipeError, match=f"{called.name}"):
        chosen(entries, compose(["recipe=small_jetson"]).target)


def test_a_portable_key_says_what_decides_how_a_kit_is_made(recipes: Project, stats: StatCache) -> None:
    found = action("compile", "recipe=small_jetson")
    parts = portable_parts(found, dict.fromkeys(found.inputs, "0" * 64), Facts(stats))

    assert parts["kit"]["builder.kit.pack"] == digest_file(ROOT / "builder" / "kit" / "pack.py")
    assert {"builder.onnxtools.trt_check", "builder.onnxtools.profiles"} < parts["kit"].keys()
    assert digest(parts["program"]) == program_digest()  # which kit.json and result.json hold
