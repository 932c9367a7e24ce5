"""Random plans, random edits and random faults, against a model of what must hold.

The fast profile runs with every test run; `pytest -m slow tests/test_properties.py` takes more examples, and kills too.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from synthetic import Spec, delivered, executions, expected, run, start, survivors

from builder.digest import canonical, digest_json
from builder.engine.node import Outcome
from builder.errors import RecipeError
from builder.outcomes import Status
from builder.plan.action import SOURCE, Action
from builder.plan.graph import graph
from builder.plan.keys import key_of
from builder.recipe.compose import compose
from builder.recipe.schema import Recipe, Use
from builder.registry import find_step
from builder.step import Kind, Need
from builder.store import statcache
from builder.store.actions import Record
from builder.store.cas import Damaged
from builder.store.statcache import StatCache
from builder.store.store import Store

FAST = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

Key = tuple[Any, ...]  # what an action's result depends on, as the model sees it
Operation = tuple[str, int, int]


@dataclass
class Vandal:
    """A folder with a store, and what goes wrong in it."""

    folder: Path
    right: dict[Path, str] = field(default_factory=dict)  # the files that results need -> SHA-256 that they must have
    rotten: dict[Path, statcache.FileState] = field(default_factory=dict)  # those of which only reading tells

    def wrong(self, path: Path) -> bool:
        return not path.is_file() or sha256(path.read_bytes()).hexdigest() != self.right[path]

    def wrong_at_a_glance(self, path: Path) -> bool:
        return self.wrong(path) and (not path.is_file() or statcache.file_state(path) != self.rotten.get(path))

    def expect(self, *paths: Path) -> None:
        """Remember how files of the store look that are as they should be."""
        self.right.update({path: path.name if path.parts[-3] == "cas" else _digest(path) for path in paths})

    def flip(self, what: int, which: int) -> None:
        def flipped(content: bytes) -> bytes:
            changed = bytearray(content)
            changed[what % len(content)] ^= 1 + what % 255
            return bytes(changed)

        self._damage(which, flipped)

    def truncate(self, what: int, which: int) -> None:
        self._damage(which, lambda content: content[: what % len(content)])

    def delete(self, _what: int, which: int) -> None:
        for path in self._kept(which):
            path.unlink()

    def swap(self, what: int, which: int) -> None:
        kind = ["cas", "ac"][what % 2]
        both = [*self._kept(which, kind), *self._kept(what // 2, kind)]
        contents = [path.read_bytes() for path in both]
        for path, content in zip(both, reversed(contents), strict=True):
            _overwrite(path, content)

    def rot(self, what: int, which: int) -> None:
        """Flip a byte of an object and make the stat cache believe that it is as it was."""
        for path in self._kept(which, "cas"):
            _overwrite(path, bytes([path.read_bytes()[0] ^ 1 + what % 255]) + path.read_bytes()[1:])
            self.rotten[path] = statcache.file_state(path)
            memory = StatCache(self.folder / "cache/builder")
            memory.believe(path, self.rotten[path], path.name)
            memory.close()

    def lose_folder(self, what: int, which: int) -> None:
        parts = ["cas", "ac", "locks", "logs", "tmp", "bad", "cas/" + "0123456789abcdef"[which % 16] + "?"]
        for folder in (self.folder / "store").glob(parts[what % len(parts)]):
            shutil.rmtree(folder)

    def lose_memory(self, what: int, _which: int) -> None:
        """Damage or remove what this machine remembers, which costs time and no more."""
        file = self.folder / "cache/builder/files.sqlite"
        if file.exists():
            content = file.read_bytes()
            file.write_bytes([b"", b"garbage" * 300, content[: len(content) // 2]][what % 3])

    def leave_debris(self, what: int, which: int) -> None:
        """Leave what a killed builder could have left."""
        debris = self.folder / "store" / ["tmp/1-dead/1/output", "cas/ff", "locks/ff"][what % 3]
        if self.right:  # there is a store
            debris.mkdir(parents=True, exist_ok=True)
            (debris / f"half-{which % 3}").write_bytes(b"half")

    def _kept(self, which: int, kind: str = "") -> list[Path]:
        """Return one file that a result needs, if there is any: an object of `cas`, or a record of `ac`."""
        there = sorted(path for path in self.right if path.is_file() and path.stat().st_size)
        there = [path for path in there if f"/{kind}" in f"{path.relative_to(self.folder)}"]
        return [there[which % len(there)]] if there else []

    def _damage(self, which: int, change: Callable[[bytes], bytes]) -> None:
        for path in self._kept(which):
            _overwrite(path, change(path.read_bytes()))


@dataclass
class World(Vandal):
    """A plan, what was done to it and to its store, and what is known to be intact."""

    actions: list[Spec] = field(default_factory=list)
    made: dict[Key, set[Path]] = field(default_factory=dict)  # the record and the objects that a result needs
    names: int = 0

    # the plan, and how it is edited

    def add(self, what: int, which: int) -> None:
        name = self._new_name()
        action = {"name": name, "text": "xyz"[what % 3], "size": 100 * (what % 2), "comment": str(which % 2)}
        inputs = [each["name"] for bit, each in enumerate(self.actions[-4:]) if which >> bit & 1]
        if what % 4 == 0:
            action["source"] = f"{which % 2}.txt"
        self.actions.append({**action, "inputs": inputs})

    def edit(self, what: int, which: int) -> None:
        action = self._pick(which)
        name, value = [("text", "xyz"[which % 3]), ("comment", str(which % 5)), ("size", which % 300)][what % 3]
        action[name] = value

    def rewire(self, what: int, which: int) -> None:
        place = which % len(self.actions)
        before = [each["name"] for each in self.actions[:place]]
        self.actions[place]["inputs"] = [name for bit, name in enumerate(before[-5:]) if what >> bit & 1]

    def remove(self, _what: int, which: int) -> None:
        gone = self._pick(which)
        if len(self.actions) > 1:
            self.actions.remove(gone)
            for action in self.actions:
                action["inputs"] = [name for name in action["inputs"] if name != gone["name"]]

    def rename(self, _what: int, which: int) -> None:
        action = self._pick(which)
        old, action["name"] = action["name"], self._new_name()
        for user in self.actions:
            user["inputs"] = [action["name"] if name == old else name for name in user["inputs"]]

    def write_source(self, what: int, which: int) -> None:
        (self.folder / "sources" / f"{which % 2}.txt").write_text(f"content {what % 4}")

    # what else goes wrong between two builds

    def rot(self, what: int, which: int) -> None:
        """Let an object rot that is needed once more."""
        super().rot(what, which)
        for file in (self.folder / "out").glob("*/content"):
            if any(path.name == _digest(file) for path in self.rotten):
                file.unlink()

    def edit_delivery(self, what: int, which: int) -> None:
        files = sorted((self.folder / "out").glob("*/content"))
        if files:
            file = files[which % len(files)]
            file.write_bytes(b"edited") if what % 2 else file.unlink()

    def fail(self, what: int, which: int) -> None:
        """Make every action of some text fail or crash from now on, and one of them run."""
        action = self._pick(which)
        action["comment"] = f"fails {what % 5}"
        (self.folder / "faults").mkdir(exist_ok=True)
        (self.folder / "faults" / f"{action['text']}.{['fail', 'crash'][what % 2]}").touch()

    def mend(self, _what: int, _which: int) -> None:
        shutil.rmtree(self.folder / "faults", ignore_errors=True)

    def kill(self, what: int, _which: int) -> None:
        """Start a builder and kill it after a while."""
        builder = start({"actions": self.actions}, self.folder)
        time.sleep(what % 1000 / 1000)
        builder.kill()
        builder.communicate()
        for _ in range(500):
            if not survivors(self.folder):
                return
            time.sleep(0.01)
        raise AssertionError(f"{survivors(self.folder)} have survived their builder")

    # a build, and what must hold of it

    def build(self) -> None:
        spec = {"actions": self.actions}
        contents, keys = expected(spec, self.folder), self._keys()
        intact = {key for key in keys.values() if self._is_intact(key)}
        before, private = len(executions(self.folder)), self._private()
        outcomes = run(spec, self.folder)
        ran = Counter(execution.identity for execution in executions(self.folder)[before:])

        self._check_outcomes(outcomes, keys, intact)
        good = {name for name, outcome in outcomes.items() if outcome.status in (Status.BUILT, Status.CACHED)}
        assert delivered(self.folder) == {name: contents[name] for name in good}
        allowed = Counter(_word(contents[name]) for name in _first_names(keys) if keys[name] not in intact)
        times = 2 if self.rotten else 1  # what is found while bytes are read begins the build again
        assert all(count <= times * allowed[word] for word, count in ran.items()), "something ran that was intact"
        assert self._private() <= private, "a build has left its private folder"
        self._learn({keys[name]: outcomes[name] for name in good})

    def _check_outcomes(self, outcomes: dict[str, Outcome], keys: dict[str, Key], intact: set[Key]) -> None:
        failing = {path.stem for path in (self.folder / "faults").glob("*")}
        lost = (Status.FAILED, Status.SKIPPED)
        for action in self.actions:
            name, status = action["name"], outcomes[action["name"]].status
            if any(outcomes[source].status in lost for source in action["inputs"]):
                assert status is Status.SKIPPED
            elif keys[name] in intact:
                assert status is Status.CACHED
            elif status is Status.FAILED:
                assert action["text"] in failing
            else:
                assert status in (Status.BUILT, Status.CACHED)

    def _learn(self, results: dict[Key, Outcome]) -> None:
        """Look at what the store has of each result, and that all it has under a final name is complete."""
        store = self.folder / "store"
        for key, outcome in results.items():
            assert outcome.record is not None
            tree = outcome.record.outputs["data"]
            listing = json.loads((store / "cas" / tree[:2] / tree).read_bytes())
            objects = {store / "cas" / name[:2] / name for name in (tree, *(f["sha256"] for f in listing["files"]))}
            self.made[key] = {*objects, *store.glob(f"ac/*/{outcome.key}/*.json")}
            self.expect(*self.made[key])
        for path in store.glob("cas/*/*"):
            known = path in self.right or path.name.startswith("half")
            assert known or _digest(path) == path.name, "something partial has a final name"

    def _private(self) -> set[str]:
        return {path.name for path in (self.folder / "store/tmp").glob("*") if path.is_dir()}

    def _keys(self) -> dict[str, Key]:
        contents = expected({"actions": self.actions}, self.folder)
        keys: dict[str, Key] = {}
        for action in self.actions:
            source = action.get("source")
            read = (self.folder / "sources" / source).read_bytes() if source else None
            inputs = tuple(contents[name] for name in action["inputs"])
            keys[action["name"]] = (action["text"], action["size"], action["comment"], source, read, inputs)
        return keys

    def _is_intact(self, key: Key) -> bool:
        return key in self.made and not any(map(self.wrong, self.made[key]))

    def _pick(self, which: int) -> Spec:
        return self.actions[which % len(self.actions)]

    def _new_name(self) -> str:
        self.names += 1
        return f"a{self.names}"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _overwrite(path: Path, content: bytes) -> None:
    time.sleep(0.01)  # the clock of files is coarse
    path.chmod(0o644)
    path.write_bytes(content)


def _word(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]


def _first_names(keys: dict[str, Key]) -> list[str]:
    """Return one action for each key."""
    return list({key: name for name, key in reversed(keys.items())}.values())


@contextmanager
def believing() -> Iterator[Path]:
    """Make a folder in which the stat cache believes at once, so that there is something to be wrong about."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where nothing waits for a disk
    folder = Path(tempfile.mkdtemp(prefix="properties-", dir=memory))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(statcache, "_YOUNG_NS", 0)
            yield folder
    finally:
        shutil.rmtree(folder)


EDITS = ("add", "edit", "rewire", "remove", "rename", "write_source")
FAULTS = ("flip", "truncate", "delete", "swap", "rot", "lose_folder", "lose_memory", "leave_debris")
ACTED = ("edit_delivery", "fail", "mend")
numbers = st.integers(0, 2**16)


def operations(*names: str) -> st.SearchStrategy[Operation]:
    return st.tuples(st.sampled_from(names), numbers, numbers)


def histories(*names: str, rounds: int) -> st.SearchStrategy[tuple[list[Operation], list[list[Operation]]]]:
    """Return plans to begin with, and what happens before each of the builds that follow."""
    plans = st.lists(operations("add"), min_size=1, max_size=7)
    return st.tuples(plans, st.lists(st.lists(operations(*names), min_size=1, max_size=3), max_size=rounds))


def live(history: tuple[list[Operation], list[list[Operation]]]) -> None:
    plan, rounds = history
    with believing() as folder:
        world = World(folder)
        (folder / "sources").mkdir()
        for index in range(2):
            world.write_source(index, index)
        for happening in (plan, [], *rounds):
            for name, what, which in happening:
                getattr(world, name)(what, which)
            world.build()


@pytest.mark.invariant(1, 2, 3, 4, 6, 7)
@FAST
@given(histories(*EDITS, *FAULTS, *ACTED, rounds=4))
def test_whatever_is_edited_and_damaged_each_build_is_right_and_nothing_runs_twice(
    history: tuple[list[Operation], list[list[Operation]]],
) -> None:
    live(history)


@pytest.mark.slow
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 7)
@SLOW
@given(histories(*EDITS, *FAULTS, *ACTED, "kill", rounds=6))
def test_the_same_for_many_histories_with_killed_builders(
    history: tuple[list[Operation], list[list[Operation]]],
) -> None:
    live(history)


@dataclass
class Shelf(Vandal):
    """A store alone, beside what was put into it: key and what was discovered -> files."""

    model: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    made: dict[tuple[str, str], list[Path]] = field(default_factory=dict)  # the record and the objects that it needs

    def put(self, what: int, which: int) -> None:
        """Do as the engine does: look, and where there is nothing, commit."""
        key, seen = self._key(which)
        kind = (which % 2 + which // 2) % 2  # a key has one content, which other keys have too
        files = {f"f{n}": bytes([kind, n]) * 3 for n in range(1 + kind)}
        with self._open() as store, store.workshop() as private:
            if store.lookup(key, lambda _name: seen) is not None:
                return
            (private / "output").mkdir()
            for name, content in files.items():
                (private / "output" / name).write_bytes(content)
            with store.publishing():
                tree = store.content.add_tree(private / "output", private)
                record = Record(key, {}, {"port": tree.digest}, discovered={"found": seen})
                store.commit(record, private)
            written = max(store.actions.folder(key).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            objects = [store.content.path(name) for name in (tree.digest, *(entry.sha256 for entry in tree.files))]
        self.model[key, seen] = files
        self.made[key, seen] = [written, *objects]
        self.expect(*self.made[key, seen])
        assert not any(map(self.wrong_at_a_glance, self.made[key, seen]))
        self.look(what, which)

    def look(self, _what: int, which: int) -> None:
        """Take what a key and a discovered file give: all of it as it was put, or nothing."""
        key, seen = self._key(which)
        needed = self.made.get((key, seen), [])
        with self._open() as store:
            record = store.lookup(key, lambda _name: seen)
            if record is None:
                assert not needed or any(map(self.wrong, needed)), "an intact result is not found"
                return
            assert record.discovered == {"found": seen}
            assert not any(map(self.wrong_at_a_glance, needed[1:])), "a damaged result is a hit"
            try:
                store.content.take(store.content.tree(record.outputs["port"]), self.folder / "taken")
            except Damaged:
                assert store.lookup(key, lambda _name: seen) is None
            else:
                taken = {path.name: path.read_bytes() for path in (self.folder / "taken").iterdir()}
                assert taken == self.model[key, seen]
        shutil.rmtree(self.folder / "taken", ignore_errors=True)

    def _key(self, which: int) -> tuple[str, str]:
        return f"{which % 2:02}" * 32, str(which // 2 % 2)

    @contextmanager
    def _open(self) -> Iterator[Store]:
        stats = StatCache(self.folder / "cache/builder")
        try:
            yield Store(self.folder / "store", stats, lambda _text: None)
        finally:
            stats.close()


STORED = st.lists(operations("put", "put", "put", "look", "look", *FAULTS), min_size=8, max_size=20)


def keep(happening: list[Operation]) -> None:
    with believing() as folder:
        shelf = Shelf(folder)
        for name, what, which in happening:
            getattr(shelf, name)(what, which)
        for which in range(4):
            shelf.look(0, which)
            shelf.put(which, which)
            shelf.look(0, which)


@pytest.mark.invariant(1, 2)
@settings(FAST, max_examples=40)
@given(STORED)
def test_a_store_gives_back_what_was_put_into_it_or_nothing(happening: list[Operation]) -> None:
    keep(happening)


@pytest.mark.slow
@pytest.mark.invariant(1, 2)
@settings(FAST, max_examples=400)
@given(STORED)
def test_the_same_of_a_store_for_many_histories(happening: list[Operation]) -> None:
    keep(happening)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def typed(value: Any) -> Any:
    """Return a value that equals another one only if their types do too, and zeros have one sign."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@pytest.mark.invariant(7)
@settings(deadline=None)
@given(values)
@example({"a": 0, "b": [1, 1.0, True, "1", None, -0.0, 0.0]})
def test_no_two_values_have_the_same_canonical_bytes(value: Any) -> None:
    assert typed(json.loads(canonical(value))) == typed(value), "it can be read back, so no other one has these bytes"


@pytest.mark.invariant(7)
@settings(deadline=None)
@given(st.data(), st.dictionaries(st.text(), values, min_size=1, max_size=4), values)
def test_a_change_anywhere_in_the_parts_is_another_key(data: st.DataObject, parts: dict[str, Any], new: Any) -> None:
    name = data.draw(st.sampled_from(sorted(parts)))
    changed = {**parts, name: new}
    without = {other: value for other, value in parts.items() if other != name}

    assert (key_of(changed) == key_of(parts)) == (typed(changed) == typed(parts))
    assert key_of(without) != key_of(parts)
    assert key_of(dict(reversed(parts.items()))) == key_of(parts)


@pytest.mark.invariant(7)
@given(values, st.text(), st.text())
def test_things_of_two_kinds_never_share_a_digest(value: Any, one: str, other: str) -> None:
    assert (digest_json(one, value) == digest_json(other, value)) == (one == other)


USES = {"simplify": "simplify", "quantize": "quantize", "evaluate": "evaluate", "again": "evaluate"}


@settings(FAST, max_examples=4)
@given(st.permutations(sorted(USES)), st.integers(2, len(USES)))
def test_a_plan_does_not_depend_on_the_order_in_which_its_steps_are_written(order: list[str], count: int) -> None:
    words = [f"+steps@steps.{name}={USES[name]}" for name in order[:count]]
    one, other = (
        graph(compose(["model=fashion_mobilenet", "data=fashion_mnist", *written]))
        for written in (words, sorted(words))
    )

    assert one == other
    check_order(one)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return compose(["recipe=jetson_int8"])


@settings(FAST, max_examples=150)
@given(st.data(), st.lists(st.sampled_from(["simplify", "quantize", "evaluate", "compile", "benchmark"]), max_size=6))
def test_a_plan_has_every_input_before_its_user_or_is_refused(
    recipe: Recipe, data: st.DataObject, names: list[str]
) -> None:
    uses: list[Use] = []
    for index, name in enumerate(names):
        sources = st.sampled_from([SOURCE, *(use.name for use in uses), "nobody"])
        inputs = data.draw(st.dictionaries(st.sampled_from(sorted(find_step(name).inputs)), sources, max_size=2))
        options = next(use.options for use in recipe.steps if use.step == name)
        uses.append(Use(f"{'abc'[index % 3]}{index}", name, options, inputs))
    in_order = tuple(sorted(uses, key=lambda use: (find_step(use.step).rank, use.name)))
    try:
        actions = graph(replace(recipe, steps=in_order))
    except RecipeError:
        return
    check_order(actions)
    found = {action.name.partition("@")[0] for action in actions if not action.lazy}
    assert found - {"check", "parser", "tensors"} == {SOURCE, *(use.name for use in uses)}


def check_order(actions: Sequence[Action]) -> None:
    """Every input is there before its user, and has what the user's port takes."""
    before: dict[str, Action] = {}
    for action in actions:
        assert action.name not in before
        for port, (source, output) in action.inputs.items():
            kind = before[source].step.outputs[output]
            measures_engine = kind is Kind.ENGINE and action.step.need is Need.HOST
            assert kind in action.step.kinds(port) or measures_engine
        before[action.name] = action
