"""ONNX files, read without their weights: 5 GB take milliseconds."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.graphs.edit import DEFAULT_DOMAINS
from modelrepo.generator.graphs.metadata import class_names
from modelrepo.generator.inspection import batching
from modelrepo.generator.inspection.inspection import Inspection
from modelrepo.generator.inspection.onnx_faults import faults, faults_of_graph, is_unsorted
from modelrepo.generator.inspection.onnx_reading import Reading, read, unused
from modelrepo.generator.inspection.onnx_uses import uses
from modelrepo.generator.inspection.parts import by_release, reason, sizes_of, unreadable
from modelrepo.generator.lint.files import onnx_file
from modelrepo.generator.lint.files.onnx_file import text_of

FORM = "ONNX"
RUNTIME_FORM = "ONNX Runtime's own format"
# More of a value of the metadata is not kept.
LONGEST = 2000
# Names that a remark lists.
MOST = 4
NOT_READ = "ONNX Runtime's own format is not read further: inspect the ONNX file that it was made from"


def inspect(path: Path) -> Inspection:
    """Return what is known of an ONNX file; faults if it is none."""
    try:
        file = onnx_file.read(path)
        if file is None:
            return _of_runtime(path)
        if file.fault:
            return unreadable(path, FORM, file.fault)
        return _of(read(path, file))
    except OSError as error:
        return unreadable(path, FORM, reason(error))


def _of(reading: Reading) -> Inspection:
    path, model = reading.path, reading.model
    beside = {path.parent / each.location for each in reading.file.external if each.location}
    files = _sizes([path, *sorted(beside)], path.parent)
    inputs, outputs = reading.inputs, reading.outputs
    broken = tuple(faults_of_graph(reading))
    return Inspection(
        path,
        FORM,
        sum(files.values()),
        faults=tuple(faults(reading, broken)),
        remarks=tuple(_remarks(reading)),
        facts=tuple(_facts(model, reading)),
        inputs=inputs,
        outputs=outputs,
        batching=None if broken else batching.judged(model, path, inputs, outputs, reading.whole_numbers),
        operators=reading.operators,
        nodes=reading.nodes,
        weights=reading.weights,
        files=files,
        uses=uses(reading, next(iter(broken), "")),
    )


def _sizes(paths: list[Path], root: Path) -> dict[str, int]:
    """Return the bytes of files by their names; those outside of the folder have their whole path."""
    inside = [path for path in paths if path.is_relative_to(root)]
    found = sizes_of(inside, root)
    for path in paths:
        if path not in inside:
            found.update({str(path.parent / name): size for name, size in sizes_of([path], path.parent).items()})
    return found


def _facts(model: Any, reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield what the file says of itself, in the order of its printing."""
    producer = f"{text_of(model.producer_name)} {text_of(model.producer_version)}".strip()
    if producer:
        yield "producer", producer
    yield "opset", str(reading.file.opset or "none")
    others = [each for each in model.opset_import if each.domain not in DEFAULT_DOMAINS]
    if others:
        yield "other operators", ", ".join(f"{text_of(each.domain)} {each.version}" for each in others)
    yield "IR version", str(model.ir_version)
    for name, value in (("graph", model.graph.name), ("domain", model.domain)):
        if value:
            yield name, text_of(value)
    if model.model_version:
        yield "model version", str(model.model_version)
    for name, value in (("description", model.doc_string), ("of the graph", model.graph.doc_string)):
        if value:
            yield name, text_of(value)[:LONGEST]
    yield from _parts(model, reading)
    key, names = class_names(model)
    if names:
        yield "classes", f"{len(names):,} ({key}): {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
    for entry in model.metadata_props:
        yield f"metadata {text_of(entry.key)}", text_of(entry.value)[:LONGEST]


def _parts(model: Any, reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield what the model has beside its one graph."""
    if reading.subgraphs:
        yield "graphs within", ", ".join(f"{count} in {name}" for name, count in sorted(reading.subgraphs.items()))
    if model.functions:
        yield "functions", ", ".join(f"{text_of(each.domain)}.{text_of(each.name)}" for each in model.functions)


def _remarks(reading: Reading) -> Iterator[str]:
    """Yield what a user of the file should know."""
    left = unused(reading)
    if left:
        size = sum(weight.bytes for weight in left)
        yield f"weights that no node uses take {size:,} bytes: {_some([weight.name for weight in left])}"
    if is_unsorted(reading):
        yield "its nodes are not in the order of their execution, which ONNX requires; ONNX Runtime sorts them"
    for node in batching.training(reading.model):
        yield f"it is in training mode, in {text_of(batching.named(node))}: export it in evaluation mode"
        break
    optional = [tensor.name for tensor in reading.inputs if tensor.optional]
    if optional:
        yield f"inputs with a value of their own, which a request may replace: {_some(optional)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST:,} more" if len(names) > MOST else "")


def _of_runtime(path: Path) -> Inspection:
    """Return what is known of a file in ONNX Runtime's own format."""
    files = sizes_of([path], path.parent)
    version = _format_version(path)
    facts = (("format version", version),) if version else ()
    saying = "an ONNX Runtime reads the versions of its format that were current when it was built"
    return Inspection(
        path,
        RUNTIME_FORM,
        sum(files.values()),
        remarks=(NOT_READ,),
        facts=facts,
        files=files,
        uses=by_release("onnxruntime", lambda release: ("unknown", saying)),
    )


def _format_version(path: Path) -> str:
    """Return the first field of an ``InferenceSession`` table (onnxruntime/core/flatbuffers/schema/ort.fbs)."""
    with path.open("rb") as file:

        def number(at: int, form: str) -> int:
            file.seek(at)
            return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

        try:
            table = number(0, "<I")
            offset = number(table - number(table, "<i") + 4, "<H")
            text = table + offset + number(table + offset, "<I")
            length = number(text, "<I")
            return file.read(min(length, 20)).decode("ascii") if offset else ""
        except (struct.error, ValueError, OSError):
            return ""
