"""The promises of engine and store, and that each has tests which would see it broken.

`python -m pytest -m invariant --collect-only` lists them; those that are slow too run with `-m 'invariant and slow'`.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

INVARIANTS = {
    1: "No result points to absent or wrong bytes unnoticed before use; what is noticed is set aside and rebuilt.",
    2: "No partial file lies under a final name.",
    3: "Exit 0 never comes with wrong, missing or stale output.",
    4: "One key never runs twice at once, nor again while its result is intact, however many share the store.",
    5: "No orphan of a killed build writes anything that a later build reads.",
    6: "A failure is never cached.",
    7: "A key covers everything that the result depends on.",
}


def marked() -> dict[int, list[str]]:
    """Return invariant -> the tests that name it, in each file's source."""
    found: dict[int, list[str]] = defaultdict(list)
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for number in _numbers(node):
                    found[number].append(f"{file.name}::{node.name}")
    return found


def _numbers(node: ast.FunctionDef | ast.ClassDef) -> list[int]:
    calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "invariant"]
    return [argument.value for call in named for argument in call.args if isinstance(argument, ast.Constant)]  # type: ignore[misc]


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_has_tests_that_would_see_it_broken(number: int) -> None:
    assert len(marked()[number]) >= 2, INVARIANTS[number]


def test_no_test_names_an_invariant_that_is_not_listed() -> None:
    assert set(marked()) <= set(INVARIANTS)
