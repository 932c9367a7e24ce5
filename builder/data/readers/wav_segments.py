"""Recordings (.wav) with the stretches that count as 1, as RTTM or as CSV with the columns start,end in seconds."""

from __future__ import annotations

import csv
import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.data.files import in_portion, locate, relative, visible
from builder.data.sample import Sample
from builder.errors import DataError
from builder.specs import Data, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count", "files", "samples"]

_Segments = tuple[tuple[float, float], ...]


def files(data: Data, split: Split) -> list[Path]:
    return sorted({path for pair in _pairs(data, split) for path in pair if path})


def count(data: Data, split: Split) -> int:
    total = 0
    for path, _ in _pairs(data, split):
        with _open(data, path, path.read_bytes()) as recording:
            total += recording.getnframes() // (data.preprocess.frame or recording.getnframes() or 1)
    return total


def samples(data: Data, split: Split) -> Iterator[Sample]:
    """Yield whole recordings as float32 in [-1, 1]; channels are averaged, preprocessing cuts them into frames."""
    if not (data.preprocess.frame and data.preprocess.sample_rate_hz):
        raise DataError(
            f"data '{data.name}': recordings are cut into frames of a known rate",
            hint="set data.preprocess.frame (in samples) and data.preprocess.sample_rate_hz",
        )
    for path, labels in _pairs(data, split):
        stored = path.read_bytes()
        if in_portion(stored, split):
            segments = None if labels is None else _segments(data, labels, path.stem)
            yield Sample(relative(data, path), _decode(data, path, stored), segments=segments)


def _pairs(data: Data, split: Split) -> list[tuple[Path, Path | None]]:
    """Return each recording and its segments: two files, or two folders with files of the same stem."""
    found = locate(data, split.path, "recording")
    labels = locate(data, split.labels, "file of segments") if split.labels else None
    if found.is_file():
        return [(found, labels)]
    recordings = [path for path in visible(found) if path.suffix.lower() == ".wav"]
    if not recordings:
        raise DataError(f"data '{data.name}': no file in {found} ends in .wav")
    return [(path, _beside(data, path, labels)) for path in recordings]


def _beside(data: Data, recording: Path, labels: Path | None) -> Path | None:
    if labels is None or labels.is_file():  # one RTTM names the recording in each line
        return labels
    for suffix in (".rttm", ".csv"):
        if (labels / (recording.stem + suffix)).is_file():
            return labels / (recording.stem + suffix)
    raise DataError(f"data '{data.name}': {labels} has no {recording.stem}.rttm or {recording.stem}.csv")


def _open(data: Data, path: Path, stored: bytes) -> wave.Wave_read:
    try:
        return wave.Wave_read(io.BytesIO(stored))
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"data '{data.name}': {path} cannot be read as PCM: {error}",
            hint="ffmpeg -i IN -c:a pcm_s16le OUT.wav makes a file that can",
        ) from error


def _decode(data: Data, path: Path, stored: bytes) -> NDArray[Any]:
    import numpy as np

    with _open(data, path, stored) as recording:
        rate, width, channels = recording.getframerate(), recording.getsampwidth(), recording.getnchannels()
        raw = recording.readframes(recording.getnframes())
    if rate != data.preprocess.sample_rate_hz:
        raise DataError(
            f"data '{data.name}': {path} has {rate} samples a second, expected {data.preprocess.sample_rate_hz}",
            hint=f"ffmpeg -i IN -ar {data.preprocess.sample_rate_hz} OUT.wav resamples it",
        )
    whole = raw[: len(raw) // (width * channels) * width * channels]
    if width == 1:  # 8 bits are stored without a sign
        pcm = np.frombuffer(whole, "u1").astype(np.int32) - 128
    else:  # 16, 24 or 32 bits, put in the upper bytes of 32
        padded = np.zeros((len(whole) // width, 4), np.uint8)
        padded[:, 4 - width :] = np.frombuffer(whole, np.uint8).reshape(-1, width)
        pcm = padded.view("<i4")[:, 0] >> (32 - 8 * width)
    mono: NDArray[Any] = pcm.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)
    return mono.astype(np.float32)


def _segments(data: Data, path: Path, recording: str) -> _Segments:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _from_csv(text) if path.suffix.lower() == ".csv" else _from_rttm(text, recording)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"data '{data.name}': the segments in {path} cannot be read: {error}",
            hint="RTTM, or CSV with the columns start,end in seconds",
        ) from error


def _from_csv(text: str) -> _Segments:
    rows = csv.DictReader(io.StringIO(text))
    if not {"start", "end"} <= set(rows.fieldnames or ()):
        raise ValueError(f"the first line names {', '.join(rows.fieldnames or ()) or 'no columns'}")
    return tuple((float(row["start"]), float(row["end"])) for row in rows)


def _from_rttm(text: str, recording: str) -> _Segments:
    """Read the SPEAKER lines of a recording (NIST Rich Transcription format; fields 2, 4, 5: file, start, length)."""
    lines = [line.split() for line in text.splitlines() if line.startswith("SPEAKER ")]
    ours = [fields for fields in lines if fields[1] == recording]
    if lines and not ours:
        raise ValueError(f"they are of {', '.join(sorted({fields[1] for fields in lines}))}, not of {recording}")
    return tuple((float(fields[3]), float(fields[3]) + float(fields[4])) for fields in ours)
