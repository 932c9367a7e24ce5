"""uv, told what to do: resolve packages to a lock, and put a locked set of them into a folder."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import ToolchainError
from builder.toolchains.index import Access
from builder.toolchains.spec import Toolchain

__all__ = ["install", "resolve"]

_DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([^)]+)\)")
_DOWNLOADED = re.compile(r"\s*Downloaded (\S+)")
_PREPARED = re.compile(r"Prepared \d+ packages?")
_ADVICE = " hint: "
_CAUSE = re.compile(r",? (cause|Caused by):")
_CHATTER = re.compile(r"(Using|Resolved|Prepared|Installed|Downloading|Downloaded|Building|Built|\+|warning:)( |$)")
_MARKS = re.compile(r"^(\W+|error: )+")  # what uv draws in front of its reasons
_OURS = {
    "UV_NO_PROGRESS": "1",  # lines instead of bars
    "UV_NO_INSTALLER_METADATA": "1",  # files with times and places in them: the same lock makes the same bytes
}
_LAST_LINES = 60
_LONGEST = 600  # characters of uv's reasons in an error
_NETWORK = ("dns error", "error sending request", "could not connect", "connection", "timed out", "certificate")
_REFUSED = ("401 Unauthorized", "403 Forbidden", "407 Proxy")


def resolve(toolchain: Toolchain, interpreter: Path, folder: Path, access: Access) -> str:
    """Return the requirements with hashes that answer a toolchain's packages. Raises ToolchainError.

    `folder` is a private one, for uv's work.
    """
    asked = folder / "requirements.in"
    asked.write_text("\n".join(toolchain.packages) + "\n", encoding="utf-8")
    overrides = folder / "overrides.in"
    overrides.write_text("\n".join(toolchain.overrides) + "\n", encoding="utf-8")
    answer = folder / "requirements.txt"
    words = ["pip", "compile", str(asked), "--overrides", str(overrides), "--output-file", str(answer)]
    words += ["--generate-hashes", "--no-header", "--no-annotate", *_binary(toolchain)]
    words += ["--no-emit-index-url", "--no-emit-find-links"]
    _run(toolchain.name, [*words, "--python", str(interpreter)], folder, access, lambda _: None)
    return answer.read_text(encoding="utf-8")


def install(
    toolchain: Toolchain,
    requirements: str,
    interpreter: Path,
    target: Path,
    folder: Path,
    access: Access,
    told: Callable[[str], None],
) -> None:
    """Put pinned packages into a folder, each file checked against its hash. Raises ToolchainError.

    `told` gets what uv says, line by line.
    """
    lock = folder / "requirements.txt"
    lock.write_text(requirements, encoding="utf-8")
    words = ["pip", "install", "--target", str(target), "--require-hashes", "-r", str(lock)]
    words += ["--link-mode", "hardlink", *_binary(toolchain), "--python", str(interpreter)]
    words += ["--no-deps"] if toolchain.overrides else []  # the lock answers what packages themselves do not ask for
    _run(toolchain.name, words, folder, access, told)


@dataclass
class Fetching:
    """What of an installation is done, told from what uv says."""

    total: int  # packages
    report: Callable[[int, int, str], None]
    _running: dict[str, str] = field(default_factory=dict)  # large packages and their sizes; uv names no others
    _done: int = 0
    _said: tuple[int, str] = (-1, "")

    def begin(self) -> None:
        self._say("fetching")

    def __call__(self, line: str) -> None:
        if begun := _DOWNLOADING.match(line):
            self._running[begun[1]] = begun[2]
        elif ended := _DOWNLOADED.match(line):
            self._running.pop(ended[1], None)
            self._done += 1
        elif _PREPARED.match(line):
            self._done = self.total
        names = ", ".join(f"{name} ({size})" for name, size in self._running.items())
        word = "installing" if self._done >= self.total else "fetching"
        self._say(f"{word} {names}".strip())

    def _say(self, words: str) -> None:
        if (self._done, words) != self._said:
            self._said = self._done, words
            self.report(self._done, self.total, words)


def _binary(toolchain: Toolchain) -> list[str]:
    """Return what forbids building from source, which runs code of the package, but for those that have no wheel."""
    return ["--only-binary", ":all:", *(f"--no-binary={name}" for name in toolchain.sources)]


def _run(name: str, words: Sequence[str], folder: Path, access: Access, told: Callable[[str], None]) -> None:
    """Run uv where no project's settings are, with all that it keeps for itself in a private folder."""
    command = [_program(), *words, *access.options, "--no-python-downloads", "--color", "never"]
    last: deque[str] = deque(maxlen=_LAST_LINES)
    environment = {**access.environment, **_OURS, "UV_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
    with subprocess.Popen(
        command,
        cwd=folder.anchor,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                last.append(access.hide(line.rstrip()))
                told(last[-1])
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _error(name, [line.strip() for line in last], locked="--require-hashes" in words)


def _program() -> str:
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        if found := shutil.which("uv"):
            return found
        raise ToolchainError("uv is not installed, and toolchains are built with it", "pip install uv") from error


def _error(name: str, lines: list[str], *, locked: bool) -> ToolchainError:
    """Say what uv said: its reasons, without the marks that it draws in front of them, and without most advice."""
    told = [_MARKS.sub("", line) for line in lines if line and not _CHATTER.match(line)]
    words, _, advice = _CAUSE.sub(":", " ".join(" ".join(told).split())).partition(_ADVICE)
    if any(sign in advice for sign in _REFUSED):  # that is why uv found nothing
        words = advice
    reason = f"{words[:_LONGEST]} ..." if len(words) > _LONGEST else words or "uv gave no reason"
    return ToolchainError(f"toolchain {name}: {reason}", _hint(name, words, locked=locked))


def _hint(name: str, words: str, *, locked: bool) -> str:  # noqa: PLR0911  a list of cases
    lock = f"python -m builder toolchain lock {name}"
    if any(sign in words for sign in _REFUSED):
        return "the index wants other credentials: 'pip config list' shows what uv was told, and what UV_* says wins"
    if "No space left" in words:
        return "make room on the disk of the store, or name another one: store=FOLDER"
    if "no trusted hash" in words:
        return f"another package of the lock requires it, and the lock has lost it: {lock}"
    if "hash" in words.lower():
        return f"what the index serves is not what was locked; to take it as it is now: {lock}"
    if any(sign in words.lower() for sign in _NETWORK):
        return "check the network and pip's configuration ('pip config list'): uv is told what it says"
    if locked:
        return f"what was locked cannot be had here ('pip config list' shows where uv looks); to lock what can: {lock}"
    return f"choose other versions in conf/toolchain/{name}.yaml, then: {lock}"
