"""Inputs that are sizes, lengths, indices, axes or counts, and answers that are seldom usable."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour
from tests.neighbours.onnx_cases import row as graph
from tests.neighbours.tensorflow_cases import function, tf

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 4)).astype(np.float32)
IMAGE = RANDOM.normal(size=(2, 8, 8, 3)).astype(np.float32)
CLASSES = RANDOM.normal(size=(50, 3)).astype(np.float32)
TABLE = {"x": ("float32", [2, 4])}


def sampled(row: Neighbour, **arrays: Any) -> Neighbour:
    """Return a row that is generated with a file of samples."""

    def make(folder: Path) -> Made:
        np.savez(folder / "samples.npz", **arrays)
        return row.make(folder)

    return replace(row, make=make, options={**row.options, "samples": "samples.npz"})


def counted(name: str, *shape: int | None) -> Mapping[str, Any]:
    """Return an input of whole numbers."""
    return {name: ("int32", [*shape])}


# fmt: off
NEIGHBOURS = (
    function("size of a resize", lambda x, n: tf().image.resize(x, n), {"x": ("float32", [2, 8, 8, 3]), **counted("n", 2)}, (IMAGE, [16, 12]), (IMAGE, [3, 5])),
    function("multiples", lambda x, n: tf().tile(x, n), {**TABLE, **counted("n", 2)}, (X, [2, 3]), (X, [1, 1])),
    sampled(function("shape", lambda x, n: tf().reshape(x, n), {**TABLE, **counted("n", 2)}, (X, [4, 2]), (X, [8, 1])), x=X, n=np.array([4, 2], np.int32)),
    function("places of a gather", lambda x, i: tf().gather(x, i, axis=1), {**TABLE, **counted("i", 3)}, (X, [3, 0, 2])),
    function("start of a slice", lambda x, i: tf().slice(x, tf().stack([0, i]), [2, 1]), {**TABLE, **counted("i")}, (X, 3), (X, 1)),
    function("size of a slice", lambda x, n: tf().slice(x, [0, 0], tf().stack([2, n])), {**TABLE, **counted("n")}, (X, 3), (X, 4)),
    function("paddings", lambda x, n: tf().pad(x, n), {**TABLE, **counted("n", 2, 2)}, (X, [[1, 0], [2, 3]])),
    sampled(function("permutation", lambda x, p: tf().transpose(x, p), {**TABLE, **counted("p", 2)}, verdict="Transpose"), x=X, p=np.array([1, 0], np.int32)),
    function("end of a range", lambda n: tf().range(n), counted("n"), (7,), (40,)),
    function("lengths of a mask", lambda n: tf().cast(tf().sequence_mask(n, 9), tf().float32), counted("n", None), ([3, 9, 0],)),
    function("lengths of a reversal", lambda x, n: tf().reverse_sequence(x, n, seq_axis=1), {"x": ("float32", [None, 6]), **counted("n", None)}, (RANDOM.normal(size=(3, 6)), [2, 6, 1])),
    function("count of the best", lambda x, k: tf().math.top_k(x, k).values, {**TABLE, **counted("k")}, (X, 1), (X, 4)),
    function("dimensions of a fill", lambda n: tf().fill(n, 2.5), counted("n", 2), ([3, 4],)),
    function("depth", lambda i, n: tf().one_hot(i, n), {**counted("i", None), **counted("n")}, ([1, 0, 3], 5)),
    sampled(function("sorted segments", lambda x, s: tf().math.segment_sum(x, s), {"x": ("float32", [4, 3]), **counted("s", 4)}, (RANDOM.normal(size=(4, 3)), [0, 0, 1, 2])), x=np.ones((4, 3), np.float32), s=np.array([0, 1, 1, 2], np.int32)),
    function("number of classes", lambda i: tf().gather(tf().constant(CLASSES), i), counted("i", None), ([49, 0, 7],)),
    function("a root", lambda x: tf().sqrt(x) + 1, {"x": ("float32", [None, 6])}, ([[1, 4, 9, 16, 25, 0]],)),
    function("a share", lambda x: tf().math.log(x / (1 - x)), {"x": ("float32", [None, 6])}, ([[0.1, 0.5, 0.9, 0.01, 0.99, 0.3]],)),
    graph("size that is asked", "(float[1, 1, 4, 4] x, int64[4] n) => (float[a, b, h, w] y) { y = Resize<mode = \"linear\">(x, , , n) }", ({"x": RANDOM.normal(size=(1, 1, 4, 4)).astype(np.float32), "n": np.array([1, 1, 7, 3])},)),
    graph("scales", "(float[1, 1, 4, 4] x, float[4] s) => (float[a, b, h, w] y) { y = Resize<mode = \"nearest\">(x, , s) }", ({"x": RANDOM.normal(size=(1, 1, 4, 4)).astype(np.float32), "s": np.array([1, 1, 2, 3], np.float32)},)),
    graph("repeats", "(float[2, 4] x, int64[2] n) => (float[a, b] y) { y = Tile(x, n) }", ({"x": X, "n": np.array([2, 3])},)),
    graph("k", "(float[2, 4] x, int64[1] k) => (float[2, b] y, int64[2, b] i) { y, i = TopK(x, k) }", ({"x": X, "k": np.array([3])},)),
    graph("axis that is asked", "(float[2, 4] x, int64[1] a) => (float[m, n] y) { y = ReduceSum(x, a) }", ({"x": X, "a": np.array([1])}, {"x": X, "a": np.array([-2])})),
    graph("start, end and step", "(float[2, 4] x, int64[1] s, int64[1] e, int64[1] a, int64[1] t) => (float[m, n] y) { y = Slice(x, s, e, a, t) }", ({"x": X, "s": np.array([1]), "e": np.array([3]), "a": np.array([1]), "t": np.array([1])},)),
    graph("divisor", "(int64[b, 3] x, int64[b, 3] d) => (int64[b, 3] y) { y = Mod(x, d) }", ({"x": np.array([[7, -7, 9]]), "d": np.array([[3, 3, -4]])},)),
    graph("turns", "(float[b, 4] x, int64 n) => (float[b, 4] y) { y = Loop(n, , x)<body = b (int64 i, bool c, float[b, 4] v) => (bool d, float[b, 4] w) { d = Identity(c) w = Add(v, v) }> }", ({"x": X, "n": np.array(5)},)),
    graph("lengths of an LSTM", "(float[5, b, 4] x, int32[b] n) => (float[5, 1, b, 2] y) <float[1, 8, 4] w = {" + ", ".join(f"{v:.3f}" for v in np.linspace(-1, 1, 32)) + "}, float[1, 8, 2] r = {" + ", ".join(f"{v:.3f}" for v in np.linspace(1, -1, 16)) + "}> { y = LSTM<hidden_size = 2>(x, w, r, , n) }", ({"x": RANDOM.normal(size=(5, 3, 4)).astype(np.float32), "n": np.array([5, 1, 3], np.int32)},)),
    sampled(function("kept boxes", lambda boxes, scores: tf().image.non_max_suppression(boxes, scores, 5, 0.5, 100.0), {"boxes": ("float32", [6, 4]), "scores": ("float32", [6])},
        (RANDOM.random((6, 4)), [199, 195, 1, 197, 2, 3])), boxes=RANDOM.random((6, 4)).astype(np.float32), scores=np.array([199, 195, 1, 197, 2, 3], np.float32)),
)
# fmt: on
