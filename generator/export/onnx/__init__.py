"""An ONNX file to ONNX: the same bytes, checked for Triton and the target release.

The file changes only if its batch is made dynamic, or if it declares another shape of an output than it answers with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.errors import ConversionError, SourceError
from modelrepo.generator.export import output_shapes
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.export.onnx import batch, batch_proof, shapeless
from modelrepo.generator.export.output_shapes import Seen
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.graphs.edit import FIRST_IR_WITH_CONSTANTS, opset_of
from modelrepo.generator.graphs.runtime import open_file
from modelrepo.generator.graphs.walk import MODEL_FILE, fixed_batch, graphs, has_dynamic_batch, required_inputs
from modelrepo.generator.sources.onnx import OnnxFile
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Dim, Signature, TensorSpec, unknown_domain
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import copy_hashed
from modelrepo.generator.triton.releases import release_named

AS_IS, REWRITTEN, DECLARED = "as-is", "batch made dynamic", "as-is, output shapes declared"
# A file that lists more initializers as inputs than these lists all of them, which are then weights.
MOST_OPTIONAL = 16
# Element types that Triton and ONNX Runtime's Python interface share, as onnx.TensorProto names them. Triton has BF16
# as well, from 26.03 on, but a model that can't be run here can't be verified here.
TYPES = {"FLOAT", "FLOAT16", "DOUBLE", "BOOL", "STRING"} | {
    f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
MOST_NAMED = 3
TYPE_NAMES = {
    "sequence_type": "a sequence",
    "optional_type": "an optional value",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
# The operator domains of ONNX Runtime's builds.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"}


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Copy the file and its external data into ``folder``, with its batch made dynamic if the options ask for it.

    Raises ConversionError for a model that Triton can't express, that the target release or ONNX Runtime does not
    read, or whose batch stays fixed, and SourceError for one without inputs.
    """
    file: OnnxFile = source.native
    model = file.model
    opset = _check_release(model, options.target_release)
    _check_operators(model)
    declared = shapeless.declare(required_inputs(model.graph), options)
    inputs = tuple(_tensor("input", value) for value in required_inputs(model.graph))
    if not inputs:
        raise SourceError(f"{file.path} has no inputs that must be given, so nothing can be compared")
    _check_sizes(inputs)
    outputs = tuple(_tensor("output", value) for value in model.graph.output)
    notes: list[str] = []
    files = _copy(file, folder)
    rewritten = options.make_batch_dynamic and not has_dynamic_batch(model.graph)
    if rewritten:
        size = fixed_batch(model.graph)
        notes = [batch.make_dynamic(model, size, file.path.parent)]
        onnx_file.write_outline(model, file.path, files[0])
        inputs = tuple(_tensor("input", value) for value in required_inputs(model.graph))
        outputs = tuple(_tensor("output", value) for value in model.graph.output)
    session = _written(file, files[0]) if declared else open_file(files[0], file.path, mapped=True)
    seen = output_shapes.look(session, inputs, model)
    undeclared = _undeclared(session, inputs, seen)
    shapes = {name: shape for name, shape in undeclared.items() if shape is not None}
    if shapes:
        output_shapes.declare(model, shapes)
        session = _written(file, files[0])
        if output_shapes.cut(model, session, seen):
            session = _written(file, files[0])
        output_shapes.check(session, seen)
    described = (_inferred(spec, output, seen) for spec, output in zip(outputs, session.get_outputs(), strict=True))
    signature = Signature(inputs, tuple(described))
    notes += [_shape_note(spec, undeclared[spec.name]) for spec in signature.outputs if spec.name in undeclared]
    del session  # it holds the weights, as the next session does
    if rewritten:
        batch_proof.prove(source.run, files[0], Signature(inputs, outputs), size, options)
    optional, left_out = _optional_inputs(model, signature, options)
    notes += [*left_out, *_batch_notes(signature, options, rewritten)]
    signature = replace(signature, inputs=(*inputs, *optional))
    notes += declared
    exporter = REWRITTEN if rewritten else DECLARED if shapes or declared else AS_IS
    return Export(files[0], files, signature, exporter, opset, model.ir_version, tuple(notes))


def _check_release(model: Any, container: str) -> int:
    """Return the version of the default operator set, 0 without one; ConversionError if the release is too old."""
    release = release_named(container)
    opset = opset_of(model)
    if opset > release.max_opset or model.ir_version > release.max_ir:
        raise ConversionError(
            f"the file has opset {opset} and IR {model.ir_version}; {release.limits}",
            "Write the file for an older opset or IR, or serve it with a newer --target-release",
        )
    return opset


def _written(file: OnnxFile, path: Path) -> Any:
    """Write a file's changed model to ``path``, and return a session of it."""
    onnx_file.write_outline(file.model, file.path, path)
    return open_file(path, file.path, mapped=True)


def _undeclared(session: Any, inputs: Sequence[TensorSpec], seen: Sequence[Seen]) -> dict[str, tuple[Dim, ...] | None]:
    """Return the shapes of outputs that must be declared anew; None if the number of dimensions changes."""
    wrong = output_shapes.contradicted(session, seen)
    thorough = output_shapes.look_thoroughly(session, inputs) if wrong else []
    told = {output.name: output.shape for output in session.get_outputs()}
    return {name: output_shapes.corrected(told[name], name, thorough) for name in wrong}


def _shape_note(spec: TensorSpec, shape: tuple[Dim, ...] | None) -> str:
    if shape is None:
        return f"output {spec.name!r} declares no shape: its configuration says [ 1 ], as Triton requires"
    dims = ", ".join(map(str, spec.shape))
    return f"output {spec.name!r} answers with the shape [{dims}], which the served file declares"


def _check_sizes(inputs: Sequence[TensorSpec]) -> None:
    """Raise SourceError for a model too large to run once: a small file may declare inputs of any size."""
    free = memory.available()
    for spec in inputs:
        taken = prod(dim for dim in spec.shape if isinstance(dim, int)) * np.dtype(spec.dtype).itemsize
        if taken > free:
            raise SourceError(
                f"one request's {spec.name!r} takes {taken / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free",
                "Export it for a smaller input, or generate it on a larger machine",
            )


def _check_operators(model: Any) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    foreign: dict[str, list[str]] = {}
    for node in (node for graph in graphs(model) for node in graph.node):
        operators = foreign.setdefault(node.domain, [])
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own and node.op_type not in operators:
            operators.append(node.op_type)
    for domain, operators in foreign.items():
        if operators:
            raise ConversionError(
                f"ONNX Runtime has no {' and '.join(sorted(operators))} of domain {domain!r}, and without its "
                "library the model can't be verified",
                'Triton takes it from model_operations { op_library_filename: "/models/NAME/libcustom.so" } in '
                "config.pbtxt: see docs/how-to/onnx-file.md",
            )


def _optional_inputs(
    model: Any, required: Signature, options: Options
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """Return the inputs with a value of their own, if Triton takes such inputs, and notes on others."""
    given = {value.name for value in required_inputs(model.graph)}
    declared = [value for value in model.graph.input if value.name not in given]
    if model.ir_version < FIRST_IR_WITH_CONSTANTS or not declared:
        return (), ()
    names = ", ".join(value.name for value in declared[:MOST_NAMED]) + (", …" if len(declared) > MOST_NAMED else "")
    if len(declared) > MOST_OPTIONAL:
        return (), (f"{len(declared)} initializers are listed as inputs, and treated as weights: {names}",)
    if options.max_batch_size and required.batch_dim is not None:
        left_out = "left out, since Triton has none with batching: --max-batch-size 0 publishes them"
        return (), (f"optional inputs ({names}) are {left_out}",)
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    specs, notes = [], []
    for value in declared:
        if not value.type.tensor_type.HasField("shape"):
            for size in dims[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = size
        try:
            specs.append(replace(_tensor("optional input", value), optional=True))
        except ConversionError as error:
            notes.append(f"left out: {error.message}")
    return tuple(specs), tuple(notes)


def _batch_notes(signature: Signature, options: Options, rewritten: bool) -> Sequence[str]:
    """Return a note if --make-batch-dynamic would help, or if it changed nothing."""
    if options.make_batch_dynamic:
        return () if rewritten else ("its batch is dynamic already: --make-batch-dynamic changes nothing",)
    leading = list(dict.fromkeys(spec.shape[:1] for spec in (*signature.inputs, *signature.outputs)))
    if not options.max_batch_size or signature.batch_dim is not None or () in leading:
        return ()
    sizes = {size for (size,) in leading if isinstance(size, int)}
    if len(leading) == 1 and sizes:
        return (
            f"all tensors have {leading[0][0]} as their first size: if that is a batch, --make-batch-dynamic makes it "
            "any size",
        )
    names = [
        spec.shape[0]
        for spec in (*signature.inputs, *signature.outputs)
        if isinstance(spec.shape[0], str) and spec.shape[0] != f"{spec.name}_0"  # that of a dimension without a name
    ]
    chosen = 1 < len(set(names)) < len(names)  # some are the same, so the others differ on purpose
    if len(leading) == 1 or len(sizes) > 1 or chosen:
        return ()
    return (
        "the first dimensions have no name or different ones: if they are one batch, --make-batch-dynamic gives them "
        "one name, and proves it",
    )


def _tensor(role: str, value: Any) -> TensorSpec:
    """Return a declared input or output; ConversionError if Triton can't express it."""
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        zipped = kind == "sequence_type" and value.type.sequence_type.elem_type.HasField("map_type")
        raise ConversionError(
            f"{role} {value.name!r} is {TYPE_NAMES.get(kind, 'of an unknown type')}: Triton has only tensors",
            "It comes from a ZipMap: convert with options={'zipmap': False}" if zipped else "",
        )
    tensor = value.type.tensor_type
    types = {number: type_name for type_name, number in onnx.TensorProto.DataType.items()}
    type_name = types.get(tensor.elem_type, f"number {tensor.elem_type}")
    if type_name not in TYPES:
        raise ConversionError(f"{role} {value.name!r} is of type {type_name.lower()}, which can't be served")
    if role == "input" and not tensor.HasField("shape"):
        raise ConversionError(
            f"input {value.name!r} declares no shape: Triton would take it for a scalar",
            f"Say it with --input-shape {value.name}=1x4, and with --dynamic {value.name}:0=batch which of it is open",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = _positive(role, value.name, _dims(tensor.shape))
    return TensorSpec(value.name, dtype, shape, unknown_domain(dtype))


def _dims(shape: Any) -> Iterator[Any]:
    for dim in shape.dim:
        yield dim.dim_value if dim.HasField("dim_value") else dim.dim_param


def _inferred(spec: TensorSpec, output: Any, seen: Sequence[Seen]) -> TensorSpec:
    """Return an output with the shape that ONNX Runtime inferred: Triton compares the configuration with it.

    A dimension without a size and a name gets that of the inputs' dimension that it was seen to follow.
    """
    return TensorSpec(spec.name, spec.dtype, _positive("output", spec.name, output_shapes.names_of(output, seen)))


def _positive(role: str, name: str, dims: Any) -> tuple[Dim, ...]:
    """Return a shape with a name for each dimension without a size."""
    shape = tuple(
        dim if isinstance(dim, str) and dim else dim if isinstance(dim, int) and dim >= 0 else f"{name}_{position}"
        for position, dim in enumerate(dims)
    )
    if 0 in shape:
        raise ConversionError(f"{role} {name!r} has a dimension of size 0, which Triton refuses")
    return shape


def _copy(file: OnnxFile, folder: Path) -> tuple[Path, ...]:
    """Copy the files of a model: hard links would let a later edit of the user's file change the served model."""
    copies = []
    for name, origin in {MODEL_FILE: file.path, **file.external}.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_hashed(origin, copy)
        copies.append(copy)
    return tuple(copies)


TO_ONNX = Exporter(export=export, packages=("onnx", "onnxruntime"))
