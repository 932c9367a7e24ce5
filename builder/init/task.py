"""What a model's output means, and whether the data's labels can be compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.init.data import Found
from builder.runtimes.interface import Tensor
from builder.specs import Reader, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Meaning", "interpret"]


@dataclass(frozen=True)
class Meaning:
    """The task, the classes in the order of the outputs, and why it was decided so."""

    task: Task
    why: str
    labelled: bool = False
    scores: int | None = None  # numbers that the model gives for a sample
    classes: list[str] = field(default_factory=list)  # what data.classes must say


def interpret(output: Tensor, outputs: NDArray[Any] | None, found: Found) -> Meaning:
    """Tell the task from the first output and the labels; `outputs` is what it was on samples, if the model ran."""
    shape = outputs.shape if outputs is not None else output.shape
    scores = shape[1] if len(shape) == 2 else 1 if len(shape) == 1 else None
    if not output.dtype.startswith("float") or not scores:
        return Meaning(Task.NONE, "the first output is not one score for each class", classes=_needed(found))
    labels = found.labels
    if scores == 1:
        return _one_number(outputs, labels, found)
    if None in labels:
        return Meaning(Task.CLASSIFICATION, f"{scores} scores, no labels", scores=scores)
    if found.classes:
        return _by_names(found, scores)
    if _whole(labels, scores):
        return Meaning(Task.CLASSIFICATION, f"{scores} scores, labels from 0 to {scores - 1}", True, scores)
    why = f"the labels are not whole numbers from 0 to {scores - 1}, so they do not name one of {scores} scores"
    return Meaning(Task.NONE, why, scores=scores)


def _one_number(outputs: NDArray[Any] | None, labels: Sequence[object], found: Found) -> Meaning:
    probability = outputs is not None and outputs.min() >= 0 and outputs.max() <= 1
    if probability and _whole(labels, 2) and len(found.classes) in {0, 2}:
        return Meaning(Task.BINARY, "one probability, two kinds of labels", True, 1, found.classes)
    return Meaning(Task.NONE, "the first output is one number for a sample", scores=1, classes=_needed(found))


def _by_names(found: Found, scores: int) -> Meaning:
    what = "class folders" if found.reader is Reader.IMAGE_FOLDER else "words as labels"
    classes = _placed(found.classes, scores)
    if classes:
        why = f"{scores} scores, {len(found.classes)} {what}"
        return Meaning(Task.CLASSIFICATION, why, True, scores, classes)
    why = f"{scores} scores but {len(found.classes)} {what}, so it is not known which score is whose"
    return Meaning(Task.NONE, why, scores=scores, classes=_needed(found))


def _placed(names: Sequence[str], scores: int) -> list[str]:
    """Return the classes in the order of the scores: one name for each score, or numbers that say which score."""
    if len(names) == scores:
        return list(names)
    if len(names) < scores and all(name.isdecimal() and int(name) < scores for name in names):
        by_number = {int(name): name for name in names}
        return [by_number.get(index, str(index)) for index in range(scores)]
    return []


def _needed(found: Found) -> list[str]:
    """Return the classes where the reader cannot do without, although nothing is compared with them."""
    return found.classes if found.reader is Reader.CSV or found.classes != sorted(found.classes) else []


def _whole(labels: Sequence[object], count: int) -> bool:
    return all(isinstance(label, int) and 0 <= label < count for label in labels)
