"""PyTorch to ONNX: by torch.export, by TorchScript, and by the fallbacks of each."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from modelrepo.generator.coverage.ranges import known_ranges
from modelrepo.generator.errors import ConversionError, InputRefused, OptionError, Unsteady, VerificationError
from modelrepo.generator.export.description import describe, observed_dims, source_fails
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.export.torch import branches, formulas, operators, pooling, small_constants, troubles, unmended
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.sources.pytorch import assumptions, examples, quietly, scripted
from modelrepo.generator.sources.pytorch.assumptions import names
from modelrepo.generator.sources.pytorch.places import Place, is_models, is_observer
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Assumption, Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Dim
from modelrepo.generator.system import memory
from modelrepo.generator.system.extras import TORCH, need
from modelrepo.generator.verification.inputs import ODD_BATCH, example, example_sizes
from modelrepo.generator.verification.verify import SourceFault, verify

NEWER, OLDER = "torch.export", "torchscript"
# The torch.export-based exporter writes opset 18 and newer; TorchScript's writes up to 20.
NEWER_MIN_OPSET, OLDER_MAX_OPSET = 18, 20
EXPORTER_OPSETS = f"{NEWER} writes {NEWER_MIN_OPSET} and newer, {OLDER} up to {OLDER_MAX_OPSET}"
# The sizes that torch.export's assumptions are tried with.
TRIED_SIZES = (1, 2, 3)
# Bounds above it are not tried: such inputs would need much memory.
LARGEST_TRIED = 2048
# Answers beyond a bound that are as near as this share of the largest are the same.
BEYOND = 1e-2
# What torch says of a torch.cond within another that it does not compile.
NESTED = "FunctionalTensor on its own"
AS_RECORDED = "recorded as the model ran on an example, and proven by verification alone"


@dataclass(frozen=True)
class Written:
    """The result of a way."""

    files: tuple[Path, ...]
    # Whether they may treat all inputs as the model treated one example.
    example: bool = False
    # The lines of the model's code that may have decided by the example, as far as they are known.
    decided: tuple[str, ...] = ()
    # A note for the user about the way, if it matters.
    note: str = ""
    # The largest sizes that torch.export assumed, by the names of dimensions.
    bounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """A way from a PyTorch model to ONNX."""

    # The exporter that it belongs to.
    exporter: str
    # Writes a source to a path, as the options say.
    write: Callable[[SourceModel, Path, Options], Written]
    # The kinds of models that it reads.
    reads: tuple[str, ...] = ("module",)
    # Whether it records one run, in which values that Python reads become constants.
    records: bool = False
    # Whether it is a last resort: its failure says little about the model, and is not reported.
    last: bool = False

    def writes(self, opset: int) -> bool:
        """Whether the exporter writes this opset."""
        return opset >= NEWER_MIN_OPSET if self.exporter == NEWER else opset <= OLDER_MAX_OPSET


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Write ``source`` as ONNX into ``folder``, with its symbolic dimensions of any size.

    If those were only guessed and no exporter takes them, all are fixed, with a note. Raises ConversionError if no
    exporter succeeds or the model is too new for the target release, and SourceError if the model itself fails on its
    input.
    """
    need("onnxscript", TORCH)
    wanted = (source.exporter or options.exporter) if options.exporter == "auto" else options.exporter
    kind = _kind(source.native)
    able = [way for way in WAYS if wanted in ("auto", way.exporter) and kind in way.reads]
    if not able:
        raise ConversionError(f"the {wanted} exporter does not read {KIND_NAMES[kind]}", "Leave --exporter out")
    if options.assume_branch:
        able = [way for way in able if way.records]
        if not able:
            raise ConversionError(
                f"{assumptions.FLAG} is about recordings, and the {wanted} exporter makes none", "Leave --exporter out"
            )
    ways = [way for way in able if way.writes(options.opset)]
    if not ways:
        names = " and ".join(dict.fromkeys(way.exporter for way in able))
        raise ConversionError(f"the {names} exporter does not write opset {options.opset}", EXPORTER_OPSETS)
    failures: dict[str, troubles.Trouble] = {}
    others: list[troubles.Trouble] = []
    bounds: dict[str, int] = {}
    for attempt in (source, *([replace(source, inputs=source.fixed, fixed=())] if source.fixed else [])):
        retreat = "" if attempt is source else "its shapes are fixed: "
        for number, way in enumerate(ways):
            path = folder / f"{'fixed' if retreat else 'dynamic'}{number}" / "model.onnx"
            path.parent.mkdir(parents=True)
            try:
                with quietly():
                    notes = tuple(f"{retreat}the {name} exporter failed: {each}" for name, each in failures.items())
                    return _exported(way, attempt, path, options, notes, bounds)
            except OptionError:
                raise
            except (Exception, SystemExit) as error:
                if (
                    isinstance(error, OSError) and error.errno is not None
                ):  # of the disk; torch raises some without a number
                    raise
                # Exporters fail with any error of the model's code or their own: each is a failed attempt.
                trouble = troubles.explain(error, source.inputs)
                if way.last:
                    others.append(trouble)
                else:
                    failures.setdefault(way.exporter, trouble)
    _check_source_runs(source)
    reported = [*failures.values()] or others
    raise ConversionError(
        f"can't export {source.reference}: {troubles.summary(reported)}", troubles.hint(reported, source.inputs)
    )


def _exported(
    way: Way, source: SourceModel, path: Path, options: Options, notes: tuple[str, ...], bounds: dict[str, int]
) -> Export:
    """Write a source in one way; ``bounds`` are the largest sizes that a way assumed, which all ways are tried with."""
    written = way.write(source, path, options)
    bounds.update(written.bounds)
    notes = (*notes, written.note) if written.note else notes
    found = describe(path, written.files, source.inputs, way.exporter, options, notes)
    if found.opset != options.opset:
        raise ConversionError(f"it wrote opset {found.opset} instead of {options.opset}")
    if written.example:
        memory.give_back()
        _prove(source, found, written.decided, options)
    for dim, size in bounds.items():
        _prove_beyond(source, found, dim, size)
    return found


def _prove_beyond(source: SourceModel, export: Export, dim: str, largest: int) -> None:
    """Raise Decided if the exported model differs from the source for a size beyond the largest that it assumes.

    The source may refuse such a size, as one beyond its table of positions.
    """
    import numpy as np

    sizes = {**example_sizes(source.inputs), dim: largest + 1}
    if sizes.keys() != example_sizes(source.inputs).keys():
        return  # its sizes are fixed
    arrays = {spec.name: example(spec, sizes) for spec in source.inputs}
    try:
        wanted = source.run(arrays)
    except InputRefused:
        return
    told = f"it was exported for a {dim} of at most {largest}, and the model answers larger ones in another way"
    try:
        got = runtime.open_model(export.path, mapped=True)(arrays)
    except VerificationError as error:
        raise troubles.Decided((), told) from error
    for name, answer in wanted.items():
        near = answer.shape == got[name].shape and np.allclose(
            answer, got[name], rtol=BEYOND, atol=BEYOND * np.abs(answer).max(initial=0), equal_nan=True
        )
        if not near:
            raise troubles.Decided((), told)


def _prove(source: SourceModel, export: Export, decided: tuple[str, ...], options: Options) -> None:
    """Raise Decided if the exported model differs from the source for other sizes and values."""
    try:
        candidate = runtime.open_model(export.path, mapped=True)
        verify(
            source.run,
            candidate,
            export.signature,
            max_batch_size=ODD_BATCH,
            seed=options.seed,
            tolerance=options.tolerance,
            ranges=known_ranges(export.path),
        )
    except SourceFault:
        return  # not the exporter's fault: verification reports it
    except InputRefused:
        raise
    except VerificationError as error:
        raise troubles.Decided(decided, error.message) from error


def _kind(native: Any) -> str:
    """Return the kind of a model: a module, one with TorchScript in it, TorchScript itself, or a program."""
    import torch

    if isinstance(native, torch.export.ExportedProgram):
        return "program"
    if isinstance(native, torch.jit.ScriptModule):
        return "script"
    return "mixed" if any(isinstance(part, torch.jit.ScriptModule) for part in native.modules()) else "module"


def _captured(source: SourceModel, path: Path, options: Options) -> Written:
    """Export with torch.export, which follows its code with symbolic sizes, as Python runs it or as bytecode.

    A torch.cond within another is compiled to be followed, which fails where compiling is off (no issue known).
    """
    import torch

    try:
        exported = _followed(source, options)
    except Exception as error:
        if not any(NESTED in text for text in troubles.texts(error)):
            raise
        with torch.compiler.set_stance("default"):
            exported = _followed(source, options)
    assumed = list(_assumed(exported.exported_program))
    places = tuple(dict.fromkeys(filter(None, assumed)))
    bounds = dict(_bounds(exported.exported_program, source))
    return Written(_write(exported, source, path), bool(assumed), places, bounds=bounds)


def _followed(source: SourceModel, options: Options) -> Any:
    """Return torch's ONNXProgram of a model."""
    import torch
    from torch.fx.experimental import symbolic_shapes

    # Lets torch.export report lines of the model's code.
    with patch.object(symbolic_shapes, "uninteresting_files", troubles.NotTheModels), _unchanged():
        return torch.onnx.export(
            source.native,
            examples(source.inputs),
            dynamic_shapes=_dynamic_shapes(source),
            **_newer(source, options.opset),
        )


@contextmanager
def _unchanged() -> Iterator[None]:
    """Export what the model computes: no branch that its ``except`` hides, no constant that is almost 0."""
    with branches.unswallowed(), small_constants.kept():
        yield


def _program(source: SourceModel, path: Path, options: Options) -> Written:
    """Translate a program of torch.export, with the dynamic shapes it was exported with."""
    import torch

    with small_constants.kept():
        exported = torch.onnx.export(source.native, **_newer(source, options.opset))
    onnx_file.rename_dims(exported.model, source.inputs)
    return Written(_write(exported, source, path))


def _traced(source: SourceModel, path: Path, options: Options) -> Written:
    """Export a recording of the model's run on an example; TorchScript is exported directly."""
    import torch

    native = source.native
    with warnings.catch_warnings(record=True) as warned, branches.noticed(len(source.inputs)) as read:
        warnings.simplefilter("always")
        if _kind(native) == "mixed":  # a scripted part is exported only within a traced module
            native = torch.jit.trace(native, examples(source.inputs), check_trace=False)
        files = _export_older(source, native, path, options.opset)
    assumed = _assumed_of(read.values, options.assume_branch)
    told = {Place(each.filename, each.lineno) for each in warned if issubclass(each.category, torch.jit.TracerWarning)}
    # The tracer names the module that observes the model in place of the lines that it observes.
    doubts = sorted(
        {place for place in told if not is_observer(place.filename)} | (read.others if told else set()),
        key=lambda place: not is_models(place.filename),
    )
    places = tuple(troubles.place_of(*place) for place in doubts)
    if assumed:
        note = f"assumed to be the same for every input, as declared: {', '.join(assumed)}"
    else:
        note = f"{AS_RECORDED}: {places[0]}" if doubts and is_models(doubts[0][0]) else ""
    return Written(files, True, places, note)


def _assumed_of(read: Mapping[Place, Any], declared: Sequence[Assumption]) -> list[str]:
    """Return what is assumed of the lines that read values; Frozen if one of them is not ``declared`` constant.

    Raises OptionError for a declared line that is not among them.
    """
    frozen = {place: value for place, value in read.items() if not any(names(each, place) for each in declared)}
    if frozen:
        raise troubles.Frozen(frozen)
    idle = next((each for each in declared if not any(names(each, place) for place in read)), None)
    if idle:
        raise OptionError(
            f"{assumptions.FLAG} {idle}: no value that depends on the inputs becomes Python's there", "Leave it out"
        )
    return [assumptions.written(*line) for line in read.items()]


def _scripted(source: SourceModel, path: Path, options: Options) -> Written:
    """Export the model's code compiled by TorchScript, with its branches and loops."""
    files = _export_older(source, scripted(source.native, examples(source.inputs)), path, options.opset)
    return Written(files, note="compiled by TorchScript, with its branches and loops")


# In the order in which they are tried. torch.export itself tries the code as Python runs it, and then its bytecode. Its
# draft mode, which decides by the example like a recording, helped none of about ninety models, and leaves log files.
WAYS = (
    Way(NEWER, _captured),
    Way(NEWER, _program, reads=("program",)),
    Way(OLDER, _traced, reads=("module", "script", "mixed"), records=True),
    Way(OLDER, _scripted, reads=("module", "mixed"), last=True),
)


# The names of the kinds of models in messages.
KIND_NAMES = {
    "module": "modules",
    "script": "TorchScript",
    "mixed": "modules that hold TorchScript",
    "program": "programs of torch.export",
}


def _newer(source: SourceModel, opset: int) -> dict[str, Any]:
    return {
        "dynamo": True,
        "opset_version": opset,
        "input_names": [spec.name for spec in source.inputs],
        "output_names": list(source.output_names),
        "custom_translation_table": {**formulas.translations(), **source.translations},
        "verbose": False,
    }


def _dynamic_shapes(source: SourceModel) -> tuple[Any, ...]:
    """Return the symbolic axes of each input, in the structure of the arguments of the model's ``forward``."""
    from inspect import signature

    axes = tuple({axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)} for spec in source.inputs)
    parameters = signature(source.native.forward).parameters.values()
    return (axes,) if any(each.kind is each.VAR_POSITIONAL for each in parameters) else axes


def _write(exported: Any, source: SourceModel, path: Path) -> tuple[Path, ...]:
    unmended.refuse(exported.exported_program)
    _distinct_outputs(exported.model)
    pooling.without_idle_windows(exported.model)
    _true_outputs(exported.model, source)
    return onnx_file.write(exported.model, path)


def _distinct_outputs(model: Any) -> None:
    """Rename what has the name of an output within the graph: the exporter names values for their operators.

    pytorch/pytorch#158094.
    """
    outputs = {value.name: value for value in model.graph.outputs}
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.name in outputs and value is not outputs[value.name]:
                value.name = f"within/{value.name}"


def _true_outputs(model: Any, source: SourceModel) -> None:
    """Give outputs the shapes that the source answers with, where the exporter wrote none, or an expression.

    Triton could not see that ``(batch*seq + seq - 1)//seq`` is the batch; and a vector without a shape, as of
    NegativeLogLikelihoodLoss, is written as a scalar.
    """
    import onnx_ir

    shapes = [
        [dim if isinstance(dim, int) else str(dim.value) for dim in each.shape or ()] for each in model.graph.outputs
    ]
    if all(shape and all(isinstance(dim, int) or dim.isidentifier() for dim in shape) for shape in shapes):
        return
    observed = observed_dims(source.run, source.inputs)
    known = {dim for spec in source.inputs for dim in spec.shape if isinstance(dim, str)}
    for value, shape, seen in zip(model.graph.outputs, shapes, observed.values(), strict=True):
        if len(seen) == len(shape):
            seen = tuple(_plain(dim, name, known) for dim, name in zip(shape, seen, strict=True))
        value.shape = onnx_ir.Shape(seen)


def _plain(dim: Dim, seen: Dim, known: Collection[Dim]) -> Dim:
    """Return an output's dimension, or that of an input which an expression was seen to be equal to."""
    expression = isinstance(dim, str) and not dim.isidentifier()
    return seen if expression and seen in known else dim


def _assumed(program: Any) -> Iterator[str]:
    """Yield the model's line, empty if unknown, of each assumption of torch.export that not all sizes fulfil.

    torch.export drops its assumptions when it writes ONNX.
    """
    from torch._guards import detect_fake_mode

    mode = detect_fake_mode([node.meta.get("val") for node in program.graph.nodes])
    if mode is None:
        return
    sizes = mode.shape_env
    for symbol, bounds in program.range_constraints.items():
        if bounds.lower > min(TRIED_SIZES) and symbol in sizes.var_to_range_sloc:
            yield troubles.place_of_bound(sizes.var_to_range_sloc[symbol].lower)
    for assumed in (each for some in sizes.deferred_runtime_asserts.values() for each in some):
        if not all(_holds(assumed.expr, size) for size in TRIED_SIZES):
            yield troubles.place_in_stack(assumed.stack.summary())


def _bounds(program: Any, source: SourceModel) -> Iterator[tuple[str, int]]:
    """Yield the largest size that torch.export assumed of each dimension of the inputs, if it is one to be tried."""
    names = program.graph_signature.user_inputs
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    for node, spec in zip(inputs, source.inputs, strict=False):
        shape = getattr(node.meta.get("val"), "shape", ())
        for size, dim in zip(shape, spec.shape, strict=False):
            bounds = program.range_constraints.get(getattr(getattr(size, "node", None), "expr", None))
            if isinstance(dim, str) and bounds is not None and bounds.upper <= LARGEST_TRIED:
                yield dim, int(bounds.upper)


def _holds(expression: Any, size: int) -> bool:
    """Whether a sympy expression may hold if every size in it is this one."""
    try:
        return bool(expression.xreplace(dict.fromkeys(expression.free_symbols, size)) != False)  # noqa: E712 - of sympy
    except ZeroDivisionError:
        return False


def _export_older(source: SourceModel, native: Any, path: Path, opset: int) -> tuple[Path, ...]:
    import onnx_ir
    import torch

    symbolic = any(isinstance(dim, str) for spec in source.inputs for dim in spec.shape)
    outputs = observed_dims(source.run, source.inputs) if symbolic else {}
    shapes: Mapping[str, Any] = {**{spec.name: spec.shape for spec in source.inputs}, **outputs}
    with operators.registered(opset), _without_weights() as weights:
        torch.onnx.export(
            native,
            examples(source.inputs),
            str(path),
            dynamo=False,
            opset_version=opset,
            export_params=False,
            input_names=[spec.name for spec in source.inputs],
            output_names=list(source.output_names),
            dynamic_axes={
                name: {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)}
                for name, shape in shapes.items()
            },
        )
    model = _filled(onnx_ir.load(path), weights)
    pooling.without_idle_windows(model)
    _true_outputs(model, source)
    return onnx_file.write(model, path)


@contextmanager
def _without_weights() -> Iterator[dict[str, Any]]:
    """Let the older exporter write graphs without weights; yield a graph's weights by name, once it is written.

    The exporter would hold them twice more, in a message and as its bytes.
    """
    import torch

    torch._C._jit_set_onnx_log_enabled(False)  # another export in this process may have left it on
    kept: dict[str, Any] = {}
    last_pass = torch._C._jit_pass_onnx_deduplicate_initializers

    def passed(*arguments: Any) -> dict[str, Any]:
        kept.update(last_pass(*arguments))
        return kept

    with (
        patch.object(torch._C, "_jit_pass_onnx_deduplicate_initializers", passed),
        # It turns on its own log, which prints a failed graph to the standard output, where the report goes.
        patch.object(torch._C, "_jit_set_onnx_log_enabled", lambda enabled: None),
    ):
        yield kept


def _filled(model: Any, weights: Mapping[str, Any]) -> Any:
    """Return an ``onnx_ir.Model`` with the inputs for its weights, torch's tensors, turned into initializers."""
    from onnx_ir.tensor_adapters import TorchTensor

    inputs = model.graph.inputs
    for value in [each for each in inputs if each.name in weights]:
        inputs.remove(value)
        value.const_value = TorchTensor(weights[value.name].detach(), name=value.name)
        model.graph.register_initializer(value)
    return model


def _check_source_runs(source: SourceModel) -> None:
    sizes = example_sizes(source.inputs)
    try:
        source.run({spec.name: example(spec, sizes) for spec in source.inputs})
    except Unsteady:
        return
    except InputRefused as error:
        raise source_fails(source, error) from error


TO_ONNX = Exporter(export=export, packages=("torch", "onnxscript", "onnx", "onnx-ir"))
