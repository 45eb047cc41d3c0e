"""ONNX graphs in memory: loaded with their weights, changed, and saved."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.graphs.walk import MODEL_FILE, graphs, inner_graphs
from modelrepo.generator.specs.tensors import Array

# A tensor of numbers with fewer elements is a setting, such as an epsilon or the scales of a Resize, not a weight.
WEIGHT_ELEMENTS = 8
DEFAULT_DOMAINS = ("", "ai.onnx")
# The graph itself takes far less than this; the rest of the 2 GiB of a protobuf message is for weights.
ROOM_FOR_GRAPH = 64 << 20
# Before this IR, an initializer had to be an input as well.
FIRST_IR_WITH_CONSTANTS = 4
# Tensors of at least this many bytes go to the file of external data, if there is one.
EXTERNAL_BYTES = 1 << 10


def load(path: Path) -> Any:
    """Return the ``onnx.ModelProto`` at ``path`` with its external data in it.

    Every node and every tensor gets a name of its own, always the same for the same file: exporters leave out the names
    of nodes, and the graphs of one If may use the same names for different tensors. Initializers are taken out of the
    inputs: onnx's passes change the type of one and forget the other.
    """
    import onnx

    model = onnx.load(str(path))
    close(model)
    name_nodes(model)
    name_tensors(model)
    return model


def save(model: Any, folder: Path) -> tuple[Path, ...]:
    """Write ``folder/model.onnx`` and return the files written: two if the weights don't fit into one message."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    if sum(map(tensor_bytes, tensors(model))) <= onnx_file.PROTOBUF_LIMIT - ROOM_FOR_GRAPH:
        path.write_bytes(model.SerializeToString())
        return (path,)
    data = path.with_name(path.name + ".data")
    onnx.save(model, str(path), save_as_external_data=True, location=data.name, size_threshold=EXTERNAL_BYTES)
    onnx.load_external_data_for_model(model, str(folder))  # saving took the weights out of the model
    return path, data


def close(model: Any) -> None:
    """Take initializers out of the inputs: IR 3 and older list all of them, later ones those that are optional."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) < len(model.graph.input):
        model.ir_version = max(model.ir_version, FIRST_IR_WITH_CONSTANTS)
        del model.graph.input[:]
        model.graph.input.extend(inputs)


def name_nodes(model: Any) -> None:
    """Name each node without a name, or with that of an earlier node, for its operator and its place."""
    taken: set[str] = set()
    nameless = []
    for node in nodes(model):
        if not node.name or node.name in taken:
            nameless.append(node)
        taken.add(node.name)
    for number, node in enumerate(nameless):
        name = f"{node.op_type}_{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name


def name_tensors(model: Any) -> None:
    """Rename each tensor of a graph within a node if another graph has a tensor of that name."""
    taken = defined(model.graph)
    for graph in graphs(model):
        if graph is model.graph or not hasattr(graph, "initializer"):  # functions have names of their own
            continue
        new = {}
        for name in defined(graph):
            if name in taken:
                new[name] = next(each for n in count(2) if (each := f"{name}_{n}") not in taken)
            taken[new.get(name, name)] = None
        if new:
            rename(graph, new)


def defined(graph: Any) -> dict[str, None]:
    """Return the names of the tensors that a graph itself declares or computes, in order."""
    made = [name for node in graph.node for name in node.output if name]
    return dict.fromkeys([*(each.name for each in (*graph.input, *graph.initializer)), *made])


def rename(graph: Any, names: Mapping[str, str]) -> None:
    """Rename tensors of a graph, including where graphs within it read them."""
    for declared in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        declared.name = names.get(declared.name, declared.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for within in inner_graphs(node):
            own = defined(within)
            rename(within, {old: new for old, new in names.items() if old not in own})


def opset_of(model: Any) -> int:
    """Return the version of the default operator set; 0 if the model imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), 0)


def nodes(model: Any) -> Iterator[Any]:
    """Yield every node of a model, including those of functions and of graphs within nodes."""
    for graph in graphs(model):
        yield from graph.node


def tensors(model: Any) -> Iterator[Any]:
    """Yield every ``onnx.TensorProto`` that a model computes with: initializers, and those that nodes hold."""
    yield from places(model).values()


def places(model: Any) -> dict[str, Any]:
    """Return every TensorProto that a model computes with, by its place.

    That is the name of an initializer, and "node.attribute" for a tensor that a node holds, as Constant does.
    """
    found = {}
    for graph in graphs(model):
        for tensor in getattr(graph, "initializer", ()):  # functions have none
            found[tensor.name] = tensor
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found[f"{node.name}.{attribute.name}"] = attribute.t
    return found


def weights(model: Any) -> list[Any]:
    """Return the tensors of real numbers, of any float type, that have at least WEIGHT_ELEMENTS elements."""
    return [tensor for tensor in tensors(model) if is_float(tensor.data_type) and elements(tensor) >= WEIGHT_ELEMENTS]


def weight_bytes(model: Any) -> int:
    """Return how many bytes the weights take."""
    return sum(map(tensor_bytes, weights(model)))


def is_float(data_type: int) -> bool:
    """Whether an element type of ONNX holds real numbers: FLOAT, DOUBLE, FLOAT16, BFLOAT16 or one of 8 bits."""
    import onnx

    return onnx.TensorProto.DataType.Name(data_type).startswith(("FLOAT", "DOUBLE", "BFLOAT"))


def elements(tensor: Any) -> int:
    """Return how many elements a TensorProto has."""
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def tensor_bytes(tensor: Any) -> int:
    """Return how many bytes the elements of a TensorProto take, in the model or in a file beside it; 0 for strings."""
    import onnx

    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return 0
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    return elements(tensor) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def set_values(tensor: Any, values: Array) -> None:
    """Replace the values and the type of a TensorProto; keep its name."""
    import onnx

    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def infer_shapes(model: Any, *, data_prop: bool = False) -> Any:
    """Return a copy of a model with the shapes that ONNX infers; what is behind a LabelEncoder has none.

    With ``data_prop`` also those that follow from computed sizes. onnx 1.23 dies of a LabelEncoder behind an operator
    that it does not know, such as a Tokenizer (no issue known).
    """
    from onnx import ModelProto, shape_inference

    nodes = [node for node in model.graph.node if node.op_type != "LabelEncoder"]
    if len(nodes) == len(model.graph.node):
        return shape_inference.infer_shapes(model, data_prop=data_prop)
    known, part = ModelProto(), ModelProto()
    known.CopyFrom(model)
    part.CopyFrom(model)
    del part.graph.node[:], known.graph.value_info[:]
    part.graph.node.extend(nodes)
    known.graph.value_info.extend(shape_inference.infer_shapes(part, data_prop=data_prop).graph.value_info)
    return known


def inferred(model: Any) -> Any:
    """Return the model with the type and shape of every tensor that ONNX can infer; ``model`` is used up.

    Raises ConversionError if the types of the graph contradict each other.
    """
    import onnx

    try:
        return without_weights(model, infer_shapes)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError(f"the types of the model contradict each other: {first_line(error)}") from error


def without_weights(model: Any, change: Callable[[Any], Any]) -> Any:
    """Return the model that ``change`` makes while the large initializers are inputs; ``model`` is used up.

    onnx's own passes copy the model several times: shape inference takes 0.1 s instead of 2.9 s for ViT-B/16's 346 MB.
    """
    import onnx

    main = model.graph
    declared = {value.name for value in main.input}
    everything = list(main.initializer)
    large = {tensor.name: tensor for tensor in everything if tensor_bytes(tensor) > EXTERNAL_BYTES}
    del main.initializer[:]
    main.initializer.extend(tensor for tensor in everything if tensor.name not in large)
    main.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in large.values()
        if tensor.name not in declared
    )
    changed = change(model)
    inputs = [value for value in changed.graph.input if value.name in declared or value.name not in large]
    del changed.graph.input[:]
    changed.graph.input.extend(inputs)
    changed.graph.initializer.extend(large.values())
    return changed


def element_types(model: Any) -> dict[str, int]:
    """Return the element type of each tensor that the model declares, or that ``inferred`` has found, by name."""
    found = {name: tensor.data_type for name, tensor in places(model).items()}
    for graph in graphs(model):
        if hasattr(graph, "initializer"):  # functions declare no types
            values = (*graph.input, *graph.output, *graph.value_info)
            found |= {value.name: value.type.tensor_type.elem_type for value in values}
    return found


def retype(model: Any, old: int, new: int, values: Callable[[str, Any], Array]) -> None:
    """Replace the element type ``old`` by ``new`` everywhere in a model.

    ``values`` returns the new values of a TensorProto, given its place, as in ``places``, and the tensor.
    """
    for place, tensor in places(model).items():
        if tensor.data_type == old:
            set_values(tensor, values(place, tensor))
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == old:
                attribute.i = new
    for each in graphs(model):
        if hasattr(each, "initializer"):  # functions declare no types
            for value in (*each.input, *each.output, *each.value_info):
                tensor_type = _tensor_type(value.type)
                if tensor_type.elem_type == old:
                    tensor_type.elem_type = new


def _tensor_type(declared: Any) -> Any:
    """Return the tensor type in a TypeProto, also that of a sequence or an optional value."""
    kind = declared.WhichOneof("value")
    wrapper = getattr(declared, kind) if kind in ("sequence_type", "optional_type") else None
    return declared.tensor_type if wrapper is None else _tensor_type(wrapper.elem_type)
