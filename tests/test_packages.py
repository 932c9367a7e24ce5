"""On the host, a key names the packages that a project's own code can reach there."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.api import compose
from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.store.statcache import StatCache

MODEL = "name: mine\nformat: sklearn\ncode: mine.py:fit\n"
CODE = "from beside import fitted\n\n\ndef fit(features, labels):\n    import numpy\n    return fitted(numpy, labels)\n"
BESIDE = "import rich\n\n\ndef fitted(*_):\n    return rich\n"
WORDS = ["model=mine", "data=digits", "target=host", "name=mine", "model.toolchain=host"]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Action:
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text(MODEL)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "beside.py").write_text(BESIDE)
    monkeypatch.chdir(tmp_path)
    return next(action for action in graph(compose(WORDS)) if action.name == "model")


def test_what_its_code_imports_and_what_its_own_toolchain_would_hold_are_in_the_key(
    export: Action, tmp_path: Path
) -> None:
    versions = Facts(StatCache(tmp_path / "cache")).toolchain(export)

    assert {"rich", "numpy", "scikit-learn", "skl2onnx", "python"} <= versions.keys()
    assert versions["rich"] != "absent"
    assert "lock" not in versions


def test_a_step_that_is_at_home_on_the_host_has_the_packages_that_it_names(export: Action, tmp_path: Path) -> None:
    conversion = next(each for each in graph(compose(WORDS)) if each.name == "conversion")

    assert Facts(StatCache(tmp_path / "cache")).packages(conversion) == conversion.step.packages


def test_what_the_step_itself_imports_is_in_the_key_beside_the_code(export: Action, tmp_path: Path) -> None:
    assert {"protobuf", "rich"} <= {*Facts(StatCache(tmp_path / "cache")).packages(export)}


def test_a_module_beside_the_code_is_in_the_key_by_its_bytes(export: Action, tmp_path: Path) -> None:
    before = Facts(StatCache(tmp_path / "cache")).code(export)
    (tmp_path / "beside.py").write_text(f"{BESIDE}# edited\n")
    after = Facts(StatCache(tmp_path / "cache")).code(export)

    assert {name for name in after if after[name] != before[name]} == {"beside"}
