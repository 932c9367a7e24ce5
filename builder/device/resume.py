"""Finishes a build on the device that it is for: `python3 resume.pyz`, or `python -m builder resume KIT`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from builder.device.by_package import PACKAGES
from builder.device.by_program import Program, find_program
from builder.device.compiling import compile_engine
from builder.device.driver import Driver
from builder.device.evaluating import evaluate
from builder.device.files import check_room, digest, trouble
from builder.device.journal import Journal
from builder.device.kit import Kit, open_kit
from builder.device.machine import check_device, describe_device
from builder.device.result import find_result, result_name, write_result
from builder.device.stop import FAILED, INTERRUPTED, OK, USAGE, WRONG_DEVICE, Failed, Stop
from builder.device.timing import benchmark
from builder.device.verifying import verify
from builder.device.work import Work

__all__ = ["main", "resume"]

_STEPS: dict[str, Callable[[Work, str, Path], dict[str, Any]]] = {
    "compile": compile_engine,
    "evaluate": evaluate,
    "benchmark": benchmark,
}
_SHARE = 4  # room that is asked for, in sizes of the kit: two engines, outputs, the result


def main(words: Sequence[str]) -> int:
    """Resume a kit and return the exit code; the path of the result goes to stdout, everything else to stderr."""
    arguments = _arguments(words)
    place = Path(arguments.kit).absolute()
    work = Path(arguments.work).absolute() if arguments.work else place.parent
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        if arguments.verify:
            return verify(place, _say)
        result, code = resume(place, work, arguments.driver, _say)
    except Stop as error:
        return _told(error)
    except OSError as error:
        return _told(trouble(error, work))
    except KeyboardInterrupt:
        return _told(Stop("interrupted; what is done is kept", "resume again to go on", INTERRUPTED))
    else:
        with contextlib.suppress(OSError):
            print(result, flush=True)
        return code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resume(place: Path, beside: Path, wanted: str, say: Callable[[str], None]) -> tuple[Path, int]:
    """Do what a kit still needs, write the result beside it, and return its path and the exit code.

    Raises Stop for what is no kit, a device that is not the target, and a lack of room.
    """
    if place.is_dir() and place.resolve() in (beside.resolve(), *beside.resolve().parents):
        hint = f"say another one: --work {place.resolve().parent}"
        raise Stop(f"--work {beside} is inside the kit, which holds nothing but its own files", hint, USAGE)
    beside.mkdir(parents=True, exist_ok=True)
    kit = open_kit(place, beside / "work", say)
    device = describe_device(kit.target["runtime"], "", kit.target.get("features", ()))
    check_device(kit.target, device)
    driver = _driver(kit, wanted)
    device[driver.runtime] = driver.version
    check_device(kit.target, device, _install(kit) if kit.engine else "")
    journal = Journal(beside / "work" / kit.digest[:16] / digest(device)[:16])
    try:
        file = beside / result_name(kit, device)
        if find_result(journal, file):
            say(f"nothing to do: '{kit.name}' is finished on this device")
            return file, OK
        check_room(journal.folder, _SHARE * kit.bytes)
        say(f"'{kit.name}' on {device['name']}: {driver.runtime} {driver.version} by {driver.name}")
        outcomes = _outcomes(Work(kit, driver, journal, device, say, kit.given()))
        write_result(file, kit, device, journal, outcomes)
    finally:
        journal.close()
    failed = [name for name, done in outcomes.items() if done["status"] != "built"]
    say(f"done; take {file.name} home: python -m builder resume --import {file.name}")
    return file, FAILED if failed else OK


def _driver(kit: Kit, wanted: str) -> Driver:
    """Return what runs this kit's models here. Raises Stop, exit 3, where nothing does."""
    runtime = kit.target["runtime"]
    if runtime not in PACKAGES:
        raise Stop(f"the kit is for {runtime}, and this runs {' and '.join(PACKAGES)}", "", WRONG_DEVICE)
    found: Driver | None = PACKAGES[runtime].find() if wanted in ("", "python") else None
    by_program = runtime == Program.runtime
    if found is None and by_program and wanted in ("", "trtexec"):
        found = find_program()
    if found is None:
        tried = f"this Python ({sys.executable}) cannot import {runtime}"
        other = ", and trtexec is neither on PATH nor in /usr/src/tensorrt/bin" if by_program else ""
        raise Stop(f"{runtime} is not here: {tried}{other}", _install(kit), WRONG_DEVICE)
    return found


def _install(kit: Kit) -> str:
    """Return how to get the runtime: an engine that was built at home wants the version that built it."""
    return PACKAGES[kit.target["runtime"]].install(kit.engine["version"] if kit.engine else "")


def _outcomes(work: Work) -> dict[str, dict[str, Any]]:
    """Do each action that is not done yet; what hangs on one that failed is left out."""
    outcomes: dict[str, dict[str, Any]] = {}
    for action in work.kit.actions:
        name, broken = action["name"], [each for each, done in outcomes.items() if done["status"] != "built"]
        sources = [source for source, _port in action["inputs"].values()]
        needs = [source for source in sources if source in broken]
        used = {source: digest(outcomes[source]["files"]) for source in sources}
        kept = work.journal.kept(name, used)
        if needs:
            outcomes[name] = _without("skipped", f"{needs[0]} failed")
        elif kept is not None:
            work.say(f"{name}: was done before")
            outcomes[name] = {"status": "built", "error": None, **kept}
        else:
            given = work.kit.given(action["tensors"])
            outcomes[name] = _done(replace(work, given=given, used=used), action)
    return outcomes


def _done(work: Work, action: dict[str, Any]) -> dict[str, Any]:
    name, began = action["name"], time.monotonic()
    part = work.journal.begin(name)
    try:
        facts = _STEPS[action["step"]](work, name, part)
    except Failed as error:
        check_room(work.journal.folder, 0)  # a program that found no room says so in its own words
        work.say(f"{name} failed: {error}")
        return _without("failed", str(error))
    work.journal.finish(name, part, facts, time.monotonic() - began, work.used)
    work.say(f"{name}: done in {time.monotonic() - began:.1f} s")
    kept = work.journal.kept(name, work.used)
    if kept is None:
        raise Stop(f"what {name} left in {work.journal.place(name)} was changed by somebody else", "resume again")
    return {"status": "built", "error": None, **kept}


def _without(status: str, error: str) -> dict[str, Any]:
    return {"status": status, "error": error, "seconds": None, "facts": {}, "files": {}}


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("resume", description="Finish a build on the device that it is for.")
    parser.add_argument(
        "kit", nargs="?", default=str(_own_kit()), help="a kit's folder or .tar; else the one it lies in"
    )
    parser.add_argument("--work", default="", metavar="FOLDER", help="where to work and to leave the result")
    parser.add_argument("--verify", action="store_true", help="only run the model with ONNX Runtime here, and compare")
    parser.add_argument("--driver", default="", choices=("python", "trtexec"), help="what to run TensorRT by")
    return parser.parse_args(list(words))


def _own_kit() -> Path:
    """Return the folder that this program's archive lies in."""
    return Path(sys.argv[0]).absolute().parent


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more: the work goes on
        print(text, file=sys.stderr, flush=True)


def _told(error: Stop) -> int:
    _say(f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else ""))
    return error.code


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
