"""A sweep's page, JSON and CSV: what differs, the front of accuracy against latency, and what failed."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_page import cpu_int8, failed_build

from builder.errors import RecipeError
from builder.recipe.compose import Unmade
from builder.report import sweep as sweeps
from builder.report.front import front
from builder.report.pareto import chart
from builder.report.variants import table_csv
from builder.report.variants_page import render_variants
from builder.report.variants_summary import variants_summary

Report = dict[str, Any]
METHOD = "steps.quantize.calibration.method"
HOSTILE = "<script>alert(1)</script>\"'&"


def job(method: str, accuracy: float, latency_ms: float, size_mib: float = 1.0, status: str = "built") -> Report:
    """A finished build with these figures."""
    report = cpu_int8()
    words = ["recipe=cpu_int8", f"{METHOD}={method}"]
    report["manifest"] |= {"command": shlex.join(["python", "-m", "builder", *words]), "status": status}
    change = accuracy - report["headline"]["accuracy"]["reference"]
    report["headline"]["accuracy"] |= {"candidate": accuracy, "interval": [change - 0.002, change + 0.002]}
    report["headline"]["latency"] |= {"candidate": latency_ms, "interval": [0.99 * latency_ms, 1.01 * latency_ms]}
    report["headline"]["size"] |= {"candidate": size_mib}
    return report


def sweep_document(reports: list[Report], *unmade: Unmade) -> Report:
    """Return the document of builds that have the first places."""
    return sweeps.sweep_document(dict(enumerate(reports)), unmade)


def write_sweep(folder: Path, reports: list[Report], *unmade: Unmade) -> None:
    sweeps.write_sweep(folder, dict(enumerate(reports)), unmade)


def not_built(number: int, error: str, hint: str, *words: str) -> Unmade:
    return Unmade(words, RecipeError(error, hint), number)


POINTS = st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.sampled_from([1.0, 2.0, 3.0, 4.0]))


@given(st.lists(st.none() | POINTS, max_size=12))
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[float, float] | None]) -> None:
    dominated = set()
    for (one, a), (_, b) in itertools.permutations(enumerate(points), 2):
        if a is None:
            continue
        if b is not None and b[0] >= a[0] and b[1] <= a[1] and (b[0] > a[0] or b[1] < a[1]):
            dominated.add(one)

    expected = [point is not None and index not in dominated for index, point in enumerate(points)]
    assert expected == front(points)


def broken_job() -> Report:
    return failed_build() | {"manifest": failed_build()["manifest"] | {"command": "python -m builder recipe=cpu_int8"}}


def sweep() -> Report:
    return sweep_document(
        [
            job("minmax", 0.92, 0.40, 1.0),
            job("entropy", 0.93, 0.50, 4.0),
            job("slow", 0.92, 0.60),
            job("broken", 0.99, 0.10, status="failed"),
            broken_job(),
        ],
        not_built(
            5, "expected one of minmax, entropy", "did you mean 'entropy'?", "recipe=cpu_int8", f"{METHOD}=entropi"
        ),
    )


def test_only_what_kept_its_limits_is_on_the_front() -> None:
    document = sweep()

    assert [row["front"] for row in document["builds"]] == [True, True, False, False, False]
    assert document["common"] == ["recipe=cpu_int8"]
    assert document["keys"] == [METHOD]


def test_the_csv_holds_every_job_and_its_figures() -> None:
    rows = [*csv.DictReader(io.StringIO(table_csv(sweep())))]

    assert [row[METHOD] for row in rows] == ["minmax", "entropy", "slow", "broken", "", "entropi"]
    assert [row["front"] for row in rows] == ["yes", "yes", "no", "no", "no", "no"]
    assert [row["status"] for row in rows][3:] == ["failed"] * 3
    assert [row["build"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert (float(rows[0]["accuracy"]), float(rows[1]["latency_ms"]), float(rows[1]["size_mib"])) == (0.92, 0.5, 4.0)
    assert "matches no node" in rows[4]["error"]
    assert rows[5]["error"] == "expected one of minmax, entropy"


def test_a_job_that_was_not_built_has_its_place_in_the_table() -> None:
    reports = {0: job("minmax", 0.92, 0.4), 2: job("entropy", 0.93, 0.5)}
    missing = not_built(1, "expected one of minmax, entropy", "", "recipe=cpu_int8", f"{METHOD}=entropi")
    document = sweeps.sweep_document(reports, [missing])
    rows = [*csv.DictReader(io.StringIO(table_csv(document)))]
    html, lines = render_variants(document), variants_summary(document).splitlines()

    assert [(row["build"], row[METHOD]) for row in rows] == [("0", "minmax"), ("1", "entropi"), ("2", "entropy")]
    assert [row["folder"] for row in document["builds"]] == ["0", "2"]
    assert re.findall(r"<b>(\d+)</b>", html) == ["0", "1", "2"]
    assert [line[4] for line in lines if line.startswith("| \\[")] == ["0", "1", "2"]


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "\tx"])
def test_a_spreadsheet_takes_no_word_for_a_formula(formula: str) -> None:
    document = sweep_document([job(formula, 0.9, 1.0), job("-1", 0.9, 1.0)])
    first, second = csv.DictReader(io.StringIO(table_csv(document)))

    assert (first[METHOD], second[METHOD]) == (f"'{formula}", "-1")


def test_the_page_shows_the_front_and_every_job() -> None:
    html = render_variants(sweep())

    assert "From [0] minmax, 0.400 ms and 92.00 %, to [1] entropy, 0.500 ms" in html.replace("\u00a0", " ")
    assert html.count('class="point"') == 5  # the source model and four builds
    assert html.count("broke a limit or failed</title>") == 1
    assert "<b>5</b>" in html
    assert len(re.findall(r"<tr>", html)) == 1 + 6
    assert "expected one of minmax, entropy" in html
    assert html.count(f'<th class="key">{METHOD.replace(".", ".<wbr>")}</th>') == 1


def test_a_value_that_says_nothing_by_itself_is_called_by_its_key() -> None:
    html = render_variants(sweep_document([job("True", 0.92, 0.40), job("128", 0.93, 0.50)]))

    assert "From [0] method=True, 0.400 ms and 92.00 %, to [1] method=128" in html.replace("\u00a0", " ")


def test_names_that_would_lie_on_each_other_are_put_below_or_left_out() -> None:
    drawn = chart(sweep_document([job(str(index), 0.9, 0.4) for index in range(3)])["builds"])
    assert drawn
    marks = {mark.name: mark for mark in drawn.marks}
    above, below = marks["[0]"].label, marks["[1]"].label

    assert above is not None
    assert below is not None
    assert above < marks["[0]"].y < below
    assert marks["[2]"].label is None


def test_a_larger_file_is_a_larger_circle_and_a_better_build_lies_higher_and_to_the_left() -> None:
    drawn = chart(sweep()["builds"])
    assert drawn
    marks = {mark.name: mark for mark in drawn.marks}

    assert (marks["[1]"].radius / marks["[0]"].radius) ** 2 == pytest.approx(4, rel=0.05)  # 4 MiB and 1 MiB
    assert marks["[0]"].x < marks["[1]"].x
    assert marks["[1]"].y < marks["[0]"].y
    assert marks["[3]"].role == "failed"
    assert all(0 <= mark.x <= 100 for mark in drawn.marks)


@pytest.mark.parametrize(("latency_ms", "told"), [(0.401, True), (0.5, False)])
def test_a_difference_within_the_intervals_is_not_called_faster(latency_ms: float, told: bool) -> None:
    document = sweep_document([job("a", 0.93, 0.4), job("b", 0.92, latency_ms)])

    assert ("1 other cannot be told from [0] in speed" in render_variants(document)) is told


@pytest.mark.parametrize(("accuracy", "told"), [(0.929, True), (0.92, False)])
def test_a_difference_within_the_intervals_is_not_called_more_accurate(accuracy: float, told: bool) -> None:
    said = sweep_document([job("a", 0.93, 0.4), job("b", accuracy, 0.5)])["finding"]

    assert ("1 other cannot be told from [0] in accuracy" in said) is told


def test_a_build_whose_ratio_is_the_better_one_may_be_as_fast() -> None:
    moved = job("b", 0.92, 0.41)
    moved["headline"]["latency"]["interval"] = [0.38, 0.39]  # of the ratio; the other's is [0.396, 0.404]

    assert "1 other cannot be told from [0] in speed" in sweep_document([job("a", 0.93, 0.4), moved])["finding"]


def test_a_build_that_was_not_measured_on_its_target_says_so_in_the_chart() -> None:
    away = job("b", 0.92, 0.5)
    away["manifest"]["target"] = {"name": "jetson_orin", "runtime": "tensorrt", "arch": "aarch64"}
    away["headline"]["latency"]["on_target"] = False

    assert "batch 1, [1] not on jetson_orin." in render_variants(sweep_document([job("a", 0.93, 0.4), away]))


def test_a_legend_names_what_is_drawn() -> None:
    kept = [job("a", 0.93, 0.4), job("b", 0.94, 0.5)]
    broken = job("c", 0.5, 0.1, status="failed")

    assert "broke a limit or failed" not in render_variants(sweep_document(kept))
    assert "broke a limit or failed" in render_variants(sweep_document([*kept, broken]))


def test_a_build_that_broke_a_limit_is_neither_forgotten_nor_called_as_fast() -> None:
    builds = [job("a", 0.93, 0.4), job("b", 0.92, 0.5), job("broken", 0.99, 0.1, status="failed")]
    said = sweep_document(builds)["finding"]

    assert "[0] a is the fastest and the most accurate of the builds that can be ranked" in said
    assert "in speed" not in said


def test_gates_that_all_builds_have_are_shaded() -> None:
    reports = [job("a", 0.92, 0.4), job("b", 0.80, 0.9)]
    for report in reports:
        report["manifest"]["gates"].append({"name": "max_latency_ms.p50", "limit": 0.8, "status": "passed"})
    drawn = chart(sweep_document(reports)["builds"])
    assert drawn
    right, below = {mark.name: mark for mark in drawn.marks}["[1]"], drawn.too_wrong

    assert drawn.too_slow is not None
    assert drawn.too_slow < right.x
    assert below is not None
    assert below < right.y
    assert render_variants(sweep_document(reports)).count('class="gone"') == 2


def test_builds_that_were_measured_on_different_machines_are_not_ranked() -> None:
    other = job("b", 0.93, 0.1)
    other["headline"]["latency"]["measured_on"] = "another machine"
    document = sweep_document([job("a", 0.92, 0.4), other])

    assert not any(row["front"] for row in document["builds"])
    assert "not ranked: they were measured on different machines (Intel Xeon" in render_variants(document)
    assert '<svg class="frame"' not in render_variants(document)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"threads": 4}, "measured with 1 and 4 threads"),
        ({"batch": 8}, "measured at batches of 1 and 8"),
    ],
)
def test_builds_that_were_measured_in_another_way_are_not_ranked(change: Report, why: str) -> None:
    other = job("b", 0.93, 0.1)
    for subject in other["measurements"]["benchmark"]["subjects"]:
        subject.update(change)
    document = sweep_document([job("a", 0.92, 0.4), other])

    assert document["finding"] == f"The builds are not ranked: they were {why}"
    assert not any(row["front"] for row in document["builds"])


def test_machines_that_share_a_name_are_told_apart_by_their_facts() -> None:
    other = job("b", 0.93, 0.1)
    other["measurements"]["benchmark"]["host"] |= {"memory_gib": 99}
    document = sweep_document([job("a", 0.92, 0.4), other])

    assert "machines that only share a name" in document["finding"]
    assert "and 99)" in document["finding"]


def test_builds_that_were_evaluated_on_other_samples_are_not_ranked() -> None:
    other = job("b", 0.93, 0.1)
    other["evaluations"]["evaluate"] |= {"samples": 7}
    document = sweep_document([job("a", 0.92, 0.4), other])

    assert "evaluated on different samples" in document["finding"]
    assert chart(document["builds"]) is None


def test_a_build_that_was_too_noisy_to_rank_is_on_no_front() -> None:
    noisy = job("b", 0.93, 0.1)
    noisy["measurements"]["benchmark"]["noisy"] = True
    document = sweep_document([job("a", 0.92, 0.4), noisy])

    assert [row["front"] for row in document["builds"]] == [True, False]
    assert render_variants(document).count("too noisy to rank") == 2


@pytest.mark.parametrize(("slower", "told"), [(1.05, False), (1.5, True)])
def test_a_machine_that_was_not_equally_fast_for_all_is_said(slower: float, told: bool) -> None:
    other = job("b", 0.93, 0.5)
    other["headline"]["latency"]["reference"] *= slower
    document = sweep_document([job("a", 0.92, 0.4), other])

    assert bool(document["notes"]) is told
    assert ("not equally fast for all builds" in render_variants(document)) is told


def test_a_build_that_alone_was_measured_is_not_called_the_fastest() -> None:
    document = sweep_document([job("a", 0.92, 0.4), broken_job()])

    assert document["finding"].replace("\u00a0", " ") == (
        "Only [0] a has both an accuracy and a latency: 0.400 ms and 92.00 %"
    )


def test_a_gate_beyond_the_chart_is_said_in_words() -> None:
    reports = [job("a", 0.92, 0.4), job("b", 0.93, 0.5)]
    for report in reports:
        report["manifest"]["gates"].append({"name": "max_latency_ms.p50", "limit": 80, "status": "passed"})
    drawn = chart(sweep_document(reports)["builds"])

    assert drawn is not None
    assert drawn.too_slow is None
    assert "slower than 80.0" in drawn.limits


def test_junit_has_a_suite_for_each_job_with_its_gates_and_errors(tmp_path: Path) -> None:
    reports = [job("minmax", 0.92, 0.4), broken_job()]
    write_sweep(
        tmp_path, reports, not_built(2, "expected one of", "did you mean", "recipe=cpu_int8", f"{METHOD}=entropi")
    )
    root = ET.parse(tmp_path / "junit.xml").getroot()

    assert [suite.get("name") for suite in root] == ["[0] cpu_int8", "[1] cpu_int8", "[2]"]
    assert [len(suite.findall("testcase")) for suite in root] == [6, 2, 1]
    assert [suite.get("errors") for suite in root] == ["0", "1", "1"]
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("9", "2", "1")


def test_the_summary_has_a_line_for_each_job_and_shows_hostile_words_as_they_are(tmp_path: Path) -> None:
    reports = [job("minmax", 0.92, 0.4), job(f"{HOSTILE}|x", 0.93, 0.5)]
    write_sweep(tmp_path, reports, not_built(2, "no", "", f"{HOSTILE}=1"))
    lines = (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()

    assert lines[0] == "## Sweep: 2 of 3 builds kept their limits"
    assert [line.partition(" |")[0] for line in lines if line.startswith("| \\[")] == [
        *("| \\[0\\] cpu\\_int8", "| \\[1\\] cpu\\_int8", "| \\[2\\]")
    ]
    assert not re.search(r"(?<!`)<script>(?![^`]*`)", "\n".join(lines[3:]))


def test_a_build_whose_gates_wait_is_not_said_to_have_kept_its_limits(tmp_path: Path) -> None:
    waiting = job("entropy", 0.93, 0.5, status="deferred")
    waiting["manifest"]["gates"].append(
        {"name": "max_latency_ms.p50", "limit": 0.8, "status": "deferred", "message": ""}
    )
    judged = job("slow", 0.92, 0.6, status="deferred")  # what waits has no limit
    reports = [job("minmax", 0.92, 0.4), waiting, judged, job("broken", 0.9, 0.1, status="failed")]
    write_sweep(tmp_path, reports)

    for file in ("report.html", "summary.md"):
        assert "2 of 4 builds kept their limits, 1 is deferred" in (tmp_path / file).read_text(encoding="utf-8")


def test_a_sweep_that_measures_nothing_has_a_page() -> None:
    assert "No build has both an accuracy" in render_variants(sweep_document([failed_build(), failed_build()]))


def test_hostile_words_are_shown_and_not_run() -> None:
    bad = job(HOSTILE, 0.9, 1.0)
    bad["manifest"]["name"] = HOSTILE
    bad["headline"]["latency"]["measured_on"] = HOSTILE
    other = job("b", 0.8, 0.5)
    other["headline"]["latency"]["measured_on"] = HOSTILE
    document = sweep_document([bad, other], not_built(2, HOSTILE, HOSTILE, f"{HOSTILE}=1"))
    html = render_variants(document)

    assert html.count("<script>") == 1
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert f"{HOSTILE}" in next(csv.reader(io.StringIO(table_csv(document))))


def test_the_page_asks_nothing_of_any_network_and_is_small() -> None:
    html = render_variants(
        sweep_document([job(str(index), 0.9 + index / 1e4, 1.0 + index / 50) for index in range(100)])
    )

    assert "default-src 'none'" in html
    assert not re.search(r"""(src|href)=["']?https?:""", html)
    assert len(html) < 500_000
