"""The action that turns texts into a model's inputs. It has a toolchain of its own, so that nothing else needs one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, RecipeError
from builder.sources.arrays import write_arrays
from builder.specs import Data, Model, Reader, Split, Tokenizer
from builder.step import Job, Kind, Result, Step

if TYPE_CHECKING:
    from builder.data.sample import Sample

__all__ = ["Options", "check_tokenizer", "token_options", "tokenized", "tokenizer_file", "tokens"]

_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


@dataclass
class Options:
    """What of a `Tokenizer` decides about the tokens; its file is an input."""

    max_length: int
    inputs: list[str]


def check_tokenizer(data: Data) -> None:
    """Raise RecipeError where there are texts and no tokenizer, or a tokenizer and no texts."""
    texts = data.reader is Reader.TEXT_PAIRS
    if texts and data.tokenizer is None:
        hint = "set data.tokenizer.path, or wheel and sha256, to the tokenizer.json of the model"
        raise RecipeError(f"data '{data.name}' holds texts, and nothing makes numbers of them", hint)
    if data.tokenizer is not None and not texts:
        raise RecipeError(f"data.tokenizer: what the reader {data.reader.value} reads are no texts", "leave it out")


def token_options(tokenizer: Tokenizer) -> Options:
    return Options(tokenizer.max_length, tokenizer.inputs)


def tokenizer_file(tokenizer: Tokenizer) -> Model:
    """Return where its file comes from, as something that is brought like the weights of a model."""
    return Model("tokenizer", path=tokenizer.path, wheel=tokenizer.wheel, sha256=tokenizer.sha256)


def tokenized(data: Data) -> Data:
    """Return the data that `tokens` makes: an .npz for each split, with one array for each input of the model."""
    splits = {name: Split(f"{name}.npz") for name in data.splits}
    return replace(data, reader=Reader.NPZ, root=".", wheel=None, sha256={}, tokenizer=None, splits=splits)


def _tokenize(options: Options, job: Job) -> Result:
    from builder.data.readers import reader_of

    assert job.data is not None
    tokenizer = _load(next(Path(job.inputs["tokenizer"]).iterdir()), options.max_length)
    facts: dict[str, str] = {}
    for name, split in job.data.splits.items():
        found = [*reader_of(job.data).samples(job.data, split)]
        if not found:
            raise DataError(f"data '{job.data.name}': the split '{name}' has no texts")
        encoded = [tokenizer.encode(_text(sample)) for sample in found]
        _write(job.folder("data") / f"{name}.npz", options.inputs, encoded, found)
        longest, cut = max(map(len, encoded)), sum(bool(one.overflowing) for one in encoded)
        facts[name] = f"{len(found):,} texts of up to {longest} tokens" + (f", {cut:,} of them cut" if cut else "")
    return Result(facts)


def _load(file: Path, max_length: int) -> Any:
    """Return the tokenizer, without padding. Raises DataError where the file is none, or max_length leaves nothing."""
    from tokenizers import Tokenizer as Library
    from tokenizers import __version__

    try:
        tokenizer = Library.from_str(file.read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
    except Exception as error:  # the library raises Exception itself
        words = " ".join(str(error).split())[:300]
        hint = "it is the tokenizer.json that lies beside a model; a vocab.txt is not enough"
        raise DataError(f"tokenizers {__version__} cannot read the tokenizer: {words}", hint) from error
    return tokenizer


def _text(sample: Sample) -> str:
    assert not isinstance(sample.value, dict)  # the reader of texts yields their bytes
    return bytes(sample.value).decode()


def _write(file: Path, inputs: list[str], encoded: list[Any], found: list[Sample]) -> None:
    """Write the arrays one text after another, int64, their lengths, and the scored pairs by number."""
    import numpy as np

    arrays = {
        name: np.concatenate([np.array(getattr(one, _PARTS[name]), np.int64) for one in encoded]) for name in inputs
    }
    numbers = {sample.name: number for number, sample in enumerate(found)}
    pairs = [
        (number, numbers[other], score)
        for number, sample in enumerate(found)
        for other, score in sample.scores
        if other in numbers  # the other one may be in another portion
    ]
    lengths = np.array([len(one) for one in encoded], np.int64)
    write_arrays(file, {**arrays, "__lengths__": lengths, "__pairs__": np.array(pairs, np.float64).reshape(-1, 3)})


tokens = Step(
    name="tokens",
    options=Options,
    run=_tokenize,
    rank=1,
    inputs={"tokenizer": Kind.WEIGHTS},
    outputs={"data": Kind.DATA},
    toolchain="text",
    summary="Turn texts into the numbers that a model takes.",
)
