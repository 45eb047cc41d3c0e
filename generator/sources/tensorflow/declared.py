"""The inputs that a TensorFlow model declares, and the inputs that it is run with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import ConversionError, OptionError, SourceError
from modelrepo.generator.sources.domains import with_domains
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import DTYPES, Dim, Domain, InputShape, TensorSpec

INPUT, OUTPUT, BATCH = "input", "output", "batch"
# Heights and widths for images of any size: multiples of 32, since networks halve an image several times.
IMAGE_SIZES = (64, 96, 128)
# Numbered names that Keras gives to unnamed tensors: they differ from run to run.
COUNTED = re.compile(r"(keras_tensor|input_layer|input|inputs)(_\d+)?")
COUNTED_TENSOR = re.compile(r"keras_tensor(_\d+)?")
# The domain of an input without a description.
UNKNOWN = Domain(known=False)


@dataclass(frozen=True)
class Declared:
    """An input as a model declares it: None is a dimension of any size, or a shape of any rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    domain: Domain = UNKNOWN


def declared_from(specs: Mapping[str, Any]) -> tuple[Declared, ...]:
    """Return the inputs of a TensorFlow signature: its ``tf.TensorSpec`` by the name of each argument."""
    names = named(["" if COUNTED_TENSOR.fullmatch(name) else name for name in specs], INPUT)
    return tuple(
        Declared(name, dtype_name(spec.dtype.name, name), declared_shape(spec.shape))
        for name, spec in zip(names, specs.values(), strict=True)
    )


def input_specs(reference: str, declared: Sequence[Declared], options: Options) -> tuple[TensorSpec, ...]:
    """Return a model's inputs, with the sizes of ``options.input_shape`` and the axes of ``options.dynamic``."""
    if not declared:
        raise SourceError(f"{reference} has no inputs, so nothing can be compared")
    examples = {each.name or declared[0].name: each for each in options.input_shape}
    unknown = examples.keys() - {each.name for each in declared}
    if unknown or (len(declared) > 1 and any(not each.name for each in options.input_shape)):
        named = min(unknown, default="")
        raise OptionError(
            f"--input-shape names the input {named!r}" if named else "--input-shape does not name an input",
            f"The model takes {', '.join(each.name for each in declared)}",
        )
    specs = tuple(_input(reference, each, examples.get(each.name)) for each in declared)
    return with_dynamic(with_domains(specs, options.domain), options.dynamic)


def dtype_name(dtype: str, name: str) -> str:
    """Return numpy's name of a TensorFlow type, such as object for string; ConversionError for a type without one."""
    found = {"string": "object"}.get(dtype, dtype)
    if found not in DTYPES:
        raise ConversionError(f"{name!r} is of type {dtype}, which can't be served")
    return found


def unique(names: Sequence[str] | Mapping[str, Any], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names without special characters of Triton or file systems, each once."""
    found: list[str] = []
    for name in names:
        clean = re.sub(r"[^A-Za-z0-9_.]", "_", name.removesuffix(":0")) or "tensor"
        number, wanted = 1, clean
        while clean in found or clean in taken:
            clean, number = f"{wanted}_{number}", number + 1
        found.append(clean)
    return tuple(found)


def named(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return names, with empty ones replaced by the ``kind`` of tensor, numbered if there are several."""
    return unique([name or (kind if len(names) == 1 else f"{kind}_{number}") for number, name in enumerate(names)])


def declared_shape(shape: Any) -> tuple[int | None, ...] | None:
    """Return a TensorFlow shape with None for a dimension of any size, or None for any rank."""
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(None if dim is None else int(dim) for dim in shape)


def _input(reference: str, declared: Declared, example: InputShape | None) -> TensorSpec:
    shape = declared.shape
    if example and example.dtype and example.dtype != declared.dtype:
        raise OptionError(
            f"--input-shape gives {declared.name!r} the type {example.dtype}", f"The model has {declared.dtype}"
        )
    if shape is None and example is not None:
        shape = (None, *example.shape[1:])
    if shape is None:
        raise SourceError(
            f"the number of dimensions of the input {declared.name!r} of {reference} is unknown",
            f"Give an example with --input-shape, such as {declared.name}=1x224x224x3:{declared.dtype}",
        )
    dims: list[Dim] = [_dim(declared.name, axis, size) for axis, size in enumerate(shape)]
    if example:
        dims = _with_example(declared, dims, example)
    sizes = _image_sizes(dims) if declared.dtype != "object" else {}
    return TensorSpec(declared.name, declared.dtype, tuple(dims), declared.domain, sizes)


def _dim(name: str, axis: int, size: int | None) -> Dim:
    return size if size is not None else f"{name}_{axis}" if axis else BATCH


def _with_example(declared: Declared, dims: list[Dim], example: InputShape) -> list[Dim]:
    """Return dimensions with the sizes of an example, with the batch or for one sample; the batch stays dynamic."""
    lead = dims[:1] == [BATCH]
    given = (1, *example.shape) if lead and len(example.shape) == len(dims) - 1 else example.shape
    fixed = [(dim, size) for dim, size in zip(dims, given, strict=False) if isinstance(dim, int)]
    if len(given) != len(dims) or any(dim != size for dim, size in fixed):
        written = "x".join("N" if isinstance(dim, str) else str(dim) for dim in dims)
        raise OptionError(
            f"--input-shape {'x'.join(map(str, example.shape))} does not fit the input {declared.name!r}",
            f"The model has {written}, where N is any size",
        )
    return [BATCH if lead and not axis else size for axis, size in enumerate(given)]


def _image_sizes(dims: Sequence[Dim]) -> dict[str, tuple[int, ...]]:
    """Return sizes for the dynamic dimensions of an image: an input of four dimensions, the last its colours."""
    if len(dims) != 4 or not isinstance(dims[3], int):
        return {}
    return {dim: IMAGE_SIZES for dim in dims[1:3] if isinstance(dim, str)}
