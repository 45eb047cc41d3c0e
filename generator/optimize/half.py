"""FP32 to FP16 with ONNX Runtime's converter, and corrections of its result."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import edit
from modelrepo.generator.graphs.walk import graphs, inner_graphs
from modelrepo.generator.optimize import made

# Operators that only move values, so keeping one precise gains nothing.
MOVING = frozenset(
    (
        *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements", "GatherND"),
        *("Identity", "Pad", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
KEEP_FEWER = "Name fewer layers with --keep-precise"


def blocked_operators() -> frozenset[str]:
    """Return the operators that ONNX Runtime's converter leaves in FP32: without FP16, or too imprecise in it."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    return frozenset(DEFAULT_OP_BLOCK_LIST)


def prepare(model: Any, name: str) -> None:
    """Bring constants into the form that the converter sees; ConversionError if no FP32 can become type ``name``."""
    from onnx import TensorProto

    made.refuse_quantized(model, name)
    _spell_out_constants(model)
    types = {tensor.data_type for tensor in edit.tensors(model) if edit.is_float(tensor.data_type)}
    if TensorProto.FLOAT in types:
        return
    if not types:
        raise ConversionError(f"{made.kind(model)} has no weights that {name} could make smaller", made.STAY)
    there = ", ".join(sorted(TensorProto.DataType.Name(each) for each in types))
    raise ConversionError(f"the model has no FP32 weights: they are already {there}", "Leave its precision at fp32")


def summary(model: Any, element_type: int, name: str, bytes_before: int, kept: Collection[str]) -> str:
    """Say how many weights have the type, and the size before and after; ConversionError if there are none."""
    weights = edit.weights(model) or [each for each in edit.tensors(model) if edit.is_float(each.data_type)]
    lowered = sum(tensor.data_type == element_type for tensor in weights)
    if not lowered:
        why, hint = (f": {len(kept)} layers are kept precise", KEEP_FEWER) if kept else ("", made.STAY)
        raise ConversionError(f"none of the model's {len(weights)} weights became {name}{why}", hint)
    sizes = f"{made.megabytes(bytes_before)} -> {made.megabytes(edit.weight_bytes(model))}"
    return f"{lowered} of {len(weights)} weights are {name}, {sizes}"


def to_half(model: Any, kept: Collection[str], blocked: Collection[str]) -> tuple[Any, tuple[str, ...]]:
    """Return the model in FP16 with FP32 inputs and outputs, and the names of the nodes that compute in FP16.

    ``model`` is consumed. Nodes named in ``kept`` and ``blocked`` operators stay in FP32. Raises ConversionError if one
    of these is in the graph of another node, such as If, since the converter would put its Casts outside; and if the
    converter fails.
    """
    from onnx import TensorProto
    from onnxruntime.transformers.float16 import convert_float_to_float16

    _refuse_inner(model, kept, blocked)
    model = edit.inferred(model)
    _forget_constants(model)
    types = edit.element_types(model)
    layers = tuple(
        node.name
        for node in edit.nodes(model)
        if not _stays(node, kept, blocked)
        and node.op_type not in MOVING
        and any(types.get(name) == TensorProto.FLOAT for name in node.output)
    )
    own = {node.name for node in edit.nodes(model)}
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.WARNING)
    try:
        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=list(blocked),
            node_block_list=list(kept),
        )
    except Exception as error:  # it has assertions, and raises onnx's errors
        raise ConversionError(
            f"ONNX Runtime can't convert the model: {type(error).__name__}: {first_line(error)}"
        ) from error
    _skip_round_trips(half, own)
    _sort(half.graph)
    return half, layers


def _stays(node: Any, kept: Collection[str], blocked: Collection[str]) -> bool:
    return node.name in kept or node.op_type in blocked


def _refuse_inner(model: Any, kept: Collection[str], blocked: Collection[str]) -> None:
    for inner in graphs(model):
        if inner is model.graph:
            continue
        for node in inner.node:
            if _stays(node, kept, blocked):
                raise ConversionError(
                    f"{node.op_type} {node.name!r} would stay in FP32, but is in the graph of another node",
                    "Only nodes of the main graph can stay in FP32",
                )


def _forget_constants(model: Any) -> None:
    """Take initializers out of the types that a model lists, as torch.export lists them.

    The converter takes all that is listed for FP16, also constants that it leaves in FP32 for nodes that stay so (no
    issue known).
    """
    for graph in graphs(model):
        constants = {tensor.name for tensor in getattr(graph, "initializer", ())}
        for place in reversed(range(len(graph.value_info))):
            if graph.value_info[place].name in constants:
                del graph.value_info[place]


def _spell_out_constants(model: Any) -> None:
    """Give every Constant a tensor: the converter does not see numbers in attributes."""
    import numpy as np
    import onnx

    for node in edit.nodes(model):
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name in ("value_float", "value_floats"):
                values = np.array(onnx.helper.get_attribute_value(attribute), np.float32)
                attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values)))


def _skip_round_trips(model: Any, own: Collection[str]) -> None:
    """Let nodes that stay in FP32 read and write FP32 directly, instead of through FP16 as the converter does.

    FP16 would round, and overflow, exactly where precision is to be kept. ``own`` are the model's nodes before the
    converter added Casts. It adds a Cast for every reader of a tensor, all with the same name: one is enough.
    """
    from onnx import TensorProto

    main = model.graph
    arguments = {value.name for value in main.input}
    results = {value.name for value in main.output}
    casts = {node.output[0]: node for node in main.node if node.name not in own}
    down = {name: node.input[0] for name, node in casts.items() if node.attribute[0].i == TensorProto.FLOAT16}
    back = {name: down[node.input[0]] for name, node in casts.items() if name not in down and node.input[0] in down}
    back = {name: full for name, full in back.items() if not (name in results and full in arguments)}
    # A result keeps its name: the FP32 tensor that it is cast from gets that name.
    renamed = {full: name for name, full in back.items() if name in results}
    renamed |= {name: renamed.get(full, full) for name, full in back.items() if name not in results}
    left = [node for node in main.node if node.name in own]
    left += [node for name, node in casts.items() if name not in back]
    _rename(model, renamed)
    read = results.union(*(node.input for node in edit.nodes(model) if node.name in own))
    read = read.union(*(node.input for node in left))
    left = [node for node in left if node.name in own or node.output[0] in read]
    del main.node[:]
    main.node.extend(left)


def _rename(model: Any, names: Mapping[str, str]) -> None:
    for node in edit.nodes(model):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _sort(main: Any) -> None:
    """Sort nodes topologically, and otherwise keep their order.

    OnnxModel.topological_sort ignores the tensors that the graphs within a node read.
    """
    waiting = {name: node for node in main.node for name in node.output}
    ordered: list[Any] = []
    stack = [(node, False) for node in reversed(main.node)]
    done: set[str] = set()
    while stack:
        node, ready = stack.pop()
        if ready:
            ordered.append(node)
        elif node.name not in done:
            done.add(node.name)
            stack.append((node, True))
            stack += [(waiting[name], False) for name in reversed(_read(node)) if name in waiting]
    del main.node[:]
    main.node.extend(ordered)


def _read(node: Any) -> list[str]:
    """Return the tensors that a node, and the graphs within it, read."""
    names = list(node.input)
    for inner in inner_graphs(node):
        names += [value.name for value in inner.output]
        for each in inner.node:
            names += _read(each)
    return names
