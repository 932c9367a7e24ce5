"""How samples lie on disk: every reader, its files for the key, and what it says about files that are wrong."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from builder.data.dataset import check_no_overlap, class_names, expected_count, sample_digests, samples, split_files
from builder.errors import DataError
from builder.specs import Data, DType, Preprocess, Reader, Split


def dataset(root: Path, reader: Reader, *, dtype: str = "uint8", **more: Any) -> Data:
    splits = more.pop("splits", {"test": Split(path=more.pop("path", ""), labels=more.pop("labels", ""))})
    preprocess = more.pop("preprocess", Preprocess(dtype=DType(dtype)))
    return Data(name="toy", reader=reader, root=str(root), splits=splits, preprocess=preprocess, **more)


def image(path: Path, grey: int, mode: str = "L", size: tuple[int, int] = (4, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, grey if mode == "L" else (grey, 0, 0)).save(path)
    return path


def write_idx(path: Path, array: NDArray[Any], code: int = 0x08) -> Path:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    stored = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(stored) if path.suffix == ".gz" else stored)
    return path


def write_wav(path: Path, pcm: NDArray[Any], rate: int = 1000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as stream:
        stream.setparams((channels, pcm.dtype.itemsize, rate, 0, "NONE", ""))
        stream.writeframes(pcm.tobytes())
    return path


def value(sample: Any) -> NDArray[Any]:
    assert isinstance(sample.value, np.ndarray)
    return sample.value


# image_folder


def test_sub_folders_are_classes_in_sorted_order_and_take_turns(tmp_path: Path) -> None:
    for name in ("dog/1.png", "dog/2.png", "cat/1.png", "cat/deep/2.png"):
        image(tmp_path / name, 7)
    image(tmp_path / "cat" / ".hidden.png", 7)

    found = [(sample.name, sample.label) for sample in samples(dataset(tmp_path, Reader.IMAGE_FOLDER), "test")]

    assert found == [("cat/1.png", 0), ("dog/1.png", 1), ("cat/deep/2.png", 0), ("dog/2.png", 1)]


def test_declared_classes_decide_the_labels(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "1.png", 7)
    data = dataset(tmp_path, Reader.IMAGE_FOLDER, classes=["dog", "bird", "cat"])

    assert [sample.label for sample in samples(data, "test")] == [2]
    assert class_names(data, "test") == ["dog", "bird", "cat"]


def test_a_folder_of_images_alone_is_unlabelled(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 9, "RGB")

    (sample,) = samples(dataset(tmp_path, Reader.IMAGE_FOLDER), "test")

    assert sample.label is None
    assert value(sample).shape == (3, 4, 3)
    assert value(sample)[0, 0].tolist() == [9, 0, 0]


@pytest.mark.parametrize(
    ("spoil", "phrase", "hint"),
    [
        (lambda root: image(root / "cta" / "1.png", 1), "'cta'", "did you mean 'cat'?"),
        (lambda root: (root / "cat" / "notes.txt").write_text(""), "notes.txt is no image", "move it away"),
        (lambda root: (root / "cat" / "2.jpg").write_bytes(b"nothing"), "2.jpg cannot be read", "damaged"),
        (lambda root: image(root / "loose.png", 1), "loose.png lies beside", "move it"),
    ],
)
def test_an_image_folder_with_a_mistake_is_refused(tmp_path: Path, spoil: Any, phrase: str, hint: str) -> None:
    image(tmp_path / "cat" / "1.png", 7)
    spoil(tmp_path)

    with pytest.raises(DataError) as caught:
        list(samples(dataset(tmp_path, Reader.IMAGE_FOLDER, classes=["cat", "dog"]), "test"))

    assert phrase in caught.value.message
    assert hint in caught.value.hint


def test_class_folders_named_by_numbers_whose_order_is_ambiguous_are_refused(tmp_path: Path) -> None:
    for name in ("0", "2", "10"):
        image(tmp_path / name / "1.png", 7)

    with pytest.raises(DataError) as caught:
        list(samples(dataset(tmp_path, Reader.IMAGE_FOLDER), "test"))

    assert "data.classes" in caught.value.hint


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    whole = image(tmp_path / "a.png", 7, size=(64, 64))
    whole.write_bytes(whole.read_bytes()[:60])

    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        list(samples(dataset(tmp_path, Reader.IMAGE_FOLDER), "test"))


def test_missing_root_and_missing_folder_say_what_is_there(tmp_path: Path) -> None:
    image(tmp_path / "train" / "1.png", 7)
    with pytest.raises(DataError) as folder:
        split_files(dataset(tmp_path, Reader.IMAGE_FOLDER, path="test"), ["test"])
    with pytest.raises(DataError) as root:
        split_files(dataset(tmp_path / "nowhere", Reader.IMAGE_FOLDER), ["test"])

    assert "no folder 'test'" in folder.value.message
    assert "there is: train/" in folder.value.hint
    assert str(tmp_path / "nowhere") in root.value.message


# csv


def test_csv_takes_paths_from_the_root_and_names_of_classes(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 1)
    image(tmp_path / "b.png", 2)
    (tmp_path / "list.csv").write_text("path,label\na.png,dog\nb.png,0\n")
    data = dataset(tmp_path, Reader.CSV, path="list.csv", classes=["cat", "dog"])

    assert [(sample.name, sample.label) for sample in samples(data, "test")] == [("a.png", 1), ("b.png", 0)]
    assert split_files(data, ["test"])["test"] == [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "list.csv"]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("path,label\n../secret.png,1\n", "leads out of the root"),
        ("path,label\n/etc/passwd,1\n", "leads out of the root"),
        ("path,label\na.png,dgo\n", "label 'dgo' in line 2"),
        ("path,label\nb.png,dog\n", "there is no file (line 2 of list.csv) 'b.png'"),
        ("file,label\na.png,dog\n", "no column 'path'"),
        ("path,label\na.png,5\n", "none of 2 classes"),
    ],
)
def test_csv_with_a_mistake_is_refused(tmp_path: Path, text: str, phrase: str) -> None:
    image(tmp_path / "a.png", 1)
    (tmp_path / "list.csv").write_text(text)

    with pytest.raises(DataError) as caught:
        list(samples(dataset(tmp_path, Reader.CSV, path="list.csv", classes=["cat", "dog"]), "test"))

    assert phrase in caught.value.message


# npz


def test_npz_gives_samples_and_labels_in_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", samples=np.arange(6, dtype=np.uint8).reshape(3, 2), labels=np.array([2, 0, 1]))
    data = dataset(tmp_path, Reader.NPZ, path="a.npz")

    assert [(value(sample).tolist(), sample.label) for sample in samples(data, "test")] == [
        ([0, 1], 2),
        ([2, 3], 0),
        ([4, 5], 1),
    ]
    assert expected_count(data, "test") == 3


def test_npz_with_named_inputs_leaves_them_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.array([[1, 2]]), mask=np.array([[1, 0]]))

    (sample,) = samples(dataset(tmp_path, Reader.NPZ, path="a.npz", preprocess=Preprocess()), "test")

    assert isinstance(sample.value, dict)
    assert {name: array.dtype.name for name, array in sample.value.items()} == {"ids": "int64", "mask": "int64"}


def test_npz_with_names_for_labels_counts_them_as_the_classes_are_declared(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", samples=np.zeros((3, 2), np.float32), labels=np.array(["cat", "bird", "cat"]))
    data = dataset(tmp_path, Reader.NPZ, path="test.npz", classes=["bird", "cat"])

    assert [sample.label for sample in samples(data, "test")] == [1, 0, 1]
    with pytest.raises(DataError, match="the label 'cat' in .* is no class") as caught:
        list(samples(dataset(tmp_path, Reader.NPZ, path="test.npz", classes=["bird", "cats"]), "test"))
    assert "did you mean 'cats'" in caught.value.hint


def test_npy_takes_its_labels_from_another_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.uint8))
    np.save(tmp_path / "y.npy", np.array([0.5, 1.5]))
    data = dataset(tmp_path, Reader.NPZ, path="x.npy", labels="y.npy")

    assert [sample.label for sample in samples(data, "test")] == [0.5, 1.5]


def test_npz_of_unequal_lengths_or_python_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", samples=np.zeros((3, 2)), labels=np.zeros(2))
    np.savez(tmp_path / "objects.npz", samples=np.array([{}, {}]))

    with pytest.raises(DataError, match="different lengths: samples"):
        list(samples(dataset(tmp_path, Reader.NPZ, path="short.npz"), "test"))
    with pytest.raises(DataError, match="cannot be read as arrays of numpy"):
        list(samples(dataset(tmp_path, Reader.NPZ, path="objects.npz"), "test"))


# idx


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("code", "dtype"), [(0x08, "u1"), (0x0B, "i2"), (0x0D, "f4")])
def test_idx_is_read_plain_and_gzipped(tmp_path: Path, suffix: str, code: int, dtype: str) -> None:
    expected = np.arange(24, dtype=dtype).reshape(4, 2, 3)
    write_idx(tmp_path / f"x{suffix}", expected, code)
    write_idx(tmp_path / f"y{suffix}", np.arange(4, dtype="u1"))
    data = dataset(
        tmp_path,
        Reader.IDX,
        path=f"x{suffix}",
        labels=f"y{suffix}",
        dtype=np.dtype(dtype).name.replace("int16", "int32"),
    )

    found = list(samples(data, "test"))

    assert np.array_equal(np.stack([value(sample) for sample in found]), expected)
    assert [sample.label for sample in found] == [0, 1, 2, 3]
    assert expected_count(data, "test") == 4


@pytest.mark.parametrize(
    ("stored", "phrase"),
    [
        (b"\x00\x00\x08\x02" + struct.pack(">2I", 3, 2) + bytes(5), "is cut short"),
        (b"\x00\x00\x08\x02" + struct.pack(">2I", 3, 2) + bytes(7), "goes on after the last sample"),
        (b"PK\x03\x04 and more", "is no IDX file"),
        (gzip.compress(b"\x00\x00\x08\x01" + struct.pack(">I", 9) + bytes(9), mtime=0)[:-12], "cannot be read"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path: Path, stored: bytes, phrase: str) -> None:
    (tmp_path / "x").write_bytes(stored)

    with pytest.raises(DataError) as caught:
        list(samples(dataset(tmp_path, Reader.IDX, path="x"), "test"))

    assert phrase in caught.value.message


def test_idx_with_more_samples_than_labels_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "x", np.zeros((3, 2), "u1"))
    write_idx(tmp_path / "y", np.zeros(2, "u1"))

    with pytest.raises(DataError, match="3 samples in x, 2 labels in y"):
        list(samples(dataset(tmp_path, Reader.IDX, path="x", labels="y"), "test"))


# wav_segments

FRAMES = Preprocess(sample_rate_hz=1000, frame=100, context=10)


def sound(root: Path, **more: Any) -> Data:
    return dataset(root, Reader.WAV_SEGMENTS, preprocess=FRAMES, **more)


def test_a_recording_is_cut_into_frames_with_context_and_labelled_by_their_centres(tmp_path: Path) -> None:
    pcm = (np.arange(350) * 64).astype("<i2")
    write_wav(tmp_path / "a.wav", pcm)
    (tmp_path / "a.rttm").write_text(
        "SPEAKER a 1 0.150 0.090 <NA> <NA> x <NA> <NA>\nSPEAKER a 1 0.260 0.1 <NA> <NA> y <NA> <NA>\n"
    )

    found = list(samples(sound(tmp_path, path="a.wav", labels="a.rttm"), "test"))

    assert [sample.label for sample in found] == [0, 1, 0]  # centres at 50, 150 and 250 ms
    assert {sample.sequence for sample in found} == {"a.wav"}
    expected = np.concatenate([np.zeros(10), pcm / 32768]).astype(np.float32)
    assert np.array_equal(value(found[0]), expected[:110])
    assert np.array_equal(value(found[2]), expected[200:310])
    assert expected_count(sound(tmp_path, path="a.wav"), "test") == 3


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_width_becomes_the_same_numbers(tmp_path: Path, bits: int) -> None:
    wanted = np.linspace(-1, 0.75, 200).round(2) // 0.25 * 0.25
    whole = (wanted * 2 ** (bits - 1)).astype("<i8")
    stored = (whole + 128).astype("u1") if bits == 8 else whole[:, None].view("u1")[:, : bits // 8]
    with wave.open(str(tmp_path / "a.wav"), "wb") as stream:
        stream.setparams((1, bits // 8, 1000, 0, "NONE", ""))
        stream.writeframes(np.ascontiguousarray(stored).tobytes())

    found = list(samples(sound(tmp_path, path="a.wav"), "test"))

    assert np.array_equal(np.concatenate([value(sample)[10:] for sample in found]), wanted.astype(np.float32))


def test_stereo_is_averaged(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.tile(np.array([8192, 0], "<i2"), 100), channels=2)

    (sample,) = samples(sound(tmp_path, path="a.wav"), "test")

    assert set(value(sample)[10:].tolist()) == {0.125}


def test_a_folder_of_recordings_has_one_sequence_for_each(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    for name in ("a", "b"):
        write_wav(tmp_path / f"{name}.wav", np.ones(200, "<i2"))
        (tmp_path / "marks" / f"{name}.csv").write_text("start,end\n0,0.1\n")
    data = sound(tmp_path, labels="marks")

    found = [(sample.sequence, sample.label) for sample in samples(data, "test")]

    assert found == [("a.wav", 1), ("a.wav", 0), ("b.wav", 1), ("b.wav", 0)]
    assert [path.name for path in split_files(data, ["test"])["test"]] == ["a.wav", "b.wav", "a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("rate", "segments", "phrase"),
    [
        (8000, "start,end\n0,1\n", "has 8000 samples a second, expected 1000"),
        (1000, "from,to\n0,1\n", "the first line names from, to"),
        (1000, "start,end\n0,soon\n", "cannot be read"),
    ],
)
def test_a_wrong_rate_or_segment_is_refused(tmp_path: Path, rate: int, segments: str, phrase: str) -> None:
    write_wav(tmp_path / "a.wav", np.ones(300, "<i2"), rate)
    (tmp_path / "a.csv").write_text(segments)

    with pytest.raises(DataError) as caught:
        list(samples(sound(tmp_path, path="a.wav", labels="a.csv"), "test"))

    assert phrase in caught.value.message


def test_segments_of_another_recording_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.ones(300, "<i2"))
    (tmp_path / "b.rttm").write_text("SPEAKER b 1 0 1 <NA> <NA> x <NA> <NA>\n")

    with pytest.raises(DataError, match="they are of b, not of a"):
        list(samples(sound(tmp_path, path="a.wav", labels="b.rttm"), "test"))


def test_what_is_no_wav_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFFnothing")

    with pytest.raises(DataError, match=r"a\.wav cannot be read as PCM"):
        list(samples(sound(tmp_path, path="a.wav"), "test"))


# splits


def portions(root: Path, low: list[float], high: list[float]) -> Data:
    splits = {"calibration": Split(path="x.npy", portion=low), "test": Split(path="x.npy", portion=high)}
    np.save(root / "x.npy", np.arange(1000, dtype=np.int32).reshape(500, 2))
    return dataset(root, Reader.NPZ, dtype="int32", splits=splits)


def test_portions_of_one_file_share_out_every_sample_once(tmp_path: Path) -> None:
    data = portions(tmp_path, [0.0, 0.2], [0.2, 1.0])

    a, b = ({sample.name for sample in samples(data, split)} for split in ("calibration", "test"))

    assert len(a | b) == 500
    assert not a & b
    assert 70 < len(a) < 130
    assert check_no_overlap(data) == (len(a), len(b))
    assert expected_count(data, "calibration") == 100


def test_a_portion_is_decided_by_the_hash_of_the_stored_bytes(tmp_path: Path) -> None:
    stored = image(tmp_path / "a.png", 5).read_bytes()
    number = int(hashlib.sha256(stored).hexdigest(), 16) / 2**256
    splits = {"below": Split(portion=[0.0, number - 1e-9]), "around": Split(portion=[number - 1e-9, number + 1e-9])}
    data = dataset(tmp_path, Reader.IMAGE_FOLDER, splits=splits)

    assert [sample.name for sample in samples(data, "below")] == []
    assert [sample.name for sample in samples(data, "around")] == ["a.png"]


def test_samples_in_both_splits_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_no_overlap(portions(tmp_path, [0.0, 1.0], [0.0, 1.0]))

    assert "500 samples of 'test' are in 'calibration' too" in caught.value.message
    assert "'x.npy#0'" in caught.value.message


def test_overlap_is_found_behind_another_encoding_and_another_name(tmp_path: Path) -> None:
    image(tmp_path / "calibration" / "a.png", 5)
    image(tmp_path / "test" / "b.bmp", 5)
    splits = {name: Split(path=name) for name in ("calibration", "test")}

    with pytest.raises(DataError, match=r"1 samples .* the first is 'test/b.bmp' \('calibration/a.png'"):
        check_no_overlap(dataset(tmp_path, Reader.IMAGE_FOLDER, splits=splits))


def test_digests_tell_values_apart_by_shape_and_dtype(tmp_path: Path) -> None:
    seen = set()
    for index, array in enumerate((np.zeros((1, 4), "u1"), np.zeros((1, 2, 2), "u1"), np.zeros((1, 4), "i1"))):
        np.save(tmp_path / f"{index}.npy", array)
        seen |= {digest for _, digest in sample_digests(dataset(tmp_path, Reader.NPZ, path=f"{index}.npy"), "test")}

    assert len(seen) == 3


def test_an_unknown_split_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(samples(portions(tmp_path, [0, 1], [0, 1]), "tset"))

    assert caught.value.hint == "did you mean 'test'?"


def test_finding_files_imports_nothing_heavy(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 5)
    program = (
        "import sys; from builder.data.dataset import split_files; from builder.specs import *;"
        f"d = Data('toy', Reader.IMAGE_FOLDER, {str(tmp_path)!r}, splits={{'test': Split()}});"
        "print(len(split_files(d, ['test'])['test']), {'numpy', 'PIL', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "1 set()\n"
