"""From samples to a model's inputs: batches, constants, and state carried from sample to sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.data.fit import check_fit
from builder.data.sample import Sample
from builder.errors import DataError, ModelError, did_you_mean
from builder.runtimes.interface import Loaded
from builder.specs import Data, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Feed = dict[str, NDArray[Any]]

__all__ = ["Fed", "Feeder"]


@dataclass(frozen=True, eq=False)
class Fed:
    """The samples that went in together, all of the model's inputs, and its outputs (none if they were not wanted)."""

    samples: list[Sample]
    feed: Feed
    outputs: list[NDArray[Any]]


class Feeder:
    """Feeds samples to a model: knows which input takes them, which are constant, and which carry state.

    Where the first axis of the inputs is open and there is no state, samples go in batches; where it is fixed, in
    batches of that size, the last one filled up with its last sample. A model with state gets one sample at a time;
    its state starts as zeros in each sequence. Open axes of states and constants are as `model.shapes` says, else 1.
    Raises ModelError where constants, states or their shapes are not the model's, and DataError where it cannot be
    told which input takes the samples.
    """

    def __init__(self, session: Loaded, model: Model, data: Data, batch: int = 64) -> None:
        self._session = session
        self._model = model
        self._data = data
        self._inputs = {tensor.name: tensor for tensor in session.inputs}
        self._outputs = {tensor.name: index for index, tensor in enumerate(session.outputs)}
        self._check_names()
        self._constants = {name: self._full(name, value) for name, value in model.constants.items()}
        self._free = [name for name in self._inputs if name not in model.constants and name not in model.state]
        self._fixed = self._fixed_batch()
        self._batch = 1 if model.state else self._fixed or batch
        self._batched = True  # samples lack the model's first axis; known when the first one is seen

    def run(self, stream: Iterable[Sample], *, outputs: bool = True) -> Iterator[Fed]:
        """Run the model on samples, batch by batch. A model with state needs `outputs`."""
        state: Feed = {}
        sequence = ""
        for group in self._groups(stream):
            samples = [sample for sample, _ in group]
            if not sequence or samples[0].sequence != sequence:
                sequence, state = samples[0].sequence, self._zeros()
            feed = {**self._stacked([arrays for _, arrays in group]), **self._constants, **state}
            results = self._session.run(feed) if outputs else []
            yield Fed(samples, feed, results)
            state = {name: results[self._outputs[output]] for name, output in self._model.state.items()}

    def rows(self, output: NDArray[Any], count: int) -> NDArray[Any]:
        """Return an output as [count, ...], without what filled up the batch."""
        if not self._batched:
            return output if output.ndim and output.shape[0] == 1 else output[None]
        size = self._fixed or count
        if output.ndim == 0 or output.shape[0] != size:
            raise ModelError(
                f"the model's first output is of shape {list(output.shape)} for a batch of {size}",
                hint="its first axis must be the batch; try batch: 1",
            )
        return output[:count]

    def _groups(self, stream: Iterable[Sample]) -> Iterator[list[tuple[Sample, Feed]]]:
        """Gather samples that can go in together: up to a batch, of one shape."""
        group: list[tuple[Sample, Feed]] = []
        for sample in stream:
            arrays = self._arrays(sample)
            size = self._batch if self._batched else 1
            if group and (len(group) >= size or _shapes(arrays) != _shapes(group[0][1])):
                yield group
                group = []
            group.append((sample, arrays))
        if group:
            yield group

    def _arrays(self, sample: Sample) -> Feed:
        """Return a sample's array for each free input. Raises DataError where they do not fit."""
        where = f"data '{self._data.name}', sample '{sample.name}'"
        arrays = sample.value if isinstance(sample.value, dict) else {self._takes_samples(): sample.value}
        for name in sorted(set(self._free) - set(arrays)):
            raise DataError(f"{where}: the model's input '{name}' gets nothing", hint=f"it has {', '.join(arrays)}")
        for name in sorted(set(arrays) - set(self._free)):
            raise DataError(f"{where}: the model has no free input '{name}'", hint=did_you_mean(name, self._free))
        lacks = {check_fit(self._inputs[name], array, where) for name, array in arrays.items()}
        if len(lacks) > 1:
            raise DataError(f"{where}: some of its arrays have a batch axis and some have none")
        self._batched = lacks.pop()
        return arrays

    def _takes_samples(self) -> str:
        """Return the input that a sample of one array goes to."""
        name, free = self._data.input, self._free
        if name and name not in free:
            raise DataError(
                f"data '{self._data.name}': data.input is '{name}', which is no free input of the model",
                hint=did_you_mean(name, free),
            )
        if len(free) != 1:
            raise DataError(
                f"data '{self._data.name}' has one array for a sample, the model has {len(free)} free inputs: "
                f"{', '.join(free)}",
                hint="say which takes it (data.input=NAME), and give the others in model.constants or model.state",
            )
        return free[0]

    def _stacked(self, group: list[Feed]) -> Feed:
        import numpy as np

        if not self._batched:
            return group[0]
        filled = group + [group[-1]] * ((self._fixed or len(group)) - len(group))
        return {name: np.stack([arrays[name] for arrays in filled]) for name in group[0]}

    def _zeros(self) -> Feed:
        return {name: self._full(name, 0) for name in self._model.state}

    def _full(self, name: str, value: float) -> NDArray[Any]:
        import numpy as np

        tensor = self._inputs[name]
        return np.full(tensor.closed(self._model.shapes.get(name)), value, tensor.dtype)

    def _fixed_batch(self) -> int | None:
        """Return the size of the first axis of the inputs where the model fixes it."""
        sizes = {self._inputs[name].shape[0] for name in self._free if self._inputs[name].shape} - {None}
        if len(sizes) > 1:
            raise ModelError(f"the model's inputs {', '.join(self._free)} are fixed to different batches")
        return sizes.pop() if sizes else None

    def _check_names(self) -> None:
        state = self._model.state
        for option, what, names, known in (
            ("constants", "input", list(self._model.constants), list(self._inputs)),
            ("state", "input", list(state), list(self._inputs)),
            ("state", "output", list(state.values()), list(self._outputs)),
        ):
            for name in set(names) - set(known):
                raise ModelError(
                    f"model '{self._model.name}': {option} names '{name}', which is no {what} of it",
                    hint=did_you_mean(name, known),
                )


def _shapes(arrays: Feed) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays.values()]
