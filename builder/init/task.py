"""What a model's output means, and whether the data's labels can be compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from builder.init.data import Found
from builder.runtimes.onnxruntime import Tensor
from builder.specs import Reader, Task

__all__ = ["Meaning", "interpret"]


@dataclass(frozen=True)
class Meaning:
    """The task, the classes in the order of the outputs, and why it was decided so."""

    task: Task
    labelled: bool
    why: str
    scores: int | None = None  # numbers that the model gives for a sample
    classes: list[str] = field(default_factory=list)


def interpret(output: Tensor, shape: tuple[int | None, ...] | None, found: Found) -> Meaning:
    """Tell the task from the first output (`shape`: what it was for one sample) and from the labels that are there."""
    shape = shape if shape is not None else output.shape
    if not output.dtype.startswith("float") or len(shape) != 2 or not shape[1] or shape[1] == 1:
        why = "the first output is not one score for each class, so outputs are compared with the float model's"
        return Meaning(Task.NONE, labelled=False, why=why, classes=found.classes)
    scores = shape[1]
    labels = [sample.label for sample in found.samples]
    if None in labels:
        why = "no labels: decisions are compared with the float model's"
        return Meaning(Task.CLASSIFICATION, labelled=False, why=why, scores=scores)
    if found.classes:
        return _by_names(found.classes, scores, found.reader)
    if all(isinstance(label, int) and 0 <= label < scores for label in labels):
        return Meaning(Task.CLASSIFICATION, labelled=True, why=f"labels count {scores} classes from 0", scores=scores)
    why = f"the labels are not whole numbers from 0 to {scores - 1}, so they cannot be compared with the model's scores"
    return Meaning(Task.NONE, labelled=False, why=why, scores=scores)


def _by_names(names: Sequence[str], scores: int, reader: Reader) -> Meaning:
    what = "class folders" if reader is Reader.IMAGE_FOLDER else "words as labels"
    classes = _placed(names, scores)
    if classes:
        why = f"{len(names)} {what}, {scores} scores"
        return Meaning(Task.CLASSIFICATION, labelled=True, why=why, scores=scores, classes=classes)
    why = f"{len(names)} {what} but {scores} scores: which score belongs to which is not known"
    return Meaning(Task.NONE, labelled=False, why=why, scores=scores, classes=list(names))


def _placed(names: Sequence[str], scores: int) -> list[str]:
    """Return the classes in the order of the scores: one name for each score, or numbers that say which score."""
    if len(names) == scores:
        return list(names)
    if len(names) < scores and all(name.isdecimal() and int(name) < scores for name in names):
        by_number = {int(name): name for name in names}
        return [by_number.get(index, str(index)) for index in range(scores)]
    return []
