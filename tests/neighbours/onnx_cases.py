"""ONNX files that are unusual: outputs without shapes, values that decide sizes, batches that are not what they seem."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour, Question

RANDOM = np.random.default_rng(0)
TABLES = tuple({"x": (RANDOM.normal(size=(size, 4)) * 3).astype(np.float32)} for size in (1, 2, 5))
FEW = ({"x": np.array([[1, 2, 3, 400], [1, 2, 3, 4]], np.float32)}, *TABLES)
IMAGES = tuple({"x": RANDOM.normal(size=(2, 1, *size)).astype(np.float32)} for size in ((8, 8), (7, 9)))
Inputs = Sequence[Mapping[str, Any]]
DYNAMIC = {"make_batch_dynamic": True}
APART = "does not keep the samples of a batch apart"


def row(name: str, text: str, inputs: Inputs = TABLES, alone: bool = False, opset: int = 18, **more: Any) -> Neighbour:
    """Return the row of a graph in ONNX's own text: its inputs, outputs and nodes.

    ``alone``: the file takes one sample, and answers each of the inputs' rows by itself.
    """

    def make(folder: Path) -> Made:
        import onnx

        ops = f'"" : {opset}, "com.microsoft" : 1, "mine" : 1'
        model = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{ops}]> g {text}")
        for output in (*model.graph.input, *model.graph.output):
            if output.name == "shapeless":
                output.type.tensor_type.ClearField("shape")
        path = folder / "model.onnx"
        onnx.save(model, path)
        return Made(f"onnx:{path}", [_question(path, each, alone) for each in inputs])

    return Neighbour(name, make, **more)


def _question(path: Path, arrays: Mapping[str, Any], alone: bool) -> Question:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    if not alone:
        return Question(arrays, session.run(None, arrays))
    count = len(next(iter(arrays.values())))
    rows = [session.run(None, {name: each[[place]] for name, each in arrays.items()}) for place in range(count)]
    return Question(arrays, [np.concatenate(each) for each in zip(*rows, strict=True)])


# fmt: off
NEIGHBOURS = (
    row("no shape", "(float[batch, 4] x) => (float[batch] shapeless) { a = Constant<value_ints = [1]>() shapeless = ReduceSum<keepdims = 0>(x, a) }"),
    row("no shape of an input", "(float[batch, 4] shapeless) => (float[batch, 4] y) { y = Mul(shapeless, shapeless) }", tuple({"shapeless": each["x"][:1]} for each in TABLES), options={"input_shape": "shapeless=1x4", "dynamic": "shapeless:0=batch"}),
    row("no shape of an input, unsaid", "(float[batch, 4] shapeless) => (float[batch, 4] y) { y = Mul(shapeless, shapeless) }", (), verdict="--input-shape shapeless=1x4"),
    row("a shape that is declared", "(float[batch, 4] x) => (float[batch, 4] y) { y = Mul(x, x) }", (), options={"input_shape": "x=1x4"}, verdict="are for inputs that declare none"),
    row("wrong size", "(float[batch, 4] x) => (float[batch, n] y) { y = Mul(x, x) }"),
    row("places of what is not zero", "(float[batch, 4] x) => (int64[2, n] y) { y = NonZero(x) }"),
    row("input as output", "(float[batch, 4] x) => (float[batch, 4] y, float[batch, 4] x) { y = Mul(x, x) }"),
    row("choice for a batch", "(float[batch, 4] x) => (float[batch, 4] y) { s = ReduceSum<keepdims = 0>(x) ten = Constant<value_float = 10.0>() c = Greater(s, ten) "
        "y = If(c)<then_branch = t () => (float[batch, 4] a) { a = Add(x, x) }, else_branch = e () => (float[batch, 4] b) { b = Neg(x) }> }", FEW),
    row("batch that mixes seldom", "(float[batch, 4] x) => (float[batch, 4] y) { a = Constant<value_ints = [0]>() m = ReduceMax(x, a) k = Constant<value_float = 200.0>() d = Sub(m, k) r = Relu(d) y = Sub(x, r) }", FEW),
    row("turns from an input", "(float[batch, 4] x, int64 n) => (float[batch, 4] y) { y = Loop(n, , x)<body = b (int64 i, bool c, float[batch, 4] v) => (bool d, float[batch, 4] w) { d = Identity(c) h = Constant<value_float = 0.5>() w = Mul(v, h) }> }",
        tuple({**TABLES[1], "n": np.array(turns)} for turns in (0, 1, 7))),
    row("sequence inside", "(float[batch, 4] x) => (float[batch, 1] y) { q = SplitToSequence<axis = 1, keepdims = 1>(x) i = Constant<value_int = -1>() y = SequenceAt(q, i) }"),
    row("sequence answered", "(float[batch, 4] x) => (seq(float[batch, 1]) y) { y = SplitToSequence<axis = 1, keepdims = 1>(x) }", (), verdict="is a sequence"),
    row("quotients below zero", "(int64[b, 3] k, int64[b, 3] d) => (int64[b, 3] y) { y = Div(k, d) }", ({"k": np.array([[-7, 7, -1]]), "d": np.array([[2, -2, 3]])},)),
    row("negative places", "(int64[b, 3] k) => (float[b, 3] y) <float[3] w = {1.0, 2.0, 3.0}> { y = Gather(w, k) }", ({"k": np.array([[-3, 2, 0], [1, 2, -1]])},)),
    row("names with colons", "(float[batch, 4] x) => (float[batch, 4] y) { y = com.microsoft.Gelu(x) }"),
    row("unknown operator", "(float[batch, 4] x) => (float[batch, 4] y) { y = mine.Foo(x) }", (), verdict="Foo"),
    row("square", "(float[n, n] x) => (float[n, n] y) { y = MatMul(x, x) }", ({"x": np.eye(3, dtype=np.float32) * 2},)),
    row("random", "(float[batch, 4] x) => (float[batch, 4] y) { r = RandomUniformLike(x) y = Add(x, r) }", (), verdict="differently each time"),
    row("tiny probabilities", "(float[batch, 4] x) => (float[batch, 4] y) { k = Constant<value_float = 15.0>() d = Sub(x, k) y = Sigmoid(d) }"),
    row("pooled with a rest", "(float[b, 1, h, w] x) => (float[b, 1, oh, ow] y) { y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x) }", IMAGES),
    row("old softmax", "(float[b, 2, 3] x) => (float[b, 2, 3] y) { y = Softmax<axis = 1>(x) }", ({"x": RANDOM.normal(size=(2, 2, 3)).astype(np.float32)},), opset=11),
    row("ties of topk", "(float[b, 4] x) => (float[b, 2] v, int64[b, 2] i) { k = Constant<value_ints = [2]>() v, i = TopK<axis = 1>(x, k) }", (*TABLES, {"x": np.ones((2, 4), np.float32)})),
    row("scalar input", "(float[batch, 4] x, float s) => (float[batch, 4] y) { y = Mul(x, s) }", ({**TABLES[1], "s": np.array(3, np.float32)},)),
    row("dynamic reshape", "(float[1, 4] x) => (float[1, 2, 2] y) { s = Constant<value_ints = [1, 2, 2]>() y = Reshape(x, s) }", alone=True, options=DYNAMIC),
    row("dynamic expand", "(float[1, 4] x) => (float[1, 4] y) <float[1, 4] b = {1.0, 2.0, 3.0, 4.0}> { s = Constant<value_ints = [1, 4]>() e = Expand(b, s) y = Add(x, e) }", alone=True, options=DYNAMIC),
    row("dynamic transposed product", "(float[1, 4] x) => (float[1, 1] y) <float[1, 4] w = {1.0, 2.0, 3.0, 4.0}> { t = Transpose<perm = [1, 0]>(x) m = MatMul(w, t) y = Transpose<perm = [1, 0]>(m) }", alone=True, options=DYNAMIC),
    row("sum over a batch", "(float[1, 4] x) => (float[1, 4] y) { a = Constant<value_ints = [0]>() y = ReduceSum(x, a) }", (), options=DYNAMIC, verdict=APART),
    row("softmax over a batch", "(float[1, 4] x) => (float[1, 4] y) { y = Softmax<axis = 0>(x) }", (), options=DYNAMIC, verdict=APART),
    row("running sum over a batch", "(float[1, 4] x) => (float[1, 4] y) { a = Constant<value_int = 0>() y = CumSum(x, a) }", (), options=DYNAMIC, verdict=APART),
    row("choice made dynamic", "(float[1, 4] x) => (float[1, 4] y) { s = ReduceSum<keepdims = 0>(x) ten = Constant<value_float = 10.0>() c = Greater(s, ten) "
        "y = If(c)<then_branch = t () => (float[1, 4] a) { a = Add(x, x) }, else_branch = e () => (float[1, 4] b) { b = Neg(x) }> }", (), options=DYNAMIC, verdict=APART),
)
# fmt: on
