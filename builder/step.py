"""How a step is written: an options dataclass, one function, and what the framework must know about it.

A step is one file in `builder/steps/`. It imports only the standard library until its function runs:

    @dataclass
    class Options:
        passes: int = 3

    @step(options=Options, rank=20, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX},
          packages=("onnx", "onnxsim"))
    def simplify(options: Options, job: Job) -> Result: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from builder.outcomes import Reproducible
from builder.specs import Data, Model, Target

__all__ = ["Job", "Kind", "Need", "Result", "Step", "exporter", "silent", "step"]


class Kind(Enum):
    """What a port carries: a folder with these files."""

    ONNX = "onnx"  # model.onnx, and its external data beside it
    ADDRESS = "address"  # address.json: where a file lies that a framework knows by name
    WEIGHTS = "weights"  # one file, as the source's framework wrote it
    SAMPLES = "samples"  # inputs.npz, outputs.npz: what the source's framework makes of some samples
    CHECK = "check"  # check.json
    CONVERSION = "conversion"  # conversion.json
    TOOLCHAIN = "toolchain"  # packages, ready to be imported
    DATA = "data"  # the files of a dataset
    ENGINE = "engine"  # engine.plan
    OPENVINO = "openvino"  # model.xml, model.bin
    PARSER = "parser"  # parser.json: what TensorRT-RTX's parser says of each node
    TIMING_CACHE = "timing_cache"  # one file, as TensorRT wrote it
    TENSORS = "tensors"  # tensors.json, and one .bin of plain numbers for each tensor
    EVALUATION = "evaluation"  # evaluation.json
    MEASUREMENT = "measurement"  # measurement.json, pytest-benchmark.json
    SECTION = "section"  # section.json: what a section of the page shows; its "section" names which


class Need(Enum):
    """Where a step's work can be done."""

    ANYWHERE = "anywhere"
    HOST = "host"  # depends on the machine that runs it: its fingerprint is in the key
    TARGET = "target"  # only on the target; elsewhere its portable part runs and the rest is deferred


def silent(_done: int, _total: int, _what: str) -> None:
    """A progress report that nobody reads."""


@dataclass(frozen=True)
class Job:
    """What a step's function gets. All of it but the paths and `progress` is in the action key."""

    inputs: Mapping[str, Path]  # port -> folder
    output: Path  # private folder; output port P goes to output/P/
    model: Model
    data: Data | None = None  # only the splits that the step declared
    target: Mapping[str, Any] = field(default_factory=dict)  # only the facts that the step declared
    device: Mapping[str, Any] | None = None  # facts of the target's device; None where it is not here
    local: Mapping[str, Any] = field(default_factory=dict)  # what only this machine knows, such as paths; in no key
    progress: Callable[[int, int, str], None] = silent  # done, total, what

    def folder(self, port: str) -> Path:
        """Return the folder of an output port, made."""
        path = self.output / port
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Result:
    """What a step hands back beside its files.

    `facts` are for people ("62 -> 49 nodes"). `deferred` says why the rest waits for the target.
    `keep=False` says that this result must not be served again (a measurement too noisy to rank), and `facts` why.
    `discovered` are files that were found on the way: they are checked before the result is served again.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    deferred: str = ""
    keep: bool = True
    discovered: Mapping[str, str] = field(default_factory=dict)  # path relative to the source's folder -> sha256


def _no_splits(_options: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Step:
    """A registered step: everything the plan needs to know without running it."""

    name: str
    options: type[Any]
    run: Callable[[Any, Job], Result]
    rank: int  # where it stands in a chain; a step takes the model of the nearest lower rank
    inputs: Mapping[str, Kind | tuple[Kind, ...]]  # of several kinds, the port takes any
    outputs: Mapping[str, Kind]
    reproducible: Reproducible | Callable[[Any], Reproducible] = Reproducible.BITWISE  # or what its options make it
    packages: tuple[str, ...] = ()  # distributions whose versions (and their requirements') are in the key
    model_facts: tuple[str, ...] = ()  # fields of Model that it reads; the others keep their defaults
    target_facts: tuple[str, ...] = ()  # fields of Target that it reads
    # Parts of the data that it reads, given its options; 'name?' is read where the data has it.
    splits: Callable[[Any], tuple[str, ...]] = _no_splits
    need: Need = Need.ANYWHERE
    from_source: tuple[str, ...] = ()  # input ports that take the recipe's own model, not the last one made
    optional: tuple[str, ...] = ()  # input ports that are left out where nothing makes what they take
    toolchain: str = "host"  # the name of what it runs in, where a recipe says nothing else
    weights: bool | None = None  # of what exports a model: whether it needs a file; None: it takes one where there is
    address: Callable[[Model], Step | None] | None = None  # and what says where a file lies that the recipe leaves out
    # Whether it uses an NVIDIA GPU where there is one; what the driver says of that is in the key. Or what options say.
    accelerator: bool | Callable[[Any], bool] = False
    brings: bool = False  # it fetches what the recipe names; what it gets is in the key, not how
    runtimes: tuple[str, ...] = ()  # target runtimes it makes sense for; empty: all
    variant: Callable[[Any, Target], str] | None = None  # names the compiler that does it, given options and target
    summary: str = ""

    def kinds(self, port: str) -> tuple[Kind, ...]:
        """Return what an input port takes."""
        taken = self.inputs[port]
        return taken if isinstance(taken, tuple) else (taken,)

    def uses_gpu(self, options: Any) -> bool:
        """Say whether it uses an NVIDIA GPU where there is one, with these options."""
        return self.accelerator if isinstance(self.accelerator, bool) else self.accelerator(options)

    def declares(self, options: Any) -> dict[str, Any]:
        """Return what it says that it reads and depends on, as JSON: keys are made from this."""
        stated = self.reproducible
        return {
            "packages": [*self.packages],
            "model_facts": [*self.model_facts],
            "target_facts": [*self.target_facts],
            "splits": [*self.splits(options)],
            "need": self.need.value,
            "accelerator": self.uses_gpu(options),
            "brings": self.brings,
            "reproducible": (stated if isinstance(stated, Reproducible) else stated(options)).value,
        }


def step(
    *,
    options: type[Any],
    rank: int,
    inputs: Mapping[str, Kind | tuple[Kind, ...]],
    outputs: Mapping[str, Kind],
    name: str = "",
    **more: Any,
) -> Callable[[Callable[[Any, Job], Result]], Step]:
    """Turn a function into a step named after its file, if nothing else is said.

    Its docstring's first line is the summary.
    """

    def register(function: Callable[[Any, Job], Result]) -> Step:
        first = (function.__doc__ or "").strip().partition("\n")[0]
        return Step(
            name=name or function.__module__.rpartition(".")[2],
            options=options,
            run=function,
            rank=rank,
            inputs=inputs,
            outputs=outputs,
            summary=first,
            **more,
        )

    return register


# Of a model that is to be exported: all that says what it is and how it shall be called.
_EXPORTED = ("format", "task", "code", "arguments", "inputs", "outputs", "opset", "constants", "shapes")


def exporter(
    *, toolchain: str, splits: tuple[str, ...] = ("test?",), **more: Any
) -> Callable[[Callable[[None, Job], Result]], Step]:
    """Turn a function into what exports models of the format that its file is named after.

    It gets the model's file at the port `weights`, where there is one, and writes `model` and `samples`. It is
    `per_cpu`: frameworks sum floating-point numbers in an order of their own.
    """
    return step(
        options=type(None),
        rank=5,
        inputs={"weights": Kind.WEIGHTS},
        outputs={"model": Kind.ONNX, "samples": Kind.SAMPLES},
        reproducible=Reproducible.PER_CPU,
        toolchain=toolchain,
        model_facts=_EXPORTED,
        splits=lambda _options: splits,
        **more,
    )
