"""Every page in a real browser: nothing overflows, no request leaves, a screen reader and a keyboard can use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import DESK, PAPER, PHONE, chromium, needs_chromium, opened
from projects import Project, write_small
from test_report_page import BUILDS, cpu_int8, measurement, subject
from test_sweep_report import HOSTILE, job, sweep

from builder.report.history import Past, render_history
from builder.report.page import render
from builder.report.sweep import sweep_document
from builder.report.variants_page import render_variants

pytestmark = needs_chromium

LONG = "a_name_without_any_place_to_break_it_" * 4


def history() -> str:
    builds = [Past(f"2026-11-{day:02}_09-00-00", job("minmax", 0.92, 0.4 + day / 50)) for day in range(1, 9)]
    return render_history("cpu_int8", builds)


PAGES = {name: (lambda make=make: render(make())) for name, make in BUILDS.items()} | {
    "hostile": lambda: render(cpu_int8(name="cpu_int8", summary=f"{HOSTILE} {LONG}")),
    "sweep": lambda: render_variants(sweep()),
    "sweep_of_many": lambda: render_variants(
        sweep_document({n: job(f"{LONG}{n}", 0.9 + n / 500, 1 / (n + 1)) for n in range(24)})
    ),
    "history": history,
}
SECTIONS = {
    "compare_layers": ["samples=8"],
    "profile": ["runs=20", "blocks=6", "max_seconds=2", "warmup_runs=1"],
    "scaling": ["runs=20", "blocks=6", "max_seconds=2", "warmup_runs=1", "batch=[1,2]", "threads=[1]"],
}
BRIEFLY = [f"steps.benchmark.{word}" for word in ("runs=20", "blocks=6", "max_seconds=2", "warmup_runs=1")]
NAMES = [*PAGES, "every_section"]
VIEWS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"scheme": "dark"},
    "phone": {"size": PHONE},
    "no_script": {"script": False},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(make(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES} | {"every_section": every_section(folder / "project")}


def every_section(folder: Path) -> Path:
    """Build with each step that has a section of its own and needs no toolchain; return the build's page."""
    project = write_small(Project(folder))
    words = [f"steps.{step}.{word}" for step, given in SECTIONS.items() for word in given]
    done = project.run("recipe=small", f"+steps=[benchmark,{','.join(SECTIONS)}]", *BRIEFLY, *words)
    page = folder / "outputs/small/latest/report.html"

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f'id="{part}' in page.read_text() for part in ("layer-errors", "layer-times", "scaling", "before-after"))
    return page


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_asks_for_nothing_and_keeps_its_script_to_itself(
    name: str, view: str, browser: Any, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[name], **VIEWS[view]) as page:
        page.keep(f"{name}-{view}")

        assert page.beyond() == []
        assert page.asked == []
        assert page.errors == []
        assert pages[name].stat().st_size < 2_000_000


@pytest.mark.parametrize("view", ["light", "dark", "phone"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_serious(name: str, view: str, browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages[name], **VIEWS[view]) as page:
        assert page.serious() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_the_same_without_script(name: str, browser: Any, pages: dict[str, Path]) -> None:
    def said(script: bool) -> str:
        with opened(browser, pages[name], script=script) as page:
            return " ".join(page.page.inner_text("body").split())

    assert said(script=False) == said(script=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_on_paper(name: str, browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages[name], scheme="dark", size=PAPER) as page:
        page.page.emulate_media(media="print")
        ink = page.page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
        )
        printed = page.page.pdf(format="A4")

        assert page.beyond() == []
        assert _luminance(ink[0]) < 0.2
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 1


def _luminance(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3 / 255


@pytest.mark.parametrize("name", ["built", "sweep"])
def test_tables_are_sorted_with_the_keyboard_alone(name: str, browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages[name], size=DESK) as page:
        found = page.page
        reached = None
        for _ in range(200):
            found.keyboard.press("Tab")
            if reached := found.evaluate("document.activeElement.closest('th') && document.activeElement.textContent"):
                break
        assert reached, "no head of a table can be reached"
        outline = found.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        found.keyboard.press("Enter")

        assert outline != "none"
        assert found.locator("th[aria-sort=ascending]").count() == 1
        found.keyboard.press("Enter")
        assert found.locator("th[aria-sort=descending]").count() == 1


def test_a_column_of_numbers_is_sorted_by_their_values(browser: Any, tmp_path: Path) -> None:
    """As text, 0.5 comes before 0.12."""
    timed = measurement()
    timed["subjects"] = [subject("baseline", 0.5), subject("candidate", 0.12)]
    (tmp_path / "page.html").write_text(render(cpu_int8(timed=timed)), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        table = page.page.locator("#latency-1 table.sortable").first
        table.get_by_role("button", name="p50").click()

        assert [text.split()[0] for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()] == [
            "0.120",
            "0.500",
        ]
