"""Writes OpenVINO's intermediate representation of an ONNX file: `openvino_ir.py MODEL FOLDER f32|f16`.

A program of its own: OpenVINO 2026.4 numbers the layers that it adds from one model of a process to the next, and their
names are in the bytes. `write_ir` starts it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from builder.child import command
from builder.errors import StepError
from builder.runtimes.openvino import MODEL, core

__all__ = ["main", "write_ir"]

_TIMEOUT_S = 3600


def write_ir(model: Path, folder: Path, stored: str, hint: str, *, called: str = "the model") -> None:
    """Write model.xml and model.bin of an ONNX file into a folder, weights as `stored`: f32, f16 or int8.

    Raises StepError, with this hint, where OpenVINO cannot convert what is `called` so.
    """
    words = command(Path(__file__).resolve(), str(model), str(folder), stored)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = " ".join(lines[-3:])[-400:] or f"its process ended with {done.returncode}"
        raise StepError(f"OpenVINO cannot convert {called}: {why}", hint)


def main(model: str, folder: str, stored: str) -> None:
    """Write model.xml and model.bin into a folder, weights as `stored`."""
    import openvino

    openvino.save_model(core().read_model(model), Path(folder) / MODEL, compress_to_fp16=stored == "f16")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:  # OpenVINO's own
        sys.exit(str(error))
