"""The dimensions of a source model's inputs that the user makes dynamic: `--dynamic`."""

from collections.abc import Mapping
from dataclasses import replace

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import TensorSpec


def with_dynamic(inputs: tuple[TensorSpec, ...], dynamic: Mapping[str, Mapping[int, str]]) -> tuple[TensorSpec, ...]:
    """Return inputs with the dimensions that the user makes dynamic, instead of those that a source guessed.

    A dimension that had a size keeps it in its ``sizes``, with a larger and a smaller one. Raises OptionError for an
    input or an axis that does not exist.
    """
    if not dynamic:
        return inputs
    by_name = {spec.name: spec for spec in inputs}
    if "" in dynamic and len(inputs) == 1:
        dynamic = {inputs[0].name: dynamic[""]}
    for name, axes in dynamic.items():
        if name not in by_name:
            raise OptionError(f"--dynamic names the input {name!r}", f"The model takes {', '.join(map(str, inputs))}")
        beyond = [axis for axis in axes if axis >= len(by_name[name].shape)]
        if beyond:
            raise OptionError(f"--dynamic names axis {beyond[0]} of {by_name[name]}", "Axes count from 0")
    return tuple(_opened(spec, dynamic.get(spec.name, {})) for spec in inputs)


def _opened(spec: TensorSpec, axes: Mapping[int, str]) -> TensorSpec:
    shape = tuple(axes.get(axis, dim) for axis, dim in enumerate(spec.shape))
    sizes = dict(spec.sizes)
    for axis, name in axes.items():
        size = spec.shape[axis]
        if axis and isinstance(size, int):
            sizes[name] = (size, size + 1, max(2, size // 2))
    return replace(spec, shape=shape, sizes=sizes)
