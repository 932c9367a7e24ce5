"""junit.xml: what a CI system reads of a build's gates."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from projects import Project, write_small

from builder.report.junit import junit

HOSTILE = 'summary="]]></testsuite> & more"'
# Of junit-10.xsd (Jenkins xUnit plugin): attributes, those that must be there, and children, in their order.
SHAPE: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"name", "tests"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, {"name", "value"}, []),
    "testcase": ({"name", "time", "classname"}, {"name"}, ["skipped", "error", "failure", "system-out", "system-err"]),
    "failure": ({"type", "message"}, set(), []),
    "error": ({"type", "message"}, set(), []),
    "skipped": ({"message"}, set(), []),
    "system-out": (set(), set(), []),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with gates that passed, failed, and could not be judged: to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("judged") / "project"))
    done = project.run("recipe=small", "+gates.min_snr_db=500", "+gates.max_latency_ms.p50=5", HOSTILE)
    assert done.returncode == 1, done.stderr
    return next((project.folder / "outputs/small").iterdir())


def check_shape(element: ET.Element) -> None:
    known, needed, children = SHAPE[element.tag]
    assert needed <= set(element.attrib) <= known
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places)
    for child in element:
        check_shape(child)


def read(folder: Path) -> ET.Element:
    root = ET.parse(folder / "junit.xml").getroot()
    check_shape(root)
    return root


def test_each_gate_is_a_test_case_that_fails_where_the_limit_was_broken_or_not_judged(judged: Path) -> None:
    root = read(judged)
    gates = json.loads((judged / "manifest.json").read_text())["gates"]
    cases = {case.get("name", ""): case for case in root.iter("testcase")}

    assert {name: case.find("failure") is not None for name, case in cases.items()} == {
        gate["name"]: gate["status"] in ("failed", "unmeasured") for gate in gates
    }
    assert {gate["status"] for gate in gates} == {"passed", "failed", "unmeasured"}
    for gate in gates:
        said = "".join(cases[gate["name"]].itertext()).strip()
        assert said == gate["message"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == (str(len(gates)), "2", "0")
    assert {case.get("classname") for case in cases.values()} == {"small.gates"}


def test_a_gate_that_waits_for_its_target_is_skipped(deferred: Path) -> None:
    folder = next(path for path in (deferred / "outputs").glob("*/*") if (path / "junit.xml").is_file())
    gates = json.loads((folder / "manifest.json").read_text())["gates"]
    waiting = {gate["name"]: gate["message"] for gate in gates if gate["status"] == "deferred"}
    skipped = [(case.get("name"), case.find("skipped")) for case in read(folder).iter("testcase")]

    assert {name: mark.get("message") for name, mark in skipped if mark is not None} == waiting


def test_an_action_that_failed_is_an_error_even_where_nothing_is_judged(small: Project) -> None:
    done = small.run("recipe=small", "~gates.max_size_mib", "steps.quantize.exclude.patterns=['heads/*']")
    assert done.returncode == 1, done.stderr
    (folder,) = (small.folder / "outputs/small").iterdir()
    root = read(folder)
    (error,) = root.iter("error")

    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert "heads/*" in (error.get("message") or "")


def test_what_comes_from_outside_is_text(judged: Path) -> None:
    values = {each.get("name"): each.get("value") for each in read(judged).iter("property")}

    assert "]]></testsuite> & more" in (values["command"] or "")


def test_what_xml_forbids_is_shown(judged: Path) -> None:
    report = json.loads((judged / "report.json").read_text())
    report["manifest"]["gates"][0]["message"] = "a bell \x07, half a pair \ud800, no character \uffff"
    cases = ET.fromstring(junit(report)).iter("testcase")

    assert "a bell \\x07, half a pair \\ud800, no character \\uffff" in "".join(next(cases).itertext())


def test_one_report_gives_the_bytes_that_were_delivered(judged: Path) -> None:
    assert junit(json.loads((judged / "report.json").read_text())) == (judged / "junit.xml").read_text()
