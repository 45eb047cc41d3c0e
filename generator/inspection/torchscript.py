"""TorchScript files: modules, weights, and the code of each class, read as text. Nothing of it is run."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from modelrepo.generator.errors import SourceError, first_line
from modelrepo.generator.inspection import pickled
from modelrepo.generator.inspection.inspection import Batching, Inspection, Node, Tensor, Use, Weight
from modelrepo.generator.inspection.layers import TOP
from modelrepo.generator.inspection.parts import most_frequent_first, reason, unreadable
from modelrepo.generator.inspection.pickled import Made, Named, Stored
from modelrepo.generator.lint.files import torchscript
from modelrepo.generator.lint.files.torchscript import MOST_BYTES, TorchScript, member, split
from modelrepo.generator.lint.rules.pytorch import TYPES
from modelrepo.generator.triton.releases import RELEASES

FORM = "TorchScript"
CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:[ \t].*\n|\n)*)", re.MULTILINE)
# A call of an operator: torch's own, or one that a library adds.
FOREIGN = re.compile(r"(?<![\w.])ops\.(\w+)\.")
CALL = re.compile(r"(?<![\w.])((?:torch|ops\.\w+)\.\w+)\(")
# A shape that is written into the code, as tracing does: its first size is a number.
FIXED = re.compile(
    r"(?<![\w.])(torch\.(?:view|reshape|expand|_unsafe_view)\(\s{0,9}\w{1,99},\s{0,9}"
    r"\[([1-9]\d{0,9}),[^\]]{0,200}\])"
)
# Namespaces whose operators every libtorch has.
OWN = ("aten", "prim", "prepacked", "quantized", "quantized_decomposed", "mkldnn", "mkldnn_prepacked")
# What torch writes before and within the names of classes.
MANGLED = re.compile(r"^__torch__\.|___torch_mangle_\d+\.")
# A list of 100,000 modules and weights is shorter.
MOST_PICKLED = 16 << 20
KNOWN = {name for name, _ in pickled.STORAGES.values()}
MOST_ATTRIBUTES = MOST_NESTED = 20


@dataclass
class Read:
    """What is found in a file, part by part."""

    nodes: list[Node] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # of the modules, as often as they occur
    weights: dict[tuple[str, str, int, tuple[int, ...]], Weight] = field(default_factory=dict)
    faults: dict[str, None] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)


def inspect(path: Path) -> Inspection:
    """Return what is known of a TorchScript file; faults if it is damaged, or none."""
    from modelrepo.generator.sources.content import DAMAGED_ZIP, kind_of  # late: it brings every source

    try:
        kind = kind_of(path)
        if kind != "torchscript":
            return unreadable(path, FORM, "it is not a TorchScript file")
        with zipfile.ZipFile(path) as archive:
            return _inspected(path, archive)
    except SourceError as error:
        return unreadable(path, FORM, error.message.replace(f"{path} ", "it ", 1))
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    except (*DAMAGED_ZIP, LookupError) as error:
        return unreadable(path, FORM, f"it is damaged: {first_line(error)}")


def _inspected(path: Path, archive: zipfile.ZipFile) -> Inspection:
    members = {each.filename: each.file_size for each in archive.infolist()}
    root = next(name for name in members if name.count("/") == 1 and name.endswith("/data.pkl"))[: -len("data.pkl")]
    found = Read()
    main = _pickled(archive, f"{root}data.pkl")
    _walk(found, main, "", 0, {name.removeprefix(f"{root}data/"): size for name, size in members.items()})
    constants = _pickled(archive, f"{root}constants.pkl")
    places = {name.removeprefix(f"{root}constants/"): size for name, size in members.items()}
    for number, value in enumerate(constants if isinstance(constants, tuple) else ()):
        tensor = pickled.stored(value)
        if tensor is not None:
            _weigh(found, f"CONSTANTS.c{number}", "constants", tensor, places)
    script = torchscript.read(path)
    if script is None:
        found.faults["the code of its main class is missing, or of an unknown form"] = None
    code = _code(archive, members, f"{root}code/")
    traced = _traced(archive, members, root)
    inputs = _inputs(script, traced)
    size = path.stat().st_size
    return Inspection(
        path,
        FORM,
        size,
        faults=tuple(found.faults),
        remarks=tuple(_remarks(path, script, traced)),
        facts=tuple(_facts(archive, members, root, main, found, traced)),
        inputs=inputs,
        outputs=_outputs(script),
        batching=_batching(code),
        operators=_operators(code, found.classes),
        nodes=tuple(found.nodes),
        weights=tuple(found.weights.values()),
        files={path.name: size},
        uses=(_use(script, inputs, code),),
    )


def _pickled(archive: zipfile.ZipFile, name: str) -> Any:
    """Return what a member that is a pickle holds; SourceError for one that takes long to read."""
    size = archive.getinfo(name).file_size
    if size > MOST_PICKLED:
        raise SourceError(f"its {PurePosixPath(name).name} has {size:,} bytes, and {MOST_PICKLED:,} are read")
    return pickled.read(member(archive, name))


def _walk(found: Read, module: Any, name: str, level: int, places: Mapping[str, int]) -> None:
    """Add a module with its weights and the modules in it; one that is met again is not entered."""
    if not isinstance(module, Made) or not isinstance(module.by, Named):
        return
    own = _class_of(module.by)
    found.nodes.append(Node(name, own.rpartition(".")[2], level=level))
    found.classes.append(own)
    if id(module) in found.seen or level > 100:
        return
    found.seen.add(id(module))
    at, weights = len(found.nodes) - 1, []
    for key, value in pickled.pairs(module.state):
        inner, tensor = f"{name}.{key}" if name else key, pickled.stored(value)
        if isinstance(value, Made) and isinstance(value.by, Named) and value.by.name.startswith("__torch__"):
            _walk(found, value, inner, level + 1, places)
        elif tensor is not None:
            _weigh(found, inner, name or TOP, tensor, places)
            weights.append(inner)
    if not isinstance(module.state, pickled.Pairs):  # its class writes and reads its state, as packed weights do
        for number, tensor in enumerate(_tensors(module.state, 0)):
            _weigh(found, f"{name}[{number}]", name or TOP, tensor, places)
            weights.append(f"{name}[{number}]")
    found.nodes[at] = replace(found.nodes[at], weights=tuple(weights))


def _class_of(named: Named) -> str:
    """Return the name of a class with its module, as the code writes it."""
    return ".".join(named.name.split(" "))


def _weigh(found: Read, name: str, layer: str, tensor: Stored, places: Mapping[str, int]) -> None:
    """Add a tensor, and a fault if the file lacks its bytes."""
    found.devices[tensor.device] = None
    key = ("constant" if layer == "constants" else "", tensor.key, tensor.offset, tensor.shape)
    if key in found.weights:
        found.weights[key] = replace(found.weights[key], shared_by=found.weights[key].shared_by + 1)
        return
    held, needed = places.get(tensor.key), tensor.elements * tensor.item
    if held is None:
        found.faults[f"the values of {name} are missing"] = None
    elif held < needed:
        found.faults[f"the values of {name} are cut off: {held:,} bytes of {needed:,}"] = None
    count = prod(tensor.shape)
    found.weights[key] = Weight(name, layer, tensor.data_type, tensor.shape, count, count * tensor.item)


def _code(archive: zipfile.ZipFile, members: Mapping[str, int], folder: str) -> dict[str, str]:
    """Return the text of each class, by its name with its module; functions of a module are under the module's name."""
    found, left = {}, MOST_BYTES
    for name in members:
        if not (name.startswith(folder) and name.endswith(".py")) or left <= 0:
            continue
        text = member(archive, name)[:left].decode("utf-8", errors="replace")
        left -= len(text)
        module = name.removeprefix(folder).removesuffix(".py").replace("/", ".")
        found.update({f"{module}.{each[1]}": each[2] for each in CLASS.finditer(f"{text}\n")})
        found[module] = CLASS.sub("", f"{text}\n")
    return found


def _operators(code: Mapping[str, str], classes: list[str]) -> dict[str, int]:
    """Return how often the code calls each operator: that of a class for each of its modules."""
    times = Counter(classes)
    counts: Counter[str] = Counter()
    for name, text in code.items():
        for each, count in Counter(match[1] for match in CALL.finditer(text)).items():
            counts[each] += count * (times.get(name) or 1)
    return most_frequent_first(counts)


def _traced(archive: zipfile.ZipFile, members: Mapping[str, int], root: str) -> list[Stored]:
    """Return the examples that a traced model was recorded with; none if they are not in the file."""
    name = f"{root}traced_inputs.pkl"
    if name not in members:
        return []
    by_method = dict(pickled.pairs(pickled.untagged(_pickled(archive, name))))
    return list(_tensors(by_method.get("forward"), 0))


def _tensors(value: Any, level: int) -> Iterator[Stored]:
    tensor, inner = pickled.stored(value), pickled.untagged(value)
    if tensor is not None:
        yield tensor
    elif isinstance(inner, (list, tuple)) and level < MOST_NESTED:
        for each in inner:
            yield from _tensors(each, level + 1)
    elif isinstance(inner, Made) and isinstance(inner.state, tuple) and level < MOST_NESTED:
        yield from _tensors(inner.state, level + 1)


def _inputs(script: TorchScript | None, traced: list[Stored]) -> tuple[Tensor, ...]:
    arguments = (script.arguments if script else None) or ()
    known = traced if len(traced) == len(arguments) else []
    kinds = [each.data_type for each in known] or [kind for _, kind in arguments]
    return tuple(Tensor(name, kind, None) for (name, _), kind in zip(arguments, kinds, strict=True))


def _outputs(script: TorchScript | None) -> tuple[Tensor, ...]:
    """Return the results of forward(), named as the pytorch backend counts them."""
    written = script.returns if script else ""
    kinds = split(written[len("Tuple[") :]) if written.startswith("Tuple[") else [written] if written else []
    return tuple(Tensor(f"OUTPUT__{number}", kind.strip(), None) for number, kind in enumerate(kinds))


def _facts(
    archive: zipfile.ZipFile,
    members: Mapping[str, int],
    root: str,
    main: Any,
    found: Read,
    traced: list[Stored],
) -> Iterator[tuple[str, str]]:
    for label, names in (("archive version", ("version", ".data/version")), ("byte order", ("byteorder",))):
        name = next((f"{root}{name}" for name in names if f"{root}{name}" in members), "")
        if name:
            yield label, member(archive, name)[:64].decode("utf-8", errors="replace").strip()
    if found.classes:
        yield "class", MANGLED.sub("", found.classes[0])
    if found.devices:
        yield "saved on", ", ".join(found.devices)
    if traced:
        yield "traced with", ", ".join(f"{each.data_type} {list(each.shape)}" for each in traced)
    for key, value in list(pickled.pairs(main.state))[:MOST_ATTRIBUTES] if isinstance(main, Made) else ():
        text = pickled.plain(value)
        if text and not key.startswith("_"):
            yield f"attribute {key}", text[:200]
    extra = [name.removeprefix(f"{root}extra/") for name in members if name.startswith(f"{root}extra/")]
    if extra:
        yield "extra files", ", ".join(extra[:MOST_ATTRIBUTES])


def _remarks(path: Path, script: TorchScript | None, traced: list[Stored]) -> Iterator[str]:
    from modelrepo.generator.sources.formats import flags

    if script is not None and script.arguments is None:
        yield "it has no forward()"
    yield "the file holds no shapes of inputs and outputs" + (", but those it was traced with" if traced else "")
    yield "operators are counted as the code names them, for every module of a class; how often loops run is not known"
    yield f"modelrepo generate {flags('torchscript', path)} --input-shape NAME=SIZES makes an ONNX model of it"


def _batching(code: Mapping[str, str]) -> Batching:
    """Return that batches are not known; a shape that is written into the code is named."""
    for name, text in code.items():
        match = FIXED.search(text)
        if match:
            by = f"{' '.join(match[1].split())})"
            own = MANGLED.sub("", name)
            said = f"{own} has a shape whose first size is always {match[2]}, perhaps recorded by tracing one example"
            return Batching("unknown", by, said)
    return Batching("unknown", "", "the file holds no shapes: only a run with two sizes tells")


def _use(script: TorchScript | None, inputs: Sequence[Tensor], code: Mapping[str, str]) -> Use:
    releases = tuple(RELEASES)
    if script is None:
        return Use("pytorch", releases, "no", "its code can't be read")
    if script.arguments is None:
        return Use("pytorch", releases, "no", "it has no forward()")
    if script.refused:
        name, kind = script.refused[0]
        return Use("pytorch", releases, "no", f"requests can't hold the argument {name} of type {kind}")
    odd = next((each for each in inputs if each.data_type in KNOWN and each.data_type not in TYPES), None)
    if odd is not None:
        return Use("pytorch", releases, "no", f"the backend does not take {odd.data_type}, the type of {odd.name}")
    spaces = {each[1] for text in code.values() for each in FOREIGN.finditer(text)} - set(OWN)
    if spaces:
        said = f"the server must load the library with the operators of {', '.join(sorted(spaces))}"
        return Use("pytorch", releases, "unknown", said)
    return Use("pytorch", releases, "yes", "all inputs and outputs must be written in config.pbtxt, with their dims")
