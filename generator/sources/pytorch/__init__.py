"""PyTorch models of every form, asked alike: named arrays in, named arrays out, however the model nests its own."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import InputRefused, SourceError, refused
from modelrepo.generator.sources.nesting import leaves, walk
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import DTYPES, Arrays, TensorSpec
from modelrepo.generator.system.quiet import quiet

OUTPUT = "output"
# How the tensors of the inputs, in their order, become the arguments of a model's forward.
Call = Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def positional(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call a model with its inputs in their order."""
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
) -> SourceModel:
    """Return a source of ``module``, anything that is called with tensors and answers tensors, nested as it likes.

    Without ``output_names``, which are for a model known to answer a flat tuple of tensors or a single one, the model
    is asked once for what its outputs are. ``fixed`` is what ``inputs`` fall back to where it does not take them.
    Raises SourceError where it fails on examples of its own inputs, or answers no tensors.
    """
    _check_inputs(reference, inputs)
    if not output_names:
        inputs, fixed, answer, retreat = _first_answer(reference, module, inputs, fixed, call)
        notes = (*notes, *retreat)
        output_names, left_out = _named(reference, answer, {spec.name for spec in inputs})
        if not output_names:
            raise SourceError(
                f"{reference} answers {type(answer).__name__} without a tensor in it",
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
    """Return what ``build`` makes, its random weights seeded.

    With ``revive``, weights that start at zero are drawn, too: a layer of nothing but zeros would answer only zeros.
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
    """Return a ``torch.nn.Module`` that calls a function; the module that it is a method of is part of it."""
    import torch

    class Called(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.owner = getattr(function, "__self__", None)

        def forward(self, *tensors: Any, **named: Any) -> Any:
            return function(*tensors, **named)

    return Called()


def examples(inputs: Sequence[TensorSpec]) -> tuple[Any, ...]:
    """Return a tensor for each input, within its domain, the same each time."""
    import torch

    from modelrepo.generator.verification.inputs import example, example_sizes  # brings numpy, which no help page needs

    sizes = example_sizes(inputs)
    return tuple(torch.from_numpy(example(spec, sizes)) for spec in inputs)


@contextmanager
def quietly() -> Iterator[None]:
    """Let a model's code run as it is written: whatever it prints, and without what torch.compile would make of it.

    That is compiled anew for each shape, which takes minutes and needs a C++ compiler, and answers what the code does.
    """
    import torch

    compiles = "torch._dynamo" in sys.modules  # importing it takes long, and torch.compile does
    with quiet(), torch.compiler.set_stance("force_eager") if compiles else nullcontext():
        yield


def refuse_empty(reference: str, module: Any, remedy: str) -> None:
    """Raise SourceError, with ``remedy`` as the hint, for a module with weights of the meta device: without values."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    empty = next((name for name, each in tensors if each.is_meta), None)
    if empty:
        raise SourceError(f"{reference} is a model without values: its {empty} is on the meta device", remedy)


def scripted(module: Any, tensors: tuple[Any, ...]) -> Any:
    """Return what TorchScript compiles of a module; what flattens its answers is recorded around that.

    Raises whatever TorchScript raises for code that it does not know.
    """
    import torch

    if not hasattr(module, "around"):
        return torch.jit.script(module)
    return torch.jit.trace(module.around(torch.jit.script(module.module)), tensors, check_trace=False)


def cause(error: BaseException) -> str:
    """Return the innermost cause of an error in one line; TorchScript tells it in the last one, behind the code."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "TorchScript interpreter" in lines[0]:
        return lines[-1].rstrip(".")
    return f"{type(error).__name__}: {lines[0].rstrip('.:') if lines else ''}"


def _first_answer(
    reference: str, module: Any, inputs: tuple[TensorSpec, ...], fixed: tuple[TensorSpec, ...], call: Call
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], Any, tuple[str, ...]]:
    """Ask the model an example; one that does not take a batch that was only guessed, as its own example has it."""
    try:
        return inputs, fixed, _answer(reference, module, inputs, call), ()
    except SourceError as error:
        if not fixed:
            raise
        answer = _answer(reference, module, fixed, call)
        return fixed, (), answer, (f"its shapes are fixed: {error.message}",)


def _answer(reference: str, module: Any, inputs: tuple[TensorSpec, ...], call: Call) -> Any:
    import torch

    try:
        args, kwargs = call(examples(inputs))
        with quietly(), torch.inference_mode():
            return module(*args, **kwargs)
    except (Exception, SystemExit) as error:  # whatever the model's code raises
        shapes = ", ".join(map(str, inputs))
        raise SourceError(
            f"{reference} itself fails on {shapes}: {cause(error)}", "Give an example of each input with --input-shape"
        ) from error


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _check_inputs(reference: str, inputs: Sequence[TensorSpec]) -> None:
    text = next((spec for spec in inputs if spec.dtype == "object"), None)
    if text:
        raise SourceError(
            f"{text.name!r} of {reference} is given as text, which PyTorch has no tensors of",
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
            raise SourceError(f"{reference} answers {name!r} as {kind}, which can't be served", hint)


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
            notes.append(f"its answer {name!r} is left out: a {type(leaf).__name__}, and no tensor")
    return tuple(names), tuple(notes)


def _flat(module: Any, call: Call) -> Any:
    """Return a module that takes the inputs in their order and answers a flat tuple of tensors.

    ``module`` is as it will be asked already: a program of torch.export has no modes.
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
            """Return the same around another module."""
            return _flat(other, call)

    return Flat()


def _runner(module: Any, inputs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        import torch

        try:
            with quietly(), torch.inference_mode():
                # Copies: a model may write into what it is given.
                answers = module(*(torch.from_numpy(arrays[spec.name].copy()) for spec in inputs))
        except (Exception, SystemExit) as error:  # whatever the model's code raises
            raise refused(arrays, cause(error)) from error
        answers = (answers,) if isinstance(answers, torch.Tensor) else answers
        if len(answers) != len(names):
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise InputRefused(f"the source model answers {shapes} with {len(answers)} tensors, not {len(names)}")
        return {name: answer.numpy(force=True) for name, answer in zip(names, answers, strict=True)}

    return run
