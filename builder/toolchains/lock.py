"""Lock files: `conf/toolchain/NAME.lock`, in the form of pip's requirements files, with hashes and without addresses.

Any installer that checks hashes can read one (`pip install --require-hashes --no-deps -r NAME.lock`).
"""

from __future__ import annotations

import re

from builder.errors import RecipeError
from builder.toolchains.spec import Lock, Pin, Toolchain

__all__ = ["check", "format_lock", "parse"]

_PYTHON, _ASKED = "# python ", "# for "
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*(.*?))?\s*((?:--hash=sha256:[0-9a-f]{64}\s*)+)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NAME_PARTS = re.compile(r"[-_.]+")  # all the same (PEP 503)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ADDRESS = re.compile(r"://|\s@\s|^\s*-{1,2}(?!hash)\w", re.MULTILINE)


def format_lock(toolchain: Toolchain, requirements: str) -> str:
    """Return the text of a lock file from requirements with hashes. Raises RecipeError where one has none."""
    text = "\n".join(
        [
            f"# Toolchain {toolchain.name}, written by `python -m builder toolchain lock {toolchain.name}`.",
            f"{_PYTHON}{toolchain.python}",
            f"{_ASKED}{toolchain.asked}",
            *requirements.strip().splitlines(),
            "",
        ]
    )
    parse(text, toolchain.name)
    return text


def parse(text: str, where: str) -> Lock:
    """Read a lock file. Raises RecipeError that names the line that is no pinned package with hashes."""
    head = {line for line in text.splitlines() if line.startswith("#")}
    python, asked = (_after(head, word, where) for word in (_PYTHON, _ASKED))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    if _ADDRESS.search(body) or "://" in text:  # it is not shown: it may hold a password
        raise RecipeError(f"{where}: an address or an option of an installer has no place in a lock", _again(where))
    pins: dict[str, Pin] = {}
    for entry in filter(str.strip, re.sub(r"\\\n", " ", body).splitlines()):
        pin = _PIN.fullmatch(entry.strip())
        if not pin:
            raise RecipeError(f"{where}: '{entry.strip()[:80]}' is no pinned package with hashes", _again(where))
        name, version, marker, hashes = pin.groups()
        name = _plain_name(name)
        if name in pins:
            raise RecipeError(f"{where}: {name} is pinned twice", _again(where))
        pins[name] = Pin(version, tuple(_HASH.findall(hashes)), marker or "")
    return Lock(python, asked, pins)


def check(toolchain: Toolchain, lock: Lock) -> None:
    """Raise RecipeError where a lock was made for another Python or other packages, or lost one."""
    if (lock.python, lock.asked) != (toolchain.python, toolchain.asked):
        raise RecipeError(
            f"toolchain {toolchain.name}: its lock was made for other packages or another Python than it names now",
            f"python -m builder toolchain lock {toolchain.name}",
        )
    for name in map(_plain_name, toolchain.packages):
        if name not in lock.pins:
            raise RecipeError(f"toolchain {toolchain.name}: its lock does not hold {name}", _again(toolchain.name))


def _plain_name(package: str) -> str:
    found = _NAME.match(package)
    return _NAME_PARTS.sub("-", found[0]).lower() if found else package


def _after(lines: set[str], word: str, where: str) -> str:
    found = [line.removeprefix(word).strip() for line in lines if line.startswith(word)]
    if len(found) != 1:
        raise RecipeError(f"{where}: a lock says '{word.strip()}' once, this one {len(found)} times", _again(where))
    return found[0]


def _again(where: str) -> str:
    name = where.rpartition("/")[2].removesuffix(".lock")
    return f"write it anew: python -m builder toolchain lock {name}"
