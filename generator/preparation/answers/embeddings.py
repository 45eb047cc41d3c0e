"""Embeddings of length 1, of a whole sample or pooled from those of its tokens."""

from typing import Literal

import numpy as np

from modelrepo.generator.preparation.answers.finish import Finish, fragment
from modelrepo.generator.specs.preparation import EMBEDDING
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

# torch.nn.functional.normalize divides by at least this.
SMALLEST_NORM = 1e-12
# sentence-transformers divides the sum of tokens by at least this.
SMALLEST_COUNT = 1e-9
UNIT = f"""
squares = Mul (pooled, pooled)
sum = ReduceSum (squares, last)
norm = Sqrt (sum)
divisor = Max (norm, smallest)
{EMBEDDING} = Div (pooled, divisor)
"""
MEAN = """
weights = Cast <to = 1> (mask)
column = Unsqueeze (weights, last)
weighted = Mul (given, column)
total = ReduceSum <keepdims = 0> (weighted, one)
counted = ReduceSum <keepdims = 0> (column, one)
count = Max (counted, least)
pooled = Div (total, count)
"""
FIRST = "pooled = Gather <axis = 1> (given, zero)"
Pooling = Literal["", "mean", "cls"]


def unit(output: TensorSpec, pooling: Pooling = "", mask: TensorSpec | None = None) -> Finish:
    """Return ``embedding``, float32 (batch, size) of length 1; zeros stay zeros.

    ``output`` is (batch, size), or (batch, tokens, size) with a ``pooling``: "mean" is that of the tokens in ``mask``,
    an input (batch, tokens) of ones and zeros; "cls" is the first token.
    """
    size = (output.shape[0], output.shape[-1])
    given: tuple[TensorSpec, ...] = (TensorSpec("answer", output.dtype, output.shape),)
    joins, constants = {output.name: "answer"}, _constants()
    pool = {"": "pooled = Identity (given)", "mean": MEAN, "cls": FIRST}[pooling]
    if pooling == "mean" and mask:
        given = (*given, TensorSpec("mask", mask.dtype, mask.shape))
        joins[mask.name] = "mask"
    nodes = "\n".join(("given = Cast <to = 1> (answer)", pool, UNIT))

    def run(arrays: Arrays) -> dict[str, Array]:
        values = np.asarray(arrays[output.name]).astype(np.float32)
        weights = np.asarray(arrays[mask.name]) if mask and pooling == "mean" else None
        pooled = _pooled(values, pooling, weights)
        norm = np.sqrt((pooled * pooled).sum(axis=-1, keepdims=True))
        return {EMBEDDING: pooled / np.maximum(norm, np.float32(SMALLEST_NORM))}

    made = fragment(nodes, given, (TensorSpec(EMBEDDING, "float32", size),), constants, joins)
    return Finish(made, run, embeddings=(EMBEDDING,))


def _constants() -> dict[str, Array]:
    return {
        "last": np.array([-1]),
        "one": np.array([1]),
        "zero": np.array(0),
        "smallest": np.array(SMALLEST_NORM, np.float32),
        "least": np.array(SMALLEST_COUNT, np.float32),
    }


def _pooled(values: Array, pooling: Pooling, mask: "Array | None") -> Array:
    if not pooling:
        return values
    if mask is None:
        return np.asarray(values[:, 0])
    column = mask[..., np.newaxis].astype(np.float32)
    return np.asarray((values * column).sum(axis=1) / np.maximum(column.sum(axis=1), np.float32(SMALLEST_COUNT)))
