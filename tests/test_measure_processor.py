"""Which instructions a process has."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder.processor import instruction_class, instruction_set

ROOT = Path(__file__).resolve().parents[1]
QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
SAY = "from builder.processor import instruction_set; print(instruction_set())"

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="asks an x86-64 processor")
with_qemu = pytest.mark.skipif(QEMU is None, reason="qemu-user is not installed")


def said(*command: str) -> str:
    done = subprocess.run([*command, sys.executable, "-c", SAY], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_class_has_the_instructions_that_the_kernel_lists() -> None:
    listed = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    level, *beyond = instruction_set().split("+")
    marks = {"sse4": "sse4_2", "avx512": "avx512f", "amx": "amx_int8"}
    marks |= {"neon": "asimd", "neon_i8mm": "i8mm", "neon_dotprod": "asimddp"}
    assert marks.get(level, level) in listed
    assert {"sve" if flag.startswith("sve") else flag for flag in beyond} <= listed


@on_x86
@with_qemu
@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("Nehalem", "sse4"),
        ("SandyBridge", "avx"),
        ("Haswell", "avx2"),
        ("Haswell,-fma", "avx+abm+avx2+bmi1+bmi2+f16c+movbe"),  # no library's kernels for Haswell run without FMA
        ("Haswell,-xsave", "sse4+abm+bmi1+bmi2+movbe"),  # AVX is there, and no system that saves its registers
    ],
)
def test_an_emulated_processor_is_seen_as_it_is_and_not_as_its_host(processor: str, expected: str) -> None:
    assert said(str(QEMU), "-cpu", processor) == expected


@on_x86
def test_a_system_that_refuses_pages_of_code_gets_the_same_answer() -> None:
    refuse = (
        "import ctypes, mmap, os, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(3)\n"  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN; Linux 6.3
        "try: mmap.mmap(-1, 4096, prot=7)\n"
        f"except OSError: {SAY}\n"
    )
    done = subprocess.run([sys.executable, "-c", refuse], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this kernel cannot refuse pages of code")
    assert done.stdout.strip() == instruction_set()


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "sse4_1 sse4_2 popcnt avx fma4 f16c", "avx+f16c+fma4"),  # Bulldozer
        ("x86_64", "avx512f avx512cd", "sse2+avx512cd+avx512f"),  # a mask that no processor has
        ("aarch64", "asimd", "neon"),
        ("aarch64", "asimd asimddp fphp asimdhp i8mm bf16 sve256", "neon_i8mm+sve256"),  # Graviton3
        ("riscv64", "", "riscv64"),
    ],
)
def test_what_goes_beyond_a_level_is_named(machine: str, flags: str, expected: str) -> None:
    assert instruction_class(machine, flags.split()) == expected
