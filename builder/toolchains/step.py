"""The action that puts a toolchain together: the locked packages in one folder, compiled, ready to be imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.errors import ToolchainError
from builder.step import Job, Kind, Result, Step
from builder.toolchains.spec import Toolchain
from builder.typed import from_plain

__all__ = ["not_fetched", "toolchain_step"]

# Of what was compiled, nothing depends on times or on the folder it was compiled in. Not `-I`: that would ignore
# PYTHONHASHSEED, as in the worker.
_COMPILE = ("-s", "-S", "-P", "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s")
_NOT_KEPT = ("bin", ".lock")  # programs that name the interpreter of this machine
_MIB = 1 << 20


def _install(_options: None, job: Job) -> Result:
    """Fetch the locked packages and lay them out in `toolchain/`. Raises ToolchainError."""
    import subprocess
    import tempfile

    from builder.toolchains.index import Access
    from builder.toolchains.lock import parse
    from builder.toolchains.uv import Fetching, install

    toolchain, lock = from_plain(Toolchain, job.local["toolchain"], "toolchain"), job.local["lock"]
    if job.local["offline"]:
        raise not_fetched(toolchain.name)
    target, interpreter = job.folder("toolchain"), Path(job.local["interpreter"])
    access = Access(**job.local["access"])
    fetching = Fetching(len(parse(lock, toolchain.name).pins), job.progress)
    fetching.begin()

    def told(line: str) -> None:
        print(line, flush=True)
        fetching(line)

    with tempfile.TemporaryDirectory() as folder:
        install(toolchain, lock, interpreter, target, Path(folder), access, told)
    _remove(target, _NOT_KEPT)
    job.progress(fetching.total, fetching.total, "compiling")
    subprocess.run([str(interpreter), *_COMPILE, str(target), str(target)], check=False)
    return Result(_facts(target))


def not_fetched(name: str) -> ToolchainError:
    """Return what a build says offline of a toolchain that is not in the store."""
    return ToolchainError(
        f"toolchain {name} is not in the store, and offline=true forbids fetching its packages",
        f"build it once with a network: python -m builder toolchain build {name}",
    )


def _remove(folder: Path, names: Sequence[str]) -> None:
    import shutil

    for path in (folder / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _facts(target: Path) -> dict[str, str]:
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    size_mib, size_kib = sum(sizes) / _MIB, -(-sum(sizes) // 1024)
    return {
        "packages": str(len([*target.glob("*.dist-info")])),
        "size": f"{size_mib:,.0f} MiB" if size_mib >= 1 else f"{size_kib} KiB",
        "files": f"{len(sizes):,}",
    }


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
