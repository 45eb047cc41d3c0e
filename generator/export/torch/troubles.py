"""The reasons why a model can't be exported: errors of torch's exporters, as one line with the operator and the code.

``SYMPTOMS`` is the one table of their messages; the anchor of each is the section of the page that its hint names.
"""

import linecache
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from traceback import FrameSummary
from types import FrameType
from typing import Any

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.sources.pytorch import assumptions
from modelrepo.generator.sources.pytorch.places import Place, is_models, readable
from modelrepo.generator.specs.tensors import TensorSpec

PAGE = "docs/how-to/when-export-fails.md"
# The callers of this folder's code are not the model's code either.
CALLER = str(Path(__file__).parents[1])
LONGEST, LONGEST_LINE = 240, 80


@dataclass(frozen=True)
class Trouble:
    """A reason why a model can't be exported."""

    # What prevents the export.
    what: str
    hint: str
    # The line of the model's code; empty if unknown.
    place: str = ""
    # The observation that shows it; empty if there is none.
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.what}{f', as {self.seen}' if self.seen else ''}{f' ({self.place})' if self.place else ''}"


class Decided(Exception):
    """An exported model only does what the model did for one example; ``places`` are the lines that decided it."""

    def __init__(self, places: Sequence[str], difference: str) -> None:
        super().__init__(difference)
        self.places = places


class Frozen(Exception):
    """A recording is true only of inputs that give the same values at these lines, by what they gave on an example."""

    def __init__(self, lines: Mapping[Place, Any]) -> None:
        super().__init__(READS_VALUES)
        self.lines = lines


class NotTheModels:
    """The files with lines that explain nothing, instead of torch's own list of them."""

    def __contains__(self, filename: str) -> bool:
        return not is_models(filename) and not filename.startswith(CALLER)


@dataclass(frozen=True)
class Symptom:
    """A message of exporters, and its meaning."""

    # Patterns of the message; their groups fill the braces of ``what`` and ``hint``.
    patterns: tuple[str, ...]
    what: str
    hint: str
    # The section of the page about it.
    anchor: str


READS_VALUES = "what its Python does depends on the values of a tensor"
BRANCH = "Use torch.where or torch.cond, or code that TorchScript compiles"
OTHERWISE = "Write it with other operators"
REAL = "Compute with torch.view_as_real of them"
# The first one that matches the cause of an error explains it. The texts are those of torch 2.15: torch/onnx/errors.py,
# torch/onnx/_internal, torch/_export, torch/_subclasses and torch/fx/experimental; and ONNX Runtime's.
SYMPTOMS = (
    Symptom(
        (r"MemoryError", r"can't allocate memory", r"not enough memory", r"bad_alloc", r"bad allocation"),
        "there is not enough memory",
        "Export it on a machine with more",
        "memory",
    ),
    Symptom(
        (r"NVIDIA driver", r"compiled with CUDA", r"No CUDA GPUs", r"on the (?:same|expected) device"),
        "it puts tensors on a device of its own",
        "Create its tensors on the device of its input",
        "devices",
    ),
    Symptom(
        (r"op='quantized\.", r"operator 'quantized::", r"torch\.classes\.quantized\."),
        "it is quantized for PyTorch's own kernels",
        "Give the float model, and let --precision int8 quantize it",
        "quantized-models",
    ),
    Symptom(
        (r"No ONNX function found for <OpOverload\(op='\w+\.(\w+)'.*complex-valued",),
        "{0} of complex numbers has no ONNX translation",
        REAL,
        "complex-numbers",
    ),
    Symptom(
        (
            r"No ONNX function found for <OpOverload\(op='(?:aten|prims)\.(\w+)'",
            r"UnsupportedOperatorException: aten\.(\w+)",
            r"operator 'aten::(\w+)' to ONNX opset version \d+ is not supported$",
        ),
        "{0} has no ONNX translation",
        OTHERWISE,
        "unsupported-operators",
    ),
    Symptom(
        (r"No ONNX function found for <OpOverload\(op='(\w+)\.(\w+)'", r"unrecognized namespace (\w+)::(\w+)"),
        "{0}::{1} is an operator of its own without an ONNX translation",
        "Give one, or write it with other operators",
        "custom-operators",
    ),
    Symptom(
        (r"no fake impl registered for <CustomOpDef\((\w+)::(\w+)\)", r"UnsupportedOperatorException: (\w+)\.(\w+)"),
        "{0}::{1} is an operator of its own that does not declare its output shape",
        "Give it a register_fake, and an ONNX translation",
        "custom-operators",
    ),
    Symptom(
        (
            r"operator '\w+::(\w+)' to ONNX opset version \d+ is not supported\. .* added in version (\d+)",
            r"ONNX export of (?:operator )?([\w ]+?) in opset \d+\. Please try opset version (\d+)",
        ),
        "{0} needs opset {1}",
        "Use --opset {1}",
        "opset",
    ),
    Symptom(
        (r"it wrote opset (\d+) instead of \d+",),
        "an operator in it needs opset {0}",
        "Use --opset {0}",
        "opset",
    ),
    Symptom(
        (r"inferred a static shape of (\d+) for dimension \S*?\[(?P<input>\d+)\]\.shape\[(\d+)\]",),
        "its code gives axis {2} of input {1} the size {0}",
        "Compute with x.shape, or let that axis have one size",
        "dynamic-shapes",
    ),
    Symptom(
        (r"the source model fails on (.+?\]): (.+)",),
        "the model itself fails on {0}: {1}",
        "Let --dynamic name only dimensions that the model takes in any size",
        "dynamic-shapes",
    ),
    Symptom(
        (r"[Dd]ata-dependent",),
        READS_VALUES,
        BRANCH,
        "control-flow",
    ),
    Symptom(
        (r"\.numpy\(\) is not supported", r"Cannot access (?:data pointer|storage) of"),
        "it reads a tensor's memory, as numpy and torch.func do",
        "Write it with PyTorch's functions",
        "outside-pytorch",
    ),
    Symptom(
        (r"Tried to trace <__torch__", r"torch\.jit\.script/freeze"),
        "a part of it is TorchScript",
        "Use the module that it was scripted from",
        "torchscript",
    ),
    Symptom(
        (r"Tracer cannot set value trace for type (\w+)",),
        "it answers a number ({0}) beside its tensors",
        "Let it answer tensors alone",
        "torchscript",
    ),
    Symptom(
        (r"argument 'generator'", r"torch\.Generator"),
        "it draws random numbers",
        "Let it draw none in evaluation",
        "dropout",
    ),
    Symptom(
        (r"Could not find an implementation for (\w+)\(\d+\) node",),
        "ONNX Runtime has no {0} for numbers of its type",
        "Let the model compute in float32, without autocast",
        "dtypes",
    ),
    Symptom(
        (r"Type 'tensor\((\w+)\)' of input parameter \(\S*\) of operator \((\w+)\)",),
        "the exporter wrote {1} of {0}, which ONNX does not have",
        OTHERWISE,
        "dtypes",
    ),
    Symptom(
        (r"[Cc]omplex(?:64|128|Float|Double)", r"support complex types"),
        "it takes or answers complex numbers",
        REAL,
        "complex-numbers",
    ),
)


def explain(error: BaseException, inputs: Sequence[TensorSpec] = ()) -> Trouble:
    """Return the meaning of an exporter's error and its causes for a model with these ``inputs``."""
    if isinstance(error, Decided):
        what = "its Python may do something else for another size or value" if error.places else "its outputs differ"
        hint = f"{BRANCH}; small differences are allowed by --tolerance: {PAGE}#control-flow"
        return Trouble(what, hint, _several(error.places), _shortened(str(error), LONGEST // 2))
    if isinstance(error, Frozen):
        places = [place_of(*place) for place in error.lines]
        declared = ",".join(assumptions.written(*line) for line in error.lines.items())
        same = f"if it is the same for every input that will be served, say so with {assumptions.FLAG} {declared}"
        return Trouble(READS_VALUES, f"{BRANCH}; {same}: {PAGE}#control-flow", _several(places))
    place = next(filter(None, map(_place, _chain(error))), "")
    for text in texts(error):
        for symptom in SYMPTOMS:
            found = next(filter(None, (re.search(pattern, text) for pattern in symptom.patterns)), None)
            if found:
                groups = _groups(found, inputs)
                hint = f"{symptom.hint.format(*groups)}: {PAGE}#{symptom.anchor}"
                return Trouble(_shortened(symptom.what.format(*groups)), hint, place)
    first = next((line for line in texts(error)[0].splitlines() if line.strip()), "")
    return Trouble(_shortened(first.rstrip(". ")), f"See {PAGE}", place)


def texts(error: BaseException) -> list[str]:
    """Return what an error and its causes say, the innermost first."""
    return [
        each.message if isinstance(each, ModelRepoError) else f"{type(each).__name__}: {each}" for each in _chain(error)
    ]


def summary(troubles: Sequence[Trouble]) -> str:
    """Return several troubles in one line, each trouble and each place once."""
    best: dict[str, Trouble] = {}
    for trouble in troubles:
        key = trouble.seen or trouble.what
        if key not in best or (trouble.place and not best[key].place):
            best[key] = trouble
    reported: list[Trouble] = []
    for trouble in best.values():
        known = trouble.place in {each.place for each in reported}
        reported.append(replace(trouble, place="" if known else trouble.place))
    return "; ".join(map(str, reported))


def hint(troubles: Sequence[Trouble], inputs: Sequence[TensorSpec]) -> str:
    """Return the first hint; if the model decides by a size, fixing that size may help."""
    first = next((each.hint for each in troubles if assumptions.FLAG in each.hint), troubles[0].hint)
    if (
        BRANCH not in first
        or assumptions.FLAG in first
        or not any(isinstance(dim, str) for spec in inputs for dim in spec.shape[1:])
    ):
        return first
    return f"Fix its sizes with --input-shape, or {first[0].lower()}{first[1:]}"


def place_of(filename: str, line: int) -> str:
    """Return a line of code for a message: its file, number and text."""
    linecache.checkcache(filename)
    code = linecache.getline(filename, line).strip()
    return f"{readable(filename)}, line {line}{f': {_shortened(code, LONGEST_LINE)}' if code else ''}"


def place_in_stack(stack: Sequence[FrameSummary]) -> str:
    """Return the innermost line of a stack that is the model's; empty if none is."""
    inside = takewhile(lambda frame: not frame.filename.startswith(CALLER), reversed(stack))
    lines = (place_of(each.filename, each.lineno) for each in inside if each.lineno and is_models(each.filename))
    return next(lines, "")


def place_of_bound(location: Any) -> str:
    """Return the line of the model's code that bounded a size, from torch's SLoc; empty if it has none."""
    frame = location.framework_loc
    return place_in_stack([frame]) if isinstance(frame, FrameSummary) else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error's causes, the innermost first, and the error."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    yield from reversed(causes)


def _place(error: BaseException) -> str:
    """Return the model's line that an error is about: from the exporter's frames, its message, or the traceback."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    at_work = next(filter(None, map(_place_at_work, reversed(frames))), "")
    return at_work or _place_written(str(error)) or place_in_stack(traceback.extract_tb(error.__traceback__))


def _place_at_work(frame: FrameType) -> str:
    """Return the model's line that an exporter's frame handles: of a node of the graph, or of a size it fixes."""
    if is_models(frame.f_code.co_filename):
        return ""
    variables: dict[str, Any] = dict(frame.f_locals)
    node: Any = variables.get("node", variables.get("n"))
    sizes: Any = variables.get("shape_env")
    if isinstance(getattr(node, "stack_trace", None), str):  # torch.fx.Node
        return _place_written(node.stack_trace)
    if hasattr(node, "sourceRange"):  # torch._C.Node: "net.py(12): forward", the innermost first
        found = re.findall(r"^(\S+\.py)\((\d+)\)", node.sourceRange(), re.MULTILINE)
        return place_in_stack([FrameSummary(filename, int(line), "") for filename, line in reversed(found)])
    for symbol, bounds in getattr(sizes, "var_to_range", {}).items():  # torch's ShapeEnv
        if bounds.is_singleton() and symbol in sizes.var_to_range_sloc:
            return place_of_bound(sizes.var_to_range_sloc[symbol].lower)
    return ""


def _place_written(text: str) -> str:
    """Return the last line of the model's code that torch names in a text; empty if there is none."""
    for filename, line in reversed(re.findall(r'File "([^"]+)", line (\d+)', text)):
        if is_models(filename):
            return place_of(filename, int(line))
    return ""


def _groups(found: re.Match[str], inputs: Sequence[TensorSpec]) -> list[str]:
    """Return the groups of a pattern, with the name of an input instead of its number."""
    values = list(found.groups())
    number = found.re.groupindex.get("input")
    if number and int(values[number - 1]) < len(inputs):
        values[number - 1] = repr(inputs[int(values[number - 1])].name)
    return values


def _several(places: Sequence[str]) -> str:
    return f"{places[0]}; and {len(places) - 1} more" if len(places) > 1 else "".join(places)


def _shortened(text: str, longest: int = LONGEST) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
