"""What this device draws, by a counter of its own: a Jetson's INA sensors, or the GPU's energy counter. Never a guess.

Rails of the sensors: NVIDIA, Jetson Linux Developer Guide, "Power monitors"; the counter: NVML API,
nvmlDeviceGetTotalEnergyConsumption, in millijoules since the driver was loaded.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

__all__ = ["Meter", "find_meter", "gpu_joules"]

_WHOLE = ("VDD_IN", "POM_5V_IN", "VIN", "VIN_SYS_5V0")  # rails that feed the whole module, by board
_EVERY_S = 0.05
_NVML = ("nvmlInit_v2", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption")


class Meter:
    """Sums up energy while it is open: `with meter: ...`, then `watts(began, ended)` by time.monotonic.

    `lost` says why there are no more readings, where one failed.
    """

    def __init__(self, method: str, joules: Callable[[], float] | None, watts: Callable[[], float] | None) -> None:
        self.method = method
        self.lost = ""
        self._joules = joules
        self._watts = watts
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:  # noqa: PYI034  typing.Self is of Python 3.11
        self._samples.clear()
        self._stop.clear()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def watts(self, began: float, ended: float) -> float | None:
        """Return the mean power between two moments; None where too little was read, or a reading failed."""
        found = [(moment, joules) for moment, joules in self._samples if began <= moment <= ended]
        if self.lost or len(found) < 10 or found[-1][0] <= found[0][0]:
            return None
        return (found[-1][1] - found[0][1]) / (found[-1][0] - found[0][0])

    def _sample(self) -> None:
        try:
            self._sum_up()
        except (OSError, ValueError) as error:
            self.lost = f"{self.method} could not be read any more: {error}"

    def _sum_up(self) -> None:
        total, before, last = 0.0, time.monotonic(), None
        while not self._stop.wait(_EVERY_S):
            moment = time.monotonic()
            if self._joules:
                total = self._joules()
            elif self._watts:
                now = self._watts()
                total += (now if last is None else (now + last) / 2) * (moment - before)  # the trapezoid rule
                last = now
            before = moment
            self._samples.append((moment, total))


def find_meter(root: Path = Path("/")) -> tuple[Meter | None, str]:
    """Return a meter of the whole module or of the GPU, or None and the reason."""
    labels = []
    for label, power in _rails(root):
        labels.append(label)
        if label in _WHOLE:
            return Meter(
                f"INA sensor, rail {label} (the whole module), {1 / _EVERY_S:.0f} readings a second", None, power
            ), ""
    if labels:
        return None, f"the INA sensors measure {', '.join(sorted(labels))}: none of them is the whole module"
    counter, why = gpu_joules()
    if counter:
        return Meter("NVML energy counter (the GPU alone)", counter, None), ""
    return None, f"this device has no INA sensor and no GPU energy counter that can be read: {why}"


def _rails(root: Path) -> list[tuple[str, Callable[[], float]]]:
    """Return what hwmon calls each rail, and what reads its watts: mV times mA (JetPack 5 and later)."""
    found = []
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")):
        for label in sorted(folder.glob("in[0-9]*_label")):
            number = label.name[2:].partition("_")[0]
            volts, amperes = folder / f"in{number}_input", folder / f"curr{number}_input"
            if volts.exists() and amperes.exists():
                found.append((label.read_text().strip(), _product(volts, amperes)))
    return found


def _product(volts: Path, amperes: Path) -> Callable[[], float]:
    return lambda: int(volts.read_text()) * int(amperes.read_text()) / 1e6


def gpu_joules() -> tuple[Callable[[], float] | None, str]:
    """Return what reads the energy counter of CUDA's first GPU, in joules, or None and the reason.

    What is read raises OSError where NVML fails later. GPUs before Volta have no such counter.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        start, find, count = (getattr(library, name) for name in _NVML)
    except OSError:
        return None, "NVIDIA's management library (NVML) is not here"
    except AttributeError as error:
        return None, f"NVIDIA's management library (NVML) counts no energy: {error}"
    gpu, device, millijoules = _first_gpu(), ctypes.c_void_p(), ctypes.c_ulonglong()
    if not gpu:
        return None, "CUDA's driver does not tell which GPU is its first"
    if start() or find(gpu.encode(), ctypes.byref(device)):
        return None, f"NVML does not know {gpu}, which CUDA uses (a part of a GPU, as MIG makes them, has no counter)"

    def read() -> float:
        code = count(device, ctypes.byref(millijoules))
        if code:
            raise OSError(f"NVML answers with error {code}")
        return millijoules.value / 1e3

    try:
        read()
    except OSError as error:
        return None, str(error)
    return read, ""


def _first_gpu() -> str:
    """Return the UUID of the GPU that programs get which ask CUDA for none in particular, '' where nothing tells it.

    The driver reads CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, of which NVML knows nothing: its first is another.
    """
    device, uuid = ctypes.c_int(), ctypes.create_string_buffer(16)
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        failed = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetUuid_v2(uuid, device)
    except (OSError, AttributeError):  # no driver, or one from before CUDA 11.4
        return ""
    return "" if failed else f"GPU-{UUID(bytes=uuid.raw)}"
