"""What a model is fed where no sample is at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from builder.errors import ModelError
from builder.runtimes.inputs import made_up
from builder.runtimes.interface import Tensor

AUDIO = Tensor("input", (None, None), "float32")
STATE = Tensor("state", (2, None, 128), "float32")
RATE = Tensor("sr", (), "int64")


def spec(**more: Any) -> dict[str, Any]:
    return {"shapes": {}, "constants": {}, **more}


def test_a_stateful_model_gets_its_constants_zero_states_and_declared_shapes() -> None:
    declared = spec(shapes={"input": [1, 576], "state": [2, 1, 128]}, constants={"sr": 16000}, states=["state"])
    feed = made_up((AUDIO, STATE, RATE), **declared)
    assert feed["input"].shape == (1, 576)
    assert feed["input"].std() == pytest.approx(1, abs=0.2)
    assert feed["state"].shape == (2, 1, 128)
    assert not feed["state"].any()
    assert feed["sr"].shape == ()
    assert feed["sr"].dtype == np.int64
    assert feed["sr"] == 16000


def test_the_batch_goes_to_the_first_open_dimension_of_every_input() -> None:
    feed = made_up((AUDIO, STATE, RATE), **spec(batch=4, shapes={"input": [1, 576]}, constants={"sr": 8000}))
    assert feed["input"].shape == (4, 576)
    assert feed["state"].shape == (2, 4, 128)


def test_a_batch_that_no_input_can_take_is_refused() -> None:
    with pytest.raises(ModelError, match="batch=4"):
        made_up((Tensor("image", (1, 1, 28, 28), "float32"),), **spec(batch=4))


def test_a_declared_shape_of_another_rank_is_refused() -> None:
    with pytest.raises(ModelError, match="'input' has 2 dimensions, and the model's `shapes` gives 3"):
        made_up((AUDIO,), **spec(shapes={"input": [1, 1, 576]}))


def test_inputs_depend_on_seed_and_name_alone() -> None:
    first = made_up((AUDIO, STATE), **spec(shapes={"input": [1, 64]}))
    again = made_up((STATE, AUDIO), **spec(shapes={"input": [1, 64]}))
    other = made_up((AUDIO, STATE), **spec(shapes={"input": [1, 64]}, seed=1))
    assert np.array_equal(first["input"], again["input"])
    assert not np.array_equal(first["input"], other["input"])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "int32", "int8", "uint8", "bool"])
def test_every_type_gets_values_it_can_hold(dtype: str) -> None:
    (array,) = made_up((Tensor("x", (None, 200), dtype),), **spec()).values()
    assert array.dtype == dtype
    assert len(np.unique(array)) > 1


def test_a_declared_shape_that_contradicts_the_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'state' is float32\[2, \?, 128\], and .* gives \[1, 1, 128\]"):
        made_up((STATE,), **spec(shapes={"state": [1, 1, 128]}))


def test_an_input_of_strings_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'words' takes tensor\(string\)"):
        made_up((Tensor("words", (1,), "tensor(string)"),), **spec())
