"""A wrapped source to ONNX: the source's own graph, joined with the graph before it, or after it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.description import describe
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.export.wrapped.joining import finished, prepared
from modelrepo.generator.graphs import edit, onnx_file, outline
from modelrepo.generator.specs.artifacts import ONNX, Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import Wrapped
from modelrepo.generator.specs.source import SourceModel

JOINED, RAW = "joined.onnx", "raw.onnx"


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Export the source within a wrapped one by its own exporter, and join its graph with those around it.

    The weights are copied from file to file, and those in a file of their own stay there. Raises ConversionError for
    operator sets that can't be unified, and what the source's own exporter raises.
    """
    from modelrepo.generator.export import exporter_of

    wrapped: Wrapped = source.native
    inner = exporter_of(wrapped.inner.framework, ONNX).export(wrapped.inner, folder, options)
    least = max(edit.opset_of(each.model) for each in (wrapped.before, wrapped.after) if each)
    if inner.opset < least:
        inner = _raised(inner, least)
    model = outline.read(inner.path)
    if wrapped.after:
        finished(model, wrapped.after)
        _keep(model, source.output_names)
    if wrapped.before:
        prepared(model, wrapped.before)
    path = inner.path.with_name(JOINED)
    onnx_file.write_outline(model, inner.path, path)
    # It is compared with its source as well.
    within = inner.within or replace(inner, path=inner.path.replace(inner.path.with_name(RAW)))
    path.replace(inner.path)
    made = describe(inner.path, inner.files, source.inputs, inner.exporter, options, inner.notes)
    return replace(made, within=within)


def _keep(model: Any, outputs: Collection[str]) -> None:
    """Take out of a model the outputs that are not among these."""
    kept = [value for value in model.graph.output if value.name in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _raised(inner: Export, opset: int) -> Export:
    """Convert the files of an export to a newer operator set, where they are; ConversionError if ONNX can't."""
    import onnx

    model = edit.load(inner.path)
    if model.functions:
        raise _too_old(inner, opset, "it has functions of its own")

    def converted(without: Any) -> Any:
        return onnx.version_converter.convert_version(without, opset)

    try:
        model = edit.without_weights(model, converted)
    except Exception as error:  # onnx's converter raises RuntimeErrors and errors of its own
        raise _too_old(inner, opset, str(error).splitlines()[0]) from error
    for file in inner.files:
        file.unlink()
    files = edit.save(model, inner.path.parent)
    return replace(inner, path=files[0], files=files, opset=opset)


def _too_old(inner: Export, opset: int, reason: str) -> ConversionError:
    return ConversionError(
        f"can't join the model with the graph around it: it has opset {inner.opset}, not {opset}, and ONNX does not "
        f"convert it: {reason}",
        f"Write the file for opset {opset} or newer",
    )


TO_ONNX = Exporter(export=export, packages=("onnx", "onnxruntime"))
