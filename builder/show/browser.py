"""A page in the user's browser."""

from __future__ import annotations

import os
from pathlib import Path

from builder.report.lines import harmless

__all__ = ["open_page", "opened"]


def open_page(page: Path) -> None:
    """Open a page in the browser that BROWSER or the desktop names; where there is none, say where the page is."""
    if opened(page.resolve().as_uri()):
        print(f"opened  {harmless(str(page))}")
    else:
        print(f"no browser can be opened here; the page is {harmless(str(page))}")


def opened(address: str) -> bool:
    """Return whether a browser took an address; one that takes over the terminal is not asked."""
    if not any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")):
        return False
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
