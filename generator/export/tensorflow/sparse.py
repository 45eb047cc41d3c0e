"""Sparse weights of TensorFlow Lite files, which tf2onnx reads as dense ones (no issue known).

A file stores the numbers of such a tensor that are not zero, and for each axis where they belong; the operator DENSIFY
makes the whole tensor of it. Here the whole tensor is read, and DENSIFY does nothing.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array

DENSIFY = "TFL_DENSIFY"
# The formats of an axis, as in the schema.
DENSE = 0


def buffers(model: Any, graph: Any, forms: Mapping[int, str]) -> dict[int, Any]:
    """Return the whole tensors of a graph's sparse ones, as buffers by their numbers; ``forms`` has numpy's dtypes."""
    found = {}
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        if tensor.Sparsity() and tensor.Type() in forms and tensor.Buffer():
            stored = model.Buffers(tensor.Buffer()).DataAsNumpy().view(forms[tensor.Type()])
            whole = dense(stored, tensor.Sparsity(), tensor.ShapeAsNumpy().tolist())
            found[tensor.Buffer()] = _buffer(whole)
    return found


def dense(stored: Array, sparsity: Any, shape: list[int]) -> Array:
    """Return the whole tensor of a shape, from the numbers that a file stores of it.

    ``sparsity`` is a SparsityParameters of TensorFlow Lite's schema: its axes are those of the shape, then those of the
    blocks into which some axes are divided, in the order in which they are stored. A dense axis has all places, and a
    sparse one those that it lists.
    """
    order = [sparsity.TraversalOrder(level) for level in range(sparsity.TraversalOrderLength())]
    blocked = [sparsity.BlockMap(number) for number in range(sparsity.BlockMapLength())]
    places: dict[int, Array] = {}
    sizes: dict[int, int] = {}
    current = np.zeros(1, np.int64)
    for level, axis in enumerate(order):
        metadata = sparsity.DimMetadata(level)
        if metadata.Format() == DENSE:
            sizes[axis] = size = metadata.DenseSize()
            kept, own = np.repeat(np.arange(len(current)), size), np.tile(np.arange(size), len(current))
            current = current[kept] * size + own
        else:
            starts = _numbers(metadata.ArraySegments(), metadata.ArraySegmentsType())
            counts = starts[current + 1] - starts[current]
            kept = np.repeat(np.arange(len(current)), counts)
            first = np.repeat(starts[current] - np.cumsum(counts) + counts, counts)
            current = first + np.arange(len(kept))
            own = _numbers(metadata.ArrayIndices(), metadata.ArrayIndicesType())[current]
        places = {each: found[kept] for each, found in places.items()}
        places[axis] = own
    index = [places[axis] for axis in range(len(shape))]
    for block, axis in enumerate(blocked, len(shape)):
        index[axis] = index[axis] * sizes[block] + places[block]
    whole = np.zeros(shape, stored.dtype)
    whole[tuple(index)] = stored[current]
    return whole


def _numbers(table: Any, kind: int) -> Array:
    """Return a vector of the schema's union SparseIndexVector as int64."""
    from tf2onnx.tflite.Int32Vector import Int32Vector
    from tf2onnx.tflite.SparseIndexVector import SparseIndexVector
    from tf2onnx.tflite.Uint8Vector import Uint8Vector
    from tf2onnx.tflite.Uint16Vector import Uint16Vector

    kinds = {
        SparseIndexVector.Int32Vector: Int32Vector,
        SparseIndexVector.Uint16Vector: Uint16Vector,
        SparseIndexVector.Uint8Vector: Uint8Vector,
    }
    vector = kinds[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy()).astype(np.int64)


def _buffer(whole: Array) -> Any:
    """Return a buffer of the schema, as far as tf2onnx reads it."""
    data = np.frombuffer(whole.tobytes(), np.uint8)
    return SimpleNamespace(DataIsNone=lambda: False, DataAsNumpy=lambda: data)
