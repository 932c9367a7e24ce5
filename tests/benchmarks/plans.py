"""Our side of the plans that other tools are timed on: trivial actions on the real engine, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synthetic

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """Chains of copies of 1 KB in a folder of its own, with its own store."""

    folder: Path
    chains: int = 10
    length: int = 20

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        spec = synthetic.chains(self.chains, self.length)
        synthetic.write_sources(spec, self.folder)
        (self.folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")

    @property
    def actions(self) -> int:
        return self.chains * self.length

    @property
    def command(self) -> list[str]:
        jobs = str(len(os.sched_getaffinity(0)))
        words = ["spec.json", str(self.folder), "--jobs", jobs, "--unlogged", "--quiet"]
        return [sys.executable, synthetic.__file__, *words]

    @property
    def environment(self) -> dict[str, str]:
        return synthetic.environment_of(self.folder) | {"PYTHONDONTWRITEBYTECODE": ""}

    def build(self) -> dict[str, Any]:
        """Build it; return how many actions were built and cached, and the seconds from actions to outcomes."""
        done = subprocess.run(self.command, cwd=self.folder, env=self.environment, check=True, capture_output=True)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said
