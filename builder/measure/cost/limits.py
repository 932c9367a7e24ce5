"""What this machine can compute and move at most, measured through ONNX Runtime in a process of its own.

The two roofs of the roofline model (Williams, Waterman, Patterson, "Roofline: an insightful visual performance model",
Communications of the ACM 52, 2009): MACs per second of a large matrix product in each precision, and bytes per second
of a pass over arrays that no cache holds, read and written once each (as STREAM's `scale`, McCalpin 1995).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.measure.process import Subject
from builder.measure.subject import Runner, main

__all__ = ["Limits", "cache_bytes", "machine_limits"]

_SECONDS = 0.25  # for each limit
_SHARE = 80  # of max_seconds: a short measurement takes short ones
_SIDES = (512, 1024)  # of the matrices: one that few threads like, one that keeps many busy
_LEAST_BYTES, _MOST_BYTES = 64 << 20, 256 << 20  # of an array
_ROUNDS = 3


@dataclass(frozen=True)
class Limits:
    """What this machine reached at best; empty and with the reason where it was not measured."""

    threads: int
    macs_per_s: dict[str, float]  # by precision
    bytes_per_s: float | None
    cache_bytes: int | None  # of the last level
    reason: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as measurement.json holds it."""
        rates = {name: round(rate / 1e9, 3) for name, rate in self.macs_per_s.items()}
        return {
            "threads": self.threads,
            "gmacs_per_s": rates,
            "gbytes_per_s": None if self.bytes_per_s is None else round(self.bytes_per_s / 1e9, 3),
            "last_level_cache_bytes": self.cache_bytes,
            "method": "ONNX Runtime, best of its runs: a matrix product, and a pass over arrays that no cache holds",
            "reason": self.reason or None,
        }


def machine_limits(*, threads: int, cores: Sequence[int], device: str, max_seconds: float) -> Limits:
    """Measure both roofs with so many threads; nothing else of ours must run meanwhile."""
    if device not in ("", "cpu"):
        return Limits(threads, {}, None, None, f"what {device} computes at most is not measured, only the processor is")
    try:
        with _Probe("the machine's limit", Path(), {"threads": threads, "cores": list(cores)}) as probe:
            found = probe.rates(min(_SECONDS, max_seconds / _SHARE))
    except BuilderError as error:
        return Limits(threads, {}, None, cache_bytes(), f"the machine's limits could not be measured: {error.message}")
    bytes_per_s = found.pop("memory")
    return Limits(threads, found, bytes_per_s, cache_bytes())


def cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int | None:
    """Return the size of the last-level cache; None where the system does not tell."""
    units, sizes = {"K": 1 << 10, "M": 1 << 20}, []
    for index in folder.glob("index*"):
        try:
            level, size = ((index / name).read_text(encoding="ascii").strip() for name in ("level", "size"))
            sizes.append((int(level), int(size[:-1]) * units[size[-1]]))
        except (OSError, ValueError, KeyError, IndexError):  # an index without a size: some Arm boards
            continue
    return max(sizes)[1] if sizes else None


class _Probe(Subject):
    script = Path(__file__).resolve()

    def rates(self, seconds: float) -> dict[str, float]:
        return {name: float(rate) for name, rate in self._ask("rates", spec=self._spec, seconds=seconds).items()}


class _Prober(Runner):
    def rates(self, spec: dict[str, Any], seconds: float) -> dict[str, float]:
        """Return MACs per second by precision, and bytes per second as `memory`; each the best of its runs."""
        threads = int(spec["threads"])
        works = [_product(kind, side, threads) for side in _SIDES for kind in ("fp32", "int8")]
        works.append(_pass(_array_bytes(), threads))
        best: dict[str, float] = {}
        for _ in range(_ROUNDS):
            for name, amount, run in works:
                share = seconds / _ROUNDS / (1 if name == "memory" else len(_SIDES))
                best[name] = max(best.get(name, 0.0), amount / _fastest(run, share))
        return best


def _fastest(run: Any, seconds: float) -> float:
    """Return the seconds of the fastest run."""
    end, fastest = time.perf_counter() + seconds, float("inf")
    while True:
        start = time.perf_counter()
        run()
        stop = time.perf_counter()
        fastest = min(fastest, stop - start)
        if stop > end:
            return fastest


def _product(kind: str, side: int, threads: int) -> tuple[str, int, Any]:
    """Return a square matrix product with constant weights, as a layer has them."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random, square = np.random.default_rng(0), (side, side)
    operator, left, right, out_type = {
        "fp32": ("MatMul", random.random(square, np.float32), random.random(square, np.float32), "FLOAT"),
        "int8": ("MatMulInteger", _whole(random, np.uint8, square), _whole(random, np.int8, square), "INT32"),
    }[kind]
    types = (helper.np_dtype_to_tensor_dtype(left.dtype), TensorProto.DataType.Value(out_type))
    made = np.zeros(square, helper.tensor_dtype_to_np_dtype(types[1]))
    into, out = (helper.make_tensor_value_info(name, t, [side, side]) for name, t in zip("ab", types, strict=True))
    node = helper.make_node(operator, ["a", "w"], ["b"])
    graph = helper.make_graph([node], kind, [into], [out], [numpy_helper.from_array(right, "w")])
    return kind, side**3, _runner(graph, left, made, threads)


def _whole(random: Any, kind: Any, shape: tuple[int, int]) -> Any:
    return random.integers(0, 127, shape, dtype=kind)


def _pass(size: int, threads: int) -> tuple[str, int, Any]:
    """Return b = a + 1 over arrays of so many bytes."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    into, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size // 4]) for name in "ab")
    one = numpy_helper.from_array(np.ones((), np.float32), "one")
    graph = helper.make_graph([helper.make_node("Add", ["a", "one"], ["b"])], "pass", [into], [out], [one])
    left, made = (np.full(size // 4, value, np.float32) for value in (1, 2))  # written, so that both have pages
    return "memory", 2 * size, _runner(graph, left, made, threads)


def _runner(graph: Any, into: Any, out: Any, threads: int) -> Any:
    """Return what runs a graph from `into` to `out` (a and b), without copies of them."""
    import onnxruntime as ort
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    bound = session.io_binding()
    bound.bind_ortvalue_input("a", ort.OrtValue.ortvalue_from_numpy(into))
    bound.bind_ortvalue_output("b", ort.OrtValue.ortvalue_from_numpy(out))
    return lambda _kept=(into, out): session.run_with_iobinding(bound)


def _array_bytes() -> int:
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    wanted = max(_LEAST_BYTES, 2 * (cache_bytes() or 0))
    return min(wanted, _MOST_BYTES, max(free // 8, 1 << 20)) // 4 * 4


if __name__ == "__main__":
    main(_Prober())
