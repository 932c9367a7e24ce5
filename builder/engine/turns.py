"""Whose turn it is: one builder at a time makes a key, and who measures has the machine alone."""

from __future__ import annotations

from collections.abc import Callable

from builder.engine.node import Node
from builder.engine.tell import process_words
from builder.store.machine import Machine
from builder.store.store import Store
from builder.trouble import trouble

__all__ = ["Turns"]


class Turns:
    """Takes what an action must hold while it runs, without waiting; `tell` says what it waits for, once it could."""

    def __init__(self, store: Store, tell: Callable[[str], bool]) -> None:
        self._store = store
        self._tell = tell
        self._told: set[str] = set()

    def take(self, node: Node) -> bool:
        """Take the key's lock and a share in the machine, or all of it; False where another build has it."""
        assert node.decision is not None
        try:
            if node.lock is None:
                lock = self._store.lock(node.decision.key)
                if not lock.acquire():
                    self._say(
                        f"another build ({process_words(lock.holder())}) is making {node.action.name}; waiting for it"
                    )
                    return False
                node.lock = lock
            node.machine = node.machine or Machine()
            if node.machine.alone() if node.alone else node.machine.share():
                return True
        except OSError as error:
            raise trouble(error, self._store.root) from error
        if node.alone:  # it keeps its turn
            self._say(f"other builds are at work; waiting until {node.action.name} has the machine alone")
        else:
            self._say("another build measures on this machine; waiting until it has finished")
            node.close()
        return False

    def _say(self, message: str) -> None:
        if message not in self._told and self._tell(message):
            self._told.add(message)
