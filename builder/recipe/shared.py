"""What the jobs of a sweep share: a composition of the groups that they choose, which Hydra makes once.

Hydra composes in two passes: groups choose files, which are merged; then values are set, in the order they were given
(`ConfigLoaderImpl._load_configuration_impl` of hydra-core 1.3). The first pass is nearly all of the time, and most jobs
of a sweep differ in values only.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

from hydra import compose as hydra_compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

__all__ = ["Shared"]


class Shared:
    """Composes jobs within one initialization of Hydra; each choice of groups is read and merged once."""

    def __init__(self) -> None:
        self._parser = OverridesParser.create()
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        self._is_group: Callable[[str], bool] = loader.repository.group_exists
        self._bases: dict[tuple[str, ...], bytes] = {}

    def compose(self, words: Sequence[str]) -> DictConfig | None:
        """Return what Hydra would compose, of its own section the choices only; None where that must be asked of it.

        Raises what Hydra raises, but not always the same for the same mistake.
        """
        if any("hydra" in word for word in words):
            return None
        parsed = self._parser.parse_overrides(list(words))
        values = [each for each in parsed if self._sets_value(each)]
        chosen = tuple(word for word, each in zip(words, parsed, strict=True) if each not in values)
        if chosen not in self._bases:
            self._bases[chosen] = _base(chosen)
        if not self._bases[chosen]:
            return None
        config: DictConfig = pickle.loads(self._bases[chosen])  # noqa: S301  our own, a moment old
        ConfigLoaderImpl._apply_overrides_to_config(values, config)  # noqa: SLF001  Hydra has no public name for it
        return config

    def _sets_value(self, override: Override) -> bool:
        """Say what Hydra's list of defaults says (`hydra._internal.defaults_list.Overrides`)."""
        return isinstance(override.value(), dict) or not self._is_group(override.key_or_group)


def _base(chosen: tuple[str, ...]) -> bytes:
    """Return the composition of a choice of groups; nothing where a value asks for Hydra's section, as conf/ may."""
    config = hydra_compose("build", overrides=list(chosen), return_hydra_config=True)
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
        if "hydra" in OmegaConf.to_yaml(config):
            return b""
        config["hydra"] = {"runtime": {"choices": choices}}
    return pickle.dumps(config)
