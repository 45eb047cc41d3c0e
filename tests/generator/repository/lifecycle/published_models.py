"""Models of every kind that a version can keep golden requests of, published in milliseconds each."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests import onnx_files

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
STEPS = """
sequence_batching {
  max_sequence_idle_microseconds: 300000000
  control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
  control_input { name: "end" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 5, 7 ] } }
  MORE
}
"""
ID = 'control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } }'
NUL = np.array([["a\0b"], ["\0c"], ["é"]])


NAMES = (
    *("huge", "whole", "texts", "half", "truth", "scalar", "mates", "optional", "nan"),
    *("steps", "told_steps", "classes"),
)
LABELLED = ("cat", "dog", "a: fish")


def constant(name: str, value: Any) -> object:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def write_all(folder: Path) -> dict[str, tuple[str, ...]]:
    """Write the models into the current folder, and return the options of `generate` for each, by name."""
    node, file = helper.make_node, onnx_files.write
    file("huge.onnx", nodes=(constant("c", np.float32(3e37)), node("Mul", ["x", "c"], ["y"])))
    file(
        "whole.onnx",
        nodes=(constant("c", np.int64(2**61)), node("Add", ["x", "c"], ["y"])),
        inputs=[("x", INT64, ["batch", 2])],
        outputs=[("y", INT64, ["batch", 2])],
    )
    file(
        "texts.onnx",
        nodes=(node("Identity", ["x"], ["y"]),),
        inputs=[("x", TensorProto.STRING, ["batch", 1])],
        outputs=[("y", TensorProto.STRING, ["batch", 1])],
    )
    np.save(folder / "texts.npy", NUL)
    file(
        "half.onnx",
        inputs=[("x", TensorProto.FLOAT16, ["batch", 4])],
        outputs=[("y", TensorProto.FLOAT16, ["batch", 4])],
    )
    file(
        "truth.onnx",
        nodes=(node("Not", ["x"], ["y"]),),
        inputs=[("x", TensorProto.BOOL, ["n"])],
        outputs=[("y", TensorProto.BOOL, ["n"])],
    )
    file(
        "scalar.onnx",
        nodes=(node("Add", ["x", "x"], ["y"]),),
        inputs=[("x", FLOAT, [])],
        outputs=[("y", FLOAT, [])],
    )
    file(
        "mates.onnx",  # an answer depends on the others of its batch
        nodes=(
            constant("axes", np.array([0])),
            node("ReduceMean", ["x", "axes"], ["m"]),
            node("Sub", ["x", "m"], ["y"]),
        ),
    )
    file(
        "optional.onnx",
        nodes=(node("Add", ["x", "b"], ["y"]),),
        inputs=[("x", FLOAT, [2]), ("b", FLOAT, [2])],
        outputs=[("y", FLOAT, [2])],
        initializers=(numpy_helper.from_array(np.ones(2, "float32"), "b"),),
    )
    file("nan.onnx", nodes=(node("Log", ["x"], ["y"]),))  # numbers only for positive inputs
    weights = numpy_helper.from_array(np.array([[2, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], "float32"), "w")
    classes = ("y", FLOAT, ["batch", 3])
    multiplied = (node("Abs", ["x"], ["a"]), node("MatMul", ["a", "w"], ["y"]))
    file("classes.onnx", nodes=multiplied, initializers=(weights,), outputs=[classes])
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELLED))
    _write_sequences(folder)
    patched = {name: ("--config-patch", f"{name}.pbtxt") for name in ("steps", "told_steps")}
    more = {**patched, "texts": ("--samples", "texts.npy"), "classes": ("--labels", "labels.txt")}
    return {name: ("--model", f"onnx:{name}.onnx", *more.get(name, ())) for name in NAMES}


def _write_sequences(folder: Path) -> None:
    """Write models of sequences, whose answers tell their controls: one is told its correlation ID."""
    controls = {"start": FLOAT, "end": INT32, "id": INT64}
    for name, with_id in (("steps", False), ("told_steps", True)):
        nodes, total = [], "x"
        used = {key: kind for key, kind in controls.items() if with_id or key != "id"}
        for factor, (key, _kind) in enumerate(used.items(), 1):
            nodes += [
                helper.make_node("Cast", [key], [f"{key}_float"], to=FLOAT),
                constant(f"{key}_factor", np.float32(factor)),
                helper.make_node("Mul", [f"{key}_float", f"{key}_factor"], [f"{key}_part"]),
                helper.make_node("Add", [total, f"{key}_part"], [total := f"with_{key}"]),
            ]
        nodes.append(helper.make_node("Identity", [total], ["y"]))
        inputs = [("x", FLOAT, ["batch", 1]), *((key, kind, ["batch", 1]) for key, kind in used.items())]
        onnx_files.write(f"{name}.onnx", nodes=nodes, inputs=inputs, outputs=[("y", FLOAT, ["batch", 1])])
        (folder / f"{name}.pbtxt").write_text(STEPS.replace("MORE", ID if with_id else ""))
