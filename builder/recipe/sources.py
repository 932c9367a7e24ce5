"""Where Hydra finds recipes and steps: two config sources, registered at run time.

`recipes://<folder>` serves the group `recipe` from a plain folder, so that recipes are named `recipe=x` while they lie
in `recipes/`. `steps://` serves the root schema and the group `steps`: each step's defaults, from its options
dataclass, read only when a recipe uses the step.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from builder.errors import RecipeError
from builder.recipe.locations import conf_folders, recipe_folders, shown
from builder.recipe.schema import root_defaults
from builder.recipe.trust import check_recipe
from builder.registry import find_step, is_step, step_names
from builder.typed import to_plain

__all__ = ["loaded_recipes", "register"]

loaded_recipes: dict[str, Path] = {}  # config path -> file, of the last composition, for error messages


class RecipeSource(ConfigSource):
    @staticmethod
    def scheme() -> str:
        return "recipes"

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        inside = _inside(config_path)
        return config_path == "" or (inside is not None and (Path(self.path) / inside).is_dir())

    def is_config(self, config_path: str) -> bool:
        return self._file(config_path).is_file() if _inside(config_path) else False

    def _file(self, config_path: str) -> Path:
        name = self._normalize_file_name(_inside(config_path) or "")
        return Path(self.path) / name

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else ["recipe"]
        folder = Path(self.path) / (_inside(config_path) or "")
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        found: list[str] = []
        for entry in entries:
            if entry.is_dir():
                hidden = entry.name.startswith((".", "_")) or entry.name == "locks"  # lock files are no recipes
                if results_filter != ObjectType.CONFIG and not hidden:
                    found.append(entry.name)
            elif entry.suffix == ".yaml" and results_filter != ObjectType.GROUP:
                found.append(entry.stem)
        return found

    def load_config(self, config_path: str) -> ConfigResult:
        file = self._file(config_path)
        where = str(shown(file))
        try:
            text = file.read_text(encoding="utf-8")
            header = self._get_header_dict(text)
            config = OmegaConf.create(text)
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
            raise RecipeError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(config, DictConfig):
            raise RecipeError(f"{where}: a recipe is a mapping of keys, got a list")
        check_recipe(OmegaConf.to_container(config, resolve=False), header, where)
        header["package"] = header.get("package") or "_global_"
        loaded_recipes[config_path] = file
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header=header)


class StepSource(ConfigSource):
    @staticmethod
    def scheme() -> str:
        return "steps"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "steps")

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return config_path == "schema" or (group == "steps" and is_step(name))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "steps":
            return [] if results_filter == ObjectType.GROUP else step_names()
        return [] if results_filter == ObjectType.CONFIG else ["steps"]

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml").rpartition("/")[2]
        node = root_defaults() if config_path == "schema" else step_defaults(name)
        package = "_global_" if config_path == "schema" else f"steps.{name}"
        return ConfigResult(
            provider=self.provider, path=self.full_path(), config=OmegaConf.create(node), header={"package": package}
        )


class BuilderSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("builder", "steps://")
        for folder in recipe_folders():
            search_path.append("recipes", f"recipes://{folder}")
        for folder in conf_folders()[1:]:
            search_path.append("project", f"file://{folder}")


def register() -> None:
    """Make the sources known to Hydra; once is enough, twice does no harm."""
    for plugin in (RecipeSource, StepSource, BuilderSearchPath):
        Plugins.instance().register(plugin)


def step_defaults(name: str) -> dict[str, Any]:
    """Return the node that a chosen step starts from: its options' defaults, its inputs, and which step it is."""
    step = find_step(name)
    values = {f.name: _default(f) for f in dataclasses.fields(step.options)}
    return {"step": name, "inputs": dict.fromkeys(step.inputs), "toolchain": step.toolchain, **values}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return to_plain(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return to_plain(field.default_factory())
    return "???"


def _inside(config_path: str) -> str | None:
    """Return what follows the group `recipe`, or None for a path outside it."""
    if config_path == "recipe":
        return ""
    return config_path[len("recipe/") :] if config_path.startswith("recipe/") else None
