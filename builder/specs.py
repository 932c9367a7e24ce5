"""What a recipe says about a model, its data and its target, as plain dataclasses.

Standard library only: the recipe layer makes them, the plan puts them in keys, and workers get them back from JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Data", "Layout", "Model", "Preprocess", "Reader", "Split", "Target", "Task", "Wheel"]


class Task(Enum):
    """What the model's first output means, which decides the metrics of `evaluate`."""

    CLASSIFICATION = "classification"  # one score for each class
    BINARY = "binary"  # one probability
    NONE = "none"  # no labels are compared; fidelity only


class Reader(Enum):
    """How samples lie on disk."""

    IMAGE_FOLDER = "image_folder"
    CSV = "csv"
    NPZ = "npz"
    IDX = "idx"
    WAV_SEGMENTS = "wav_segments"


class Layout(Enum):
    NCHW = "NCHW"
    NHWC = "NHWC"
    AS_READ = "as_read"


@dataclass
class Wheel:
    """A file (for data: a folder) inside a package of the package index; the package is never installed."""

    name: str
    version: str
    member: str


@dataclass
class Model:
    """Where a model comes from (exactly one of path, wheel, url) and how it is called."""

    name: str
    path: str | None = None
    wheel: Wheel | None = None
    url: str | None = None
    sha256: str | None = None
    task: Task = Task.NONE
    constants: dict[str, float] = field(default_factory=dict)  # inputs that always have this value
    state: dict[str, str] = field(default_factory=dict)  # input -> the output that feeds it at the next sample
    shapes: dict[str, list[int]] = field(default_factory=dict)  # input -> shape to use where the model leaves it open
    license: str = ""
    origin: str = ""


@dataclass
class Split:
    """One part of a dataset; paths are relative to the dataset's root.

    `portion` takes the samples whose content hash, read as a number in [0, 1), lies in [low, high): a split of one
    folder that does not depend on names or order, in which equal files always fall on the same side.
    """

    path: str = ""
    labels: str = ""
    portion: list[float] = field(default_factory=lambda: [0.0, 1.0])


@dataclass
class Preprocess:
    """From a decoded sample to a model input, in this order; what is not set does not happen.

    channels -> resize -> crop -> scale -> mean/std -> layout -> dtype
    """

    channels: int | None = None  # 1 grey, 3 RGB
    resize: list[int] | None = None  # [height, width]; one number: the shorter side
    crop: list[int] | None = None  # [height, width], from the centre
    scale: float = 1.0  # multiplied, before mean and std
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    layout: Layout = Layout.AS_READ
    dtype: str = "float32"
    # Sound: frames of `frame` samples, each with the last `context` samples before it in front.
    sample_rate_hz: int | None = None
    frame: int | None = None
    context: int = 0


@dataclass
class Data:
    """A labelled dataset: how to read it, which parts it has, and the one preprocessing that everything uses.

    With `wheel`, the files are those of `sha256` (path below the wheel's folder `member` -> digest, every file that is
    read), and `root` is the folder they were fetched to.
    """

    name: str
    reader: Reader
    root: str = "."
    wheel: Wheel | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    input: str = ""  # the model input that samples go to; empty: the only one that is neither constant nor state
    splits: dict[str, Split] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    preprocess: Preprocess = field(default_factory=Preprocess)
    license: str = ""
    origin: str = ""


@dataclass
class Target:
    """The hardware and runtime that an artifact is for."""

    name: str
    summary: str = ""
    arch: str = "any"  # x86_64, aarch64, or any
    accelerator: str = "cpu"  # cpu, cuda
    runtime: str = "onnxruntime"
    runtime_versions: str = ""
    compute_capability: str = ""
    precisions: list[str] = field(default_factory=lambda: ["fp32", "int8"])
    memory_mib: int | None = None
