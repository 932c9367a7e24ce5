"""A page in headless Chromium, as its readers have it: light, dark, on a phone, on paper, without script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

__all__ = ["CHROMIUM", "PHONE", "SCREENSHOTS", "Opened", "chromium", "needs_chromium", "opened"]

CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", Path(__file__).resolve().parent.parent / "outputs" / "screenshots"))
DESK, PHONE, PAPER = (1280, 900), (360, 740), (794, 1123)  # CSS pixels; A4 at 96 to the inch

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="opens pages in Chromium: apt install chromium")

# What reaches over the right edge of the page, unless it lies in a part that scrolls by itself.
_BEYOND = """() => {
  const width = document.documentElement.clientWidth;
  const clips = (one) => ["auto", "scroll", "hidden"].includes(getComputedStyle(one).overflowX);
  const scrolls = (one) => one && (clips(one) || scrolls(one.parentElement));
  const beyond = [...document.body.querySelectorAll("*")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && box.right > width + 1 && !scrolls(one);
  });
  const name = (one) => `${one.tagName.toLowerCase()}: ${one.textContent.trim().slice(0, 60)}`;
  const sideways = document.documentElement.scrollWidth > width ? ["the page scrolls sideways"] : [];
  return [...sideways, ...beyond.map(name)];
}"""


@dataclass
class Opened:
    """A page that is open, and every address that it asked for beside its own."""

    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def beyond(self) -> list[str]:
        """Return what overflows the width of the window."""
        found: list[str] = self.page.evaluate(_BEYOND)
        return found

    def serious(self) -> list[str]:
        """Return what axe-core finds of serious and critical impact: rule, what to do, where."""
        from axe_playwright_python.sync_playwright import Axe

        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def keep(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium; the folder of its profile is temporary."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, *, scheme: str = "light", size: tuple[int, int] = DESK, script: bool = True
) -> Iterator[Opened]:
    """Open a file from disk; requests for anything else are noted and refused."""
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=script,
    )
    found = Opened(context.new_page())

    def route(request: Any) -> None:
        if request.request.url == file.as_uri():
            request.continue_()
        else:
            found.asked.append(request.request.url)
            request.abort()

    context.route("**/*", route)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("console", lambda said: found.errors.append(said.text) if said.type == "error" else None)
    found.page.goto(file.as_uri())
    try:
        yield found
    finally:
        context.close()
