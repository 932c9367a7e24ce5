"""The action that puts a toolchain together: the locked packages in one folder, compiled, ready to be imported."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from builder.errors import ToolchainError
from builder.step import Job, Kind, Result, Step
from builder.toolchains.spec import Toolchain
from builder.typed import from_plain

__all__ = ["toolchain_step"]

# Of what was compiled, nothing depends on times or on the folder it was compiled in.
_COMPILE = ("-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s")
_NOT_KEPT = ("bin", ".lock")  # programs that name the interpreter of this machine


def _install(_options: None, job: Job) -> Result:
    """Fetch the locked packages and lay them out in `toolchain/`. Raises ToolchainError."""
    from builder.toolchains.uv import install

    toolchain = from_plain(Toolchain, job.local["toolchain"], "toolchain")
    if job.local["offline"]:
        raise ToolchainError(
            f"toolchain {toolchain.name} is not in the store, and offline=true forbids fetching its packages",
            f"build it once with a network: python -m builder toolchain build {toolchain.name}",
        )
    target, interpreter = job.folder("toolchain"), Path(job.local["interpreter"])
    with tempfile.TemporaryDirectory() as folder:
        install(toolchain, job.local["lock"], interpreter, target, Path(folder), job.local["environment"], job.progress)
    for name in _NOT_KEPT:
        shutil.rmtree(target / name, ignore_errors=True)
        (target / name).unlink(missing_ok=True)
    job.progress(0, 0, "compiling")
    subprocess.run([str(interpreter), "-I", "-S", *_COMPILE, str(target), str(target)], check=False)
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    packages = len([*target.glob("*.dist-info")])
    return Result({"packages": packages, "size": f"{sum(sizes) / 2**20:,.0f} MiB", "files": f"{len(sizes):,}"})


toolchain_step = Step(
    name="toolchain",
    options=type(None),
    run=_install,
    rank=0,
    inputs={},
    outputs={"toolchain": Kind.TOOLCHAIN},
    brings=True,
    summary="Fetch the locked packages of a toolchain and lay them out.",
)
