"""Tables: the values of keys, and the places of numbers between boundaries."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.export.tensorflow.operators.site import Site

# The types of keys and values that LabelEncoder has, by their names in onnx.TensorProto.
ENCODED_KINDS = {"STRING": "strings", "INT64": "int64s", "FLOAT": "floats"}


def bucketize(site: Site) -> None:
    """Write the number of boundaries that are not above x, for Keras's Discretization.

    TensorFlow compares whole numbers as float32, and finds NaN below none.
    """
    import numpy as np
    from onnx import TensorProto

    (x,) = site.inputs
    if site.dtype(x).kind != "f":
        x = site.cast(x, "FLOAT")
    boundaries = site.constant(np.array(site.attribute("boundaries"), site.dtype(x)))
    below = site.node("Less", site.node("Unsqueeze", x, site.whole(-1)), boundaries)
    reached = site.node("Cast", site.node("Not", below), to=TensorProto.INT32)
    site.answer(site.node("ReduceSum", reached, site.whole(-1), keepdims=0))


def look_up(site: Site, table: Any, default: Any) -> None:
    """Write the lookup of a table's value for each key, for Keras's StringLookup and IntegerLookup.

    ``table`` are keys and values, ``default`` the value of an unknown key.
    """
    from onnx import TensorProto

    keys, values = table
    source = site.inputs[1]
    given, wanted = (TensorProto.DataType.Name(each) for each in (site.graph.get_dtype(source), site.kind))
    key, value = (_label(each) for each in (given, wanted))
    attributes = {
        f"keys_{ENCODED_KINDS[key]}": _listed(keys),
        f"values_{ENCODED_KINDS[value]}": _listed(values),
        f"default_{ENCODED_KINDS[value].removesuffix('s')}": _listed(default.reshape(1))[0],
    }
    cast = source if key == given else site.cast(source, key)
    found = site.node("LabelEncoder", cast, domain="ai.onnx.ml", **attributes)
    site.graph.set_dtype(found, TensorProto.DataType.Value(value))
    site.answer(site.cast(found, site.kind))


def table_of(node: Any, tables: Mapping[bytes, tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return the keys and values of the table that a node looks up in."""
    table = node.inputs[0]
    while table.type == "Identity":
        table = table.inputs[0]
    return tables[table.get_attr_value("shared_name")]


def _label(kind: str) -> str:
    """Return the type of LabelEncoder that holds the values of another type."""
    if kind in ENCODED_KINDS:
        return kind
    if kind in ("INT32", "INT16", "INT8", "UINT8", "BOOL"):
        return "INT64"
    raise ValueError(f"can't convert a lookup table of {kind.lower()}")


def _listed(values: Any) -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in values.tolist()]
