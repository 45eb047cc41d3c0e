"""PyTorch to ONNX: the torch.export-based exporter, and the older one where that fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from generator.errors import ConversionError, ModelRepoError, SourceError
from generator.export import onnx_file
from generator.extras import need
from generator.quiet import quiet
from generator.releases import Release
from generator.sources.model import SourceModel
from generator.specs import Export, TensorSpec

PACKAGES = ("torch", "onnxscript", "onnx", "onnx-ir")
NEWER, OLDER = "torch.export", "torchscript"
# The torch.export-based exporter writes nothing older; TorchScript's writes up to 20.
NEWER_MIN_OPSET, OLDER_MAX_OPSET = 18, 20
# torch.export takes a dimension that is 0 or 1 in the example for a constant.
EXAMPLE_BATCH = 2


def export(source: SourceModel, path: Path, opset: int, release: Release) -> Export:
    """Write ``source`` as ONNX to ``path`` with its leading batch dimension dynamic.

    Raises ConversionError where neither exporter succeeds or the outcome is newer than ``release`` reads, and
    SourceError where it is the model itself that fails on its input.
    """
    need("onnxscript", extra="torch")
    failures: list[str] = []
    for name, write in _exporters(opset):
        try:
            with quiet():
                files = write(source, path, opset)
            return _describe(path, files, name, opset, release, tuple(failures))
        except (ModelRepoError, OSError):
            raise
        except Exception as error:
            # Exporters fail with whatever the model's code or their own raises: all of it is a failed attempt.
            failures.append(f"the {name} exporter failed: {_cause(error)}")
    _check_source_runs(source)
    raise ConversionError(f"{source.reference} can't be exported; {'; '.join(failures)}")


def _exporters(opset: int) -> Iterator[tuple[str, Callable[[SourceModel, Path, int], tuple[Path, ...]]]]:
    if opset >= NEWER_MIN_OPSET:
        yield NEWER, _export_newer
    if opset <= OLDER_MAX_OPSET:
        yield OLDER, _export_older


def _export_newer(source: SourceModel, path: Path, opset: int) -> tuple[Path, ...]:
    import torch

    symbols = {
        dim: torch.export.Dim(dim, min=1) for spec in source.inputs for dim in spec.shape if isinstance(dim, str)
    }
    program = torch.onnx.export(
        source.native,
        tuple(map(_example, source.inputs)),
        dynamo=True,
        opset_version=opset,
        input_names=[spec.name for spec in source.inputs],
        output_names=list(source.output_names),
        dynamic_shapes=tuple(
            {axis: symbols[dim] for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
            for spec in source.inputs
        ),
        verbose=False,
    )
    return onnx_file.write(program.model, path)


def _export_older(source: SourceModel, path: Path, opset: int) -> tuple[Path, ...]:
    import torch

    axes = {
        spec.name: {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)} for spec in source.inputs
    }
    axes.update({name: {0: "batch"} for name in source.output_names})
    torch.onnx.export(
        source.native,
        tuple(map(_example, source.inputs)),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=[spec.name for spec in source.inputs],
        output_names=list(source.output_names),
        dynamic_axes=axes,
    )
    return tuple(sorted(path.parent.iterdir()))


def _example(spec: TensorSpec) -> Any:
    import torch

    sizes = {dim: EXAMPLE_BATCH for dim in spec.shape if isinstance(dim, str)}
    generator = torch.Generator().manual_seed(0)
    return torch.randn(spec.sized(sizes), generator=generator).to(getattr(torch, spec.dtype))


def _describe(
    path: Path, files: tuple[Path, ...], exporter: str, opset: int, release: Release, notes: tuple[str, ...]
) -> Export:
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the exported model is not valid ONNX: {_cause(error)}") from error
    model = onnx.load(str(path), load_external_data=False)
    written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if written != opset or model.ir_version > release.max_ir:
        raise ConversionError(
            f"the {exporter} exporter wrote opset {written} and IR {model.ir_version}; wanted were opset {opset} and "
            f"at most IR {release.max_ir}, for Triton {release.container}",
            "Choose another --opset",
        )
    return Export(path, files, onnx_file.read_signature(model.graph), exporter, written, model.ir_version, notes)


def _check_source_runs(source: SourceModel) -> None:
    try:
        source.run({spec.name: _example(spec).numpy() for spec in source.inputs})
    except Exception as error:
        shapes = ", ".join(map(str, source.inputs))
        raise SourceError(f"{source.reference} itself fails on {shapes}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
