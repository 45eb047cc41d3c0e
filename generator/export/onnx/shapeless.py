"""Inputs of an ONNX file that declare no shape: the user says it, and the served copy declares it."""

from collections.abc import Sequence
from typing import Any

from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.sources.sampled import sampled
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import TensorSpec


def declare(inputs: Sequence[Any], options: Options) -> list[str]:
    """Give ValueInfoProtos without a shape that of ``--input-shape``, or of the user's samples; return notes.

    ``--dynamic`` leaves dimensions of these open. Raises OptionError for an input that declares a shape itself.
    """
    without = {value.name: value for value in inputs if not value.type.tensor_type.HasField("shape")}
    given = {each.name or inputs[0].name: each.shape for each in options.input_shape}
    named = [*given, *options.dynamic]
    wrong = next((name for name in named if name not in without), None)
    if wrong is not None:
        raise OptionError(
            f"input {wrong!r} of the file declares its shape, or does not exist",
            "--input-shape and --dynamic are for inputs that declare none",
        )
    if without and not given:
        given = {each.name or inputs[0].name: each.shape for each in sampled(options.samples, options.label_column)}
    specs = tuple(TensorSpec(name, "float32", given[name]) for name in without if name in given)
    opened = with_dynamic(specs, options.dynamic) if specs else ()
    for spec in opened:
        _write(without[spec.name], spec)
    return [f"the served file declares the shape of {spec}, which the file itself does not say" for spec in opened]


def _write(value: Any, spec: TensorSpec) -> None:
    shape = value.type.tensor_type.shape
    shape.SetInParent()  # that of a scalar has no dimensions
    for size in spec.shape:
        dim = shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = size
