"""Files of Keras 3 (.keras), read without running any code that is in them."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from builder.errors import ModelError
from builder.step import Job

__all__ = ["load_keras"]

# Layers that hold code, or bring it from elsewhere; functions are kept as `__lambda__`.
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_BUILD_IT = (
    "build the model in your own code, and keep its weights in a file: model.code=FILE.py:NAME with "
    "model.path=NAME.weights.h5 (model.save_weights)"
)


def load_keras(job: Job) -> Any:
    """Return the model in a .keras file, which is refused where it brings code. Raises ModelError."""
    from keras import __version__
    from keras.models import load_model

    file = next(Path(job.inputs["weights"]).iterdir()) if "weights" in job.inputs else None
    if file is None or file.suffix != ".keras":
        raise ModelError(
            f"a model of format keras lies in a .keras file, not in {file.suffix if file else 'nothing'}",
            "load it with Keras once and save it: model.save('model.keras'); or build it: model.code=FILE.py:NAME",
        )
    _refuse_code(_config(file))
    try:
        return load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes
        traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"Keras {__version__} cannot load the file: {words}", _BUILD_IT) from error


def _config(file: Path) -> Any:
    try:
        with ZipFile(file) as archive:
            return json.loads(archive.read("config.json"))
    except (BadZipFile, KeyError, ValueError) as error:
        raise ModelError(
            "the file is no model of Keras 3: it holds no config.json", "save it anew: model.save('model.keras')"
        ) from error


def _refuse_code(config: Any) -> None:
    """Raise ModelError for what holds code, or whose class is not one of Keras: loading it would run that."""
    for entry in _entries(config):
        name, module = str(entry["class_name"]), str(entry.get("module") or "")
        registered = not module and ">" in str(entry.get("registered_name"))  # as package>Class
        if name in _CODE or registered or module.partition(".")[0] not in ("", "keras", "builtins"):
            raise ModelError(
                f"the file holds a '{name}', whose code is not Keras's own, and a model file may run none", _BUILD_IT
            )


def _entries(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialized object of a config that loading makes: not how the model was trained."""
    if isinstance(node, dict):
        if "class_name" in node:
            yield node
        node = [child for key, child in node.items() if key != "compile_config"]
    if isinstance(node, list):
        for child in node:
            yield from _entries(child)
