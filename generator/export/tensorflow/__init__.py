"""TensorFlow to ONNX through tf2onnx, without the large weights: tf2onnx would hold them fifteen times."""

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, SourceError
from modelrepo.generator.export.description import describe, source_dims
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.export.onnx import DOMAINS
from modelrepo.generator.export.tensorflow import lite
from modelrepo.generator.export.tensorflow.graph import Frozen, Weight, operators_of, with_sizes
from modelrepo.generator.export.tensorflow.graph import frozen as frozen_graph
from modelrepo.generator.export.tensorflow.operators import OPSETS, handlers
from modelrepo.generator.export.tensorflow.padding import set_pads
from modelrepo.generator.export.tensorflow.weights import fill, fold
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.sources.tensorflow import cause, tensorflow
from modelrepo.generator.sources.tensorflow.function import Traced
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Dim, Domain
from modelrepo.generator.system import memory
from modelrepo.generator.system.extras import TENSORFLOW, need
from modelrepo.generator.system.quiet import quiet, unheard

TOOL = "tf2onnx"
# tf2onnx writes 18 as well, but with ReduceMean instead of GlobalAveragePool, which keeps transposes around it: 18 more
# in EfficientNetV2B0, one for each of its 17 means.
MAX_OPSET = 17
# What --opset is if it was not given.
USUAL_OPSET = 20
TROUBLES = "See docs/how-to/when-export-fails.md#tensorflow for what to try"


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Write ``source`` as ONNX into ``folder``, with its symbolic dimensions of any size.

    Raises ConversionError with the operators that tf2onnx does not convert.
    """
    need("tf2onnx", TENSORFLOW)
    need("onnx_ir", TENSORFLOW)
    frozen = frozen_graph(source.native.function) if isinstance(source.native, Traced) else None
    message, weights = _converted(source, _opset(source, frozen, options), frozen)
    model = _finished(source, message, weights)
    memory.give_back()
    path = folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    files = onnx_file.write(model, path)
    return describe(path, files, source.inputs, TOOL, options, _asked_for_more(options, model))


def _asked_for_more(options: Options, model: Any) -> tuple[str, ...]:
    """Return a note if the user asked for a newer opset than was written."""
    written = model.opset_imports[""]
    if options.opset in (USUAL_OPSET, written):
        return ()
    return (f"it is written in opset {written}: tf2onnx's newer forms, up to {options.opset}, are used where needed",)


def _opset(source: SourceModel, frozen: Frozen | None, options: Options) -> int:
    """Return the opset to write; ConversionError if an operator needs a newer one than the user asked for."""
    with quiet(), unheard():
        operators = lite.operators_of(source.native) if frozen is None else operators_of(frozen.definition)
    if lite.WRITING in operators:
        raise ConversionError(
            f"{source.reference} keeps its state in variables, so its output depends on earlier requests",
            "Convert it again with the state as an input and an output",
        )
    needed, operator = max(((OPSETS.get(each, 0), each) for each in operators), default=(0, ""))
    if needed > options.opset:
        raise ConversionError(
            f"can't convert {operator} of {source.reference}: ONNX has a form of it from opset {needed} on",
            f"Set --opset {needed}",
        )
    return max(needed, min(options.opset, MAX_OPSET))


# From a TensorFlow graph to an ONNX graph.


def _converted(source: SourceModel, opset: int, frozen: Frozen | None) -> tuple[Any, Mapping[str, Weight]]:
    """Return the ModelProto of tf2onnx, with the source's inputs and then the weights as inputs, and the weights."""
    with quiet(), unheard(), _spared(), _reasons() as reasons:
        try:
            message, weights = _run_tf2onnx(source, opset, frozen)
        except Exception as error:  # any error of tf2onnx's handlers
            raise ConversionError(f"can't export {source.reference}: {cause(error)}", TROUBLES) from error
    _refuse_leftovers(source, message, opset, reasons)
    return message, weights


def _run_tf2onnx(source: SourceModel, opset: int, frozen: Frozen | None) -> tuple[Any, Mapping[str, Weight]]:
    from tf2onnx import optimizer, tf_loader
    from tf2onnx.tfonnx import process_tf_graph

    library = tensorflow()
    common = {"continue_on_error": True, "custom_op_handlers": handlers(frozen.tables if frozen else {})}
    with library.device("/cpu:0"), library.Graph().as_default() as graph:
        if frozen is None:
            made, weights = lite.processed(source.native, opset, **common)
        else:
            inputs = [*frozen.inputs, *(f"{name}:0" for name in frozen.weights)]
            outputs = [*frozen.outputs]
            with library.Graph().as_default():
                library.import_graph_def(frozen.definition, name="")
                definition = tf_loader.tf_optimize(inputs, outputs, frozen.definition)
            library.import_graph_def(with_sizes(definition, frozen.weights), name="")
            made = process_tf_graph(graph, input_names=inputs, output_names=outputs, opset=opset, **common)
            weights = frozen.weights
        optimized = optimizer.optimize_graph(made, optimizers=_frugal(optimizer._get_optimizers()))
        return optimized.make_model(f"converted from {source.reference}"), weights


def _frugal(optimizers: Mapping[str, Any]) -> dict[str, Any]:
    """Return tf2onnx's optimizations, each freeing the copy of the graph made for the one before it."""

    def made(factory: Any) -> Any:
        gc.collect()  # nodes and their graph refer to each other
        return factory()

    return {name: partial(made, factory) for name, factory in optimizers.items()}


@contextmanager
def _spared() -> Iterator[None]:
    """Exclude existing objects from garbage collection: half a million of the frameworks."""
    if gc.get_freeze_count():  # the caller has done so, and ``unfreeze`` would thaw its objects, too
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Reasons(logging.Handler):
    """Keeps the reasons why tf2onnx failed to convert nodes: it logs each and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            reason = cause(record.exc_info[1]).partition(": ")[2]
            self.found.append(reason.removeprefix("make_sure failure: ").rstrip("."))


@contextmanager
def _reasons() -> Iterator[list[str]]:
    handler, logger = _Reasons(), logging.getLogger("tf2onnx")
    before = logger.propagate, logging.root.manager.disable
    logger.addHandler(handler)
    logger.propagate = False
    logging.disable(logging.WARNING)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.propagate = before[0]
        logging.disable(before[1])


def _refuse_leftovers(source: SourceModel, message: Any, opset: int, reasons: Sequence[str]) -> None:
    """Raise ConversionError for operators of TensorFlow left in a graph, each with its first node."""
    from onnx import defs

    left: dict[str, str] = {}
    for graph in graphs(message):
        for node in graph.node:
            known = node.domain in DOMAINS if node.domain else defs.has(node.op_type, max_inclusive_version=opset)
            if not known:
                left.setdefault(node.op_type, node.name)
    if left:
        named = ", ".join(f"{operator} ({name})" for operator, name in sorted(left.items())[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        why = f": {reasons[0]}" if reasons else ""
        raise ConversionError(f"tf2onnx can't convert {named}{more} of {source.reference}{why}", TROUBLES)


# The finished model, with its weights and its names.


def _finished(source: SourceModel, message: Any, weights: Mapping[str, Weight]) -> Any:
    """Return an ``onnx_ir.Model`` with the inputs and outputs of the source; writing it reads the weights."""
    import numpy as np
    import onnx_ir

    model = onnx_ir.from_proto(message)
    graph = model.graph
    count = len(source.inputs)
    for value, (name, weight) in zip(graph.inputs[count:], weights.items(), strict=True):
        dtype = onnx_ir.DataType.from_numpy(np.dtype(weight.dtype.as_numpy_dtype))
        fill(graph, value, name, dtype, weight.shape, weight.read)
    del graph.inputs[count:]
    fold(graph)
    set_pads(model)
    dims = _output_dims(source)
    described = [(spec.name, spec.shape) for spec in source.inputs] + [
        (name, dims[name]) for name in source.output_names
    ]
    _part_outputs(graph)
    for number, value in enumerate(value for node in graph.all_nodes() for value in node.outputs):
        value.name = f"{value.name}/{number}"  # so that none has the name of an input or an output
    for value, (name, shape) in zip((*graph.inputs, *graph.outputs), described, strict=True):
        value.name, value.shape = name, onnx_ir.Shape(shape)
    return model


def _part_outputs(graph: Any) -> None:
    """Make each output a separate tensor: TensorFlow Lite may return one twice, or an input unchanged."""
    import onnx_ir

    named = list(graph.inputs)
    for place, value in enumerate(graph.outputs):
        if any(value is each for each in named):
            node = onnx_ir.node("Identity", [value])
            node.outputs[0].type = value.type
            graph.append(node)
            graph.outputs[place] = node.outputs[0]
        named.append(graph.outputs[place])


def _output_dims(source: SourceModel) -> dict[str, tuple[Dim, ...]]:
    """Return the shapes of the outputs: as observed from the inputs, and dynamic if TensorFlow says so."""
    seen = _observed_dims(source)
    if not isinstance(source.native, Traced):
        return seen
    dims = {}
    for name, tensor in zip(source.output_names, source.native.function.outputs, strict=True):
        known = tensor.shape if tensor.shape.rank is not None else [None] * len(seen[name])
        dims[name] = tuple(
            f"{name}_{axis}" if size is None and isinstance(dim, int) else dim
            for axis, (dim, size) in enumerate(zip(seen[name], known, strict=True))
        )
    return dims


def _observed_dims(source: SourceModel) -> dict[str, tuple[Dim, ...]]:
    """Return the shapes that a source answers with; if it refuses 0, as for a divisor or a size, it is asked for 1."""
    remedy = "Give inputs that it takes with --samples, their sizes with --input-shape, or their values with --domain"
    try:
        return source_dims(source, remedy)
    except SourceError:
        counts = [spec.dtype.startswith(("int", "uint")) and not spec.domain.known for spec in source.inputs]
        ones = [
            replace(spec, domain=Domain(1.0, 1.0)) if count else spec
            for spec, count in zip(source.inputs, counts, strict=True)
        ]
        with suppress(SourceError):
            return source_dims(replace(source, inputs=tuple(ones)), remedy)
        raise


TO_ONNX = Exporter(export=export, packages=("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnx-ir"))
