"""PyTorch to ONNX: the torch.export-based exporter, and the older one where that fails."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.errors import ConversionError, InputRefused, SourceError
from generator.export import onnx_file
from generator.export.description import describe, observed_dims
from generator.extras import need
from generator.inputs import example, example_sizes
from generator.quiet import quiet
from generator.sources.model import SourceModel
from generator.sources.pytorch import cause, examples
from generator.specs import Export, Options

PACKAGES = ("torch", "onnxscript", "onnx", "onnx-ir")
NEWER, OLDER = "torch.export", "torchscript"
# The torch.export-based exporter writes nothing older; TorchScript's writes up to 20.
NEWER_MIN_OPSET, OLDER_MAX_OPSET = 18, 20
EXPORTER_OPSETS = f"{NEWER} writes {NEWER_MIN_OPSET} and newer, {OLDER} up to {OLDER_MAX_OPSET}"
Write = Callable[[SourceModel, Path, int], tuple[Path, ...]]


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Write ``source`` as ONNX into ``folder``, with its symbolic dimensions of any size.

    Where those were only guessed and no exporter takes them, all are fixed, and a note says so. Raises ConversionError
    where no exporter succeeds or the outcome is newer than the target release reads, and SourceError where it is the
    model itself that fails on its input.
    """
    need("onnxscript", extra="torch")
    failures: list[str] = []
    attempts = [source, *([replace(source, inputs=source.fixed, fixed=())] if source.fixed else [])]
    for number, attempt in enumerate(attempts):
        notes = (f"its shapes are fixed: {'; '.join(failures)}",) if number else ()
        for name, write in _exporters(attempt, options):
            path = folder / f"{name}{number or ''}" / "model.onnx"
            path.parent.mkdir(parents=True)
            try:
                with quiet():
                    files = write(attempt, path, options.opset)
                    told = notes or tuple(failures)
                    return _as_wanted(describe(path, files, attempt.inputs, name, options, told), options)
            except OSError:
                raise
            except Exception as error:
                # Exporters fail with whatever the model's code or their own raises: all of it is a failed attempt.
                failures.append(f"the {name} exporter failed: {_cause(error)}")
    _check_source_runs(source)
    if not failures:
        raise ConversionError(f"the {options.exporter} exporter does not write opset {options.opset}", EXPORTER_OPSETS)
    raise ConversionError(f"{source.reference} can't be exported; {'; '.join(failures)}")


def _exporters(source: SourceModel, options: Options) -> Iterator[tuple[str, Write]]:
    """Yield the exporters to try, in order: those that the user admits, that write the opset and read the model."""
    import torch

    native = source.native
    scripted, program = isinstance(native, torch.jit.ScriptModule), isinstance(native, torch.export.ExportedProgram)
    if options.exporter in ("auto", NEWER) and options.opset >= NEWER_MIN_OPSET and not scripted:
        yield NEWER, _export_newer
    if options.exporter in ("auto", OLDER) and options.opset <= OLDER_MAX_OPSET and not program:
        yield OLDER, _export_older


def _export_newer(source: SourceModel, path: Path, opset: int) -> tuple[Path, ...]:
    import torch

    named: dict[str, Any] = {
        "dynamo": True,
        "opset_version": opset,
        "input_names": [spec.name for spec in source.inputs],
        "output_names": list(source.output_names),
        "verbose": False,
    }
    if isinstance(source.native, torch.export.ExportedProgram):  # has its dynamic shapes already
        exported = torch.onnx.export(source.native, **named)
    else:
        axes = tuple(
            {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)} for spec in source.inputs
        )
        takes_any = any(each.kind is each.VAR_POSITIONAL for each in _parameters(source.native))
        exported = torch.onnx.export(
            source.native, examples(source.inputs), dynamic_shapes=(axes,) if takes_any else axes, **named
        )
    return onnx_file.write(exported.model, path)


def _parameters(module: Any) -> Any:
    from inspect import signature

    return signature(module.forward).parameters.values()


def _export_older(source: SourceModel, path: Path, opset: int) -> tuple[Path, ...]:
    import torch

    outputs = observed_dims(source.run, source.inputs)
    shapes = {**{spec.name: spec.shape for spec in source.inputs}, **outputs}
    torch.onnx.export(
        source.native,
        examples(source.inputs),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=[spec.name for spec in source.inputs],
        output_names=list(source.output_names),
        dynamic_axes={
            name: {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)}
            for name, shape in shapes.items()
        },
    )
    return tuple(sorted(path.parent.iterdir()))


def _as_wanted(export: Export, options: Options) -> Export:
    if export.opset != options.opset:
        raise ConversionError(f"it wrote opset {export.opset} where {options.opset} is wanted")
    return export


def _check_source_runs(source: SourceModel) -> None:
    sizes = example_sizes(source.inputs)
    try:
        source.run({spec.name: example(spec, sizes) for spec in source.inputs})
    except InputRefused as error:
        told = error.message.removeprefix("the source model ")
        raise SourceError(f"{source.reference} itself {told}") from error


def _cause(error: BaseException) -> str:
    return error.message if isinstance(error, ConversionError) else cause(error)
