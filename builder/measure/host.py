"""What machine this is: what a measurement states beside its numbers, and what its action key holds."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder import __version__
from builder.processor import instruction_set
from builder.runtimes.cpuinfo import cpuinfo, processor_name

__all__ = ["fingerprint", "host", "instruction_set", "load_average", "virtual_machine"]

_CPUS = Path("/sys/devices/system/cpu")


def fingerprint() -> dict[str, str | int]:
    """Return what the key of a measured action holds of this machine.

    The kernel's release is left out: it is stated with each measurement, and an update of it need not repeat them all.
    """
    return {
        "arch": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_set": instruction_set(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "processor": processor_name(),
        "python": platform.python_version(),
    }


def host() -> dict[str, Any]:
    """Return the facts stated beside a measurement; they name neither the machine nor its user."""
    facts: dict[str, Any] = dict(fingerprint())
    python = facts.pop("python")
    facts["logical_cores"] = os.cpu_count()
    facts["physical_cores"] = _physical_cores()
    facts["governor"] = _read(_CPUS / "cpu0/cpufreq/scaling_governor")
    facts["virtual_machine"] = virtual_machine()
    facts["kernel"] = platform.release()
    facts["os"] = _os()
    facts["versions"] = {"python": python, **_versions()}
    return facts


def virtual_machine() -> bool:
    """Tell whether the processor says that it is a part of another machine's."""
    return "hypervisor" in cpuinfo().get("flags", "").split()


def load_average() -> list[float]:
    """Return how many processes wanted to run over the last 1, 5 and 15 minutes, this measurement's among them."""
    return [round(value, 2) for value in os.getloadavg()]


def _physical_cores() -> int | None:
    siblings = {_read(path) for path in _CPUS.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len(siblings) or None


def _os() -> str | None:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # a system without /etc/os-release
        return None


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"builder": __version__}
    for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip("\n\0")
    except OSError:  # a virtual machine shows no governor, a PC no device tree
        return None
