"""How far the tensors inside a model are from those of its source, from one pass of both over the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.measure.sums import Sums, summable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.data.feeder import Fed
    from builder.runtimes.interface import Loaded

__all__ = ["Compared", "compare_tensors", "compared"]

_AT_ONCE = 1 << 20  # values taken to float64 together


@dataclass
class Compared:
    """A tensor of the source, and what stands for it in the model, over all samples."""

    sums: Sums = field(default_factory=Sums)
    shape: tuple[int, ...] = ()  # with the batch, at the last run
    not_finite: int = 0  # values left out, since the source's or the model's is NaN, infinite or beyond 1e70
    lost: int = 0  # of these, numbers in the source
    same: bool = True  # of these, all are the same in both

    def add(self, name: str, source: NDArray[Any], model: NDArray[Any]) -> None:
        """Add what one run made. Raises StepError where the shapes differ."""
        import numpy as np

        if source.shape != model.shape:
            raise StepError(f"tensor '{name}' is {list(source.shape)} in the source, {list(model.shape)} in the model")
        self.shape = source.shape
        before, after = source.reshape(-1), model.reshape(-1)
        for start in range(0, before.size, _AT_ONCE):
            ours, theirs = (values[start : start + _AT_ONCE].astype(np.float64) for values in (before, after))
            finite = summable(ours) & summable(theirs)
            if not finite.all():
                self.not_finite += int((~finite).sum())
                self.lost += int((summable(ours) & ~finite).sum())
                self.same &= np.array_equal(ours[~finite], theirs[~finite], equal_nan=True)
                ours, theirs = ours[finite], theirs[finite]
            self.sums.add(ours, theirs)

    def plain(self) -> dict[str, Any]:
        """Return it as section.json holds it; `snr_db` is None where all values are equal, or the source's are 0."""
        sums = self.sums
        return {
            "snr_db": None if sums.snr_db is None else round(sums.snr_db, 6),
            "exact": self.same and sums.largest == 0.0,
            "cosine": None if sums.cosine is None else round(sums.cosine, 12),
            "max_abs_difference": sums.largest,
            "values": sums.count,
            "not_finite": self.not_finite,
            "lost": self.lost,
        }


def compared(source: NDArray[Any], model: NDArray[Any]) -> Compared:
    """Compare two arrays of one shape."""
    found = Compared()
    found.add("", source, model)
    return found


def compare_tensors(
    names: Mapping[str, str], feds: Iterable[Fed], source: Loaded, model: Loaded, progress: Callable[[int], None]
) -> tuple[dict[str, Compared], int]:
    """Run the model on what the source was fed, and compare tensor by tensor; return that and the number of samples.

    `names` is source tensor -> the model's, each an output of its session, or an input of the source; of those that
    are no floating-point numbers nothing is returned. One batch of both models' tensors is in memory at a time.
    """
    outputs, theirs = ([output.name for output in session.outputs] for session in (source, model))
    found: dict[str, Compared] = {}
    count = 0
    for fed in feds:
        before = {**fed.feed, **dict(zip(outputs, fed.outputs, strict=True))}
        after = dict(zip(theirs, model.run(fed.feed), strict=True))
        for name, other in names.items():
            if before[name].dtype.kind == "f" and after[other].dtype.kind == "f":
                found.setdefault(name, Compared()).add(name, before[name], after[other])
        count += len(fed.samples)
        progress(count)
    return found, count
