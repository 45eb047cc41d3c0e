"""PyTorch models of every form as sources: named arrays in, named arrays out, however the model nests its outputs."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import InputRefused, SourceError, refused
from modelrepo.generator.sources.nesting import leaves, walk
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import DTYPES, Arrays, Domain, TensorSpec
from modelrepo.generator.system.quiet import quiet

OUTPUT = "output"
# Turns the tensors of the inputs, in order, into the arguments of a model's forward.
Call = Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def positional(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a model that takes its inputs in order."""
    return tuple(tensors), {}


def source_model(
    reference: str,
    module: Any,
    inputs: tuple[TensorSpec, ...],
    weights: Weights,
    *,
    call: Call = positional,
    output_names: tuple[str, ...] = (),
    fixed: tuple[TensorSpec, ...] = (),
    labels: tuple[str, ...] = (),
    preprocess: Mapping[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    notes: tuple[str, ...] = (),
    samples: Path | None = None,
) -> SourceModel:
    """Return a source of ``module``, any callable that takes tensors and returns tensors, nested in any way.

    ``output_names`` are for a model known to return one tensor or a flat tuple; without them the model is run once to
    find its outputs. ``fixed`` replace ``inputs`` if the model does not take those. Where it refuses the usual example,
    such as a length or a divisor of 0, that is of the user's ``samples``, or of ones. Raises SourceError if the model
    fails on examples of its inputs, or returns no tensors.
    """
    _check_inputs(reference, inputs)
    if not output_names:
        inputs, fixed, answer, retreat = _first_answer(reference, module, inputs, fixed, call, samples)
        notes = (*notes, *retreat)
        if not _is_tensor(answer):
            inputs, restricted = _with_one_count(reference, module, inputs, fixed, call)
            notes = (*notes, *restricted)
            answer = _answer(reference, module, inputs, call) if restricted else answer
        output_names, left_out = _named(reference, answer, {spec.name for spec in inputs})
        if not output_names:
            raise SourceError(
                f"{reference} returns no tensor, but {type(answer).__name__}",
                "Let it return a tensor, or several in a tuple, a list, a dict or a dataclass",
            )
        notes = (*notes, *left_out)
        if call is not positional or not _is_tensor(answer):
            module = _flat(module, call)
    return SourceModel(
        reference=reference,
        framework="torch",
        native=module,
        inputs=inputs,
        output_names=output_names,
        run=_runner(module, inputs, output_names),
        weights=weights,
        labels=labels,
        preprocess=preprocess,
        fixed=fixed,
        companions=companions or {},
        notes=notes,
    )


def seeded(build: Callable[[], Any], seed: int, *, revive: bool = True) -> Any:
    """Return the model that ``build`` makes, its random weights seeded.

    With ``revive``, weights that start at zero are drawn as well: a layer of zeros would return only zeros.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build()
        for parameter in made.parameters() if revive and isinstance(made, torch.nn.Module) else ():
            if parameter.ndim > 1 and not parameter.any():
                torch.nn.init.trunc_normal_(parameter, std=0.02)
    return made


def as_module(function: Callable[..., Any]) -> Any:
    """Return a ``torch.nn.Module`` that calls a function; if that is a method of a module, the module is part of it."""
    import torch

    class Called(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.owner = getattr(function, "__self__", None)

        def forward(self, *tensors: Any, **named: Any) -> Any:
            return function(*tensors, **named)

    return Called()


def examples(inputs: Sequence[TensorSpec]) -> tuple[Any, ...]:
    """Return an example tensor for each input, within its domain, the same each time."""
    import torch

    from modelrepo.generator.verification.inputs import (
        example,
        example_sizes,
    )  # imports numpy, which no help page needs

    sizes = example_sizes(inputs)
    return tuple(torch.from_numpy(example(spec, sizes)) for spec in inputs)


@contextmanager
def quietly() -> Iterator[None]:
    """Run a model's code without its output on the terminal, and without torch.compile.

    Compiled code returns the same, but each shape is compiled again, which takes minutes and needs a C++ compiler.
    """
    import torch

    compiles = "torch._dynamo" in sys.modules  # torch.compile imports it; importing it here would take long
    with quiet(), torch.compiler.set_stance("force_eager") if compiles else nullcontext():
        yield


def refuse_empty(reference: str, module: Any, remedy: str) -> None:
    """Raise SourceError, with ``remedy`` as the hint, for a module with weights on the meta device: without values."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    empty = next((name for name, each in tensors if each.is_meta), None)
    if empty:
        raise SourceError(f"{reference} is a model without values: its {empty} is on the meta device", remedy)


def scripted(module: Any, tensors: tuple[Any, ...]) -> Any:
    """Return a module compiled by TorchScript; the part that flattens its outputs is traced around it.

    Raises TorchScript's own errors for code that it does not support.
    """
    import torch

    if not hasattr(module, "around"):
        return torch.jit.script(module)
    return torch.jit.trace(module.around(torch.jit.script(module.module)), tensors, check_trace=False)


def cause(error: BaseException) -> str:
    """Return the innermost cause of an error in one line; TorchScript has it in its last line, after the code."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "TorchScript interpreter" in lines[0]:
        return lines[-1].rstrip(".")
    return f"{type(error).__name__}: {lines[0].rstrip('.:') if lines else ''}"


def _first_answer(
    reference: str,
    module: Any,
    inputs: tuple[TensorSpec, ...],
    fixed: tuple[TensorSpec, ...],
    call: Call,
    samples: Path | None,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], Any, tuple[str, ...]]:
    """Run the model on an example; if it does not take the guessed batch, on the example with all sizes fixed."""
    failures: list[SourceError] = []  # with the usual example of each attempt
    for attempt, rest in ((inputs, fixed), *([(fixed, ())] if fixed else [])):
        for number, exampled in enumerate(_exampled(attempt, samples)):
            try:
                answer = _answer(reference, module, exampled, call)
            except SourceError as error:
                failures += [error] * (number == 0)
                continue
            fixed = tuple(replace(one, example=other.example) for one, other in zip(rest, exampled, strict=False))
            retreat = () if attempt is inputs else (f"its shapes are fixed: {failures[0].message}",)
            return exampled, fixed, answer, retreat
    raise failures[-1]


def _exampled(inputs: tuple[TensorSpec, ...], samples: Path | None) -> Iterator[tuple[TensorSpec, ...]]:
    """Yield inputs with the usual example, with one of the user's samples, and with ones for whole numbers."""
    import numpy as np

    from modelrepo.generator.verification import datasets  # imports numpy, which no help page needs

    yield inputs
    if samples:
        sampled = datasets.as_examples(inputs, samples)
        if sampled:
            yield sampled
    whole = [np.dtype(spec.dtype).kind in "iu" and _may_be_one(spec.domain) for spec in inputs]
    if any(whole):
        yield tuple(
            replace(spec, example=np.ones([1] * len(spec.shape), spec.dtype)) if each else spec
            for spec, each in zip(inputs, whole, strict=True)
        )


def _may_be_one(domain: Domain) -> bool:
    """Whether 1, which is the least size, is among the values of whole numbers that are bounded on both sides."""
    if not domain.known or domain.low is None or domain.high is None:
        return not domain.known
    return domain.low <= 1 <= domain.high


def _answer(reference: str, module: Any, inputs: tuple[TensorSpec, ...], call: Call) -> Any:
    import torch

    try:
        args, kwargs = call(examples(inputs))
        with quietly(), torch.inference_mode():
            return module(*args, **kwargs)
    except (Exception, SystemExit) as error:  # any error of the model's code
        shapes = ", ".join(map(str, inputs))
        raise SourceError(
            f"{reference} itself fails on {shapes}: {cause(error)}", "Give an example of each input with --input-shape"
        ) from error


def _with_one_count(
    reference: str, module: Any, inputs: tuple[TensorSpec, ...], fixed: tuple[TensorSpec, ...], call: Call
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """Fix the sizes that decide how many tensors the model answers, with a note: a served model always answers as many.

    They get the sizes of ``fixed``, if there are any.
    """
    from modelrepo.generator.verification.inputs import example_sizes  # imports numpy, which no help page needs

    def count(sizes: Mapping[str, int]) -> int | None:
        try:
            answer = leaves(reference, _answer(reference, module, _sized(inputs, sizes), call))
        except SourceError:  # verification leaves such sizes out
            return None
        return sum(_is_tensor(leaf) for _, leaf in answer)

    notes = []
    sizes = example_sizes(inputs)
    for dim, size in sizes.items():
        chosen = _example_of(dim, inputs, fixed) or size
        counts = {each: count({**sizes, dim: each}) for each in (chosen, *_others(inputs, dim, size))}
        other = next((each for each in counts if counts[each] not in (counts[chosen], None)), None)
        if other is not None:
            inputs, sizes = _sized(inputs, {dim: chosen}), {**sizes, dim: chosen}
            answers = f"the model answers {counts[chosen]} tensors then, and {counts[other]} if it is {other}"
            notes.append(f"{dim} is fixed at {chosen}: {answers}")
    return inputs, tuple(notes)


def _example_of(dim: str, inputs: Sequence[TensorSpec], fixed: Sequence[TensorSpec]) -> int | None:
    """Return the size of a guessed dimension in the user's example; None if it was not guessed."""
    shapes = ((one.shape, other.shape) for one, other in zip(inputs, fixed, strict=False))
    pairs = (pair for one, other in shapes for pair in zip(one, other, strict=True))
    return next((size for name, size in pairs if name == dim and isinstance(size, int)), None)


def _others(inputs: Sequence[TensorSpec], dim: str, size: int) -> tuple[int, ...]:
    """Return the sizes that a dimension is tried with."""
    allowed = next((spec.sizes[dim] for spec in inputs if dim in spec.sizes), (1, size, size + 1))
    return tuple(allowed)


def _sized(inputs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> tuple[TensorSpec, ...]:
    """Return inputs with these sizes of their symbolic dimensions, which are then fixed."""
    return tuple(
        replace(spec, shape=tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape))
        for spec in inputs
    )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _check_inputs(reference: str, inputs: Sequence[TensorSpec]) -> None:
    text = next((spec for spec in inputs if spec.dtype == "object"), None)
    if text:
        raise SourceError(
            f"{text.name!r} of {reference} is given as text: PyTorch has no tensors of text",
            f"Give it as the numbers that the text becomes: --input-shape {text.name}=1x128:int64",
        )


def _check_output(reference: str, name: str, tensor: Any) -> None:
    dtype = str(tensor.dtype).removeprefix("torch.")
    odd = (
        (dtype not in DTYPES, dtype, "Convert it to float32 inside the model"),
        (tensor.is_nested, "a nested tensor", "Pad it inside the model"),
        (str(tensor.layout) != "torch.strided", "a sparse tensor", "Call to_dense() inside the model"),
        (tensor.is_meta, "a tensor of the meta device", "Give values to what it is computed from"),
    )
    for found, kind, hint in odd:
        if found:
            raise SourceError(f"{reference} returns {name!r} as {kind}, which can't be served", hint)


def _named(reference: str, answer: Any, taken: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of an answer's tensors, and a note on each value of another kind."""
    names: list[str] = []
    notes = []
    for path, leaf in leaves(reference, answer):
        parts = path if path and isinstance(path[0], str) else (OUTPUT, *path)
        name = re.sub(r"[^A-Za-z0-9_.]", "_", "_".join(map(str, parts))) or OUTPUT
        if _is_tensor(leaf):
            _check_output(reference, name, leaf)
            while name in taken or name in names:
                name += "_out"
            names.append(name)
        elif leaf is not None:
            notes.append(f"its output {name!r} is left out: a {type(leaf).__name__}, not a tensor")
    return tuple(names), tuple(notes)


def _flat(module: Any, call: Call) -> Any:
    """Return a module that takes the inputs in order and returns a flat tuple of tensors.

    ``module`` must be in evaluation mode already: a program of torch.export has no modes to switch.
    """
    import torch

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module
            self.training = False

        def forward(self, *tensors: Any) -> Any:
            args, kwargs = call(tensors)
            return tuple(leaf for _, leaf in walk(self.module(*args, **kwargs)) if isinstance(leaf, torch.Tensor))

        def around(self, other: Any) -> Any:
            """Return the same wrapper around another module."""
            return _flat(other, call)

    return Flat()


def _runner(module: Any, inputs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        import torch

        try:
            with quietly(), torch.inference_mode():
                # Copies: a model may write into its inputs.
                answers = module(*(torch.from_numpy(arrays[spec.name].copy()) for spec in inputs))
        except (Exception, SystemExit) as error:  # any error of the model's code
            raise refused(arrays, cause(error)) from error
        answers = (answers,) if isinstance(answers, torch.Tensor) else answers
        if len(answers) != len(names):
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise InputRefused(f"the source model returns {len(answers)} tensors for {shapes}, not {len(names)}")
        return {name: answer.numpy(force=True) for name, answer in zip(names, answers, strict=True)}

    return run
