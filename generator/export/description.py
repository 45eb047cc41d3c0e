"""Shared parts of the exporters to ONNX: the check and the description of a written model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, InputRefused, SourceError, Unsteady
from modelrepo.generator.export import output_shapes
from modelrepo.generator.graphs import onnx_file, outline, runtime
from modelrepo.generator.graphs.edit import opset_of
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, Dim, Signature, TensorSpec
from modelrepo.generator.triton.releases import release_named
from modelrepo.generator.verification.inputs import example, example_sizes
from modelrepo.generator.verification.verify import Run


def describe(
    path: Path,
    files: tuple[Path, ...],
    inputs: Sequence[TensorSpec],
    exporter: str,
    options: Options,
    notes: tuple[str, ...] = (),
) -> Export:
    """Check the ONNX model at ``path`` and describe it, its inputs with the domains and sizes of ``inputs``.

    Raises ConversionError for a model that is too new for the target release, or that ONNX Runtime does not open.
    """
    opset, ir_version, signature = _declared(path, inputs)
    release = release_named(options.target_release)
    if opset > release.max_opset or ir_version > release.max_ir:
        raise ConversionError(f"it wrote opset {opset} and IR {ir_version}; {release.limits}")
    session = _open(path)  # checks each node as well, as onnx's own checker does
    signature = replace(signature, outputs=_as_told(signature, session, path))
    return Export(path, files, signature, exporter, opset, ir_version, notes)


def observed_dims(run: Run, inputs: Sequence[TensorSpec]) -> dict[str, tuple[Dim, ...]]:
    """Return the shape of each output of a run: an axis that follows a symbolic dimension of the inputs has its name.

    An axis that changes in another way is named for its output. Sizes that depend on the values of the inputs are not
    seen. Raises ConversionError if the number of axes depends on a size.
    """
    sizes = example_sizes(inputs)
    shapes = _shapes(run, inputs, sizes)
    found: dict[str, list[Dim]] = {name: list(shape) for name, shape in shapes.items()}
    for dim, size in sizes.items():
        other = next((each for spec in inputs for each in spec.sizes.get(dim, ()) if each not in (1, size)), size + 1)
        for name, shape in _shapes(run, inputs, {**sizes, dim: other}).items():
            if len(shape) != len(shapes[name]):
                raise ConversionError(
                    f"output {name!r} has {len(shapes[name])} dimensions if {dim} is {size}, and {len(shape)} if it is "
                    f"{other}: a served output always has the same number",
                    "Fix that size with --input-shape, or let the model keep its dimensions",
                )
            for axis, (before, after) in enumerate(zip(shapes[name], shape, strict=True)):
                if before != after:
                    found[name][axis] = dim if (before, after) == (size, other) else f"{name}_{axis}"
    return {name: tuple(dims) for name, dims in found.items()}


def source_dims(source: SourceModel, remedy: str) -> dict[str, tuple[Dim, ...]]:
    """Return ``observed_dims`` of a source; SourceError, with ``remedy`` as the hint, if it fails on such inputs."""
    try:
        return observed_dims(source.run, source.inputs)
    except InputRefused as error:
        raise source_fails(source, error, remedy) from error


def source_fails(source: SourceModel, error: InputRefused, remedy: str = "") -> SourceError:
    """Return the error that the source, not an exporter, fails on an example of its inputs."""
    failure = error.message.removeprefix("the source model ")
    return SourceError(f"{source.reference} itself {failure}", remedy)


def _declared(path: Path, inputs: Sequence[TensorSpec]) -> tuple[int, int, Signature]:
    """Return the opset, the IR version and the signature of an ONNX file."""
    model = outline.read(path)
    return opset_of(model), model.ir_version, onnx_file.known_signature(model.graph, inputs)


def _as_told(signature: Signature, session: Any, path: Path) -> tuple[TensorSpec, ...]:
    """Return the outputs with the shapes that ONNX Runtime tells: Triton compares the configuration with those.

    An output that declares no shape gets the inferred one, with the names of what its answers follow.
    """
    pairs = list(zip(signature.outputs, session.get_outputs(), strict=True))
    undeclared = any(output.shape and not spec.shape for spec, output in pairs)
    seen = output_shapes.look(session, signature.inputs, outline.read(path)) if undeclared else []
    return tuple(
        replace(spec, shape=output_shapes.names_of(output, seen)) if not spec.shape else _as_inferred(spec, output)
        for spec, output in pairs
    )


def _as_inferred(spec: TensorSpec, output: Any) -> TensorSpec:
    if len(output.shape) != len(spec.shape):  # it inferred no shape
        return spec
    shape = (size if isinstance(size, int) else dim for dim, size in zip(spec.shape, output.shape, strict=True))
    return replace(spec, shape=tuple(shape))


def _open(path: Path) -> Any:
    try:
        return runtime.open_session(path, optimized=False, mapped=True)
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ConversionError(f"ONNX Runtime can't open the exported model: {runtime.reason(error)}") from error


def _shapes(run: Run, inputs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    arrays: Arrays = {spec.name: example(spec, sizes) for spec in inputs}
    try:
        answers = run(arrays)
    except Unsteady as error:  # only the shapes matter here
        answers = error.answer
    return {name: answer.shape for name, answer in answers.items()}
