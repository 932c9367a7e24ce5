"""junit.xml: the gates of a build or of a sweep's jobs as the test cases that every CI system can show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builder.outcomes import GateStatus, Status

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["junit", "sweep_junit"]

# A limit that could not be judged fails the build, so it fails here too; one that waits for its target is skipped.
_MARKS = {
    GateStatus.FAILED.word: "failure",
    GateStatus.UNMEASURED.word: "failure",
    GateStatus.DEFERRED.word: "skipped",
}
# What no XML document may hold, not even as a reference (XML 1.0, production 2).
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Mapping[str, Any]) -> str:
    """Return a report's gates in JUnit's XML, the same bytes for the same report: a test case for each, none timed.

    An action that failed is a test case with an error, so that a build which came to no gate is not all green. The
    shape is that of junit-10.xsd, which the Jenkins xUnit plugin publishes.
    """
    return _written([_build(report["manifest"]["name"], report["manifest"])])


def sweep_junit(reports: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> str:
    """Return the gates of all jobs of a sweep: a suite for each, one with an error for a job that could not be made."""
    labels = [row["label"] for row in document["builds"]]
    builds = [
        _build(f"{label} {report['manifest']['name']}", report["manifest"])
        for label, report in zip(labels, reports, strict=True)
    ]
    unmade = [
        _suite(job["label"], [_case("jobs", " ".join(job["own"]), "error", "failed", job["error"], job["hint"])])
        for job in document["unmade"]
    ]
    return _written([*builds, *unmade])


def _written(suites: Sequence[Element]) -> str:
    from xml.etree.ElementTree import Element, indent, tostring

    counts = {name: str(sum(int(suite.get(name, 0)) for suite in suites)) for name in ("tests", "failures", "errors")}
    root = Element("testsuites", {"name": "builder", **counts})
    root.extend(suites)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _build(name: str, manifest: Mapping[str, Any]) -> Element:
    cases = [*map(_gate, manifest["gates"])]
    cases += [_action(action) for action in manifest["actions"] if action["status"] == Status.FAILED.word]
    return _suite(name, cases, {"timestamp": manifest["created"].partition("+")[0]}, _about(manifest))


def _suite(
    name: str, cases: list[Element], attributes: Mapping[str, str] | None = None, about: Mapping[str, str] | None = None
) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    counts = {"tests": str(len(cases)), "failures": _count(cases, "failure"), "errors": _count(cases, "error")}
    suite = Element("testsuite", {"name": name, **counts, "skipped": _count(cases, "skipped"), **(attributes or {})})
    properties = SubElement(suite, "properties")
    for key, value in (about or {}).items():
        SubElement(properties, "property", {"name": key, "value": _legal(value)})
    for case in cases:
        case.set("classname", f"{name}.{case.get('classname')}")
        suite.append(case)
    return suite


def _about(manifest: Mapping[str, Any]) -> dict[str, str]:
    about = {"status": manifest["status"], "target": manifest["target"]["name"], "command": manifest["command"]}
    return {**about, "recipe.sha256": manifest["sha256"], "builder": manifest["builder"]}


def _gate(gate: Mapping[str, Any]) -> Element:
    mark = _MARKS.get(gate["status"])
    return _case("gates", gate["name"], mark, gate["status"], gate["message"])


def _action(action: Mapping[str, Any]) -> Element:
    message = action.get("error") or action["reason"]
    return _case("actions", action["name"], "error", action["status"], message, action.get("hint") or "")


def _case(group: str, name: str, mark: str | None, kind: str, message: str, hint: str = "") -> Element:
    """Return a test case; one that passed says the gate's words as its output."""
    from xml.etree.ElementTree import Element, SubElement

    case = Element("testcase", {"classname": group, "name": _legal(name)})
    if mark is None:
        SubElement(case, "system-out").text = _legal(message)
        return case
    kinds = {} if mark == "skipped" else {"type": kind}  # the schema gives `skipped` none
    child = SubElement(case, mark, {**kinds, "message": _legal(message)})
    if mark != "skipped":
        child.text = _legal(f"{message}\nhint: {hint}" if hint else message)
    return case


def _count(cases: list[Element], mark: str) -> str:
    return str(sum(case.find(mark) is not None for case in cases))


def _legal(text: str) -> str:
    return _NO_CHARACTER.sub(lambda found: ascii(found[0])[1:-1], text)
