"""`cpu_int8` without its benchmark as one would script it: the builder's own step functions and checks, and no store.

python tests/benchmarks/by_hand.py FOLDER

Everything runs in one process, so that imports are paid once; nothing is hashed for a key, kept, or reported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from builder.engine.checks import check_outputs
from builder.onnxtools.calibration import Method
from builder.sources.step import model_source
from builder.specs import Data, Layout, Model, Preprocess, Reader, Split, Task
from builder.step import Job, Step
from builder.steps.evaluate import Options as EvaluateOptions
from builder.steps.evaluate import evaluate
from builder.steps.quantize import Calibration, Kernels, quantize
from builder.steps.quantize import Options as QuantizeOptions
from builder.steps.simplify import Options as SimplifyOptions
from builder.steps.simplify import simplify

ASSETS = Path(__file__).resolve().parents[2] / "conf" / "assets"
MODEL = Model("fashion_mobilenet", path="model.onnx", task=Task.CLASSIFICATION)
DATA = Data(
    "fashion_mnist",
    Reader.IDX,
    root=str(ASSETS / "fashion_mnist"),
    splits={
        name: Split(f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz")
        for name, stem in (("calibration", "calibration"), ("test", "t10k"))
    },
    classes=[
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ],
    preprocess=Preprocess(scale=0.00392156862745098, mean=[0.5], std=[0.5], layout=Layout.NCHW),
)


def build(folder: Path) -> None:
    """Write the folders model, simplify, quantize and evaluate."""

    def run(step: Step, name: str, options: Any, data: Data | None = None, **inputs: Path) -> Path:
        local = {"path": str(ASSETS / "fashion_mobilenet" / "model.onnx"), "shown": "model.onnx"}
        job = Job(inputs, folder / name, MODEL, data, local={**local, "offline": True, "environment": {}})
        job.output.mkdir(parents=True)
        step.run(options, job)
        check_outputs(step, job.output, deferred=False)
        return job.output / next(iter(step.outputs))

    source = run(model_source, "model", None)
    simplified = run(simplify, "simplify", SimplifyOptions(), model=source)
    calibration = Calibration(Method.MINMAX, samples=256, kernels=Kernels.EXACT)
    quantized = run(quantize, "quantize", QuantizeOptions(calibration=calibration), DATA, model=simplified)
    run(evaluate, "evaluate", EvaluateOptions(), DATA, model=quantized, reference=source)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
