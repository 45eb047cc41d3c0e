"""Inputs and outputs: their names, types, dimensions and reshapes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import takewhile
from typing import Any, Literal

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.declared import fills_tensors, is_complete, is_listed
from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

ANY = -1  # the size of a dimension that may have any
PLAN = "tensorrt_plan"
IMAGE_DIMS = 3  # a channel, a height, a width
BITS = 64
MOST = (1 << (BITS - 1)) - 1
# The fields of inputs and outputs that each has once.
REQUIRED = (("name", "a name"), ("data_type", "a type, such as TYPE_FP32"), ("dims", "a size for each dimension"))


def _tensors(case: Case) -> Iterator[tuple[str, int, Any, str]]:
    """Yield input or output, the number, the tensor, and how Triton speaks of it."""
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config.message, kind)):
            yield kind, number, tensor, f"model {kind} '{tensor.name}' "


def incomplete(case: Case) -> Iterator[Problem]:
    """Find inputs and outputs without a name, a type or dims, unless the backend may fill these in."""
    required = REQUIRED[:1] if fills_tensors(case.model, case.config.message) else REQUIRED
    for kind, number, tensor, _ in _tensors(case):
        for field, what in required:
            if not getattr(tensor, field):
                said = f"model {kind} " if field == "name" else f"model {kind} '{tensor.name}' "
                write = f"Write {field} of {_called(kind, number, tensor)}: {what}"
                yield refused(
                    case.config.place(kind, number, field), f"{said}must specify '{field}' for {case.model.name}", write
                )
                break


def dim(case: Case) -> Iterator[Problem]:
    """Find dimensions that are neither positive nor -1."""
    for kind, number, tensor, said in _tensors(case):
        for axis, size in _impossible(tensor.dims):
            words = f"{said}dimension must be integer >= 1, or -1 to indicate a variable-size dimension"
            write = f"Write the size, or -1 for any size, instead of {size}"
            yield refused(case.config.place(kind, number, "dims", axis), f"{words} for {case.model.name}", write)


def reshape(case: Case) -> Iterator[Problem]:
    """Find reshapes to a shape with another number of elements than dims."""
    config = case.config.message
    batching = config.max_batch_size != 0 or not is_complete(case.model, config)  # the backend may fill it in
    for kind, number, tensor, said in _tensors(case):
        if not tensor.HasField("reshape") or not tensor.dims or any(_impossible(tensor.dims)):
            continue
        place = case.config.place(kind, number, "reshape", "shape")
        if reason := _reshape_reason(tensor, batching):
            yield refused(place, f"{said}{reason} for {case.model.name}", _reshape_advice(tensor, reason))


def too_many(case: Case) -> Iterator[Problem]:
    """Find numbers of elements that 64 bits do not hold: of inputs, and of what has a reshape."""
    ensemble = case.config.message.HasField("ensemble_scheduling")
    for kind, number, tensor, _ in _tensors(case):
        shapes = [("dims", " dims", tensor.dims), ("reshape", " reshape", tensor.reshape.shape)]
        if not tensor.HasField("reshape"):
            counted = kind == "input" and not ensemble and not tensor.is_shape_tensor
            shapes = [("dims", "", tensor.dims)] if counted else []
        for field, called, sizes in shapes:
            if not any(_impossible(sizes)) and math.prod(takewhile(lambda size: size != ANY, sizes)) > MOST:
                words = f"element count for tensor '{tensor.name}{called}' exceeds maximum size of {MOST}"
                yield refused(case.config.place(kind, number, field), words, COUNT.write)
                break


def _reshape_reason(tensor: Any, batching: bool) -> str:
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    if not shape and not batching:
        return "cannot have empty reshape for non-batching model as scalar tensors are not supported"
    if any(_impossible(shape)):
        return "reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension"
    before, after = _elements(dims), _elements(shape)
    if before != after and (after != 0 or before != 1):
        return "has different size for dims and reshape"
    if before != ANY:
        return ""
    pieces, pieces_after = _pieces(dims), _pieces(shape)
    if len(pieces) != len(pieces_after):
        return "has different number of variable-size dimensions for dims and reshape"
    return "" if pieces == pieces_after else "has different size for dims and reshape"


def _reshape_advice(tensor: Any, reason: str) -> str:
    if reason.startswith("cannot have empty"):
        return "Write a shape, or max_batch_size if the model has a batch dimension"
    dims = ", ".join(map(str, tensor.dims))
    return f"Write a shape with as many elements as dims [ {dims} ], and with as many -1 in the same order"


def _elements(sizes: Sequence[int]) -> int:
    """Return the number of elements as the core counts them: -1 if it is any, and within 64 bits."""
    if not sizes:
        return 0
    return ANY if ANY in sizes else _wrapped(math.prod(sizes))


def _pieces(sizes: Iterable[int]) -> list[int]:
    """Return the numbers of elements between dimensions of any size."""
    return reduce(lambda made, size: [*made, 1] if size == ANY else [*made[:-1], _wrapped(made[-1] * size)], sizes, [1])


def _wrapped(count: int) -> int:
    half = 1 << (BITS - 1)
    return (count + half) % (1 << BITS) - half


def _impossible(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    return ((axis, size) for axis, size in enumerate(sizes) if size < 1 and size != ANY)


def image_format(case: Case) -> Iterator[Problem]:
    """Find inputs with the format of an image that have not three dimensions, but some."""
    for number, tensor in enumerate(case.config.message.input):
        images = (tensor.FORMAT_NHWC, tensor.FORMAT_NCHW)
        if tensor.format in images and tensor.dims and len(tensor.dims) != IMAGE_DIMS:
            place = case.config.place("input", number, "format")
            words = f"model input NHWC/NCHW require 3 dims for {case.model.name}"
            yield refused(place, words, "Leave format out, or write the three dims of an image, without the batch")


def shape_tensors(case: Case) -> Iterator[Problem]:
    """Find shape tensors of other backends than TensorRT."""
    if _may_be_plan(case):
        return
    for kind, number, tensor, _ in _tensors(case):
        if tensor.is_shape_tensor:
            words = f"shape tensors are only supported for TensorRT platform for {case.model.name}"
            yield refused(case.config.place(kind, number, "is_shape_tensor"), words, "Leave is_shape_tensor out")


def non_linear(case: Case) -> Iterator[Problem]:
    """Find formats that are not linear, of other backends than TensorRT or of other than three dimensions."""
    for kind, number, tensor, _ in _tensors(case):
        place = case.config.place(kind, number, "is_non_linear_format_io")
        if not tensor.is_non_linear_format_io:
            continue
        if not _may_be_plan(case):
            words = f"Non-linear IO format is only supported for the TensorRT platform for {case.model.name}"
            yield refused(place, words, "Leave is_non_linear_format_io out")
        elif len(tensor.dims) not in (0, IMAGE_DIMS):
            words = f"Non-linear IO format {kind} requires 3 dims for {case.model.name}"
            yield refused(place, words, "Write the three dims of the tensor, or leave is_non_linear_format_io out")


def duplicates(case: Case) -> Iterator[Problem]:
    """Find two inputs, or two outputs, of one name."""
    seen: set[tuple[str, str]] = set()
    for kind, number, tensor, _ in _tensors(case):
        if tensor.name and (kind, tensor.name) in seen:
            says = f"Triton loads the model, and knows only the first output called {tensor.name}"
            if kind == "input":
                says = f"Triton loads the model, and refuses each request: it wants {tensor.name} more than once"
            yield Problem(
                case.config.place(kind, number, "name"), says, f"Write another name, or leave this {kind} out"
            )
        seen.add((kind, tensor.name))


Which = Literal["batch_input", "batch_output"]


def batch_tensors(case: Case) -> Iterator[Problem]:
    """Find batch inputs and outputs of impossible kinds, types, sources or targets."""
    for which in ("batch_input", "batch_output"):
        for number, tensor in enumerate(getattr(case.config.message, which)):
            for path, reason, write in _batch_reasons(case, which, tensor):
                place = case.config.place(which, number, *path)
                yield refused(place, f"{reason} for {case.model.name}", write)
                break


def _batch_reasons(case: Case, which: str, tensor: Any) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield the field, Triton's reason, and what to write."""
    kinds = {each.number: each.name for each in type(tensor).DESCRIPTOR.fields_by_name["kind"].enum_type.values}
    said = which.replace("_", " ")
    inputs = [each.name for each in case.config.message.input]
    outputs = [each.name for each in case.config.message.output]
    if tensor.kind not in kinds:
        yield ("kind",), f"unknown {said} kind ''", f"Write one of {', '.join(kinds.values())}"
    elif len(tensor.source_input) != 1:
        expects = f"{said} kind '{kinds[tensor.kind]}' expects 1 source input, got {len(tensor.source_input)}"
        yield ("source_input",), expects, "Write the name of one input in source_input"
    if which == "batch_input" and tensor.data_type not in (_type("TYPE_INT32"), _type("TYPE_FP32")):
        yield ("data_type",), "batch input data type must be TYPE_INT32 or TYPE_FP32", "Write TYPE_INT32 or TYPE_FP32"
    for position, name in enumerate(tensor.source_input):
        if name not in inputs and is_listed(case.model, case.config.message, "input"):
            known = f"Write the name of an input: {', '.join(inputs) or 'the configuration has none'}"
            yield ("source_input", position), f"unknown source input name '{name}'", known
    for position, name in enumerate(tensor.target_name if which == "batch_output" else ()):
        if name not in outputs and is_listed(case.model, case.config.message, "output"):
            known = f"Write the name of an output: {', '.join(outputs) or 'the configuration has none'}"
            yield ("target_name", position), f"unknown target output name '{name}'", known
        elif name in tensor.target_name[:position]:
            yield (
                ("target_name", position),
                f"target output name '{name}' can only be specified once",
                f"Write {name} once",
            )


def _type(name: str) -> int:
    from tritonclient.grpc import model_config_pb2

    return int(model_config_pb2.DataType.Value(name))


def _may_be_plan(case: Case) -> bool:
    """Whether the model is one of TensorRT, or nothing says yet which backend it is of."""
    made = completed(case.model, case.config.message, case.host.release.container)
    return made.platform == PLAN or made.undetermined


def _called(kind: str, number: int, tensor: Any) -> str:
    return f"{kind} {tensor.name}" if tensor.name else f"{kind} number {number + 1}"


IO = Rule(
    code="IO",
    severity="error",
    title="an input or output lacks its name, type or dims",
    triton="Triton refuses the model: \"model input … must specify 'name'\", or 'data_type', or 'dims'.",
    write="Write name, data_type and dims of each",
    check=incomplete,
    seen="2.51",
)
DIM = Rule(
    code="DIM",
    severity="error",
    title="a dimension is 0, or less than -1",
    triton='Triton refuses the model: "dimension must be integer >= 1, or -1 to indicate a variable-size dimension".',
    write="Write the size, or -1 for any size",
    check=dim,
    seen="2.51",
)
RESHAPE = Rule(
    code="RESHAPE",
    severity="error",
    title="a reshape does not have the elements of dims",
    triton='Triton refuses the model: "has different size for dims and reshape", or "has different number of '
    'variable-size dimensions". It compares what lies between dimensions of -1, piece by piece. An empty shape is for '
    "dims of one element, and for models with a batch.",
    write="Write a shape with as many elements as dims, between the same -1",
    check=reshape,
    seen="2.51",
)
FORMAT = Rule(
    code="FORMAT",
    severity="error",
    title="an image without three dims",
    triton='Triton refuses the model: "model input NHWC/NCHW require 3 dims".',
    write="Leave format out, or write three dims",
    check=image_format,
    seen="2.51",
)
SHAPE_TENSOR = Rule(
    code="SHAPE-T",
    severity="error",
    title="a shape tensor of another backend than TensorRT",
    triton='Triton refuses the model: "shape tensors are only supported for TensorRT platform".',
    write="Leave is_shape_tensor out",
    check=shape_tensors,
    seen="2.51",
)
NON_LINEAR = Rule(
    code="NON-LINEAR",
    severity="error",
    title="a format that is not linear, of another backend than TensorRT or without three dims",
    triton='Triton refuses the model: "Non-linear IO format is only supported for the TensorRT platform", or "requires '
    '3 dims".',
    write="Leave is_non_linear_format_io out",
    check=non_linear,
    seen="2.51",
    since="24.08",
)
DUPLICATES = Rule(
    code="DUP-IO",
    severity="warning",
    title="two inputs or two outputs have one name",
    triton='Triton loads the model. Of outputs it knows the first; with inputs it refuses each request: "expected 2 '
    'inputs but got 1 inputs".',
    write="Write each name once",
    check=duplicates,
    seen="2.51",
)
BATCH = Rule(
    code="BATCHIO",
    severity="error",
    title="a batch input or output has not one known source, or a type or target that can't be",
    triton='Triton refuses the model: "expects 1 source input", "batch input data type must be TYPE_INT32 or '
    'TYPE_FP32", "unknown source input name", "unknown target output name" or "can only be specified once".',
    write="Write one input of the model in source_input",
    check=batch_tensors,
    seen="2.51",
)
COUNT = Rule(
    code="DIM-COUNT",
    severity="error",
    title="an input has more elements than can be counted",
    triton='Triton refuses the model: "element count for tensor … exceeds maximum size". It multiplies the dimensions '
    "of inputs, up to the first of -1, and those of an output with a reshape.",
    write="Write the sizes that the model has",
    check=too_many,
    source="core: src/model_config_utils.h, GetElementCount; src/backend_model.cc, SetConfiguredScheduler",
    since="26.03",
)
RULES = (IO, DIM, RESHAPE, COUNT, FORMAT, SHAPE_TENSOR, NON_LINEAR, DUPLICATES, BATCH)
