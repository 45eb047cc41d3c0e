"""OpenVINO's own format: the layers of an .xml file, and the constants in the .bin file beside it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from modelrepo.generator.inspection.inspection import Dim, Inspection, Node, Tensor, Weight
from modelrepo.generator.inspection.mixing import by_nodes
from modelrepo.generator.inspection.parts import (
    Judgement,
    by_first_dims,
    by_release,
    most_frequent_first,
    reason,
    sizes_of,
    triton_name,
    unreadable,
)
from modelrepo.generator.lint.files import openvino_ir
from modelrepo.generator.lint.files.openvino_ir import OpenvinoFile, Unreadable, Value
from modelrepo.generator.lint.rules.openvino import TYPES
from modelrepo.generator.triton.releases import Release

FORM = "OpenVINO IR"
OPSET = re.compile(r"opset(\d{1,4})")
# The newest operation set of a release's OpenVINO: the oldest known release, 24.10, has 2024.4, and since 25.11 it is
# 2025.3 or newer. docs.openvino.ai: opset14 came with 2024.0, opset15 with 2024.5, and of later ones nothing is known.
OPSETS, SINCE = (14, 15), "25.11"
# Layers that are not steps of the computation.
ENDS = ("Parameter", "Result", "Const")
# Layers whose answers are shapes.
OF_SHAPES = ("ShapeOf",)
PREFIXES = {"I": "INT", "U": "UINT", "F": "FP"}
# Entries of rt_info that say what wrote the file.
WRITERS = {
    "Runtime_version": "written by",
    "MO_version": "converted by",
    "conversion_parameters/framework": "converted from",
    "framework/original_format": "converted from",
    "optimization": "optimized by",
}
MOST_NESTED = 20


def inspect(path: Path) -> Inspection:
    """Return what is known of a model.xml and the .bin file beside it; faults if it is damaged, or none."""
    try:
        root = openvino_ir.root_of(path)
        file = openvino_ir.described(root)
        return _inspected(path, root, file)
    except Unreadable as error:
        return unreadable(path, FORM, str(error))
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return unreadable(path, FORM, "it is not an OpenVINO model, or is damaged")


def _inspected(path: Path, root: Any, file: OpenvinoFile) -> Inspection:
    binary = path.with_suffix(".bin")
    files = sizes_of([path, binary], path.parent)
    inputs, outputs = tuple(_tensors(file.inputs, "input")), tuple(_tensors(file.outputs, "output"))
    nodes = tuple(_nodes(root, 0))
    return Inspection(
        path,
        FORM,
        sum(files.values()),
        faults=tuple(_faults(root, file, files, binary.name)),
        facts=tuple(_facts(root, file)),
        inputs=inputs,
        outputs=outputs,
        batching=by_nodes(by_first_dims(inputs, outputs), inputs, nodes, OF_SHAPES),
        operators=most_frequent_first(node.operator for node in nodes),
        nodes=nodes,
        weights=tuple(_weights(root, binary.name)),
        files=files,
        uses=by_release("openvino", partial(_judged, root, file, (*inputs, *outputs))),
    )


def _type(kind: str) -> str:
    """Return Triton's name of an element type, such as INT64 for "I64" or "i64"."""
    upper = kind.upper()
    if upper in ("BOOLEAN", "BOOL"):
        return "BOOL"
    prefix, bits = upper[:1], upper[1:]
    return f"{PREFIXES[prefix]}{bits}" if prefix in PREFIXES and bits.isdecimal() else triton_name(upper)


def _tensors(values: Sequence[Value], kind: str) -> Iterator[Tensor]:
    for number, value in enumerate(values):
        shape = None if value.dims is None else tuple(map(_dim, value.dims))
        yield Tensor(value.names[0] if value.names else f"{kind} {number}", _type(value.kind or "unknown"), shape)


def _dim(limits: tuple[int, int | None]) -> Dim:
    least, most = limits
    return most if least == most else None


def _faults(root: Any, file: OpenvinoFile, files: Mapping[str, int], binary: str) -> Iterator[str]:
    if fault := openvino_ir.fault_of_version(root):
        yield fault
    if not file.weights:
        return
    if binary not in files:
        yield f"its weights are missing: {binary}, {file.weights:,} bytes"
    elif files[binary] < file.weights:
        yield f"its weights are cut off: {binary} has {files[binary]:,} bytes of {file.weights:,}"


def _facts(root: Any, file: OpenvinoFile) -> Iterator[tuple[str, str]]:
    yield "IR version", str(root.get("version"))
    if root.get("name"):
        yield "name", str(root.get("name"))
    for place, label in WRITERS.items():
        entry = root.find(f"rt_info/{place}")
        if entry is not None and entry.get("value"):
            yield label, str(entry.get("value"))
    newest, others = _opsets(root)
    if newest:
        yield "newest opset", f"opset{newest}"
    if others:
        yield "extensions", ", ".join(others[:20])
    for value in file.inputs:
        for axis, (least, most) in enumerate(value.dims or ()):
            if least != most and (least > 0 or most is not None):
                yield f"size {value.names[0] if value.names else 'input'}[{axis}]", f"{least} to {most or 'any'}"
    names = [", ".join(value.names) for value in (*file.inputs, *file.outputs) if len(value.names) > 1]
    if names:
        yield "names of one value", "; ".join(names[:20])


def _opsets(root: Any) -> tuple[int, list[str]]:
    """Return the newest operation set that a layer is from, and the names of sets that are not OpenVINO's."""
    names = {str(layer.get("version")) for layer in root.iter("layer") if layer.get("version")}
    numbers = {name: OPSET.fullmatch(name) for name in names}
    newest = max((int(match[1]) for match in numbers.values() if match), default=0)
    return newest, sorted(name for name, match in numbers.items() if match is None)


def _layers(net: Any) -> list[Any]:
    return list(net.findall("layers/layer"))


def _sources(net: Any) -> dict[str | None, list[tuple[str | None, str | None]]]:
    """Return the layers and ports that each layer reads from, in the order of its inputs."""
    edges = sorted(net.findall("edges/edge"), key=lambda edge: (edge.get("to-port") or "").zfill(9))
    found: dict[str | None, list[tuple[str | None, str | None]]] = {}
    for edge in edges:
        found.setdefault(edge.get("to-layer"), []).append((edge.get("from-layer"), edge.get("from-port")))
    return found


def _values(layer: Any) -> Iterator[tuple[str | None, str, Value]]:
    """Yield the port, name and value of each output of a layer; a constant has the name of its layer."""
    ports = layer.findall("output/port")
    for port in ports:
        value = openvino_ir.value_of(port)
        own = _name(layer) if len(ports) == 1 else f"{_name(layer)}:{port.get('id')}"
        yield port.get("id"), value.names[0] if value.names else own, value


def _name(layer: Any) -> str:
    return str(layer.get("name") or layer.get("id"))


def _nodes(net: Any, level: int) -> Iterator[Node]:
    """Yield the layers of a network, each followed by those of its bodies."""
    layers, sources = _layers(net), _sources(net)
    names = {(layer.get("id"), port): name for layer in layers for port, name, _ in _values(layer)}
    constants = {layer.get("id"): _name(layer) for layer in layers if layer.get("type") == "Const"}
    for layer in layers:
        if layer.get("type") in ENDS:
            continue
        read = sources.get(layer.get("id"), [])
        made = list(_values(layer))
        yield Node(
            _name(layer),
            str(layer.get("type")),
            tuple(names[each] for each in read if each in names),
            tuple(name for _, name, _ in made),
            tuple(constants[each] for each, _ in read if each in constants),
            tuple(tuple(map(_dim, value.dims or ())) for _, _, value in made),
            level,
        )
        for body in [each for each in layer if "body" in each.tag] if level < MOST_NESTED else ():
            yield from _nodes(body, level + 1)


def _weights(net: Any, binary: str, level: int = 0) -> Iterator[Weight]:
    """Yield the constants of a network and of its bodies, with the layer that reads each first."""
    layers = _layers(net)
    readers: dict[str | None, list[str | None]] = {}
    for reader, read in _sources(net).items():
        for each, _ in read:
            readers.setdefault(each, []).append(reader)
    by_id = {layer.get("id"): layer for layer in layers}
    for layer in layers:
        for data in layer.findall("data") if layer.get("type") == "Const" else ():
            first = _first_reader(layer.get("id"), readers, by_id)
            shape = tuple(int(size) for size in (data.get("shape") or "").split(",") if size.strip())
            yield Weight(
                _name(layer),
                _name(first) if first is not None else "",
                _type(data.get("element_type") or "unknown"),
                shape,
                prod(shape),
                int(data.get("size") or 0),
                shared_by=max(1, len(readers.get(layer.get("id"), ()))),
                external=binary,
            )
        for body in [each for each in layer if "body" in each.tag] if level < MOST_NESTED else ():
            yield from _weights(body, binary, level + 1)


def _first_reader(own: str | None, readers: Mapping[str | None, Sequence[str | None]], by_id: Mapping[Any, Any]) -> Any:
    """Return the layer that reads a constant first; one that only converts or scales it is passed over."""
    layer = None
    for _ in range(4):
        following = by_id.get(next(iter(readers.get(own, ())), None))
        if following is None:
            break
        layer, own = following, following.get("id")
        if layer.get("type") not in ("Convert", "Subtract", "Multiply", "Reshape") or len(readers.get(own, ())) != 1:
            break
    return layer


def _judged(root: Any, file: OpenvinoFile, tensors: Sequence[Tensor], release: Release) -> Judgement:
    """Return whether a release's backend takes a model, as its format, names, types and operation sets decide."""
    if openvino_ir.fault_of_version(root):
        return "no", "its OpenVINO does not read this version of the format"
    odd = next((each for each in tensors if each.data_type not in (*TYPES, "UNKNOWN")), None)
    if odd is not None:
        return "no", f"the backend does not take {odd.data_type}, the type of {odd.name}"
    if not all(value.names for value in (*file.inputs, *file.outputs)):
        return "no", "an input or output has no name, and the backend goes by names"
    newest, others = _opsets(root)
    if others:
        return "unknown", f"it has layers of {', '.join(others[:20])}, for which the server needs an extension"
    if newest > OPSETS[release.container >= SINCE]:
        return "unknown", f"whether its OpenVINO has opset{newest} is not known"
    return "yes", "best with max_batch_size 0 and -1 in dims: the backend takes batches of one size only"
