"""What only `hydra.main` can do: --help, --cfg, --info and shell completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from builder.outcomes import ExitCode
from builder.recipe.locations import share
from builder.recipe.messages import explain
from builder.recipe.sources import register

__all__ = ["run_hydra"]


def run_hydra(arguments: Sequence[str]) -> int:
    """Run Hydra's own application with these arguments. Raises RecipeError or UsageError."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    sys.argv = [sys.argv[0], *arguments]

    @hydra.main(config_path=str(share() / "conf"), config_name="build", version_base="1.3")
    def app(_config: DictConfig) -> None:
        pass

    try:
        app()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, arguments) from error
    return ExitCode.OK
