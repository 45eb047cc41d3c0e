"""A loaded source model, whatever framework it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generator.errors import OptionError
from generator.specs.tensors import Arrays, TensorSpec, Weights


@dataclass(frozen=True)
class SourceModel:
    """A model in its own framework, ready to be asked and to be exported.

    ``native`` is the framework's object, which only ``export`` of the same ``framework`` looks into. ``run`` answers
    a mapping of named input arrays with named output arrays, and raises InputRefused where the model fails on them.
    ``labels`` are a classifier's class names in order, and ``preprocess`` says how a client prepares an input.

    Where the symbolic dimensions of ``inputs`` were only guessed, ``fixed`` are the same inputs with all sizes, for
    exporters that do not take them otherwise. ``companions`` are files that belong to the model, such as a tokenizer's,
    by their names in the version folder. ``translations`` are functions of onnxscript for operators of the user's own,
    by the operator as torch calls it, such as ``torch.ops.mine.twist.default``. ``exporter`` is
    the only one of its framework's that reads the model, where not all do. ``notes`` tell the user what was decided.
    """

    reference: str
    framework: str
    native: Any
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    run: Callable[[Arrays], dict[str, Any]]
    weights: Weights
    labels: tuple[str, ...] = ()
    preprocess: Mapping[str, Any] | None = None
    fixed: tuple[TensorSpec, ...] = ()
    companions: Mapping[str, Path] = field(default_factory=dict)
    translations: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)
    exporter: str = ""
    notes: tuple[str, ...] = ()


def with_dynamic(inputs: tuple[TensorSpec, ...], dynamic: Mapping[str, Mapping[int, str]]) -> tuple[TensorSpec, ...]:
    """Return inputs with the dimensions that the user calls dynamic, in place of those that a source guessed.

    A dimension that had a size keeps it among its ``sizes``, with two smaller and larger ones. Raises OptionError for
    an input or an axis that is not there.
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
