"""An exported model beside its source: what is compared, and what is said where they part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from projects import small_model

from builder.errors import BuilderError, ModelError
from builder.runtimes.onnxruntime import Session
from builder.sources.conversion import conversion_check
from builder.sources.exported import clean, name_ports
from builder.sources.samples import feeds_of, read_samples, write_samples
from builder.specs import Data, DType, Model, Reader, Split, Tensor
from builder.step import Job

IMAGES = np.random.default_rng(2).standard_normal((6, 1, 8, 8)).astype(np.float32)


def exported(folder: Path, change: float = 0.0, **more: Any) -> Job:
    """Return the job of the comparison, its source's outputs off by `change`, or what `scores` says they are."""
    small_model(folder / "model" / "model.onnx")
    made = Session(folder / "model" / "model.onnx").run({"image": IMAGES})[0].astype(np.float64) + change
    writer = Job({}, folder, Model("small"))
    write_samples(
        writer,
        "a framework 1.0",
        "'test' of small",
        [{"image": IMAGES}],
        [{"scores": more.pop("scores", made)}],
        **more,
    )
    return Job({"model": folder / "model", "samples": folder / "samples"}, folder / "output", Model("small"))


def compared(job: Job) -> dict[str, Any]:
    conversion_check.run(None, job)
    document: dict[str, Any] = json.loads((job.output / "conversion" / "conversion.json").read_text())
    return document


def test_the_largest_deviation_counts_relative_to_the_largest_number(tmp_path: Path) -> None:
    document = compared(exported(tmp_path, 0.25, rows=6, remedy="try again"))
    scores = document["outputs"]["scores"]

    assert scores["apart"] == pytest.approx(0.25, rel=1e-6)
    assert document["difference"] == scores["apart"] / scores["largest"]
    assert (document["samples"], document["remedy"]) == (6, "try again")
    assert document["words"].startswith("'scores' is off by ")


def test_labels_count_by_how_many_differ(tmp_path: Path) -> None:
    document = compared(exported(tmp_path, scores=np.array([["a", "b", "c"]] * 6)))

    assert document["outputs"]["scores"] == {"kind": "labels", "unequal": 18, "count": 18, "difference": 1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_finite_on_one_side_alone_is_refused(tmp_path: Path, bad: float) -> None:
    scores = np.zeros((6, 3), np.float32)
    scores[0, 0] = bad
    with pytest.raises(ModelError, match="is finite where its source's is not"):
        compared(exported(tmp_path, scores=scores))


def test_a_source_that_makes_no_number_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'scores' holds no number"):
        compared(exported(tmp_path, np.nan))


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is of shape \[6, 3\], its source's \[6, 4\]"):
        compared(exported(tmp_path, scores=np.zeros((6, 4))))


def test_samples_come_back_as_they_were_written(tmp_path: Path) -> None:
    feeds: list[dict[str, NDArray[Any]]] = [{"a": np.arange(3), "b": np.ones((1, 1))}, {"a": np.arange(2)}]
    outputs: list[dict[str, NDArray[Any]]] = [{"y": np.array(["one"])}, {"y": np.array(["two"])}]
    write_samples(Job({}, tmp_path, Model("m")), "it", "there", feeds, outputs)
    about, fed, made = read_samples(tmp_path / "samples")

    assert about == {"source": "it", "from": "there", "samples": 2, "remedy": ""}
    for before, after in zip([*feeds, *outputs], [*fed, *made], strict=True):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_sample_that_the_model_cannot_take_is_named_with_what_would_mend_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", samples=IMAGES[:, 0])
    data = Data("small", Reader.NPZ, str(tmp_path), splits={"test": Split("test.npz")})
    job = Job({}, tmp_path, Model("small"), data)

    with pytest.raises(BuilderError, match=r"takes float32\[\?, 1, 8, 8\].*the sample is float32\[8, 8\]") as caught:
        feeds_of(job, {"image": Tensor(["batch", 1, 8, 8])})
    assert "layout: NCHW" in caught.value.hint


def test_made_up_inputs_keep_to_constants_shapes_and_types(tmp_path: Path) -> None:
    model = Model("m", constants={"rate": 16000}, shapes={"text": [1, 7]})
    inputs = {
        "text": Tensor(["batch", "tokens"], DType.INT64),
        "rate": Tensor([], DType.INT64),
        "mask": Tensor(["batch", 3], DType.BOOL),
    }
    origin, feeds = feeds_of(Job({}, tmp_path, model), inputs)

    assert (origin, len(feeds)) == ("made-up inputs", 4)
    assert [(name, str(array.dtype), array.shape) for name, array in feeds[0].items()] == [
        ("text", "int64", (1, 7)), ("rate", "int64", ()), ("mask", "bool", (2, 3)),
    ]  # fmt: skip
    assert feeds[0]["rate"] == 16000


def test_what_an_exporter_says_about_itself_is_taken_out(tmp_path: Path) -> None:
    import onnx

    plain, noisy = (onnx.load(str(small_model(tmp_path / f"{name}.onnx"))) for name in ("plain", "noisy"))
    noisy.graph.name = "a2c3dd9d4a304e92"
    noisy.doc_string = "made on Monday"
    noisy.graph.node[0].doc_string = "File /home/me/train.py, line 3"
    noisy.graph.node[1].metadata_props.add(key="stack", value="/home/me/train.py")
    noisy.metadata_props.add(key="date", value="2026-11-21")
    noisy.opset_import.add(domain="", version=17)
    for model in (plain, noisy):
        clean(model)

    assert plain.SerializeToString(deterministic=True) == noisy.SerializeToString(deterministic=True)


def test_ports_get_the_names_of_the_recipe_also_where_another_tensor_has_one(tmp_path: Path) -> None:
    import onnx

    path = small_model(tmp_path / "model.onnx")
    model = onnx.load(str(path))
    before = Session(path).run({"image": IMAGES})[0]
    names = name_ports(model, ["r1"], ["c1"])  # both are names of tensors inside
    onnx.save(model, str(path))
    after = Session(path)

    assert names == ["c1"]
    assert ([port.name for port in after.inputs], [port.name for port in after.outputs]) == (["r1"], ["c1"])
    assert np.array_equal(before, after.run({"r1": IMAGES})[0])
