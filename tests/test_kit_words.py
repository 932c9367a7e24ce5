"""The command line that a kit brings: its user's own where the kit was made here, else no more than a recipe's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from results import canonical_digest

from builder.errors import TrustError, UsageError
from builder.kit.find import overrides_of
from builder.kit.result import Result
from builder.recipe.trust import check_overrides


def write_kit(folder: Path, *overrides: str) -> Result:
    """Write the list of a kit, and return a result of it."""
    document = {"schema": 1, "overrides": list(overrides)}
    digest = canonical_digest(document)
    folder.mkdir(parents=True)
    (folder / "kit.json").write_text(json.dumps({**document, "digest": digest}), encoding="utf-8")
    none: dict[str, Any] = {key: {} for key in ("portable", "device", "host", "actions")}
    return Result(folder=folder, digest="", kit=digest, program="", name="mine", taken_at="", **none)


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "word",
    [
        "hydra.searchpath=[file:///tmp/evil]",
        "hydra/launcher=evil",
        "+model.code=evil.py:run",
        "++model={code: evil.py:run}",
        "data.code=evil.py:read",
        "model.url=http://somewhere",
        "++target.host=me@there",
        "++store=/tmp/evil",
        "data.root=/etc",
        "model=../../tmp/evil",
        "recipe@hydra.x=evil",
        "name=${oc.env:HOME}",
        "+data.reader._target_=os.system",
        "no setting",
    ],
)
def test_a_kit_from_elsewhere_sets_no_more_than_a_recipe(word: str) -> None:
    result = write_kit(Path("kit"), "recipe=mine", word)

    with pytest.raises(TrustError, match="^kit: ") as caught:
        overrides_of(result, Path("kit"))
    assert caught.value.hint == "this kit was not made here: import the result where it was"


def test_a_kit_from_elsewhere_may_set_what_a_recipe_may() -> None:
    words = ["recipe=mine", "model=small", "steps=[simplify,compile]", "steps.quantize.calibration={samples: 16}"]
    more = ["gates.max_accuracy_drop=0.1", "model.path=models/small.onnx", "~steps.evaluate"]
    result = write_kit(Path("kit"), *words, *more, "store=/tmp/theirs")

    assert overrides_of(result, Path("kit")) == [*words, *more]


def test_a_kit_that_was_made_here_brings_what_its_user_typed() -> None:
    result = write_kit(Path("outputs/mine/2026-11-20_10-00-00/kit"), "recipe=mine", "model.code=own.py:make")

    assert overrides_of(result, None) == ["recipe=mine", "model.code=own.py:make"]
    assert overrides_of(result, Path("outputs/mine/2026-11-20_10-00-00/kit")) == overrides_of(result, None)


def test_a_kit_that_is_not_the_results_is_refused() -> None:
    result = write_kit(Path("outputs/mine/2026-11-20_10-00-00/kit"), "recipe=mine")
    write_kit(Path("other"), "recipe=other")

    with pytest.raises(UsageError, match="; other is another one"):
        overrides_of(result, Path("other"))


def test_a_result_of_an_earlier_kit_is_told_from_those_that_are_here() -> None:
    result = write_kit(Path("earlier"), "recipe=mine")
    write_kit(Path("outputs/mine/2026-11-20_10-00-00/kit"), "recipe=mine", "seed=1")

    with pytest.raises(UsageError, match="none of the kits in outputs/mine is that one") as caught:
        overrides_of(result, None)
    assert f"of the recipe 'mine' whose kit is {result.kit[:12]}" in caught.value.message


def test_words_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(TrustError, match="its command line cannot be read"):
        check_overrides(["a=[1"], "kit")
