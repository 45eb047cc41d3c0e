"""Converters for operators of TensorFlow that tf2onnx does not know, written like its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# tf2onnx calls it with its graph, the node, its name, and arguments, of which we have none.
Handler = Callable[[Any, Any, str, Any], None]
# The types of keys and values that LabelEncoder has, by their names in onnx.TensorProto.
ENCODED_KINDS = {"STRING": "strings", "INT64": "int64s", "FLOAT": "floats"}


def handlers(tables: Mapping[bytes, tuple[Any, Any]]) -> dict[str, tuple[Handler, Sequence[Any]]]:
    """Return the converters by the name of their operator; ``tables`` are keys and values by a table's name."""

    def look_up(graph: Any, node: Any, name: str, arguments: Any) -> None:
        _look_up(graph, node, name, tables)

    found: dict[str, Handler] = {"Erfc": _erfc, "Expm1": _expm1, "Bucketize": _bucketize, "LookupTableFindV2": look_up}
    return {operator: (handler, []) for operator, handler in found.items()}


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Write 1 - erf(x), for Keras's gelu."""
    outputs, kind, shape = _taken_out(graph, node)
    erf = graph.make_node("Erf", node.input[:1], shapes=[shape], dtypes=[kind])
    operands = [_one(graph, name, kind), erf.output[0]]
    graph.make_node("Sub", operands, name=name, outputs=outputs, shapes=[shape], dtypes=[kind])


def _expm1(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Write exp(x) - 1, for Keras's celu."""
    outputs, kind, shape = _taken_out(graph, node)
    power = graph.make_node("Exp", node.input[:1], shapes=[shape], dtypes=[kind])
    operands = [power.output[0], _one(graph, name, kind)]
    graph.make_node("Sub", operands, name=name, outputs=outputs, shapes=[shape], dtypes=[kind])


def _bucketize(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Write the number of boundaries that are not above x, for Keras's Discretization."""
    import numpy as np
    from onnx import TensorProto
    from tf2onnx import utils

    source = node.input[0]
    boundaries = np.array(node.get_attr_value("boundaries"), utils.map_onnx_to_numpy_type(graph.get_dtype(source)))
    outputs, kind, shape = _taken_out(graph, node)
    column = graph.make_node("Unsqueeze", [source, _constant(graph, name, np.array([-1], np.int64))])
    reached = graph.make_node("GreaterOrEqual", [column.output[0], _constant(graph, name, boundaries)])
    counted = graph.make_node("Cast", reached.output, attr={"to": TensorProto.INT32})
    graph.make_node(
        "ReduceSum",
        [counted.output[0], _constant(graph, name, np.array([-1], np.int64))],
        attr={"keepdims": 0},
        name=name,
        outputs=outputs,
        shapes=[shape],
        dtypes=[kind],
    )


def _look_up(graph: Any, node: Any, name: str, tables: Mapping[bytes, tuple[Any, Any]]) -> None:
    """Write the lookup of a table's value for each key, for Keras's StringLookup and IntegerLookup."""
    from onnx import TensorProto

    table = node.inputs[0]
    while table.type == "Identity":
        table = table.inputs[0]
    keys, values = tables[table.get_attr_value("shared_name")]
    default = node.inputs[2].get_tensor_value(as_list=False)
    source = node.input[1]
    given, wanted = (TensorProto.DataType.Name(graph.get_dtype(each)) for each in (source, node.output[0]))
    outputs, kind, shape = _taken_out(graph, node)
    key, value = (_label(each) for each in (given, wanted))
    attributes = {
        f"keys_{ENCODED_KINDS[key]}": _listed(keys),
        f"values_{ENCODED_KINDS[value]}": _listed(values),
        f"default_{ENCODED_KINDS[value].removesuffix('s')}": _listed(default.reshape(1))[0],
    }
    cast = graph.make_node("Cast", [source], attr={"to": TensorProto.DataType.Value(key)}).output[0]
    found = graph.make_node(
        "LabelEncoder",
        [source if key == given else cast],
        domain="ai.onnx.ml",
        attr=attributes,
        shapes=[shape],
        dtypes=[TensorProto.DataType.Value(value)],
    )
    graph.make_node("Cast", found.output, attr={"to": kind}, name=name, outputs=outputs, shapes=[shape], dtypes=[kind])


def _label(kind: str) -> str:
    """Return the type of LabelEncoder that holds the values of another type."""
    if kind in ENCODED_KINDS:
        return kind
    if kind in ("INT32", "INT16", "INT8", "UINT8", "BOOL"):
        return "INT64"
    raise ValueError(f"can't convert a lookup table of {kind.lower()}")


def _listed(values: Any) -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in values.tolist()]


def _taken_out(graph: Any, node: Any) -> tuple[list[str], int, Any]:
    """Remove a node; return the names of its outputs, and the type and shape of the first."""
    kind, shape, outputs = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0]), list(node.output)
    graph.remove_node(node.name)
    return outputs, kind, shape


def _one(graph: Any, name: str, kind: int) -> str:
    import numpy as np
    from tf2onnx import utils

    return _constant(graph, name, np.array(1, utils.map_onnx_to_numpy_type(kind)))


def _constant(graph: Any, name: str, value: Any) -> str:
    from tf2onnx import utils

    return str(graph.make_const(utils.make_name(name), value).output[0])
