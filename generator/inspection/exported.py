"""Files of torch.export: the program as JSON, which is read and never run, and its weights."""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, first_line
from modelrepo.generator.inspection import compiled
from modelrepo.generator.inspection.inspection import Batching, Dim, Inspection, Node, Tensor, Use, Weight
from modelrepo.generator.inspection.layers import layer_of
from modelrepo.generator.inspection.mixing import by_nodes
from modelrepo.generator.inspection.parts import by_first_dims, most_frequent_first, reason, unreadable
from modelrepo.generator.lint.files.torchscript import MOST_BYTES, member
from modelrepo.generator.triton.releases import RELEASES

FORM = "torch.export program"
# torch/_export/serde/schema.py: ScalarType; the bytes of an element.
TYPES = {
    **{1: ("UINT8", 1), 2: ("INT8", 1), 3: ("INT16", 2), 4: ("INT32", 4), 5: ("INT64", 8), 6: ("FP16", 2)},
    **{7: ("FP32", 4), 8: ("FP64", 8), 9: ("complex32", 4), 10: ("complex64", 8), 11: ("complex128", 16)},
    **{12: ("BOOL", 1), 13: ("BF16", 2), 28: ("UINT16", 2), 29: ("float8_e4m3fn", 1), 30: ("float8_e5m2", 1)},
    **{31: ("float8_e4m3fnuz", 1), 32: ("float8_e5m2fnuz", 1), 33: ("float8_e8m0fnu", 1)},
    **{34: ("UINT32", 4), 35: ("UINT64", 8)},
}
SYMBOL = re.compile(r"Symbol\('(\w{1,99})'[^)]{0,200}\)")
INTEGER = re.compile(r"Integer\((-?\d+)\)")
# The kinds of a program's inputs that are weights, with the key of their names.
WEIGHTS = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
NOT_COMPILED = "the backend loads compiled packages only: compile it with torch._inductor.aoti_compile_and_package"
MOST_NESTED = 20
# The smallest size that torch.export writes for a dimension without another bound; such a dimension takes 1, too.
UNBOUNDED = 2
# The names of arguments that are axes, and operators that only move or cut along theirs.
AXES = ("dim", "dims")
MOVING = ("permute", "slice", "squeeze", "stack", "transpose", "unflatten", "unsqueeze")
# The axis of an operator that does not have it written.
USUAL_AXES: Mapping[str, Sequence[int]] = {"cat": (0,), "sort": (-1,), "argsort": (-1,)}


@dataclass(frozen=True)
class Program:
    """The parts of a program's JSON that are read."""

    document: Mapping[str, Any]

    @property
    def graph(self) -> Mapping[str, Any]:
        """The main graph."""
        return _dict(self.document["graph_module"]["graph"])

    @property
    def signature(self) -> Mapping[str, Any]:
        """Which inputs and outputs of the graph are whose."""
        return _dict(self.document["graph_module"]["signature"])

    @property
    def weights(self) -> dict[str, str]:
        """The names of weights by those of the graph's inputs."""
        found = {}
        for spec in self.signature["input_specs"]:
            for kind, key in WEIGHTS.items():
                if kind in spec:
                    found[spec[kind]["arg"]["name"]] = str(spec[kind][key])
        return found


def inspect(path: Path) -> Inspection:
    """Return what is known of a `.pt2` file, a program or a compiled package; faults if it is damaged, or none."""
    from modelrepo.generator.sources.content import DAMAGED_ZIP, kind_of  # late: it brings every source

    try:
        if kind_of(path) != "pt2":
            return unreadable(path, FORM, "it is not a file of torch.export")
        with zipfile.ZipFile(path) as archive:
            if compiled.is_compiled(archive.namelist()):
                return compiled.inspected(path, archive)
            return _inspected(path, archive)
    except SourceError as error:
        return unreadable(path, FORM, error.message.replace(f"{path} ", "it ", 1))
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    except (*DAMAGED_ZIP, LookupError, TypeError, AttributeError, RecursionError) as error:
        return unreadable(path, FORM, f"it is damaged, or of an unknown form: {first_line(error)}")


def _inspected(path: Path, archive: zipfile.ZipFile) -> Inspection:
    sizes = {each.filename: each.file_size for each in archive.infolist()}
    name = next(
        (each for each in sizes if re.search(r"/models/[^/]*\.json$|^serialized_exported_program\.json$", each)), ""
    )
    if not name:
        return unreadable(path, FORM, "it holds no program")
    if sizes[name] > MOST_BYTES:
        return unreadable(path, FORM, f"its graph has {sizes[name]:,} bytes of JSON, and {MOST_BYTES:,} are read")
    program = Program(_dict(json.loads(member(archive, name))))
    config = _config(archive, sizes, name)
    faults: dict[str, None] = {}
    weights = _weights(program, config, sizes, name.partition("models/")[0], faults)
    inputs, outputs = tuple(_ends(program, "input")), tuple(_ends(program, "output"))
    nodes = tuple(_nodes(program.graph, _named(program, config), 0))
    users = Counter(name for node in nodes for name in set(node.weights))
    return Inspection(
        path,
        FORM,
        path.stat().st_size,
        faults=tuple(faults),
        remarks=tuple(_remarks(path, program, sizes)),
        facts=tuple(_facts(program, archive, sizes)),
        inputs=inputs,
        outputs=outputs,
        batching=_batching(program, inputs, outputs, nodes),
        operators=most_frequent_first(node.operator for node in nodes),
        nodes=nodes,
        weights=tuple(replace(each, shared_by=max(1, users[each.name])) for each in weights),
        files={path.name: path.stat().st_size},
        uses=(Use("pytorch", tuple(RELEASES), "no", NOT_COMPILED),),
    )


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"the program has a {type(value).__name__} in place of an object")
    return value


def _config(archive: zipfile.ZipFile, sizes: Mapping[str, int], model: str) -> dict[str, Any]:
    """Return the entries of weights by their names; empty in the older form, whose weights are a pickle."""
    folder, _, file = model.partition("models/")
    config = f"{folder}data/weights/{file.removesuffix('.json')}_weights_config.json"
    return _dict(_dict(json.loads(member(archive, config)))["config"]) if config in sizes else {}


def _weights(
    program: Program, config: Mapping[str, Any], sizes: Mapping[str, int], folder: str, faults: dict[str, None]
) -> tuple[Weight, ...]:
    """Return the weights that a program names; those that share a file are one."""
    values = _dict(program.graph["tensor_values"])
    found: dict[str, Weight] = {}
    for argument, name in program.weights.items():
        entry = config.get(name, {})
        path = str(entry.get("path_name", name))
        if path in found:
            continue
        tensor = _tensor(name, entry["tensor_meta"] if entry else values[argument])
        shape = tuple(size for size in tensor.shape or () if isinstance(size, int) and size >= 0)
        item = next((size for kind, size in TYPES.values() if kind == tensor.data_type), 0)
        weight = Weight(name, layer_of(name, "."), tensor.data_type, shape, prod(shape), prod(shape) * item)
        found[path] = weight
        held = sizes.get(f"{folder}data/weights/{path}")
        if entry and held is None:
            faults[f"the values of {name} are missing"] = None
        elif held is not None and held < weight.bytes:
            faults[f"the values of {name} are cut off: {held:,} bytes of {weight.bytes:,}"] = None
    return tuple(found.values())


def _named(program: Program, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of weights by those of the graph's inputs: the first name of those that share values."""
    first: dict[str, str] = {}
    return {
        argument: first.setdefault(str(config.get(name, {}).get("path_name", name)), name)
        for argument, name in program.weights.items()
    }


def _ends(program: Program, side: str) -> Iterator[Tensor]:
    """Yield the tensors among the caller's arguments, or among the answers."""
    values = _dict(program.graph["tensor_values"])
    for spec in program.signature[f"{side}_specs"]:
        name = _name(spec.get(f"user_{side}", {}).get("arg", {}))
        if name:
            yield _tensor(name, values[name])


def _name(argument: Any) -> str:
    """Return the name of the tensor that an argument is; empty for another argument."""
    inner = argument.get("as_tensor") if isinstance(argument, dict) else None
    return str(inner["name"]) if inner else ""


def _tensor(name: str, meta: Any) -> Tensor:
    kind = TYPES.get(meta["dtype"], (f"type {meta['dtype']}", 0))[0]
    return Tensor(name, kind, tuple(map(_size, meta["sizes"])))


def _size(size: Any) -> Dim:
    """Return a size, or the expression of one."""
    if isinstance(size.get("as_int"), int):
        return int(size["as_int"])
    written = str(size["as_expr"]["expr_str"])
    return INTEGER.sub(r"\1", SYMBOL.sub(r"\1", written))


def _nodes(graph: Mapping[str, Any], weights: Mapping[str, str], level: int) -> Iterator[Node]:
    """Yield the steps of a graph, each followed by those of the graphs that it calls."""
    values = _dict(graph["tensor_values"])
    for number, node in enumerate(graph["nodes"]):
        arguments = [each.get("arg", {}) for each in node["inputs"]]
        read = [name for each in arguments for name in _names(each)]
        made = [name for each in node["outputs"] for name in _names(each)]
        yield Node(
            str(node.get("name") or (made[0] if made else number)),
            str(node["target"]).removeprefix("torch.ops."),
            tuple(read),
            tuple(made),
            tuple(weights[name] for name in read if name in weights),
            tuple(_tensor(name, values[name]).shape if name in values else None for name in made),
            level,
        )
        for each in arguments:
            inner = each.get("as_graph") if isinstance(each, dict) else None
            if inner and level < MOST_NESTED:
                yield from _nodes(_dict(inner["graph"]), {}, level + 1)


def _names(argument: Any) -> Iterator[str]:
    """Yield the names of the tensors in an argument."""
    if not isinstance(argument, dict):
        return
    if _name(argument):
        yield _name(argument)
    for key in ("as_tensors", "as_optional_tensors"):
        for each in argument.get(key) or ():
            name = each.get("name") or _name(each)
            if name:
                yield str(name)


def _ranges(program: Program) -> dict[str, tuple[int | None, int | None]]:
    """Return the least and the largest size of each symbol; None for no limit."""
    found = {}
    for name, bounds in _dict(program.document.get("range_constraints") or {}).items():
        least, most = bounds.get("min_val"), bounds.get("max_val")
        found[str(name)] = (least if isinstance(least, int) else None, most if isinstance(most, int) else None)
    return found


def _batching(
    program: Program, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], nodes: tuple[Node, ...]
) -> Batching:
    """Return what shapes and nodes say, and how large a batch may be."""
    found = by_nodes(by_first_dims(inputs, outputs), inputs, nodes, ())
    first = inputs[0].shape[0] if inputs and inputs[0].shape else None
    if found.verdict != "yes" or not isinstance(first, str):
        return found
    least, most = _ranges(program).get(first, (None, None))
    if least is not None and least > UNBOUNDED:
        return Batching("no", found.by, f"{found.by} has at least {least} samples")
    along = _along(program, first)
    if along is not None:
        return along
    return replace(found, reason=f"{found.reason}; {most} samples at most") if most is not None else found


def _along(program: Program, batch: str) -> Batching | None:
    """Return that a node computes along the batch, such as a softmax over samples; None if none does."""
    values = _dict(program.graph["tensor_values"])
    for number, node in enumerate(program.graph["nodes"]):
        named = {each["name"]: each["arg"] for each in node["inputs"]}
        read, made = _shapes(named.values(), values), _shapes(node["outputs"], values)
        operator = str(node["target"]).removeprefix("torch.ops.")
        own = operator.partition(".")[2].partition(".")[0]
        doubled = any(sum(_has(batch, size) for size in shape) > 1 for shape in made)  # a product of samples
        if doubled or (made and own not in MOVING and _reads_along(own, named, read, batch)):
            said = f"{operator} computes along the batch: it may mix samples"
            return Batching("unknown", str(node.get("name") or number), said)
    return None


def _shapes(arguments: Iterable[Any], values: Mapping[str, Any]) -> list[tuple[Dim, ...]]:
    """Return the shapes of the tensors among arguments."""
    names = [name for each in arguments for name in _names(each) if name in values]
    return [_tensor(name, values[name]).shape or () for name in names]


def _reads_along(operator: str, named: Mapping[str, Any], read: Sequence[tuple[Dim, ...]], batch: str) -> bool:
    """Whether the axis that an operator computes along is that of the batch, or one that it was joined with."""
    rank = len(read[0]) if read else 0
    written = [axis for key in AXES for axis in _whole(named.get(key))]
    axes = {axis % rank for axis in written or USUAL_AXES.get(operator, ()) if rank and -rank <= axis < rank}
    return any(_has(batch, size) for shape in read for place, size in enumerate(shape) if place in axes)


def _has(batch: str, size: Dim) -> bool:
    """Whether a size is the batch's, or computed from it."""
    return isinstance(size, str) and re.search(rf"\b{re.escape(batch)}\b", size) is not None


def _whole(argument: Any) -> list[int]:
    """Return the whole numbers of an argument."""
    value = argument.get("as_int", argument.get("as_ints")) if isinstance(argument, dict) else None
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]


def _facts(program: Program, archive: zipfile.ZipFile, sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    if program.document.get("torch_version"):
        yield "written by", f"torch {program.document['torch_version']}"
    version = program.document.get("schema_version")
    if isinstance(version, dict):
        yield "schema", ".".join(str(version.get(part, "?")) for part in ("major", "minor"))
    opsets = program.document.get("opset_version")
    for domain, number in opsets.items() if isinstance(opsets, dict) else ():
        yield f"opset {domain}", str(number)
    name = next((each for each in sizes if each.endswith("archive_version")), "")
    if name:
        yield "archive version", member(archive, name)[:64].decode("utf-8", errors="replace").strip()
    for symbol, (least, most) in _ranges(program).items():
        yield f"size {symbol}", f"{least if least is not None else 'any'} to {most if most is not None else 'any'}"
    devices = {meta["device"]["type"] for meta in program.graph["tensor_values"].values() if meta.get("device")}
    if devices:
        yield "device", ", ".join(sorted(map(str, devices)))


def _remarks(path: Path, program: Program, sizes: Mapping[str, int]) -> Iterator[str]:
    from modelrepo.generator.sources.formats import flags

    others = [
        kind
        for spec in program.signature["input_specs"]
        for kind in (spec.get("user_input", {}).get("arg", {}) or spec.get("constant_input", {}))
        if kind not in ("as_tensor", "name", "value", "as_none")
    ]
    if others:
        yield f"{len(others)} of its arguments are not tensors: it was exported with a fixed value of each"
    if any("opaque_obj" in name or "custom_obj" in name for name in sizes):
        yield "it holds pickles of objects, which run code when torch reads them"
    yield f"modelrepo generate {flags('pt2', path)} makes an ONNX model of it"
