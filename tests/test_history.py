"""The builds of a recipe over time: which of them are regressions, and what the page of them says."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from projects import Project, write_small

from builder.report.history import Past, render_history, rows_of

SHORT = ["runs=20", "blocks=6", "max_seconds=2", "warmup_runs=1"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a build that was measured: to be copied."""
    project = write_small(Project(tmp_path_factory.mktemp("history") / "project"))
    done = project.run("recipe=small", "+steps=benchmark", *(f"steps.benchmark.{word}" for word in SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((project.folder / "outputs/small/latest/report.json").read_text())
    found["measurements"]["benchmark"]["noisy"] = False
    return found


def past(report: dict[str, Any], folder: str, **figures: dict[str, Any]) -> Past:
    """Return a build that differs in its headline."""
    changed = copy.deepcopy(report)
    for name, figure in figures.items():
        changed["headline"][name] |= figure
    return Past(folder, changed)


def latency(change: float, spread: float = 0.02) -> dict[str, Any]:
    return {"candidate": change, "change": change, "interval": [change - spread, change + spread]}


def test_latency_is_worse_where_the_interval_against_the_build_before_lies_above_1(report: dict[str, Any]) -> None:
    changes = [latency(0.5), latency(0.51), latency(0.7), latency(0.7, 0.3), latency(0.4)]
    rows = rows_of([past(report, str(index), latency=each) for index, each in enumerate(changes)])

    assert [list(row.worse) for row in rows] == [[], [], ["latency"], [], []]
    assert rows[2].worse["latency"] == "1.37 \N{MULTIPLICATION SIGN} the build before [1.28, 1.47]"


@pytest.mark.parametrize("other", [{"measured_on": "another machine"}, {"on_target": None}, {"interval": None}])
def test_latency_of_another_machine_or_without_an_interval_is_not_compared(
    report: dict[str, Any], other: dict[str, Any]
) -> None:
    rows = rows_of([past(report, "1", latency=latency(0.5)), past(report, "2", latency=latency(0.9) | other)])

    assert rows[1].worse == {}


def test_latency_that_was_too_noisy_to_rank_is_not_compared(report: dict[str, Any]) -> None:
    noisy = copy.deepcopy(report)
    noisy["measurements"]["benchmark"]["noisy"] = True
    rows = rows_of([past(report, "1", latency=latency(0.5)), past(noisy, "2", latency=latency(0.9))])

    assert rows[1].worse == {}


def test_accuracy_is_worse_where_it_fell_on_the_same_samples(report: dict[str, Any]) -> None:
    builds = [
        past(report, "1", accuracy={"candidate": 0.90, "reference": 0.93}),
        past(report, "2", accuracy={"candidate": None, "reference": None}),
        past(report, "3", accuracy={"candidate": 0.88, "reference": 0.93}),
        past(report, "4", accuracy={"candidate": 0.80, "reference": 0.85}),
    ]

    assert [row.worse for row in rows_of(builds)] == [
        {}, {}, {"accuracy": "2.00 points less than the build before"}, {},
    ]  # fmt: skip


def test_the_page_marks_regressions_draws_trends_and_links_every_build(report: dict[str, Any]) -> None:
    builds = [past(report, f"2026-01-0{day}", latency=latency(change)) for day, change in ((1, 0.5), (2, 0.9))]
    page = render_history("small", [*builds, Past("2026-01-03", None)])

    assert page.count('<svg class="frame"') == 3
    assert "1 build is worse than the one before" in page
    assert page.count("regression: ") == 1
    assert all(f'href="./2026-01-0{day}/report.html"' in page for day in (1, 2))
    assert "changed after it was written" in page
    assert page.count("<script") == 1, "only our own"


def test_a_newest_build_that_failed_is_said_first(report: dict[str, Any]) -> None:
    failed = past(report, "2", accuracy={"candidate": None}, latency={"candidate": None})
    assert failed.report is not None
    failed.report["manifest"]["status"] = "failed"

    assert "The newest build failed." in render_history("small", [past(report, "1"), failed])
    assert "The newest build failed." not in render_history("small", [failed, past(report, "3")])


def test_a_difference_that_nobody_would_read_is_drawn_flat(report: dict[str, Any]) -> None:
    sizes = [past(report, str(number), size={"candidate": 0.4185 + number / 1e6}) for number in range(3)]
    page = render_history("small", sizes)
    trend = page[page.index('id="size"') :]
    heights = set(re.findall(r",(\d+)h0", trend[: trend.index("</section>")]))

    assert len(heights) == 1
    assert "0.42" in trend
    assert " MiB</text>" in trend


def test_builds_stand_under_each_other_in_all_trends(report: dict[str, Any]) -> None:
    builds = [past(report, "1"), past(report, "2", latency={"candidate": None}), past(report, "3")]
    page = render_history("small", builds)
    across = [re.findall(r"M([\d.]+),\d+h0", page[page.index(f'id="{name}"') :])[:3] for name in ("latency", "size")]

    assert across[1][0] == across[0][0]
    assert across[1][2] == across[0][1]


def test_what_a_report_says_is_text(report: dict[str, Any]) -> None:
    page = render_history("small", [past(report, "1", latency={"measured_on": "<script>alert(1)</script>"})])

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_one_history_gives_the_same_bytes(report: dict[str, Any]) -> None:
    builds = [past(report, "1"), past(report, "2", latency=latency(2.0))]

    assert render_history("small", builds) == render_history("small", builds)
