"""A model repository for the tests of the clients: tiny ONNX models that a real Triton serves.

linear      batches up to 8: output[batch, 3] = input[batch, 4] x WEIGHTS, with labels
join        batches up to 4: sum[batch, 2] = left + right, difference[batch, 2] = left - right
echo        does not batch: for each datatype an input and an output [-1], such as int8 and int8_out
fill        does not batch: count ones, for an int64 count [1]
slow        does not batch: multiplies 128 x 128 matrices rounds times, for an int64 [1], and answers 128 ones; only
            the last product is kept, so that memory does not grow
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(12, dtype="float32").reshape(4, 3) / 4
LABELS = ("cat", "dog", "a: fish")
ECHOED = {
    "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
    "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE, "object": TensorProto.STRING,
}  # fmt: skip
TRITON = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "STRING"}
# Rounds of `slow`, 40 µs each on a slow core and 2 µs on none: more than fit into 0.1 s, more than anyone waits for.
LATE, ENDLESS = 50_000, 10**7
Shape = list[int | str]
OfPixels = tuple[str, str, dict[str, tuple[str, list[int]]], dict[str, Any]]


def value(name: str, kind: int, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(kind: str, name: str, dtype: str, dims: list[int], more: str = "") -> str:
    triton = TRITON.get(dtype, dtype.upper())
    return f'{kind} {{ name: "{name}" data_type: TYPE_{triton} dims: {dims} {more} }}\n'


def write(folder: Path, name: str, graph: onnx.GraphProto, max_batch_size: int, tensors: str) -> None:
    (folder / name / "1").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / name / "1/model.onnx")
    group = "instance_group { count: 1 kind: KIND_CPU }\n"
    config = f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: {max_batch_size}\n{group}{tensors}'
    (folder / name / "config.pbtxt").write_text(config)


def write_repository(folder: Path) -> Path:
    """Write every model and return the folder."""
    _linear(folder)
    _join(folder)
    _echo(folder)
    _fill(folder)
    _slow(folder)
    return folder


def write_for_tables(folder: Path) -> Path:
    """Write the models that tests of tables and labels ask, and return the folder.

    single      batches up to 2, a column an input: count_out[batch, 1] = count (int8), and so size and the word
    number      batches up to 8: predicted[batch, 1] = x[batch, 1]
    pixels      batches up to 2: scores[batch, 3] = the sum of each channel of input[batch, 3, 2, 2], with labels
    """
    _single(folder)
    _number(folder)
    _pixels(folder)
    return folder


def write_for_kinds(folder: Path) -> Path:
    """Write models that take what clients have, and return the folder.

    means       batches up to 4: means[batch, 3] of the colours of image[batch, height, width, 3], pixels; with labels
    ranked      the same pixels: scores, classes and labels [batch, 2] of the two largest means, the best first
    boxed       the same pixels: boxes[batch, 2, 4], scores, classes [batch, 2] and count[batch, 1], which is 1
    words       batches up to 4: echoed[batch, 1] = text[batch, 1], a text
    """
    for name, nodes, outputs, constants in (MEANS, RANKED, BOXED):
        _of_pixels(folder, name, nodes, outputs, constants)
    _words(folder)
    return folder


def kinds(text: str) -> str:
    return f'parameters {{ key: "input_kinds" value: {{ string_value: "{text}" }} }}\n'


def _of_pixels(
    folder: Path, name: str, nodes: str, outputs: dict[str, tuple[str, list[int]]], constants: dict[str, Any]
) -> None:
    types = {"float32": "float", "object": "string"}
    declared = ", ".join(
        f"{types.get(dtype, dtype)}[{', '.join(map(str, ['batch', *dims]))}] {output}"
        for output, (dtype, dims) in outputs.items()
    )
    graph = onnx.parser.parse_graph(
        f"{name} (uint8[batch, height, width, 3] image) => ({declared}) {{\n"
        f"floats = Cast <to = 1> (image)\n"
        f"means = ReduceMean <axes = [1, 2], keepdims = 0> (floats)\n{nodes}\n}}"
    )
    graph.initializer.extend(numpy_helper.from_array(array, each) for each, array in constants.items())
    tensors = tensor("input", "image", "uint8", [-1, -1, 3])
    labels = 'label_filename: "labels.txt"' if name == "means" else ""
    tensors += "".join(tensor("output", output, *spec, labels) for output, spec in outputs.items())
    write(folder, name, graph, 4, tensors + kinds("image=pixels") + "dynamic_batching { }\n")
    if labels:
        (folder / name / "labels.txt").write_text("red\ngreen\nblue\n")


def _words(folder: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["echoed"])],
        "words",
        [value("text", TensorProto.STRING, ["batch", 1])],
        [value("echoed", TensorProto.STRING, ["batch", 1])],
    )
    tensors = tensor("input", "text", "object", [1]) + tensor("output", "echoed", "object", [1])
    write(folder, "words", graph, 4, tensors + kinds("text=text"))


TWO = {"two": np.array([2]), "names": np.array(["red", "green", "blue"], object)}
MEANS: OfPixels = ("means", "", {"means": ("float32", [3])}, {})
RANKED: OfPixels = (
    "ranked",
    "scores, classes = TopK (means, two)\nlabels = Gather (names, classes)",
    {"scores": ("float32", [2]), "classes": ("int64", [2]), "labels": ("object", [2])},
    TWO,
)
BOXED: OfPixels = (
    "boxed",
    "scores, classes = TopK (means, two)\ncolumn = Unsqueeze (scores, last)\nboxes = Mul (column, sides)\n"
    "bright = Slice (classes, zero, one, one)\nsame = Equal (bright, bright)\ncount = Cast <to = 7> (same)",
    {"scores": ("float32", [2]), "classes": ("int64", [2]), "boxes": ("float32", [2, 4]), "count": ("int64", [1])},
    {
        "two": np.array([2]),
        "last": np.array([-1]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "sides": np.array([0, 1, 2, 3], "float32"),
    },
)


def write_iris(folder: Path) -> Path:
    """Write a model that answers as the classifier of docs/how-to/ask-a-model.md, and return the folder.

    iris        batches up to 16: label[batch, 1] (text) and probabilities[batch, 3] of input[batch, 4], with labels
    """
    names = ("setosa", "versicolor", "virginica")
    weights = np.array([[0, 0, 0], [1, 0, -1], [-4, 0, 4], [-1, 0, 2]], "float32")
    bias = np.array([10, 2, -20], "float32")
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["input", "W", "B"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
            helper.make_node("ArgMax", ["scores"], ["place"], axis=1, keepdims=1),
            helper.make_node("Gather", ["names", "place"], ["label"]),
        ],
        "iris",
        [value("input", TensorProto.FLOAT, ["batch", 4])],
        [value("label", TensorProto.STRING, ["batch", 1]), value("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(weights, "W"),
            numpy_helper.from_array(bias, "B"),
            numpy_helper.from_array(np.array(names, object), "names"),
        ],
    )
    outputs = tensor("output", "label", "object", [1]) + tensor(
        "output", "probabilities", "float32", [3], 'label_filename: "labels.txt"'
    )
    write(folder, "iris", graph, 16, tensor("input", "input", "float32", [4]) + outputs)
    (folder / "iris/labels.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def _linear(folder: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "W"], ["output"])],
        "linear",
        [value("input", TensorProto.FLOAT, ["batch", 4])],
        [value("output", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHTS, "W")],
    )
    output = tensor("output", "output", "float32", [3], 'label_filename: "labels.txt"')
    tensors = tensor("input", "input", "float32", [4]) + output + "dynamic_batching { }\n"
    write(folder, "linear", graph, 8, tensors)
    (folder / "linear/labels.txt").write_text("\n".join(LABELS) + "\n")


def _join(folder: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["left", "right"], ["sum"]),
            helper.make_node("Sub", ["left", "right"], ["difference"]),
        ],
        "join",
        [value(name, TensorProto.FLOAT, ["batch", 2]) for name in ("left", "right")],
        [value(name, TensorProto.FLOAT, ["batch", 2]) for name in ("sum", "difference")],
    )
    names = {"left": "input", "right": "input", "sum": "output", "difference": "output"}
    write(folder, "join", graph, 4, "".join(tensor(kind, name, "float32", [2]) for name, kind in names.items()))


def _echo(folder: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ECHOED],
        "echo",
        [value(name, kind, ["n"]) for name, kind in ECHOED.items()],
        [value(f"{name}_out", kind, ["n"]) for name, kind in ECHOED.items()],
    )
    inputs = "".join(tensor("input", name, name, [-1]) for name in ECHOED)
    outputs = "".join(tensor("output", f"{name}_out", name, [-1]) for name in ECHOED)
    write(folder, "echo", graph, 0, inputs + outputs)


def _fill(folder: Path) -> None:
    one = numpy_helper.from_array(np.ones(1, "float32"))
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["count"], ["filled"], value=one)],
        "fill",
        [value("count", TensorProto.INT64, [1])],
        [value("filled", TensorProto.FLOAT, ["n"])],
    )
    write(
        folder, "fill", graph, 0, tensor("input", "count", "int64", [1]) + tensor("output", "filled", "float32", [-1])
    )


def _single(folder: Path) -> None:
    kinds = {"count": "int8", "size": "float32", "the_word": "object"}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name.removeprefix('the_')}_out"]) for name in kinds],
        "single",
        [value(name, ECHOED[kind], ["batch", 1]) for name, kind in kinds.items()],
        [value(f"{name.removeprefix('the_')}_out", ECHOED[kind], ["batch", 1]) for name, kind in kinds.items()],
    )
    tensors = [tensor("input", name, kind, [1]) for name, kind in kinds.items()]
    tensors += [tensor("output", f"{name.removeprefix('the_')}_out", kind, [1]) for name, kind in kinds.items()]
    write(folder, "single", graph, 2, "".join(tensors))


def _number(folder: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["predicted"])],
        "number",
        [value("x", TensorProto.FLOAT, ["batch", 1])],
        [value("predicted", TensorProto.FLOAT, ["batch", 1])],
    )
    tensors = tensor("input", "x", "float32", [1]) + tensor("output", "predicted", "float32", [1])
    write(folder, "number", graph, 8, tensors)


def _pixels(folder: Path) -> None:
    axes = numpy_helper.from_array(np.array([2, 3], "int64"), "axes")
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["input", "axes"], ["scores"], keepdims=0)],
        "pixels",
        [value("input", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [value("scores", TensorProto.FLOAT, ["batch", 3])],
        [axes],
    )
    output = tensor("output", "scores", "float32", [3], 'label_filename: "labels.txt"')
    write(folder, "pixels", graph, 2, tensor("input", "input", "float32", [3, 2, 2]) + output)
    (folder / "pixels/labels.txt").write_text("cat\ndog\nbird\n")


def _slow(folder: Path) -> None:
    identity = np.eye(128, dtype="float32")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("MatMul", ["matrix", "I"], ["product"]),
        ],
        "round",
        [value("number", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
         value("matrix", TensorProto.FLOAT, [128, 128])],
        [value("still_going", TensorProto.BOOL, []), value("product", TensorProto.FLOAT, [128, 128])],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["rounds"], ["times"]),
            helper.make_node("Loop", ["times", "", "I"], ["powers"], body=body),
            helper.make_node("ReduceSum", ["powers", "axis"], ["ones"], keepdims=0),
        ],
        "slow",
        [value("rounds", TensorProto.INT64, [1])],
        [value("ones", TensorProto.FLOAT, [128])],
        [numpy_helper.from_array(identity, "I"), numpy_helper.from_array(np.array([0], "int64"), "axis")],
    )
    write(
        folder, "slow", graph, 0, tensor("input", "rounds", "int64", [1]) + tensor("output", "ones", "float32", [128])
    )
