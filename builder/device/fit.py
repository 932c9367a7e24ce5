"""Whether a device is a target: the only place that decides it, on the device and at home."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from builder.device.stop import Stop
from builder.device.trt_api import MODULES

__all__ = ["Difference", "difference", "in_words", "misfit", "version_fits"]


class Difference(NamedTuple):
    """Why a machine is not the target, by the first thing that differs."""

    what: str  # arch, features, compute_capability, hardware or version
    wanted: str
    found: str  # '' where the machine does not say


_WORDS = {
    "arch": ("which is {}", "is {}"),
    "features": ("with {}", "has no {}"),
    "compute_capability": ("of compute capability {}", "has {}"),
    "hardware": ("a {}", "is {}"),
    "version": ("with {}", "has {}"),
}
_UNSAID = {
    "arch": "a machine that does not say what it is",
    "compute_capability": "no GPU that says its own",
    "hardware": "a board that does not say its name",
    "version": "none",
}


def misfit(target: Mapping[str, Any], device: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what a target is and what a device of these facts is instead, in words; None where it is the target."""
    said = device.get("features")
    found = difference(target, device, None if said is None else str(said).split())
    return None if found is None else in_words(target, found)


def in_words(target: Mapping[str, Any], found: Difference) -> tuple[str, str]:
    """Return what the target is, and what a device is instead."""
    wanted, here = _WORDS[found.what]
    named = f"{target['runtime']} {found.wanted}" if found.what == "version" else found.wanted
    return wanted.format(named), here.format(found.found or _UNSAID[found.what])


def difference(
    target: Mapping[str, Any], device: Mapping[str, Any], features: Collection[str] | None = None
) -> Difference | None:
    """Return the first thing in which a device of these facts is not the target; None where it is the target.

    `target` has the fields of specs.Target. A processor's features count where they are given, a name and the version
    of the runtime where the facts have one. Raises Stop where the target's limits of a version are none.
    """
    if target["arch"] not in ("any", device.get("arch")):
        return Difference("arch", str(target["arch"]), str(device.get("arch") or ""))
    missing = [] if features is None else [each for each in target.get("features", ()) if each not in features]
    if missing:
        return Difference("features", " and ".join(missing), " and no ".join(missing))
    capability, found = target.get("compute_capability"), device.get("compute_capability")
    if target["runtime"] in MODULES and capability and found != capability:
        return Difference("compute_capability", capability, found or "")
    hardware, name = target.get("hardware"), device.get("name")
    if hardware and name is not None and not fnmatchcase(str(name), hardware):
        return Difference("hardware", hardware.rstrip("* "), str(name))
    version = device.get(target["runtime"])
    if version is not None and not version_fits(str(version), target["runtime_versions"]):
        return Difference("version", target["runtime_versions"], str(version))
    return None


def version_fits(version: str, limits: str) -> bool:
    """Say whether a version keeps limits such as '>=10.3,<12'; no limits take every version."""
    for limit in filter(None, (part.strip() for part in limits.split(","))):
        match = re.match(r"(>=|<=|==|>|<)\s*([\d.]+)$", limit)
        if match is None:
            raise Stop(f"the kit's target wants the version '{limit}', which is no limit")
        length = match.group(2).count(".") + 1
        mine, other = numbers(version, length), numbers(match.group(2), length)
        kept = {">=": mine >= other, "<=": mine <= other, "==": mine == other, ">": mine > other, "<": mine < other}
        if not kept[match.group(1)]:
            return False
    return True


def numbers(version: str, length: int = 4) -> tuple[int, ...]:
    """Return the first so many numbers of a version, 0 for those that it lacks."""
    found = [int(number) for number in re.findall(r"\d+", version)]
    return tuple((found + [0] * length)[:length])
