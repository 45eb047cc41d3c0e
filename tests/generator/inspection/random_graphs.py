"""Random ONNX graphs of a few nodes, which keep the samples of a batch apart or not."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.specs.tensors import Array

SAMPLE = (3, 4)
SHAPES = ([-1, 12], [-1, 4], [0, -1], [-1, 3, 4], [-1, 2, 6], [3, -1], [-1, 6], [0, 0, -1])
LAST = 2**62
# Larger answers are not worth their time.
MOST_AXES, MOST_ELEMENTS = 5, 4000


class Drawing:
    """A graph while it is drawn: its nodes and constants."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value, self.rank = "x", 1 + len(SAMPLE)

    def constant(self, values: object) -> str:
        """Return the name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def axis(self) -> int:
        """Return an axis of the last value."""
        return self.chance.randrange(self.rank)

    def step(self) -> list[onnx.NodeProto]:
        """Return nodes that compute a new value of the last one."""
        x, out, axis = self.value, f"t{len(self.nodes)}", self.axis()

        def node(kind: str, *more: str, given: str = x, result: str = out, **attributes: Any) -> onnx.NodeProto:
            return helper.make_node(kind, [given, *more], [result], name=f"{kind}_{result}", **attributes)

        def only(kind: str, *more: str, **attributes: Any) -> Callable[[], list[onnx.NodeProto]]:
            return lambda: [node(kind, *more, **attributes)]

        def less_the_sum() -> list[onnx.NodeProto]:
            total = node("ReduceSum", self.constant([axis]), result=f"{out}s", keepdims=1)
            return [total, helper.make_node("Sub", [x, f"{out}s"], [out], name=f"Sub_{out}")]

        def scores() -> list[onnx.NodeProto]:
            turned = [*range(self.rank - 2), self.rank - 1, self.rank - 2] if self.rank > 1 else [0]
            return [node("Transpose", result=f"{out}t", perm=turned), node("MatMul", f"{out}t")]

        order = self.chance.sample(range(self.rank), self.rank)
        twice = [self.chance.choice((1, 1, 2)) for _ in range(self.rank)]
        back = ([-1], [-LAST], [axis], [-1])
        ways: tuple[Callable[[], list[onnx.NodeProto]], ...] = (
            only("Relu"), only("Softmax", axis=axis), only("Transpose", perm=order), only("Concat", x, axis=axis),
            only("Flatten", axis=axis), less_the_sum, scores,
            lambda: [node("ReduceMean", self.constant([axis]), keepdims=self.chance.randrange(2))],
            lambda: [node("Reshape", self.constant(self.chance.choice(SHAPES)))],
            lambda: [node("CumSum", self.constant(axis))],
            lambda: [node("Gather", self.constant(self.chance.choice(([0], [0, 0], [1, 0]))), axis=axis)],
            lambda: [node("Slice", *map(self.constant, ([self.chance.randrange(2)], [LAST], [axis])))],
            lambda: [node("Slice", *map(self.constant, back))],
            lambda: [node("Unsqueeze", self.constant([axis]))],
            lambda: [node("LayerNormalization", self.constant(np.float32(1.5)), axis=axis)],
            lambda: [node("MatMul", self.constant(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)))],
            lambda: [node("Tile", self.constant(twice))],
        )  # fmt: skip
        return self.chance.choice(ways)()


def drawn(seed: int) -> onnx.ModelProto | None:
    """Return a model of the input x [n, 3, 4] and the output y; None if no node fitted."""
    drawing = Drawing(seed)
    for _ in range(drawing.chance.randrange(2, 7)):
        nodes = drawing.step()
        answer = _answer([*drawing.nodes, *nodes], drawing.constants, nodes[-1].output[0])
        if answer is not None and 0 < answer.ndim <= MOST_AXES and 0 < answer.size <= MOST_ELEMENTS:
            drawing.nodes += nodes
            drawing.value, drawing.rank = nodes[-1].output[0], answer.ndim
    if not drawing.nodes:
        return None
    dims = ["n", *(f"d{number}" for number in range(1, drawing.rank))]
    return _model(drawing.nodes, drawing.constants, drawing.value, dims)


def _model(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], output: str, dims: list[str] | None
) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SAMPLE])
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, "drawn", [given], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _answer(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], output: str) -> "Array | None":
    try:
        return answers(_model(nodes, constants, output, None), np.zeros((6, *SAMPLE), np.float32))
    except Exception:  # the node does not fit
        return None


def answers(model: onnx.ModelProto, batch: Array) -> Array:
    """Return what ONNX Runtime answers to a batch."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answer: Array = session.run(None, {"x": batch})[0]
    return answer


def keeps_apart(model: onnx.ModelProto) -> bool:
    """Whether samples get the same answers alone and in a batch."""
    batch = np.random.default_rng(0).normal(size=(12, *SAMPLE)).astype(np.float32)
    try:
        together = answers(model, batch)
        alone = np.concatenate([answers(model, batch[row : row + 1]) for row in range(12)])
    except Exception:  # a Reshape that some batches do not fit
        return False
    return together.shape == alone.shape and np.allclose(together, alone, atol=1e-4, equal_nan=True)
