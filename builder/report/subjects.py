"""What was measured against each other: how the page calls it, which of it ships, and what really ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.report import format as words

__all__ = ["ratio_of", "shipped", "subject_names", "what_ran"]


def shipped(measurement: Mapping[str, Any]) -> str:
    """Return the name of the subject that ships: what was compiled, where something was, else the candidate."""
    return str(measurement.get("ships", "candidate"))


def subject_names(candidate: str, reference: str, measurement: Mapping[str, Any]) -> dict[str, str]:
    """Return how the page calls the subjects, given what it calls the two models; what is compiled, with runtimes."""
    found = {subject["name"]: str(subject["name"]) for subject in measurement["subjects"]}
    for subject in measurement["subjects"]:
        if subject["name"] == "baseline":
            found["baseline"] = reference
        elif shipped(measurement) != "candidate" and "runtime" in subject:
            found[subject["name"]] = f"{candidate} in {words.runtime(subject['runtime'])}"
        elif subject["name"] == "candidate":
            found["candidate"] = candidate
    return found


def ratio_of(measurement: Mapping[str, Any], to: str = "baseline") -> Mapping[str, Any] | None:
    """Return the ratio of what ships to another subject."""
    known = {(ratio["of"], ratio["to"]): ratio for ratio in measurement["ratios"]}
    first = next(iter(known.values()), None) if to == "baseline" else None
    return known.get((shipped(measurement), to), first)


def what_ran(one: Mapping[str, Any]) -> str:
    """Say what really ran, such as `OpenVINO 2026.4.1: int8, fp32`; '' where a measurement does not tell."""
    if "runtime" not in one:
        return ""
    words_of = " ".join(filter(None, (words.runtime(one["runtime"]), one.get("runtime_version"))))
    share = one.get("accelerated")
    there = f", {words.number(100 * share)} % of the nodes on the accelerator" if share is not None else ""
    return f"{words_of}: {one['precision']}{there}" if one.get("precision") else words_of
