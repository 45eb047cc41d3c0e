"""Programs that torch.export wrote: `--model torch:FILE.pt2`."""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats, pytorch
from modelrepo.generator.sources.pytorch import expressions, state_dict, training
from modelrepo.generator.sources.pytorch.arguments import BATCH
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import DTYPES, TensorSpec, unknown_domain
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TORCH, need
from modelrepo.generator.system.quiet import quiet

# The sizes that a dimension without bounds is tried with.
SIZES = (1, 2, 3)
# The smallest size that torch.export gives a dimension without another bound.
UNBOUNDED = 2
REMEDY = "Call model.eval() before torch.export.export, and export it again"
# A device in a program's JSON, other than those of every program.
DEVICE = re.compile(r'"type":\s*"(?!cpu|meta)(\w+)",\s*"index"')
# The class of an argument that is not a tensor, in torch.export.graph_signature.
CONSTANT = "ConstantArgument"
OPAQUE = "opaque_obj"  # torch.export.pt2_archive.constants.OPAQUE_OBJ_FILENAME_PREFIX


def files(name: str) -> tuple[Path, ...]:
    """Return the file; SourceError unless it is a program."""
    path = path_of(name)
    formats.expect(path, "pt2")
    return (path,)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is the path of a program for CPUs; OptionError for the older exporter."""
    (path,) = files(name)
    refuse_exporter(options)
    _check_device(path)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the program as a source, with the inputs and dynamic shapes it was exported with.

    Raises SourceError for a program that can't be read here, that was exported in training mode or for another device,
    or that holds pickles of code, unless these are trusted.
    """
    check(name, options)
    need("torch", TORCH)
    path = path_of(name)
    reference = f"torch:{path.name}"
    memory.check(path.stat().st_size, reference)
    program = _read(path, options.trust_source)
    weights = Weights("file", path.name, untrained=False, sha256=sha256_of(path))
    return source_of(reference, program, weights, options.max_batch_size)


def refuse_exporter(options: Options) -> None:
    """Raise OptionError if the options name the exporter that does not read programs."""
    if options.exporter == "torchscript":
        raise OptionError("the torchscript exporter does not read programs of torch.export", "Leave --exporter out")


def source_of(reference: str, program: Any, weights: Weights, max_batch_size: int) -> SourceModel:
    """Return a ``torch.export.ExportedProgram`` as a source; SourceError for one that can't be served."""
    training.refuse(reference, _calls(program), REMEDY)
    inputs, most = _inputs(reference, program)
    small = most is not None and most < max_batch_size
    notes = (
        (f"it was exported for at most {most} samples a batch: --max-batch-size {most} batches them",) if small else ()
    )
    source = pytorch.source_model(reference, program.module(), inputs, weights, call=_call(program), notes=notes)
    kinds = {spec.arg.__class__.__name__ for spec in (*_user_inputs(program), *program.graph_signature.output_specs)}
    # The exporter's decompositions fail on a program with sizes that follow from others; on its module they don't.
    derived = any(not dim.isidentifier() for spec in inputs for dim in spec.shape if isinstance(dim, str))
    return source if CONSTANT in kinds or derived else replace(source, native=program)


def _check_device(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            device = DEVICE.search(archive.read(member).decode("utf-8")) if member.endswith(".json") else None
            if device:
                raise SourceError(
                    f"{path} was exported for {device.group(1)}, and programs keep their device",
                    'Export it again from the CPU: model.to("cpu"), with inputs there',
                )


def _read(path: Path, trust: bool) -> Any:
    import torch

    with zipfile.ZipFile(path) as archive:
        opaque = any(OPAQUE in member for member in archive.namelist())
    try:
        with quiet(), path.open("rb") as file:
            if trust:
                return torch.export.load(file)
            if not opaque and expressions.are_plain(path):
                with state_dict.no_code():
                    return torch.export.load(file)
    except Exception as error:  # torch has no errors of its own for files
        raise _unreadable(path, error) from error
    raise _holds_code(path)


def _holds_code(path: Path) -> SourceError:
    return SourceError(
        f"{path} holds code that runs when it is read", "Allow it with --trust-source if you know who wrote the file"
    )


def _unreadable(path: Path, error: Exception) -> SourceError:
    import torch

    if "weights_only" in str(error) or "Weights only" in str(error):
        return _holds_code(path)
    with zipfile.ZipFile(path) as archive:
        member = next((each for each in archive.namelist() if re.search(r"/models/[^/]*\.json$", each)), None)
        written = json.loads(archive.read(member)).get("torch_version", "") if member else ""
    # torch tries the older format last, so its error is about that; only the log has the reason.
    return SourceError(
        f"torch {torch.__version__} can't read {path}: {f'torch {written}' if written else 'another version'} wrote it",
        "Export the model again with this version, or install that one",
    )


def _user_inputs(program: Any) -> list[Any]:
    """Return the InputSpecs of the caller's arguments, in the order in which they are flattened."""
    return [spec for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]


def _call(program: Any) -> pytorch.Call:
    """Return the function that nests tensors and the program's constants into its arguments."""
    arguments = [spec.arg for spec in _user_inputs(program)]
    structure = program.call_spec.in_spec

    def call(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        import torch

        waiting = iter(tensors)
        leaves = [each.value if each.__class__.__name__ == CONSTANT else next(waiting) for each in arguments]
        args, kwargs = torch.utils._pytree.tree_unflatten(leaves, structure)
        return tuple(args), dict(kwargs)

    return call


def _inputs(reference: str, program: Any) -> tuple[tuple[TensorSpec, ...], int | None]:
    """Return a program's inputs, and the largest batch that it takes; None if any."""
    nodes = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    arguments = [spec.arg for spec in _user_inputs(program) if spec.arg.__class__.__name__ != CONSTANT]
    values: dict[str, Any] = {argument.name: nodes[argument.name] for argument in arguments}
    for name, value in values.items():
        _check_input(reference, name, value)
    if not values:
        raise SourceError(f"{reference} has no inputs, so nothing can be compared")
    dims = _Dims(program.range_constraints, {name: value.shape for name, value in values.items()})
    inputs = []
    for name, value in values.items():
        dtype = str(value.dtype).removeprefix("torch.")
        shape = tuple(dims.name(dim) for dim in value.shape)
        inputs.append(TensorSpec(name, dtype, shape, unknown_domain(dtype), dims.sizes(value.shape)))
    return tuple(inputs), dims.most(BATCH)


def _check_input(reference: str, name: str, value: Any) -> None:
    if not hasattr(value, "shape"):
        raise SourceError(
            f"{reference} takes {name!r} as a number, which is not a tensor", "Export it with a tensor in its place"
        )
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise SourceError(
            f"{reference} takes {name!r} as {dtype}, which is not supported",
            "Take it as float32, and convert it inside the model",
        )


class _Dims:
    """The symbols of a program's shapes, and expressions of them: their names, and the sizes that they can have."""

    def __init__(self, bounds: Mapping[Any, Any], shapes: Mapping[str, Any]) -> None:
        self.bounds = bounds
        self.names: dict[str, str] = {}
        leading = {str(shape[0]) if len(shape) else "" for shape in shapes.values()}
        least = {str(dim): self._bounds(dim)[0] for dim in bounds}
        if len(leading) == 1 and (first := leading.pop()).isidentifier() and least.get(first, 1) == 1:
            self.names[first] = BATCH  # one that takes no single sample is not a batch
        places = [(dim, f"{name}_{axis}") for name, shape in shapes.items() for axis, dim in _symbolic(shape)]
        for dim, name in places:
            if dim.is_Symbol:
                self.names.setdefault(str(dim), name)
        for dim, _ in places:
            written = re.sub(r"\w+", lambda word: self.names.get(word[0], word[0]), str(dim))
            self.names.setdefault(str(dim), written)

    def name(self, dim: Any) -> int | str:
        """Return a size, or the name of a symbolic one: equal symbols have the same name."""
        return dim if isinstance(dim, int) else self.names[str(dim)]

    def sizes(self, shape: Any) -> dict[str, tuple[int, ...]]:
        """Return the sizes of the dimensions that don't take every size, by the names that they have."""
        found = {}
        for _, dim in _symbolic(shape):
            if not dim.is_Symbol and all(str(symbol) in self.names for symbol in dim.free_symbols):
                continue  # it follows from others
            tried = tuple(dict.fromkeys(self._at(dim, step) for step in range(len(SIZES))))
            if tried != SIZES:
                found[self.names[str(dim)]] = tried
        return found

    def _at(self, dim: Any, step: int) -> int:
        """Return a size of a symbol or an expression: the smallest that its symbols can have, or one some steps on."""
        sizes = {}
        for symbol in dim.free_symbols:
            low, high = self._bounds(symbol)
            if not dim.is_Symbol:  # no input has this size itself, so no other bound of it is known
                low = max(low, int(self.bounds[symbol].lower))
            sizes[symbol] = min(low + step, high or low + step)
        return int(dim.xreplace(sizes))

    def most(self, name: str) -> int | None:
        """Return the largest size of a dimension; None if it has no bound or does not exist."""
        return next(
            (high for dim in self.bounds if self.names.get(str(dim)) == name for _, high in [self._bounds(dim)]), None
        )

    def _bounds(self, dim: Any) -> tuple[int, int | None]:
        bounds = self.bounds[dim]
        low = int(bounds.lower)
        return 1 if low <= UNBOUNDED else low, int(bounds.upper) if str(bounds.upper).isdigit() else None


def _symbolic(shape: Any) -> Iterator[tuple[int, Any]]:
    """Yield the symbolic axes of a shape, and their sympy expressions."""
    return ((axis, dim.node.expr) for axis, dim in enumerate(shape) if not isinstance(dim, int))


def _calls(program: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    import torch

    graphs = (each.graph for each in program.graph_module.modules() if isinstance(each, torch.fx.GraphModule))
    for node in (node for graph in graphs for node in graph.nodes if node.op == "call_function"):
        schema = getattr(node.target, "_schema", None)
        if schema is not None:
            names = [argument.name for argument in schema.arguments]
            yield schema.name.partition("::")[2], {**dict(zip(names, node.args, strict=False)), **node.kwargs}


SOURCE = file_source(
    form="torch:FILE.pt2",
    summary="programs of torch.export, with the dynamic shapes they were exported with",
    frameworks=("torch",),
    load=load,
    check=check,
    files=files,
    options=("opset", "exporter", "trust_source"),
    packages=("torch",),
    extras=(TORCH,),
)
