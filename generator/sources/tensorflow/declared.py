"""What a TensorFlow model says about its inputs, and what it is asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import ConversionError, OptionError, SourceError
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import DTYPES, Dim, Domain, InputShape, TensorSpec

INPUT, OUTPUT, BATCH = "input", "output", "batch"
# Heights and widths of an image that a model takes in any size: multiples of what networks halve it by.
IMAGE_SIZES = (64, 96, 128)
# Names that Keras counts up for what the user did not name: they differ from run to run.
COUNTED = re.compile(r"(keras_tensor|input_layer|input|inputs)(_\d+)?")
COUNTED_TENSOR = re.compile(r"keras_tensor(_\d+)?")
# Nothing says what an input can be asked.
UNKNOWN = Domain(known=False)


@dataclass(frozen=True)
class Declared:
    """What a model says about an input: None is a dimension of any size, or a shape of any rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    domain: Domain = UNKNOWN


def declared_from(specs: Mapping[str, Any]) -> tuple[Declared, ...]:
    """Return what a signature of TensorFlow's says: its ``tf.TensorSpec`` by the name of each argument."""
    names = named(["" if COUNTED_TENSOR.fullmatch(name) else name for name in specs], INPUT)
    return tuple(
        Declared(name, dtype_name(spec.dtype.name, name), declared_shape(spec.shape))
        for name, spec in zip(names, specs.values(), strict=True)
    )


def input_specs(reference: str, declared: Sequence[Declared], options: Options) -> tuple[TensorSpec, ...]:
    """Return a model's inputs, with the sizes of ``options.input_shape`` and what ``options.dynamic`` opens."""
    if not declared:
        raise SourceError(f"{reference} has no inputs, so there is nothing to ask it")
    examples = {each.name or declared[0].name: each for each in options.input_shape}
    unknown = examples.keys() - {each.name for each in declared}
    if unknown or (len(declared) > 1 and any(not each.name for each in options.input_shape)):
        named = min(unknown, default="")
        raise OptionError(
            f"--input-shape names the input {named!r}" if named else "--input-shape does not say which input it is of",
            f"The model takes {', '.join(each.name for each in declared)}",
        )
    specs = tuple(_input(reference, each, examples.get(each.name)) for each in declared)
    return with_dynamic(specs, options.dynamic)


def dtype_name(dtype: str, name: str) -> str:
    """Return numpy's name of a type of TensorFlow's, such as object for string; ConversionError for one without."""
    found = {"string": "object"}.get(dtype, dtype)
    if found not in DTYPES:
        raise ConversionError(f"{name!r} is of type {dtype}, which can't be served")
    return found


def unique(names: Sequence[str] | Mapping[str, Any], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names without what Triton or file systems read in them, each once."""
    found: list[str] = []
    for name in names:
        clean = re.sub(r"[^A-Za-z0-9_.]", "_", name.removesuffix(":0")) or "tensor"
        number, wanted = 1, clean
        while clean in found or clean in taken:
            clean, number = f"{wanted}_{number}", number + 1
        found.append(clean)
    return tuple(found)


def named(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return names in which those that nobody gave are the ``kind`` of tensor, numbered where there are several."""
    return unique([name or (kind if len(names) == 1 else f"{kind}_{number}") for number, name in enumerate(names)])


def declared_shape(shape: Any) -> tuple[int | None, ...] | None:
    """Return a shape of TensorFlow's with None for a dimension of any size, or None for any rank."""
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(None if dim is None else int(dim) for dim in shape)


def _input(reference: str, declared: Declared, example: InputShape | None) -> TensorSpec:
    shape = declared.shape
    if example and example.dtype and example.dtype != declared.dtype:
        raise OptionError(f"--input-shape says {example.dtype} of {declared.name!r}", f"The model has {declared.dtype}")
    if shape is None and example is not None:
        shape = (None, *example.shape[1:])
    if shape is None:
        raise SourceError(
            f"nothing says how many dimensions the input {declared.name!r} of {reference} has",
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
    """Return dimensions with the sizes of an example, given with the batch or as one sample; the batch stays open."""
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
    """Return sizes for the open dimensions of what is an image: four dimensions, the last of them its colours."""
    if len(dims) != 4 or not isinstance(dims[3], int):
        return {}
    return {dim: IMAGE_SIZES for dim in dims[1:3] if isinstance(dim, str)}
