"""Writes OpenVINO's intermediate representation of an ONNX file: `openvino_ir.py MODEL FOLDER f32|f16`.

A program of its own: OpenVINO 2026.4 numbers the layers that it adds from one model of a process to the next, and their
names are in the bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from builder.runtimes.openvino import MODEL, core

__all__ = ["main"]


def main(model: str, folder: str, stored: str) -> None:
    """Write model.xml and model.bin into a folder, weights as `stored`."""
    import openvino

    openvino.save_model(core().read_model(model), Path(folder) / MODEL, compress_to_fp16=stored == "f16")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:  # OpenVINO's own
        sys.exit(str(error))
