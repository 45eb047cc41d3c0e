"""PyTorch to ONNX: the torch.export-based exporter, and the older one where that fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from generator.errors import ConversionError, SourceError
from generator.export import onnx_file
from generator.extras import need
from generator.quiet import quiet
from generator.releases import release_named
from generator.sources.model import SourceModel
from generator.specs import Export, Options, TensorSpec

PACKAGES = ("torch", "onnxscript", "onnx", "onnx-ir")
NEWER, OLDER = "torch.export", "torchscript"
# The torch.export-based exporter writes nothing older; TorchScript's writes up to 20.
NEWER_MIN_OPSET, OLDER_MAX_OPSET = 18, 20
EXPORTER_OPSETS = f"{NEWER} writes {NEWER_MIN_OPSET} and newer, {OLDER} up to {OLDER_MAX_OPSET}"
# torch.export takes a dimension that is 0 or 1 in the example for a constant.
EXAMPLE_BATCH = 2


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Write ``source`` as ONNX into ``folder`` with its leading batch dimension dynamic.

    Raises ConversionError where no exporter succeeds or the outcome is newer than the target release reads, and
    SourceError where it is the model itself that fails on its input.
    """
    need("onnxscript", extra="torch")
    failures: list[str] = []
    for name, write in _exporters(options):
        attempt = folder / name / "model.onnx"
        attempt.parent.mkdir(parents=True)
        try:
            with quiet():
                files = write(source, attempt, options.opset)
            return _describe(attempt, files, name, options, tuple(failures))
        except OSError:
            raise
        except Exception as error:
            # Exporters fail with whatever the model's code or their own raises: all of it is a failed attempt.
            failures.append(f"the {name} exporter failed: {_cause(error)}")
    _check_source_runs(source)
    if not failures:
        raise ConversionError(f"the {options.exporter} exporter does not write opset {options.opset}", EXPORTER_OPSETS)
    raise ConversionError(f"{source.reference} can't be exported; {'; '.join(failures)}")


def _exporters(options: Options) -> Iterator[tuple[str, Callable[[SourceModel, Path, int], tuple[Path, ...]]]]:
    """Yield the exporters to try, in order: those that the user admits and that write the opset."""
    if options.exporter in ("auto", NEWER) and options.opset >= NEWER_MIN_OPSET:
        yield NEWER, _export_newer
    if options.exporter in ("auto", OLDER) and options.opset <= OLDER_MAX_OPSET:
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


def _describe(path: Path, files: tuple[Path, ...], exporter: str, options: Options, notes: tuple[str, ...]) -> Export:
    import onnx

    onnx.checker.check_model(str(path))
    model = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    release = release_named(options.target_release)
    if opset != options.opset or model.ir_version > release.max_ir:
        raise ConversionError(
            f"it wrote opset {opset} and IR {model.ir_version} where opset {options.opset} and at most IR "
            f"{release.max_ir} are wanted, for Triton {release.container}"
        )
    return Export(path, files, onnx_file.read_signature(model.graph), exporter, opset, model.ir_version, notes)


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
    first = lines[0].strip() if lines else ""
    return first if isinstance(error, ConversionError) else f"{type(error).__name__}: {first}"
