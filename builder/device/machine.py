"""What this device is: processor, GPU, system, power mode and clocks, each read where the vendor puts it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from builder.device.fit import difference, in_words
from builder.device.programs import asked
from builder.device.stop import WRONG_DEVICE, Stop

__all__ = ["check_device", "describe_device", "describe_host", "temperature_c"]

_TEGRA = {"tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}  # CUDA GPUs by NVIDIA: Xavier, Orin, Thor
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*, cuda.h


def describe_device(runtime: str, version: str, features: Collection[str] = ()) -> dict[str, Any]:
    """Return the facts that a result belongs to: the device, its runtime, its system, its power mode and clocks.

    Of its processor's instructions it is those of `features` that it has.
    """
    gpu = {**_tree(), **_driver(), **_smi()}
    model = _text("/proc/device-tree/model")
    facts = {
        "name": model or gpu.get("name") or platform.machine(),
        "arch": platform.machine(),
        "features": " ".join(each for each in features if each in _features()),
        "compute_capability": gpu.get("compute_capability"),
        runtime: version,
        "cuda": gpu.get("cuda"),
        "driver": gpu.get("driver"),
        "l4t": _text("/etc/nv_tegra_release").partition(", GCID")[0].lstrip("# ") or None,
        "power_mode": power_mode(),
        "clocks": _clocks(),
    }
    return {name: _plain(value or "") or None for name, value in facts.items()}


def describe_host() -> dict[str, Any]:
    """Return what is good to know of the machine that did it and belongs to no key."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "byte_order": sys.byteorder,
    }


def check_device(target: Mapping[str, Any], device: Mapping[str, Any], install: str = "") -> None:
    """Raise Stop, exit 3, where this device is not what the kit was made for.

    `install` says how to get another version of the runtime, where that can be had.
    """
    found = difference(target, device, _features())
    if found is None:
        return
    wanted, here = in_words(target, found)
    hint = install if found.what == "version" and install else ""
    if found.what == "features":
        raise _wrong(f"the kit is for {target['name']}; the processor here {here}")
    raise _wrong(f"the kit is for {target['name']}, {wanted}; this machine {here}", hint)


def _features() -> set[str]:
    """Return the instructions that the processor has, as /proc/cpuinfo calls them: flags on x86, Features on Arm."""
    lines = [line.partition(":") for line in _text("/proc/cpuinfo").splitlines()]
    return {word for name, _, words in lines if name.strip() in ("flags", "Features") for word in words.split()}


def _wrong(message: str, hint: str = "") -> Stop:
    return Stop(message, hint or "take the kit to such a device, or build for this one: target=NAME", WRONG_DEVICE)


def _smi() -> dict[str, str]:
    """Return what nvidia-smi says of the first GPU; on a Jetson it is not there, or says N/A."""
    answer = asked("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
    values = [value.strip() for value in answer.partition("\n")[0].split(",")]
    named = zip(("name", "compute_capability", "driver"), values)
    return {name: value for name, value in named if value and "N/A" not in value}


def _driver() -> dict[str, str]:
    """Return what CUDA's driver library says of the first GPU (cuda.h)."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    device, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(128)
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return {}
    found = []
    for attribute in (_MAJOR, _MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        found.append(number.value)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDriverGetVersion(ctypes.byref(number))
    cuda_version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return {"name": name.value.decode(), "compute_capability": f"{found[0]}.{found[1]}", "cuda": cuda_version}


def _tree() -> dict[str, str]:
    compatible = _text("/proc/device-tree/compatible")
    found = [capability for chip, capability in _TEGRA.items() if chip in compatible]
    return {"compute_capability": found[0]} if found else {}


def power_mode() -> str:
    """Return the power mode of a Jetson in words, such as 'MAXN'; '' where there is none."""
    match = re.search(r"NV Power Mode: *(.+)", asked("nvpmodel", "-q"))
    return match.group(1).strip() if match else ""


def _clocks() -> str:
    """Return the range in which each kind of clock may move: a fixed clock is one number (sysfs, in Hz and kHz)."""
    found: list[str] = []
    for name, pattern, low, high, per_mhz in (
        ("gpu", "/sys/class/devfreq/*gpu*", "min_freq", "max_freq", 1e6),
        ("gpu", "/sys/class/devfreq/*.g[av]*", "min_freq", "max_freq", 1e6),
        ("cpu", "/sys/devices/system/cpu/cpufreq/policy0", "scaling_min_freq", "scaling_max_freq", 1e3),
    ):
        root, _, rest = pattern.rpartition("/")
        for folder in sorted(Path(root).glob(rest))[:1]:
            ends = [_text(str(folder / end)) for end in (low, high)]
            if all(end.isdigit() for end in ends) and not any(word.startswith(name) for word in found):
                lowest, highest = (int(end) / per_mhz for end in ends)
                found.append(
                    f"{name} {lowest:.0f}-{highest:.0f} MHz" if lowest < highest else f"{name} {highest:.0f} MHz"
                )
    return ", ".join(found)


def temperature_c() -> float | None:
    """Return how hot the hottest part is, in degrees Celsius (thermal zones in sysfs); None where nothing says it."""
    read = [_text(str(zone / "temp")) for zone in Path("/sys/class/thermal").glob("thermal_zone*")]
    found = [int(text) / 1000 for text in read if re.match(r"-?\d+$", text)]
    plausible = [value for value in found if 0 < value < 150]  # unused zones say -256 or 0
    return max(plausible) if plausible else None


def _plain(text: str) -> str:
    """Return a text on one line, without what a shell or Hydra reads otherwise: at home it may name the device."""
    return " ".join("".join(" " if each in "$\\'\"" or not each.isprintable() else each for each in text).split())


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""
