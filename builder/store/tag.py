"""What makes a folder a store: a tag, which also tells backup programs to leave it out (bford.info/cachedir)."""

from __future__ import annotations

from pathlib import Path

from builder.errors import StoreError

__all__ = ["claim", "is_store"]

_TAG = "CACHEDIR.TAG"
_CONTENT = """\
Signature: 8a477f597d28d172789f06886806bc55
# A store of builder: results that it can make again. `python -m builder cache` shows what is in it.
"""


def claim(root: Path) -> None:
    """Make a folder a store, if it is empty or not there yet. Raises StoreError for any other, OSError."""
    if (root / _TAG).exists():
        return
    # Looked into first, asked for its tag after: another builder may be making it a store, and its tag comes first.
    if root.is_dir() and any(root.iterdir()) and not is_store(root):
        raise StoreError(f"{root} is no store and not empty", "name another folder: store=FOLDER or BUILDER_STORE")
    root.mkdir(parents=True, exist_ok=True)
    (root / _TAG).write_text(_CONTENT, encoding="ascii")


def is_store(root: Path) -> bool:
    """Say whether a folder is a store, by its tag or its folders; in any other nothing is ours to remove."""
    return (root / _TAG).exists() or all((root / name).is_dir() for name in ("cas", "ac", "locks"))
