"""uv, told what to do: resolve packages to a lock, and put a locked set of them into a folder."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from builder.errors import ToolchainError
from builder.toolchains.index import masked, uv_environment
from builder.toolchains.spec import Toolchain

__all__ = ["install", "resolve"]

_DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([^)]+)\)")
_DOWNLOADED = re.compile(r"\s*Downloaded (\S+)")
_PREPARED = re.compile(r"Prepared \d+ packages?")
_CHATTER = re.compile(r"(Using|Resolved|Prepared|Installed|Downloading|Downloaded|Building|Built|\s*\+) ?")
_LAST_LINES = 60
_NETWORK = ("dns error", "error sending request", "Could not connect", "connection", "timed out", "certificate")


def resolve(toolchain: Toolchain, interpreter: Path, folder: Path, user: Mapping[str, str]) -> str:
    """Return the requirements with hashes that answer a toolchain's packages. Raises ToolchainError."""
    asked = folder / "requirements.in"
    asked.write_text("\n".join(toolchain.packages) + "\n", encoding="utf-8")
    answer = folder / "requirements.txt"
    words = ["pip", "compile", str(asked), "--output-file", str(answer), "--generate-hashes"]
    words += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", *_binary(toolchain)]
    _run(toolchain.name, words, interpreter, folder, user, lambda _: None)
    return answer.read_text(encoding="utf-8")


def install(
    toolchain: Toolchain,
    requirements: str,
    interpreter: Path,
    target: Path,
    folder: Path,
    user: Mapping[str, str],
    progress: Callable[[int, int, str], None],
) -> None:
    """Put pinned packages into a folder, each file checked against its hash. Raises ToolchainError."""
    lock = folder / "requirements.txt"
    lock.write_text(requirements, encoding="utf-8")
    total = requirements.count("==")
    running: dict[str, str] = {}
    done = 0

    def listen(line: str) -> None:
        nonlocal done
        if begun := _DOWNLOADING.match(line):
            running[begun[1]] = begun[2]
        elif ended := _DOWNLOADED.match(line):
            running.pop(ended[1], None)
            done += 1
        elif _PREPARED.match(line):
            done = total
        names = ", ".join(f"{name} ({size})" for name, size in running.items())
        progress(done, total, f"fetching {names}" if names else "installing" if done == total else "fetching")

    progress(0, total, "fetching")
    words = ["pip", "install", "--target", str(target), "--require-hashes", "--no-deps", "-r", str(lock)]
    words += ["--link-mode", "hardlink", *_binary(toolchain)]
    _run(toolchain.name, words, interpreter, folder, user, listen)


def _binary(toolchain: Toolchain) -> list[str]:
    """Return what forbids building from source, which runs code of the package, but for those that have no wheel."""
    return ["--only-binary", ":all:", *(f"--no-binary={name}" for name in toolchain.sources)]


def _run(
    name: str,
    words: Sequence[str],
    interpreter: Path,
    folder: Path,
    user: Mapping[str, str],
    listen: Callable[[str], None],
) -> None:
    command = [_program(), *words, "--python", str(interpreter), "--no-python-downloads", "--color", "never"]
    last: deque[str] = deque(maxlen=_LAST_LINES)
    environment = {**uv_environment(user), "UV_CACHE_DIR": str(folder / "cache")}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            last.append(masked(line.rstrip()))
            print(last[-1], flush=True)
            listen(line)
    if process.returncode:
        raise _error(name, list(last))


def _program() -> str:
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        if found := shutil.which("uv"):
            return found
        raise ToolchainError("uv is not installed, and toolchains are built with it", "pip install uv") from error


def _error(name: str, lines: list[str]) -> ToolchainError:
    """Say what uv said: its reasons, without the marks that it draws in front of them."""
    told = [line for line in lines if line.strip() and not _CHATTER.match(line) and not line.startswith("warning")]
    words = " ".join(re.sub(r"^\W+|^error: ", "", line).strip() for line in told)
    words = " ".join(words.split())[:600] or "it gave no reason"
    if any(sign in words for sign in _NETWORK):
        hint = "check the network and pip's configuration ('pip config list'): uv is told what it says"
    elif "hash" in words.lower():
        hint = f"what the index serves is not what was locked; python -m builder toolchain lock {name}"
    else:
        hint = f"choose other versions in conf/toolchain/{name}.yaml, then: python -m builder toolchain lock {name}"
    return ToolchainError(f"toolchain {name}: {words}", hint)
