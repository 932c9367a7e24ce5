"""Where `conf/` and `recipes/` are: beside the package in a checkout, inside it in a wheel, and the user's own."""

from __future__ import annotations

from pathlib import Path

__all__ = ["conf_folders", "find_file", "recipe_folders", "share", "shown"]

_PACKAGE = Path(__file__).resolve().parents[1]


def share() -> Path:
    """Return the folder that holds the built-in `conf/` and `recipes/`."""
    installed = _PACKAGE / "_share"
    return installed if installed.is_dir() else _PACKAGE.parent


def recipe_folders() -> list[Path]:
    """Return the user's `./recipes`, then ours: the first one that has a recipe wins."""
    return _unique([Path.cwd() / "recipes", share() / "recipes"])


def conf_folders() -> list[Path]:
    """Return our `conf/`, then the user's, which can add but not replace what is built in."""
    return _unique([share() / "conf", Path.cwd() / "conf"])


def find_file(path: str) -> Path:
    """Return where a path of a configuration leads: from the working directory, else from where ours is installed."""
    given = Path(path).expanduser()
    beside_ours = share() / given
    if given.is_absolute() or (Path.cwd() / given).exists() or not beside_ours.exists():
        return Path.cwd() / given
    return beside_ours


def shown(path: Path) -> Path:
    """Return a path as people want to read it: from the working directory, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _unique(folders: list[Path]) -> list[Path]:
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
