"""An ONNX file to ONNX: the same bytes, checked against what Triton and the target release take."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generator.backends import onnxruntime
from generator.errors import ConversionError, SourceError
from generator.export.description import answers_zeros
from generator.releases import release_named
from generator.sources.model import SourceModel
from generator.sources.onnx import MODEL_FILE, OnnxFile, graphs
from generator.specs import Dim, Domain, Export, Options, Signature, TensorSpec

PACKAGES = ("onnx", "onnxruntime")
EXPORTER = "as-is"
# Element types that Triton and ONNX Runtime's Python interface share, as onnx.TensorProto names them. Triton has BF16
# too, from 26.03 on, but what can't be asked here can't be proven here.
TYPES = {"FLOAT", "FLOAT16", "DOUBLE", "BOOL", "STRING"} | {
    f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
KINDS = {
    "sequence_type": "a sequence",
    "optional_type": "an optional value",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
# Values of one byte are colours or quantized numbers and use all of their range; larger ones may be places in a list.
RANGES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}
# The operator domains that ONNX Runtime's builds bring with them.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"}


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Copy the file and its external data into ``folder``.

    Raises ConversionError for a model that Triton can't express, or that the target release or ONNX Runtime does not
    read, and SourceError for one without inputs.
    """
    file: OnnxFile = source.native
    model = file.model
    opset = _check_release(model, options.target_release)
    _check_operators(model)
    inputs = tuple(_tensor("input", value) for value in _required_inputs(model.graph))
    if not inputs:
        raise SourceError(f"{file.path} has no inputs, so there is nothing to ask it")
    outputs = tuple(_tensor("output", value) for value in model.graph.output)
    files = _copy(file, folder)
    session = _open(files[0], file.path)
    signature = Signature(inputs, tuple(map(_inferred, outputs, session.get_outputs())))
    answers = answers_zeros(session, inputs)
    notes = [] if answers else ["no warm-up: the model does not answer zeros"]
    notes += [
        f"output {value.name!r} declares no shape: its configuration says [ 1 ], as Triton wants it"
        for value, spec in zip(model.graph.output, signature.outputs, strict=True)
        if not spec.shape and not value.type.tensor_type.HasField("shape")
    ]
    return Export(files[0], files, signature, EXPORTER, opset, model.ir_version, tuple(notes), answers)


def _check_release(model: Any, container: str) -> int:
    """Return the version of the default operator set, 0 without one, if the release reads that and the format."""
    release = release_named(container)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > release.max_opset or model.ir_version > release.max_ir:
        raise ConversionError(
            f"the file has opset {opset} and IR {model.ir_version}; Triton {release.container} reads up to opset "
            f"{release.max_opset} and IR {release.max_ir}",
            "Write the file for an older opset or IR, or serve it with a newer --target-release",
        )
    return opset


def _check_operators(model: Any) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    for graph in graphs(model):
        for node in graph.node:
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
                raise ConversionError(
                    f"operator {node.op_type!r} of domain {node.domain!r} is not among those of ONNX Runtime",
                    "It needs a library of custom operators, which can't be published",
                )


def _required_inputs(graph: Any) -> list[Any]:
    """Return the inputs without a value of their own; Triton does not need to know the others."""
    initializers = {tensor.name for tensor in graph.initializer}
    initializers |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in initializers]


def _tensor(role: str, value: Any) -> TensorSpec:
    """Return a declared input or output, if Triton can express it."""
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ConversionError(
            f"{role} {value.name!r} is {KINDS.get(kind, 'of no known type')}: Triton has only tensors"
        )
    tensor = value.type.tensor_type
    type_name = onnx.TensorProto.DataType.Name(tensor.elem_type)
    if type_name not in TYPES:
        raise ConversionError(f"{role} {value.name!r} is of type {type_name.lower()}, which can't be served")
    if role == "input" and not tensor.HasField("shape"):
        raise ConversionError(f"input {value.name!r} declares no shape: Triton would take it for a scalar")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    low, high = RANGES.get(dtype, (None, None))
    shape = _positive(role, value.name, _dims(tensor.shape))
    return TensorSpec(value.name, dtype, shape, Domain(low, high, known=False))


def _dims(shape: Any) -> Iterator[Any]:
    for dim in shape.dim:
        yield dim.dim_value if dim.HasField("dim_value") else dim.dim_param


def _inferred(spec: TensorSpec, output: Any) -> TensorSpec:
    """Return an output with the shape that ONNX Runtime inferred: Triton compares the configuration with that."""
    return TensorSpec(spec.name, spec.dtype, _positive("output", spec.name, output.shape))


def _positive(role: str, name: str, dims: Any) -> tuple[Dim, ...]:
    """Return a shape in which dimensions without a size have a name."""
    shape = tuple(
        dim if isinstance(dim, str) and dim else dim if isinstance(dim, int) and dim >= 0 else f"{name}_{position}"
        for position, dim in enumerate(dims)
    )
    if 0 in shape:
        raise ConversionError(f"{role} {name!r} has a dimension of size 0, which Triton refuses")
    return shape


def _copy(file: OnnxFile, folder: Path) -> tuple[Path, ...]:
    """Copy what a model consists of. A hard link would let a later edit of the user's file change what is served."""
    copies = []
    for name, origin in {MODEL_FILE: file.path, **file.external}.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, copy)
        copies.append(copy)
    return tuple(copies)


def _open(path: Path, origin: Path) -> Any:
    try:
        return onnxruntime.open_session(path)
    except Exception as error:  # ONNX Runtime's errors share no class but Exception
        raise ConversionError(f"ONNX Runtime can't open {origin}: {onnxruntime.reason(error)}") from error
