"""The graph for tf2onnx: a TensorFlow function with its variables replaced."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.sources.tensorflow import tensorflow

# Weights of at least this many bytes do not pass through tf2onnx if only the operators of READING read them, directly
# or after those of MOVING: tf2onnx converts these in the same way whether their inputs are constant or not.
LARGE = 1 << 16
MOVING = {"Identity", "ReadVariableOp", "Reshape", "Transpose", "ExpandDims", "Squeeze", "Cast"}
READING = {
    *("Add", "AddV2", "Sub", "Mul", "BiasAdd", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Gather", "GatherV2", "ResourceGather", "Shape"),
}
# Attributes that keep TensorFlow from inlining a function: of compiled ones, and of those with a variant for a GPU.
KEPT_WHOLE = ("_XlaMustCompile", "api_implements", "_noinline")


@dataclass(frozen=True)
class Frozen:
    """A graph without variables: ``weights`` are placeholders by name, each with a function that reads its value.

    ``tables`` are the keys and values of lookup tables, by their names in the graph.
    """

    definition: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, "Weight"]
    tables: Mapping[bytes, tuple[Any, Any]]


@dataclass(frozen=True)
class Weight:
    """A tensor that is read when it is written: ``dtype`` is TensorFlow's, ``shape`` all sizes."""

    dtype: Any
    shape: tuple[int, ...]
    read: Callable[[], Any]


def frozen(function: Any) -> Frozen:
    """Return the graph of a concrete function: small variables become constants, large weights placeholders."""
    import numpy as np
    from tensorflow.python.framework import convert_to_constants as freezing

    definition = _inlined(function)
    _refuse_state(definition)
    readers = _readers(definition)
    weights: dict[str, Weight] = {}
    tables: dict[bytes, tuple[Any, Any]] = {}
    table_nodes: dict[str, Any] = {}
    data = freezing._ConverterData(definition)
    for outer, inner in function.graph.captures:
        name = inner.op.name
        weight = _weight(outer)
        if weight is None:
            info = _table(name, readers)
            if info:
                info.shared_name = name.encode()
                table_nodes[name] = info
                tables[info.shared_name] = _table_content(outer, info)
        elif name in data.node_defs:
            large = _is_large(weight) and _only_read(name, readers)
            if large:
                weights[name] = weight
            value = np.zeros(1, weight.dtype.as_numpy_dtype) if large else weight.read()
            data.tensor_data[name] = freezing._TensorData(value, weight.dtype.as_datatype_enum, None)
    definition, _ = freezing._replace_variables_by_constants(data)
    for node in definition.node:
        if node.name in weights:
            _open(node, weights[node.name])
    if table_nodes:
        from tf2onnx.tf_utils import replace_placeholders_with_tables

        replace_placeholders_with_tables(definition, table_nodes)
    captured = {inner.name for _, inner in function.graph.captures}
    inputs = tuple(tensor.name for tensor in function.inputs if tensor.name not in captured)
    return Frozen(definition, inputs, tuple(tensor.name for tensor in function.outputs), weights, tables)


def _inlined(function: Any) -> Any:
    """Return the graph of a concrete function with the functions that it calls inlined, except loops."""
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
    from tensorflow.python.framework.convert_to_constants import disable_lower_using_switch_merge

    definition = disable_lower_using_switch_merge(function.graph.as_graph_def())
    nodes = [definition.node, *(each.node_def for each in definition.library.function)]
    for holder in (*definition.library.function, *(node for each in nodes for node in each)):
        for mark in KEPT_WHOLE:
            holder.attr.pop(mark, None)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1  # small graphs as well
    rewriting.optimizers.append("function")
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    fetched = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    return _grappled(definition, config, fetched)


def _grappled(definition: Any, config: Any, fetched: Sequence[str]) -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    library = tensorflow()
    with library.Graph().as_default():
        meta_graph = library.compat.v1.train.export_meta_graph(graph_def=definition)
    collection = meta_graph_pb2.CollectionDef()
    collection.node_list.value.extend(fetched)
    meta_graph.collection_def["train_op"].CopyFrom(collection)
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _refuse_state(definition: Any) -> None:
    """Raise ConversionError for variables that the graph writes to, and for variables of TensorFlow 1.

    The latter can only be read by a session of TensorFlow 1.
    """
    written = [node.name for node in definition.node if node.op.startswith("Assign") and node.op.endswith("VariableOp")]
    if written:
        raise ConversionError(
            f"its output depends on earlier requests: {written[0].rpartition('/')[2]!r} writes to a variable",
            "Let its state be an input and an output: docs/how-to/when-export-fails.md#tensorflow",
        )
    held = [node.name for node in definition.node if node.op in ("Variable", "VariableV2")]
    if held:
        raise ConversionError(
            f"{held[0].rpartition('/')[2]!r} is a variable of TensorFlow 1's kind, which can't be frozen",
            "Save the model again with tf.compat.v1.enable_resource_variables() called before it is built",
        )


def _readers(definition: Any) -> dict[str, list[Any]]:
    """Return the nodes that read each node of a graph, by its name."""
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in definition.node:
        for name in node.input:
            if not name.startswith("^"):
                readers[name.partition(":")[0]].append(node)
    return readers


def _weight(captured: Any) -> Weight | None:
    """Return the value of a captured tensor or variable; None for another resource, such as a table."""
    from tensorflow.python.ops import handle_data_util

    library = tensorflow()
    if captured.dtype != library.resource:
        return Weight(captured.dtype, tuple(captured.shape), lambda: _numpy(captured))
    data = handle_data_util.get_handle_data(captured)
    if not data or not data.is_set:
        return None
    dtype = library.as_dtype(data.shape_and_type[0].dtype)
    shape = tuple(dim.size for dim in data.shape_and_type[0].shape.dim)
    return Weight(dtype, shape, lambda: _numpy(library.raw_ops.ReadVariableOp(resource=captured, dtype=dtype)))


def _numpy(tensor: Any) -> Any:
    import numpy as np

    return np.asarray(tensor.numpy())


def _is_large(weight: Weight) -> bool:
    count = weight.dtype.size
    for size in weight.shape:
        count *= size
    return bool(count >= LARGE)


def _only_read(name: str, readers: Mapping[str, list[Any]]) -> bool:
    """Whether only operators of READING read a weight, directly or after those of MOVING."""
    nodes = [node for node in readers.get(name, []) if node.op != "ReadVariableOp" or node.name in readers]
    return bool(nodes) and all(
        node.op in READING or (node.op in MOVING and _only_read(node.name, readers)) for node in nodes
    )


def operators_of(definition: Any) -> frozenset[str]:
    """Return the operators of a graph and of the functions that it calls."""
    nodes = [definition.node, *(each.node_def for each in definition.library.function)]
    return frozenset(node.op for each in nodes for node in each)


def with_sizes(definition: Any, weights: Mapping[str, Weight]) -> Any:
    """Return a graph whose placeholders of ``weights`` have their sizes."""
    for node in definition.node:
        if node.name in weights:
            for dim, size in zip(node.attr["shape"].shape.dim, weights[node.name].shape, strict=True):
                dim.size = size
    return definition


def _open(node: Any, weight: Weight) -> None:
    """Turn the constant of a weight into a placeholder without sizes: TensorFlow's optimizer fills others in."""
    name = node.name
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = weight.dtype.as_datatype_enum
    shape = node.attr["shape"].shape
    shape.SetInParent()
    for _ in weight.shape:
        shape.dim.add().size = -1


def _table(name: str, readers: Mapping[str, list[Any]]) -> Any:
    """Return tf2onnx's description of a lookup table; None for another resource."""
    from tf2onnx.tf_utils import HashTableInfo

    for node in readers.get(name, []):
        if node.op == "Identity":
            return _table(node.name, readers)
        if node.op == "LookupTableFindV2":
            return HashTableInfo(name.encode(), node.attr["Tin"].type, node.attr["Tout"].type, name)
    return None


def _table_content(table: Any, info: Any) -> tuple[Any, Any]:
    library = tensorflow()
    keys, values = library.raw_ops.LookupTableExportV2(
        table_handle=table, Tkeys=library.as_dtype(info.key_dtype), Tvalues=library.as_dtype(info.val_dtype)
    )
    return keys.numpy(), values.numpy()
