"""Run an ONNX model so that every processor computes the same bytes.

It is onnx's reference evaluator with the sums and functions of `exact`. It knows the operators listed here and no
others: each was looked at for what its bytes depend on. About ten times slower than ONNX Runtime on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.onnxtools import exact
from builder.runtimes.onnxruntime import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["ExactSession"]

OPSET = 13  # Softmax-13 has one axis
HINT = "set steps.quantize.calibration.kernels=onnxruntime"

# In onnx's evaluator these move and compare numbers, or do single operations on them, which IEEE 754 defines.
_AS_THEY_ARE = {
    *("Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape"),
    *("DepthToSpace", "Div", "Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND"),
    *("GlobalMaxPool", "Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "LeakyRelu", "Less", "LessOrEqual"),
    *("Max", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Reciprocal", "ReduceMax", "ReduceMin", "Relu"),
    *("Reshape", "Round", "Shape", "Sign", "Size", "Slice", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub"),
    *("Tile", "Transpose", "Unsqueeze", "Where"),
}


class ExactSession(Session):
    """A model loaded for exact arithmetic. Raises ModelError where it has operators that are not known here."""

    def __init__(self, model: Path) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        from builder.onnxtools.opset import opset

        super().__init__(model, optimize=False)
        proto = onnx.load(str(model))
        if opset(proto) < OPSET:
            raise ModelError(f"exact arithmetic needs opset {OPSET}, and the model has {opset(proto)}", HINT)
        known = _AS_THEY_ARE | _REPLACED.keys()
        unknown = {n.op_type for n in proto.graph.node if n.op_type not in known or n.domain not in {"", "ai.onnx"}}
        if unknown:
            raise ModelError(f"there is no exact arithmetic for {', '.join(sorted(unknown))}", HINT)
        operators = [_operator(name, compute) for name, compute in _REPLACED.items()]
        self._evaluator = ReferenceEvaluator(proto, new_ops=operators)

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in order. Raises ModelError where a sum has no exact value."""
        import numpy as np

        with np.errstate(all="ignore"):
            return list(self._evaluator.run(None, dict(feed)))


def _operator(name: str, compute: Callable[..., Array]) -> Any:
    from onnx.reference.op_run import OpRun

    def run(_self: Any, x: Array, *others: Array, **attributes: Any) -> tuple[Array]:
        return (compute(x, *others, **attributes).astype(x.dtype),)

    return type(name, (OpRun,), {"_run": run})


def _conv(x: Array, w: Array, b: Array | None = None, **attributes: Any) -> Array:
    import numpy as np

    groups, spatial = attributes["group"] or 1, x.ndim - 2
    seen = _windows(x, w.shape[2:], attributes, 0.0)  # [n, channel, out..., kernel...]
    out = seen.shape[2 : 2 + spatial]
    seen = seen.reshape(len(x), groups, -1, *seen.shape[2:])
    order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
    rows = seen.transpose(order).reshape(groups, len(x) * int(np.prod(out)), -1)
    y: Array = exact.matmul(rows, w.reshape(groups, -1, rows.shape[2]).transpose(0, 2, 1))
    y = y.reshape(groups, len(x), *out, -1).transpose(1, 0, 2 + spatial, *range(2, 2 + spatial))
    y = y.reshape(len(x), -1, *out)
    return y if b is None else np.add(y, b.astype(np.float64).reshape(-1, *[1] * spatial))


def _gemm(a: Array, b: Array, c: Array | None = None, **attributes: Any) -> Array:
    import numpy as np

    y = exact.matmul(a.T if attributes["transA"] else a, b.T if attributes["transB"] else b)
    y *= attributes["alpha"]
    return y if c is None else y + c.astype(np.float64) * attributes["beta"]


def _max_pool(x: Array, **attributes: Any) -> Array:
    kernel = attributes["kernel_shape"]
    largest: Array = _windows(x, kernel, attributes, float("-inf")).max(axis=tuple(range(-len(kernel), 0)))
    return largest


def _average_pool(x: Array, **attributes: Any) -> Array:
    import numpy as np

    kernel = attributes["kernel_shape"]
    if attributes["count_include_pad"] and attributes["ceil_mode"]:
        raise ModelError("there is no exact arithmetic for AveragePool with count_include_pad and ceil_mode", HINT)
    axes = tuple(range(-len(kernel), 0))
    padding = float(bool(attributes["count_include_pad"]))
    counted = _windows(np.ones((1, 1, *x.shape[2:])), kernel, attributes, padding).sum(axis=axes)
    average: Array = exact.total(_windows(x, kernel, attributes, 0.0), axes).squeeze(axes) / counted
    return average


def _windows(x: Array, kernel: Sequence[int], attributes: Mapping[str, Any], fill: float) -> Array:
    """Return [n, c, spatial...] as [n, c, out..., kernel...], as Conv and the poolings of ONNX see it."""
    import numpy as np

    spatial = len(kernel)
    steps = attributes.get("strides") or [1] * spatial
    dilations = attributes.get("dilations") or [1] * spatial
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    pads = [_pads(i, x.shape[2 + i], spans[i], steps[i], attributes) for i in range(spatial)]
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + spatial)))
    wanted = [slice(None), slice(None), *(slice(None, None, step) for step in (*steps, *dilations))]
    return view[tuple(wanted)]


def _pads(axis: int, size: int, span: int, step: int, attributes: Mapping[str, Any]) -> tuple[int, int]:
    given = attributes.get("pads")
    before, after = (given[axis], given[axis + len(given) // 2]) if given else (0, 0)
    mode = attributes.get("auto_pad") or "NOTSET"
    if mode.startswith("SAME"):
        missing = max(0, (-(-size // step) - 1) * step + span - size)
        before = missing // 2 if mode == "SAME_UPPER" else missing - missing // 2
        after = missing - before
    left = (size + before + after - span) % step
    begins = size + before + after - span - left + step  # of one window more
    more = step - left if attributes.get("ceil_mode") and left and begins < size + before else 0
    return before, after + more


def _reduced(reduce: Callable[[Array, tuple[int, ...]], Array]) -> Callable[..., Array]:
    def compute(x: Array, *others: Array, **attributes: Any) -> Array:
        given = others[0] if others else attributes.get("axes")
        if given is None or not len(given):
            if attributes.get("noop_with_empty_axes"):
                return x
            given = range(x.ndim)
        axes = tuple(int(axis) % x.ndim for axis in given)
        y = reduce(x, axes)
        return y if attributes["keepdims"] else y.squeeze(axes)

    return compute


def _softmax(x: Array, axis: int) -> Array:
    powers = exact.exp(x - x.max(axis=axis, keepdims=True))
    return powers / exact.total(powers, (axis,))


def _layer_norm(x: Array, scale: Array, bias: Array | None = None, **attributes: Any) -> Array:
    import numpy as np

    axes = tuple(range(attributes["axis"] % x.ndim, x.ndim))
    apart = x - exact.mean(x, axes)
    y: Array = apart / np.sqrt(exact.mean(apart * apart, axes) + attributes["epsilon"]) * scale
    return y if bias is None else y + bias


def _batch_norm(x: Array, *others: Array, **attributes: Any) -> Array:
    import numpy as np

    if attributes.get("training_mode"):
        raise ModelError("BatchNormalization is in training mode", "export the model for inference")
    scale, bias, mean, variance = (each.astype(np.float64).reshape(-1, *[1] * (x.ndim - 2)) for each in others)
    y: Array = (x - mean) / np.sqrt(variance + attributes["epsilon"]) * scale + bias
    return y


def _gelu(x: Array, approximate: str) -> Array:
    import numpy as np

    x = x.astype(np.float64)
    if approximate == "tanh":
        return 0.5 * x * (1 + exact.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * (x * x * x))))
    return 0.5 * x * (1 + exact.erf(x * 0.5**0.5))


def _power(x: Array, exponent: Array) -> Array:
    import numpy as np

    value = float(exponent.reshape(-1)[0]) if exponent.size == 1 else None
    if value == 0.5:
        root: Array = np.sqrt(x)
        return root
    if value not in (2.0, 3.0):
        raise ModelError("there is exact arithmetic for Pow by 0.5, 2 and 3 only", HINT)
    powers: Array = x * x if value == 2 else x * x * x
    return powers


_REPLACED: dict[str, Callable[..., Any]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Erf": exact.erf,
    "Exp": exact.exp,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: exact.mean(x, tuple(range(2, x.ndim))),
    "HardSwish": lambda x: x * (x.astype("float64") / 6 + 0.5).clip(0, 1),
    "LayerNormalization": _layer_norm,
    "Log": exact.log,
    "MatMul": exact.matmul,
    "MaxPool": _max_pool,
    "Pow": _power,
    "ReduceMean": _reduced(exact.mean),
    "ReduceSum": _reduced(exact.total),
    "Sigmoid": exact.sigmoid,
    "Softmax": _softmax,
    "Tanh": exact.tanh,
}
