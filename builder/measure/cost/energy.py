"""The energy that a stretch of time took, by a counter of the machine's own: RAPL of the processor, NVML of the GPU.

RAPL: Linux, Documentation/power/powercap/powercap.rst; each package has a counter in microjoules that starts again at
0 after `max_energy_range_uj`. NVML: nvmlDeviceGetTotalEnergyConsumption, in millijoules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.device.energy import gpu_joules
from builder.measure.host import virtual_machine

__all__ = ["Counter", "find_counter"]

_PACKAGES = "sys/class/powercap/intel-rapl:*"  # AMD's too, in spite of the name
_NVML_SECONDS = 2.0  # its counter moves about ten times a second
_ALLOW = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


@dataclass
class Counter:
    """One or more counters that are read together: `spent(before, now)` is what they counted between two readings.

    `lost` says why they tell nothing any more, once a reading failed.
    """

    method: str
    source: Callable[[], Sequence[float]]  # raises OSError, ValueError
    ends: Sequence[float]  # where each starts again at 0; in the unit of what is read
    joules: float  # of one unit
    slow_seconds: float = 0.0  # of running on end that it needs to tell anything; 0: a block will do
    lost: str = ""

    def read(self) -> Sequence[float]:
        """Return where the counters stand; nothing where they cannot be read."""
        try:
            return self.source()
        except (OSError, ValueError) as error:
            self.lost = f"the energy counter ({self.method}) could not be read any more: {error}"
            return ()

    def spent(self, before: Sequence[float], now: Sequence[float]) -> float:
        """Return joules, 0 once a reading failed; a counter that stands lower than before has started again once."""
        pairs = () if self.lost else zip(before, now, self.ends, strict=True)
        return sum(late - early + (end if late < early else 0) for early, late, end in pairs) * self.joules


def find_counter(device: str = "cpu", root: Path = Path("/")) -> tuple[Counter | None, str]:
    """Return the counter of what computes, or None and why there is none, in one sentence."""
    return _gpu() if device == "cuda" else _packages(root)


def _packages(root: Path) -> tuple[Counter | None, str]:
    """Return the counter of all processor packages together."""
    folders = [folder for folder in sorted(root.glob(_PACKAGES)) if _is_package(folder)]
    if not folders:
        why = "this is a virtual machine, which shows none" if virtual_machine() else "this machine shows none"
        return None, f"energy needs a counter of the processor (RAPL), and {why}"
    files = [folder / "energy_uj" for folder in folders]

    def read() -> list[float]:
        return [int(file.read_text(encoding="ascii")) for file in files]

    try:
        ends = [int((folder / "max_energy_range_uj").read_text(encoding="ascii")) for folder in folders]
        read()
    except PermissionError:
        return (
            None,
            f"only root may read the processor's energy counter (RAPL); until the next start, `{_ALLOW}` lets all",
        )
    except (OSError, ValueError) as error:
        return None, f"the processor's energy counter (RAPL) cannot be read: {error}"
    named = "the whole package" if len(folders) == 1 else f"all {len(folders)} packages"
    return Counter(f"RAPL, {named}, with all else that ran on it", read, ends, 1e-6), ""


def _is_package(folder: Path) -> bool:
    try:
        return (folder / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False


def _gpu() -> tuple[Counter | None, str]:
    joules, why = gpu_joules()
    if joules is None:
        return None, f"energy needs a counter of the GPU that can be read: {why}"
    return Counter("NVML, the whole GPU, without the processor", lambda: [joules()], [0.0], 1.0, _NVML_SECONDS), ""
