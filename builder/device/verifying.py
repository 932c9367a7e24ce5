"""Whether this processor computes what the one at home did: the kit's model on ONNX Runtime, nothing timed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.device.by_package import OnnxRuntime, request_of
from builder.device.calls import distance, run_calls
from builder.device.driver import Feed
from builder.device.journal import Journal
from builder.device.kit import open_kit
from builder.device.machine import describe_device
from builder.device.run_onnxruntime import run, version
from builder.device.stop import FAILED, OK, WRONG_DEVICE, Failed, Stop
from builder.device.work import Work

__all__ = ["verify"]


class _Here(OnnxRuntime):
    """ONNX Runtime in this process: under an emulator, no other one can be started."""

    def run(self, engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any], files: Sequence[Path]) -> None:
        run({**request_of(engine, feeds, tensors), "files": files})


def _driver() -> _Here:
    try:
        return _Here(version({})["version"])
    except ImportError as error:
        raise Stop(f"onnxruntime is not here: {error}", "pip install onnxruntime", WRONG_DEVICE) from error


def verify(place: Path, say: Callable[[str], None]) -> int:
    """Run all calls of a kit and say how far their outputs are from those at home; return the exit code.

    It runs on any processor, an emulated one too, and leaves nothing. Raises Stop where ONNX Runtime is not here.
    """
    with tempfile.TemporaryDirectory() as folder:
        kit = open_kit(place, Path(folder), say)
        driver = _driver()
        device, given = describe_device(driver.runtime, driver.version), kit.given()
        work = Work(kit, driver, Journal(Path(folder, "journal")), device, say, given)
        try:
            run_calls(
                work, kit.folder / "model" / driver.artifact, Path(folder, "calls"), given.calls, lambda _done: None
            )
            near = distance(work, Path(folder, "calls"))
        except Failed as error:
            say(f"verified: no; {error}")
            return FAILED
        finally:
            work.journal.close()
    words = (
        "equal in every number"
        if near.snr_db is None
        else f"{near.snr_db:.1f} dB near, {near.max_abs:.3g} apart at most"
    )
    if near.snr_db is not None and near.rows:
        words += f", and the largest output is the same in {near.agreeing} of {near.rows}"
    here = f"{device['arch']} with ONNX Runtime {driver.version}"
    say(f"verified: the outputs of {given.samples} samples on {here} and at home are {words}")
    return OK
