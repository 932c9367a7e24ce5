"""The little of NVIDIA's CUDA driver API that running an engine takes, through ctypes: the driver brings libcuda.

Source: CUDA Driver API reference, https://docs.nvidia.com/cuda/cuda-driver-api/. It works on the device's primary
context, which is the one that TensorRT uses.
"""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["Cuda", "CudaError"]

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class CudaError(Exception):
    """There is no driver or no GPU, or a call failed; the words are for people."""


class Cuda:
    """The first GPU of this machine. Raises CudaError where there is none."""

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise CudaError(f"there is no NVIDIA driver here: {error}") from error
        self._call("cuInit", 0)
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def describe(self) -> dict[str, str]:
        """Return name, compute capability, and the CUDA version that the driver can serve."""
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device)
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return {
            "name": name.value.decode(errors="replace"),
            "compute_capability": f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}",
            "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
        }

    def memory(self) -> tuple[int, int]:
        """Return the bytes of the GPU's memory that are free, and all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, values: bytes) -> None:
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), values, ctypes.c_size_t(len(values)))

    def read(self, address: int, size: int) -> bytes:
        values = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", values, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return values.raw

    def stream(self) -> int:
        """Return a new stream, as the number that TensorRT takes."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def wait(self, stream: int) -> None:
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            words = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(words))
            said = (words.value or b"no reason given").decode(errors="replace")
            raise CudaError(f"{name}: {said} (CUDA error {code})")
