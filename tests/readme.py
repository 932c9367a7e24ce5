"""What the README has a reader type."""

from __future__ import annotations

import re

from projects import ROOT

__all__ = ["README", "command"]

README = (ROOT / "README.md").read_text(encoding="utf-8")


def command(marker: str) -> str:
    """Return the code block that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return found[1]
