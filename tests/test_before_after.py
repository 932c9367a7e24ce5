"""The page's first figure: what became of latency and accuracy, and that only what the intervals allow is said."""

from __future__ import annotations

from typing import Any

import pytest
from test_report_page import BUILDS, cpu_int8, evaluation, failed_build

from builder.report.page import render
from builder.report.sections.before_after import context


def said(report: dict[str, Any], latency: tuple[float, float], accuracy: tuple[float, float] | None) -> str:
    report["headline"]["latency"] |= {"change": 0.5, "interval": latency}
    report["headline"]["accuracy"] |= {"change": -0.003, "interval": accuracy}
    return str(context(report)["before_after_finding"]).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("latency", "accuracy", "expected"),
    [
        (
            (0.49, 0.51),
            (-0.005, -0.001),
            "cpu_int8 is 2.0 \N{MULTIPLICATION SIGN} faster and loses 0.30 points of top1",
        ),
        (
            (0.49, 0.51),
            (-0.005, 0.001),
            "cpu_int8 is 2.0 \N{MULTIPLICATION SIGN} faster; its top1 cannot be told from fashion_mobilenet's",
        ),
        (
            (0.9, 1.1),
            (-0.005, -0.001),
            "cpu_int8 cannot be told from fashion_mobilenet in speed and loses 0.30 points of top1",
        ),
    ],
)
def test_a_difference_is_said_where_its_interval_leaves_no_doubt(
    latency: tuple[float, float], accuracy: tuple[float, float], expected: str
) -> None:
    assert said(cpu_int8(), latency, accuracy) == expected


def test_what_was_not_measured_on_the_target_says_so() -> None:
    assert context(BUILDS["deferred"]())["before_after_finding"].endswith(", on this host, not on jetson_orin")


def test_both_models_and_the_limits_are_drawn() -> None:
    drawn = context(cpu_int8(tested=evaluation()))["before_after"]

    assert [mark.role for mark in drawn.marks] == ["baseline", "candidate"]
    assert drawn.too_wrong is not None


@pytest.mark.parametrize(("there", "shaded"), [(True, True), (False, False)])
def test_a_limit_on_the_targets_latency_judges_no_other_machines(there: bool, shaded: bool) -> None:
    report = cpu_int8(tested=evaluation())
    report["manifest"]["gates"].append({"name": "max_latency_ms.p50", "limit": 0.01, "status": "deferred"})
    report["headline"]["latency"]["on_target"] = there

    drawn = context(report)["before_after"]

    assert (drawn.too_slow is not None, "slower than" in drawn.limits) == (shaded, shaded)


def test_a_build_without_numbers_draws_nothing() -> None:
    assert context(failed_build()) == {"before_after": None, "before_after_finding": ""}


def test_the_legend_of_a_failed_build_names_what_is_drawn() -> None:
    report = cpu_int8(tested=evaluation())
    report["manifest"]["status"] = "failed"
    drawn = context(report)["before_after"]

    assert drawn.has("failed")
    assert not drawn.has("candidate")
    assert '<i class="swatch candidate"></i>cpu_int8</span>' not in _legend(render(report))
    assert '<i class="swatch candidate"></i>cpu_int8</span>' in _legend(render(cpu_int8(tested=evaluation())))


def _legend(page: str) -> str:
    section = page[page.index('id="before-after"') :]
    return section[: section.index("</section>")]
