"""Synthetic plans on the real planner, engine, store and workers, beside a model of what they must make.

    python tests/synthetic.py SPEC.json FOLDER [--jobs N] [--store STORE]

builds a spec in a builder process of its own, prints one JSON line for each event and outcome and one at the end, and
exits with 0, with 1 where an action has no result, and else with the code of the error. A spec is plain data:

    {"actions": [{"name": "a", "inputs": [], "source": "a.txt", "text": "a", "comment": "", "size": 0, "sleep_ms": 0}]}

where only the name must be given (the text is the name, if not said), and inputs come before what takes them. In FOLDER
lie `sources/` (what `source` names), `store/`, `cache/`, `out/ACTION/content` after a run, `executions.log`, and empty
files `faults/TEXT.WORD` that say what an action shall act out: fail, crash, hang, child or writer (synthetic_steps.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthetic_plan import NAME, Spec, actions_of, chains, expected, identities, write_sources
from synthetic_steps import EXECUTIONS, FILE

from builder import build
from builder.engine.events import Event, Events
from builder.engine.node import Node, Outcome
from builder.engine.schedule import Engine
from builder.errors import BuilderError
from builder.outcomes import ExitCode, Status
from builder.plan.action import Action
from builder.plan.decide import Planner
from builder.plan.facts import Facts
from builder.store.statcache import StatCache
from builder.store.store import Store

__all__ = [
    "Execution",
    "Spec",
    "actions_of",
    "chains",
    "delivered",
    "environment_of",
    "executions",
    "expected",
    "identities",
    "run",
    "run_actions",
    "start",
    "survivors",
    "write_sources",
]

ROOT = Path(__file__).resolve().parents[1]


def delivered(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each action's output in `out/`."""
    return {path.parent.name: path.read_bytes() for path in (folder / "out").glob(f"*/{FILE}")}


@dataclass(frozen=True)
class Execution:
    """One time that a worker ran an action; `ended` when its function came to its end."""

    pid: int
    identity: str
    ended: bool


def executions(folder: Path) -> list[Execution]:
    """Return the executions in the order in which they began."""
    log = folder / EXECUTIONS
    found: list[Execution] = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        what, pid, word = line.split()
        if what == "begin":
            found.append(Execution(int(pid), word, ended=False))
        else:
            found[found.index(Execution(int(pid), word, ended=False))] = Execution(int(pid), word, ended=True)
    return found


def run(spec: Spec, folder: Path, *, logged: bool = True, **how: Any) -> dict[str, Outcome]:
    """Build a spec, as `run_actions` does."""
    return run_actions(actions_of(spec, folder, logged=logged), folder, **how)


def run_actions(
    actions: Sequence[Action],
    folder: Path,
    *,
    jobs: int = 2,
    store: Path | None = None,
    readers: Sequence[Callable[[Event], None]] = (),
) -> dict[str, Outcome]:
    """Build actions in this process and deliver to `out/` what they make; return the outcome of each by name.

    Raises Interrupted after Ctrl-C or SIGTERM, StoreError where the store cannot be used.
    """
    events = Events(*readers)
    with _cache_folder(folder / "cache"), build.interruptible():
        stats = StatCache()
        try:
            opened = Store(store or folder / "store", stats, lambda text: events(Event("warning", message=text)))
            repairing: Any = build._repairing
            return dict(repairing(lambda: _run(actions, folder, opened, jobs, stats, events)))
        finally:
            stats.close()


@contextmanager
def _cache_folder(folder: Path) -> Iterator[None]:
    """Keep what a builder remembers of this machine in a folder, for as long as it runs."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        os.environ.update({"XDG_CACHE_HOME": before} if before is not None else {})


def _run(
    actions: Sequence[Action], folder: Path, store: Store, jobs: int, stats: StatCache, events: Events
) -> dict[str, Outcome]:
    planner = Planner(store, Facts(stats), folder)
    nodes: dict[str, Node] = {}
    for action in actions:
        inputs = {port: nodes[source] for port, (source, _) in action.inputs.items()}
        nodes[action.name] = Node(NAME, NAME, action, inputs)
    with ExitStack() as stack:
        engine = Engine(
            store, planner, events, lambda: stack.enter_context(store.workshop()), jobs=jobs, offline=False
        )  # fmt: skip
        engine.run(list(nodes.values()))
        outcomes = {name: _outcome(node) for name, node in nodes.items()}
        _deliver(outcomes, folder / "out", store, stats, events)
    notes = {
        name: {"key": outcome.key, "parts": outcome.parts, "reason": outcome.not_kept}
        for name, outcome in outcomes.items()
        if outcome.record
    }
    planner.remember(NAME, notes)
    return outcomes


def _outcome(node: Node) -> Outcome:
    assert node.outcome is not None
    return node.outcome


def _deliver(outcomes: dict[str, Outcome], out: Path, store: Store, stats: StatCache, events: Events) -> None:
    """Leave in `out/` what has a result, each file checked, and nothing else."""
    wanted = {name: outcome.record for name, outcome in outcomes.items() if outcome.record}
    for name in os.listdir(out) if out.is_dir() else ():  # noqa: PTH208  for every action of every build
        if name not in wanted:
            shutil.rmtree(out / name)
    for name, record in wanted.items():
        for entry in store.content.tree(record.outputs["data"]).files:
            target = f"{out}/{name}/{entry.path}"
            if _digest(target, stats) != entry.sha256:
                events(Event("note", message=f"{name} is delivered"))
                store.content.take_file(entry, Path(target))


def _digest(path: str, stats: StatCache) -> str | None:
    try:
        return stats.digest(path)
    except OSError:
        return None


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment of a builder process that works in a folder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def start(spec: Spec, folder: Path, *words: str, jobs: int = 2) -> subprocess.Popen[str]:
    """Start a builder process of a spec, in a session of its own; what it prints is one JSON document a line."""
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    file = folder / f"spec-{os.urandom(4).hex()}.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, __file__, str(file), str(folder), "--jobs", str(jobs), *words],
        cwd=folder,
        env=environment_of(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def survivors(folder: Path) -> list[int]:
    """Return the processes that work in a folder or below, or have it in their command line."""
    return [pid for pid in _pids() if pid != os.getpid() and _works_in(pid, folder.resolve())]


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _works_in(pid: int, folder: Path) -> bool:
    place = Path(f"/proc/{pid}")
    try:
        named = f"{folder}/".encode() in place.joinpath("cmdline").read_bytes().replace(b"\0", b"/")
        return named or place.joinpath("cwd").readlink().is_relative_to(folder)
    except OSError:  # gone meanwhile, a zombie, or somebody else's
        return False


def main() -> int:
    """Build what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Build a synthetic plan.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--unlogged", action="store_true", help="leave no line in the log of executions")
    parser.add_argument("--quiet", action="store_true", help="print errors and the last line only")
    given = parser.parse_args()
    folder = given.folder.resolve()
    spec = json.loads(given.spec.read_text(encoding="utf-8"))
    readers = [] if given.quiet else [lambda event: _say(event.document())]
    actions = actions_of(spec, folder, logged=not given.unlogged)
    begun = time.perf_counter()
    try:
        outcomes = run_actions(actions, folder, jobs=given.jobs, store=given.store, readers=readers)
    except BuilderError as error:
        _say({"kind": "error", "message": error.message, "hint": error.hint})
        return error.exit_code
    seconds = time.perf_counter() - begun
    for name, outcome in () if given.quiet else outcomes.items():
        _say({"kind": "outcome", "action": name, "status": outcome.status.word, "reason": outcome.reason})
    counts = Counter(outcome.status.word for outcome in outcomes.values())
    _say({"kind": "done", "seconds": seconds, **counts})
    good = all(outcome.status in (Status.BUILT, Status.CACHED) for outcome in outcomes.values())
    return ExitCode.OK if good else ExitCode.FAILED


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    sys.exit(main())
