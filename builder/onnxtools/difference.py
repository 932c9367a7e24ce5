"""What differs between two ONNX models, by the names of their nodes and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.onnxtools.files import load_graph

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

    Tensors = Callable[[TensorProto, TensorProto], str]

__all__ = ["Change", "onnx_differences"]

_SHOWN = 60  # characters of an attribute's value
_Named = TypeVar("_Named")


@dataclass(frozen=True)
class Change:
    """One thing that differs: its `part` (initializer, node, input, output, opset, graph, model), its name, and how."""

    part: str
    name: str
    what: str  # 'only in the first', '3 of 72 values differ, by at most 1e-07', 'group 1 -> 2'

    def __str__(self) -> str:
        return f"{self.part} {self.name}: {self.what}"


def onnx_differences(first: Path, second: Path) -> list[Change]:
    """Return what differs between two ONNX files; weights in files beside them are read one tensor at a time.

    Empty where both say the same, in whatever bytes. Raises ModelError where a file cannot be read or is no model.
    """
    one, two = load_graph(first, first.name), load_graph(second, second.name)

    def tensors(left: TensorProto, right: TensorProto) -> str:
        return _tensor(left, right, (str(first.parent), str(second.parent)))

    return [*_model(one, two), *_graph(one.graph, two.graph, tensors)]


def _model(one: ModelProto, two: ModelProto) -> Iterator[Change]:
    yield from _named("opset", _opsets(one), _opsets(two), _plain)
    yield from _fields("model", one, two, apart=("graph", "opset_import"))


def _opsets(model: ModelProto) -> dict[str, int]:
    return {each.domain or "ai.onnx": each.version for each in model.opset_import}


def _graph(one: GraphProto, two: GraphProto, tensors: Tensors) -> Iterator[Change]:
    yield from _named("initializer", _by_name(one.initializer), _by_name(two.initializer), tensors)
    yield from _named("node", _nodes(one), _nodes(two), lambda left, right: _node(left, right, tensors))
    yield from _named("input", _by_name(one.input), _by_name(two.input), _value)
    yield from _named("output", _by_name(one.output), _by_name(two.output), _value)
    yield from _fields("graph", one, two, apart=("initializer", "node", "input", "output"))


def _named(
    part: str, ones: Mapping[str, _Named], twos: Mapping[str, _Named], describe: Callable[[_Named, _Named], str]
) -> Iterator[Change]:
    """Compare what has the same name, and say what has none on the other side or stands in another place."""
    yield from (Change(part, name, "only in the first") for name in ones if name not in twos)
    yield from (Change(part, name, "only in the second") for name in twos if name not in ones)
    both = [name for name in ones if name in twos]
    for name in both:
        if what := describe(ones[name], twos[name]):
            yield Change(part, name, what)
    places = zip(both, (name for name in twos if name in ones), strict=True)
    moved = next(((was, now) for was, now in places if was != now), None)
    if moved:
        yield Change(part, moved[1], f"stands where {moved[0]} did")


def _fields(part: str, one: Message, two: Message, *, apart: Iterable[str]) -> Iterator[Change]:
    """Compare the fields that have no rules of their own: versions, producer, notes, inner types."""
    for field in one.DESCRIPTOR.fields:
        was, now = (getattr(message, field.name) for message in (one, two))
        if field.name not in apart and was != now:
            yield Change(part, field.name, "differs" if field.message_type else _plain(was, now))


def _by_name(values: Iterable[Any]) -> dict[str, Any]:
    return {value.name: value for value in values}


def _nodes(graph: GraphProto) -> dict[str, NodeProto]:
    """Return nodes by name; one without a name goes by what it makes."""
    named: dict[str, NodeProto] = {}
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type} of {', '.join(node.output)}"
        named[f"{name}#{index}" if name in named else name] = node
    return named


def _node(one: NodeProto, two: NodeProto, tensors: Tensors) -> str:
    def attribute(left: AttributeProto, right: AttributeProto) -> str:
        return _attribute(left, right, tensors)

    changes = [*_fields("node", one, two, apart=("attribute", "name"))]
    changes += _named("attribute", _by_name(one.attribute), _by_name(two.attribute), attribute)
    return "; ".join(f"{change.name} {change.what}" for change in changes)


def _attribute(one: AttributeProto, two: AttributeProto, tensors: Tensors) -> str:
    from onnx import AttributeProto
    from onnx.helper import get_attribute_value

    if one.type != two.type:
        return "has another type"
    if one.type == AttributeProto.TENSOR:
        return tensors(one.t, two.t)
    if one.type == AttributeProto.GRAPH:
        inner = [str(change) for change in _graph(one.g, two.g, tensors)]
        return f"inside: {inner[0]}{f' and {len(inner) - 1} more' if inner[1:] else ''}" if inner else ""
    return "" if _same(one, two) else _plain(get_attribute_value(one), get_attribute_value(two)) or "differs"


def _plain(was: object, now: object) -> str:
    return "" if was == now else f"{_short(was)} -> {_short(now)}"


def _short(value: object) -> str:
    text = " ".join(str(value).split()) or "nothing"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _value(one: ValueInfoProto, two: ValueInfoProto) -> str:
    from onnx.helper import printable_type

    return "" if _same(one, two) else _plain(printable_type(one.type), printable_type(two.type)) or "differs"


def _same(one: Message, two: Message) -> bool:
    """Return whether two messages are written alike; `==` would tell a NaN from itself."""
    return one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def _tensor(one: TensorProto, two: TensorProto, folders: tuple[str, str]) -> str:
    """Say how two tensors differ: in type and shape, else in how many values and by how much."""
    import numpy as np
    from onnx.helper import tensor_dtype_to_string
    from onnx.numpy_helper import to_array

    kinds = [f"{tensor_dtype_to_string(t.data_type).rpartition('.')[2].lower()}{list(t.dims)}" for t in (one, two)]
    if kinds[0] != kinds[1]:
        return " -> ".join(kinds)
    was, now = (to_array(tensor, folder) for tensor, folder in zip((one, two), folders, strict=True))
    unequal = (was != now) & ~((was != was) & (now != now))  # noqa: PLR0124  only a NaN is unequal to itself
    count = int(np.count_nonzero(unequal))
    if not count:
        return "" if _same(one, two) else "the same values, stored otherwise"
    if was.dtype.kind in "OSU":
        return f"{count:,} of {was.size:,} strings differ"
    with np.errstate(all="ignore"):
        largest = np.abs(was[unequal].astype(np.float64) - now[unequal].astype(np.float64)).max()
    return f"{count:,} of {was.size:,} values differ, by at most {largest:.3g}"
