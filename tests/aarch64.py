"""An aarch64 machine of sorts: Debian's Python and ONNX Runtime's aarch64 wheel under qemu. For numbers, not for times.

Needs root and the network (debootstrap unpacks Debian 12, pip fetches wheels): about 40 s and 500 MB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

__all__ = ["Aarch64", "make_aarch64"]

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
# As a Raspberry Pi 4 says it: qemu 7.2 hands the x86 file through, and ONNX Runtime 1.31 then crashes at its import.
CORE = """\
processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


@dataclass(frozen=True)
class Aarch64:
    """A folder with a Debian and the packages of a device, run by qemu."""

    folder: Path
    cpu: str = "cortex-a72"

    def start(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run its Python, and wait for the end."""
        root = self.folder / "root"
        python = [str(QEMU), "-cpu", self.cpu, "-L", str(root), str(root / "usr/bin/python3.11")]
        environment = {
            "PYTHONHOME": str(root / "usr"),
            "PYTHONPATH": str(self.folder / "site"),
            "ORT_DISABLE_TELEMETRY": "1",
            "PATH": os.defpath,
            "HOME": str(cwd),
        }
        return subprocess.run(
            [*python, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )


def make_aarch64(folder: Path) -> Aarch64:
    """Put the machine together in a folder; skip the test where that cannot be done."""
    for tool, found in (("qemu-user-static", QEMU), ("debootstrap", shutil.which("debootstrap"))):
        if not found:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    _unpack(folder / "root")
    _fetch(folder / "wheels", folder / "site")
    return Aarch64(folder)


def _unpack(root: Path) -> None:
    """Unpack Debian's packages as they are: nothing of them has to run for a Python to start."""
    command = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", "--include=python3", "bookworm", root]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"debootstrap cannot fetch Debian here: {(done.stdout + done.stderr)[-200:]}")
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    cores = root / "sys/devices/system/cpu"
    cores.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (cores / name).write_text("0-3\n")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text("".join(CORE.format(number) for number in range(4)))


def _fetch(wheels: Path, site: Path) -> None:
    wanted = [f"{name}=={version(name)}" for name in ("onnxruntime", "numpy")]
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", "3.11"]
    done = subprocess.run(
        [*command, *platforms, "--dest", str(wheels), *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("the package index cannot be reached, or has no aarch64 wheels of these versions")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
