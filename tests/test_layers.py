"""The way of the data is one way: no module imports from a layer that comes after its own."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import builder

PACKAGE = Path(builder.__file__).parent

# Each may import from itself and from those above it.
LAYERS = [
    ["outcomes", "device"],
    ["errors"],
    ["specs", "digest", "typed", "trouble", "modules", "override", "processor", "child", "arguments"],
    ["step"],
    ["runtimes", "store"],
    ["data", "onnxtools", "measure", "toolchains"],
    ["sources", "compilers", "targets"],
    ["steps", "formats"],
    ["registry"],
    ["recipe"],
    ["plan"],
    ["gates", "outputs"],
    ["engine"],
    ["locking", "report"],
    ["evidence"],
    ["deliver", "kit"],
    ["build"],
    ["api", "check", "init", "verify", "diff", "compare", "show", "cache", "toolchain", "lock", "resume", "launch"],
    ["command"],
    ["__main__"],
]
# The worker's side of the engine runs steps; only the builder's side knows plans.
RANK = {name: index for index, layer in enumerate(LAYERS) for name in layer}


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("builder."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "builder":
            names.update(alias.name for alias in node.names if alias.name != "__version__")
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_those_before_it(path: Path) -> None:
    mine = layer(path)

    assert mine in RANK, f"{mine} has no place in LAYERS"
    assert {name for name in imported(path) if RANK[name] > RANK[mine]} == set()


@pytest.mark.parametrize("folder", ["store", "engine"])
def test_the_store_and_the_engine_know_nothing_of_onnx(folder: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (PACKAGE / folder).glob("*.py") if path.stem != "checks"]

    assert not any("import onnx" in text or "from onnx" in text for text in texts)


def test_only_the_recipe_layer_knows_hydra_and_omegaconf() -> None:
    users = {
        layer(path)
        for path in modules()
        if "omegaconf" in path.read_text(encoding="utf-8").replace("omegaconf.", "omegaconf")
    }

    assert users == {"recipe"}


def test_the_public_functions_are_functions() -> None:
    from builder.api import build, compose, plan

    assert all(inspect.isfunction(public) for public in (build, compose, plan))


def test_the_api_exports_what_it_lists() -> None:
    from builder import api

    assert api.__all__ == sorted(api.__all__)
    assert {name for name in vars(api) if not name.startswith("_")} - {"annotations"} == set(api.__all__)
