"""The graphs of a TensorFlow Lite file for tf2onnx, without the large weights, which stay in the file."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modelrepo.generator.export.tensorflow import sparse
from modelrepo.generator.export.tensorflow.graph import LARGE, Weight
from modelrepo.generator.sources.tensorflow import tensorflow
from modelrepo.generator.sources.tflite import LiteFile

# Operators that tf2onnx converts in the same way whether their inputs at these places are constant or not, including
# the DequantizeLinear that it inserts before quantized ones.
READING: Mapping[str, Collection[int]] = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "BATCH_MATMUL"), (0, 1)),
    **dict.fromkeys(("FULLY_CONNECTED", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), (1,)),
    "GATHER": (0,),
}
# The formats of numbers in a file, by the names of TensorType.
NUMBERS = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT8": "i1", "UINT8": "u1", "INT16": "<i2", "INT32": "<i4"}
# The operator that changes a variable of a file, under TensorFlow's name for operators.
WRITING = "AssignVariable"
# A buffer with its content hidden from tf2onnx.
EMPTY = SimpleNamespace(DataIsNone=lambda: True)


@dataclass(frozen=True)
class _Outline:
    """A model as tf2onnx reads it, with the buffers of some numbers empty, and of others replaced."""

    model: Any
    emptied: Collection[int]
    replaced: Mapping[int, Any]

    def Buffers(self, number: int) -> Any:  # noqa: N802 - tf2onnx calls it
        return EMPTY if number in self.emptied else self.replaced.get(number) or self.model.Buffers(number)

    def Subgraphs(self, number: int) -> Any:  # noqa: N802 - tf2onnx calls it
        return self.model.Subgraphs(number)


def processed(native: LiteFile, opset: int, **settings: Any) -> tuple[Any, Mapping[str, Weight]]:
    """Return tf2onnx's graph of a file, and the weights that are its inputs after those of the file.

    This reads the file as tf2onnx does, but from a mapping, and with the shapes that the interpreter of ``native`` has
    found: tf2onnx would hold the file twice, and open another interpreter. ``settings`` are those of process_tf_graph.
    Raises tf2onnx's own errors for a file that it can't read or convert.
    """
    from tf2onnx import tf_loader, tflite_utils, tfonnx

    tf_loader.clear_functions()
    model = _opened(native.path)
    operators = _operators(model)
    *inner, main = tflite_utils.get_model_subgraphs(model)
    called = [_inner(model, graph, operators) for graph in inner]
    weights, emptied = _weights(model, main, operators, native.path)
    outline = _Outline(model, emptied, sparse.buffers(model, main, _forms()))
    whole = _main(outline, main, operators, native, weights)
    for graph in (whole, *called):
        graph.set_config(None, opset)
    unset: dict[str, Any] = {"inputs_as_nchw": [], "outputs_as_nchw": [], "custom_rewriter": None}
    unset |= {"initialized_tables": None, "tensors_to_rename": None}
    return tfonnx.process_graphs(whole, called, is_tflite=True, **unset, **settings), weights


def operators_of(native: LiteFile) -> frozenset[str]:
    """Return the operators of a file under TensorFlow's names: BitwiseXor for BITWISE_XOR."""
    return frozenset(name.title().replace("_", "") for name in _operators(_opened(native.path)).values())


def _opened(path: Path) -> Any:
    from tf2onnx.tflite.Model import Model

    with path.open("rb") as file:
        return Model.GetRootAs(mmap(file.fileno(), 0, access=ACCESS_READ))


def _operators(model: Any) -> dict[int, str]:
    return {number: _operator(model.OperatorCodes(number)) for number in range(model.OperatorCodesLength())}


def _inner(model: Any, graph: Any, operators: Mapping[int, str]) -> Any:
    """Return tf2onnx's graph of the body of a loop or a condition."""
    from tf2onnx.graph import Graph
    from tf2onnx.tflite_utils import parse_tflite_graph

    prefix = graph.Name().decode() + "_"
    nodes, _, _, shapes, dtypes, inputs, outputs, name = parse_tflite_graph(graph, operators, model, prefix)
    names = {"input_names": inputs, "output_names": outputs, "graph_name": name}
    return Graph(nodes, shapes, dtypes, is_subgraph=True, **names)


def _main(
    model: _Outline, graph: Any, operators: Mapping[int, str], native: LiteFile, weights: Mapping[str, Weight]
) -> Any:
    """Return tf2onnx's main graph, with ``weights`` as inputs after those of the file."""
    from onnx import helper
    from tf2onnx import tflite_utils, utils
    from tf2onnx.graph import Graph

    known = {name: [*shape] for name, shape in native.shapes.items()}
    nodes, _, _, shapes, dtypes, _, _, name = tflite_utils.parse_tflite_graph(graph, operators, model, "", known)
    utils.check_io([*native.inputs], [*native.outputs], shapes.keys())
    nodes = [node for node in nodes if weights.keys().isdisjoint(node.output)]  # removes the conversion of halves
    for node in nodes:
        if node.op_type == sparse.DENSIFY:
            node.op_type = "Identity"
    nodes += [helper.make_node("Placeholder", [], outputs=[weight], name=weight) for weight in weights]
    names = {"input_names": [*native.inputs, *weights], "output_names": [*native.outputs], "graph_name": name}
    return Graph(nodes, shapes, dtypes, **names)


def _operator(code: Any) -> str:
    """Return the name of an operator: the schema has two fields for its number, of which the older holds a byte."""
    from tf2onnx.tflite_utils import lookup_enum

    name = lookup_enum(code.DeprecatedBuiltinCode(), "BuiltinOperator")
    if name == "PLACEHOLDER_FOR_GREATER_OP_CODES":
        name = lookup_enum(code.BuiltinCode(), "BuiltinOperator")
    return str(code.CustomCode().decode() if name == "CUSTOM" else name)


# The tensors that tf2onnx need not know.


def _weights(
    model: Any, graph: Any, operators: Mapping[int, str], path: Path
) -> tuple[dict[str, Weight], frozenset[int]]:
    """Return the weights that are read from the file, by the names of their tensors, and the buffers that hold them."""
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    names = Counter(tensor.Name() for tensor in tensors)
    subgraphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
    users = Counter(each.Tensors(number).Buffer() for each in subgraphs for number in range(each.TensorsLength()))
    readers = _readers(graph, operators)
    weights, emptied = {}, set()
    for number, tensor in enumerate(tensors):
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength() < LARGE or users[tensor.Buffer()] > 1:
            continue
        shown = _shown(number, tensor, readers)
        weight = _weight(tensor, tensors[shown], buffer, path)
        if weight and names[tensors[shown].Name()] == 1 and _only_read(shown, readers):
            weights[tensors[shown].Name().decode()] = weight
            emptied.add(tensor.Buffer())
    return weights, frozenset(emptied)


def _readers(graph: Any, operators: Mapping[int, str]) -> dict[int, list[tuple[str, int, int]]]:
    """Return the readers of each tensor of a graph: an operator, the place of its input, and its output."""
    readers: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        made = operator.Outputs(0) if operator.OutputsLength() else -1
        for place in range(operator.InputsLength()):
            readers[operator.Inputs(place)].append((operators[operator.OpcodeIndex()], place, made))
    for place in range(graph.OutputsLength()):
        readers[graph.Outputs(place)].append(("", place, -1))
    return readers


def _only_read(number: int, readers: Mapping[int, Sequence[tuple[str, int, int]]]) -> bool:
    """Whether all operators that read a tensor are those of READING, directly or after a DEQUANTIZE."""
    read = readers.get(number, ())
    return bool(read) and all(
        place in READING.get(operator, ()) or (operator == "DEQUANTIZE" and _only_read(made, readers))
        for operator, place, made in read
    )


def _shown(number: int, tensor: Any, readers: Mapping[int, Sequence[tuple[str, int, int]]]) -> int:
    """Return the tensor that stands for a weight in tf2onnx's graph: for halves, their conversion to float32."""
    from tf2onnx.tflite.TensorType import TensorType

    read = readers.get(number, ())
    if tensor.Type() == TensorType.FLOAT16 and len(read) == 1 and read[0][0] == "DEQUANTIZE":
        return read[0][2]
    return number


def _weight(tensor: Any, shown: Any, buffer: Any, path: Path) -> Weight | None:
    """Return the weight that reads a tensor from the file; None unless it is stored as plain numbers of its shape."""
    import numpy as np

    forms = _forms()
    if not {tensor.Type(), shown.Type()} <= forms.keys() or tensor.Sparsity() or tensor.ShapeIsNone():
        return None
    held, wanted = np.dtype(forms[tensor.Type()]), np.dtype(forms[shown.Type()])
    shape, data = tuple(tensor.ShapeAsNumpy().tolist()), buffer.DataAsNumpy()
    if prod(shape) * held.itemsize != data.nbytes or min(shape) < 1:
        return None
    offset = data.ctypes.data - np.frombuffer(buffer._tab.Bytes, "u1").ctypes.data
    return Weight(tensorflow().as_dtype(wanted), shape, partial(_read, path, offset, held, wanted, shape))


def _forms() -> dict[int, str]:
    """Return NUMBERS by the numbers of TensorType."""
    from tf2onnx.tflite.TensorType import TensorType

    return {getattr(TensorType, name): form for name, form in NUMBERS.items()}


def _read(path: Path, offset: int, held: Any, wanted: Any, shape: tuple[int, ...]) -> Any:
    """Return the numbers at a place of a file, mapped while they are used, so that one weight is held at a time."""
    import numpy as np

    return np.memmap(path, held, "r", offset, shape).astype(wanted, copy=False)
