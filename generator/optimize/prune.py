"""Magnitude pruning: the smallest weights become zero, in any place or 2 in every 4."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.optimize import made
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Pruning
from modelrepo.generator.specs.tensors import Array

GROUP, ZEROS_OF_GROUP = 4, 2


@dataclass(frozen=True)
class Layer:
    """The weights of a layer."""

    place: str  # as in ``edit.places``
    axis: int  # over which products are summed up


def pruned(export: Export, pruning: Pruning, folder: Path) -> tuple[Export, str, float]:
    """Write a pruned model into ``folder``; return it, a summary, and the share of all its weights that is zero.

    In each layer (Conv, MatMul, Gemm) the smallest weights become zero: the wanted share, or 2 of each 4 consecutive
    ones along the axis that is summed over. Sparse Tensor Cores need the latter: by TensorRT's developer guide
    ("Structured Sparsity") two of every four input channels are zero, for each output channel and place in a Conv's
    kernel, and along the K of a matrix product. The axis is 1 of a Conv's OIHW, the last but one of a MatMul's KxN, and
    a Gemm's 0, or 1 with transB. Layers whose axis is not a multiple of 4 are left alone, and so are weights that other
    nodes read, too.

    Raises ConversionError if there is nothing to prune, or the written file lacks the zeros.
    """
    model = edit.load(export.path)
    layers = list(_layers(model))
    places = edit.places(model)
    chosen = []
    for layer in layers:
        weights = _values(places[layer.place])
        if _zeros_wanted(weights, layer.axis, pruning):
            edit.set_values(places[layer.place], _prune(weights, layer.axis, pruning))
            chosen.append(layer)
    if not chosen:
        raise ConversionError(_why_nothing(layers, pruning), "Remove --prune")
    described = made.described(edit.save(model, folder), export)
    sparsity = _check(edit.load(described.path), chosen, pruning)
    left = f", {len(layers) - len(chosen)} left alone" if len(chosen) < len(layers) else ""
    return (
        described,
        f"pruned {len(chosen)} of {len(layers)} layers to {pruning}{left}, {sparsity:.1%} of all weights are zero",
        sparsity,
    )


def _layers(model: Any) -> Iterator[Layer]:
    """Yield the weights that are read only by layers, and along one axis."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    names = {name: place for place, name in _names(model)}
    tensors = edit.places(model)
    readers: dict[str, set[int | None]] = {}
    for node in edit.nodes(model):
        for position, name in enumerate(node.input):
            if name in names:
                readers.setdefault(names[name], set()).add(_axis(node, position))
    results = {value.name for each in graphs(model) for value in each.output if hasattr(each, "initializer")}
    for place, axes in readers.items():
        (axis, *others) = axes
        dims = len(tensors[place].dims)
        if axis is not None and not others and place not in results and tensors[place].data_type in floats and dims > 1:
            yield Layer(place, axis % dims)


def _names(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the place of each constant tensor, and the name that nodes read it by."""
    for each in graphs(model):
        for tensor in getattr(each, "initializer", ()):  # functions have none
            yield tensor.name, tensor.name
        for node in each.node:
            if node.op_type == "Constant":
                yield f"{node.name}.value", node.output[0]


def _axis(node: Any, position: int) -> int | None:
    """Return the axis of an input that a node sums over; None if it is not the second input, or not of a layer."""
    if position != 1 or node.domain not in edit.DEFAULT_DOMAINS:
        return None
    if node.op_type == "Gemm":
        return 1 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 0
    return {"Conv": 1, "MatMul": -2}.get(node.op_type)


def _zeros_wanted(weights: Array, axis: int, pruning: Pruning) -> int:
    """Return how many weights of a layer become zero; 0 if the layer is left alone."""
    if not pruning.structured:
        return int(pruning.share * weights.size)
    return 0 if weights.shape[axis] % GROUP else weights.size * ZEROS_OF_GROUP // GROUP


def _prune(weights: Array, axis: int, pruning: Pruning) -> Array:
    """Return the weights with the smallest ones set to zero."""
    import numpy as np

    if not pruning.structured:
        kept = weights.copy()
        smallest = np.argpartition(np.abs(kept), _zeros_wanted(weights, axis, pruning) - 1, axis=None)
        kept.flat[smallest[: _zeros_wanted(weights, axis, pruning)]] = 0
        return kept
    groups = _groups(weights, axis).copy()
    smallest = np.argpartition(np.abs(groups), ZEROS_OF_GROUP - 1, axis=-1)[..., :ZEROS_OF_GROUP]
    np.put_along_axis(groups, smallest, 0, axis=-1)
    moved = groups.reshape(np.moveaxis(weights, axis, -1).shape)
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))


def _groups(weights: Array, axis: int) -> Array:
    """Return the weights in groups of 4 consecutive ones along the axis; the group is the last axis."""
    import numpy as np

    moved = np.moveaxis(weights, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, GROUP)


def _check(model: Any, layers: list[Layer], pruning: Pruning) -> float:
    """Count the zeros of a written model; return their share of all weights. ConversionError if a layer lacks some."""
    import numpy as np

    places = edit.places(model)
    for layer in layers:
        if not _is_pruned(_values(places[layer.place]), layer.axis, pruning):
            raise ConversionError(f"the weights {layer.place!r} did not become {pruning} sparse")
    everything = [_values(tensor) for tensor in edit.weights(model)]
    total = sum(weights.size for weights in everything)
    return 1 - sum(int(np.count_nonzero(weights)) for weights in everything) / total


def _is_pruned(weights: Array, axis: int, pruning: Pruning) -> bool:
    import numpy as np

    if pruning.structured:
        return bool(np.all(np.count_nonzero(_groups(weights, axis), axis=-1) <= GROUP - ZEROS_OF_GROUP))
    return weights.size - int(np.count_nonzero(weights)) >= _zeros_wanted(weights, axis, pruning)


def _why_nothing(layers: list[Layer], pruning: Pruning) -> str:
    if not layers:
        return "the model has no weights of Conv, MatMul or Gemm to prune"
    why = "sums over a multiple of 4" if pruning.structured else f"has so many weights that {pruning} is one"
    return f"none of the model's {len(layers)} layers {why}"


def _values(tensor: Any) -> Array:
    from onnx import numpy_helper

    values: Array = numpy_helper.to_array(tensor)
    return values
