"""Which instructions this process has, asked in a way that also an emulator and a masked processor answer truly.

/proc/cpuinfo will not do: under qemu's user mode it is the host's, and libraries do not ask it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path

__all__ = ["features", "instruction_class", "instruction_set"]

# What ONNX Runtime (onnxruntime/core/mlas/lib/platform.cpp), numpy (its X86_V2 to X86_V4) and the C library's libm
# choose kernels by, in the words of /proc/cpuinfo. Each level has what those before it have.
_LEVELS = {
    "x86_64": {
        "sse2": set[str](),
        "sse4": {"sse4_1", "sse4_2", "popcnt"},
        "avx": {"avx"},
        "avx2": {"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"},
        "avx512": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
        "avx512_vnni": {"avx512_vnni"},
        "amx": {"amx_tile", "amx_int8", "avx512_fp16", "avx_vnni"},
    },
    "aarch64": {
        "neon": {"asimd"},
        "neon_dotprod": {"asimddp", "fphp", "asimdhp"},
        "neon_i8mm": {"i8mm", "bf16"},
    },
}

# (leaf, subleaf, register) -> flag -> bit. Source: Intel SDM volume 2, CPUID; for leaf 8000_0001 AMD APM volume 3.
_CPUID = {
    (1, 0, "ecx"): {"fma": 12, "sse4_1": 19, "sse4_2": 20, "movbe": 22, "popcnt": 23, "avx": 28, "f16c": 29},
    (7, 0, "ebx"): {"bmi1": 3, "avx2": 5, "bmi2": 8}
    | {"avx512f": 16, "avx512dq": 17, "avx512cd": 28, "avx512bw": 30, "avx512vl": 31},
    (7, 0, "ecx"): {"avx512_vnni": 11},
    (7, 0, "edx"): {"avx512_fp16": 23, "amx_tile": 24, "amx_int8": 25},
    (7, 1, "eax"): {"avx_vnni": 4},
    (0x8000_0001, 0, "ecx"): {"abm": 5, "fma4": 16},
}
_OSXSAVE = 27  # of leaf 1, ecx: the system saves registers wider than SSE's; which of them, XCR0 says
_XCR0 = {"amx": 0x60000, "avx512": 0xE6, "avx": 0x6, "fma": 0x6, "f16c": 0x6}  # by how a flag begins

# For functions cpuid(leaf, subleaf, out[4]) and xgetbv(): push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid;
# mov [r8], eax; mov [r8+4], ebx; mov [r8+8], ecx; mov [r8+12], edx; pop rbx; ret
_CPUID_CODE = bytes.fromhex("53 89f8 89f1 4989d0 0fa2 418900 41895804 41894808 4189500c 5b c3")
_XGETBV_CODE = bytes.fromhex("31c9 0f01d0 c3")  # xor ecx, ecx; xgetbv; ret

# Entry of the auxiliary vector -> flag -> bit. Source: Linux, elf.h and arch/arm64/include/uapi/asm/hwcap.h.
_HWCAP = {
    16: {"asimd": 1, "fphp": 9, "asimdhp": 10, "asimddp": 20, "sve": 22},
    26: {"i8mm": 13, "bf16": 14, "sme": 23},
}
_PR_SVE_GET_VL = 51  # linux/prctl.h; the low 16 bits of the answer are bytes


def instruction_set() -> str:
    """Return the instruction-set class that this process runs on, such as `avx512_vnni`, `avx2`, `neon_dotprod`."""
    return instruction_class(platform.machine(), _flags())


def features() -> frozenset[str]:
    """Return which instructions this process has, of those kernels are chosen by, in the words of /proc/cpuinfo."""
    return _flags()


def instruction_class(machine: str, flags: Iterable[str]) -> str:
    """Return the highest level whose instructions are all there, and by name what is there beyond it.

    `avx2+avx_vnni`: two processors of a class run the same kernels, also where an emulator or a virtual machine hides a
    part of what a level has.
    """
    name, beyond = machine, set(flags)
    for level, needed in _LEVELS.get(machine, {}).items():
        if not needed <= beyond:
            break
        name, beyond = level, beyond - needed
    return "+".join([name, *sorted(beyond)])


@cache
def _flags() -> frozenset[str]:
    read = {"x86_64": _x86_flags, "aarch64": _arm_flags}.get(platform.machine())
    return frozenset(read()) if read else frozenset()


def _x86_flags() -> Collection[str]:
    """Ask the processor by its own instructions, as libraries do; or the kernel, where it gives us no page for code."""
    import ctypes
    import mmap

    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:  # SELinux's execmem, systemd's MemoryDenyWriteExecute
        return _kernels_x86_flags()
    page.write(_CPUID_CODE + _XGETBV_CODE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    out = (ctypes.c_uint32 * 4)()
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(start)

    def cpuid(leaf: int, subleaf: int) -> dict[str, int]:
        call(leaf, subleaf, out)
        return dict(zip(("eax", "ebx", "ecx", "edx"), out, strict=True))

    return _decoded(cpuid, ctypes.CFUNCTYPE(ctypes.c_uint32)(start + len(_CPUID_CODE)))


def _decoded(cpuid: Callable[[int, int], dict[str, int]], xgetbv: Callable[[], int]) -> Collection[str]:
    """Return the flags that the processor has and whose registers the system saves."""
    saved = xgetbv() if cpuid(1, 0)["ecx"] >> _OSXSAVE & 1 else 0
    found: set[str] = set()
    for (leaf, subleaf, register), bits in _CPUID.items():
        if leaf <= cpuid(leaf & 0x8000_0000, 0)["eax"]:
            value = cpuid(leaf, subleaf)[register]
            found |= {flag for flag, bit in bits.items() if value >> bit & 1}
    unsaved = [start for start, state in _XCR0.items() if saved & state != state]
    return {flag for flag in found if not flag.startswith(tuple(unsaved))}


def _kernels_x86_flags() -> Collection[str]:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return {flag for bits in _CPUID.values() for flag in bits} & set(line.split())


def _arm_flags() -> Collection[str]:
    """Ask the C library for what the kernel, or an emulator, told this process at its start."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.getauxval.argtypes, libc.getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
    words = {entry: libc.getauxval(entry) for entry in _HWCAP}
    found = {flag for entry, bits in _HWCAP.items() for flag, bit in bits.items() if words[entry] >> bit & 1}
    if "sve" in found:  # a sum has as many parts as a vector has lanes
        length = libc.prctl(_PR_SVE_GET_VL, 0, 0, 0, 0) & 0xFFFF
        found = found - {"sve"} | {f"sve{8 * length}"}
    return found
