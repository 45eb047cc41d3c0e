"""TensorFlow models of every form as sources: named arrays in, named arrays out, however a model nests its own."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import ConversionError, SourceError, refused
from modelrepo.generator.sources.nesting import leaves
from modelrepo.generator.sources.tensorflow import cause, tensorflow
from modelrepo.generator.sources.tensorflow.declared import OUTPUT, Declared, dtype_name, input_specs, unique
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, TensorSpec
from modelrepo.generator.system.quiet import quiet

# Calls a model with its inputs in order.
Call = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Traced:
    """A model as a function of flat tensors, in the order of its inputs and outputs; ``owner`` has its variables."""

    function: Any
    owner: Any


def function_source(
    reference: str,
    call: Call,
    declared: Sequence[Declared],
    options: Options,
    weights: Weights,
    *,
    owner: Any = None,
    output_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> SourceModel:
    """Return a source of a callable that takes tensors as ``declared``, in one sequence, and returns nested ones.

    ``owner`` is kept alive for its variables. ``output_names`` are used if there are as many outputs; otherwise outputs
    are named for their places in the result. Raises as ``keras_source`` does.
    """
    inputs = input_specs(reference, declared, options)
    function, names, left_out = _traced(reference, call, inputs, output_names)
    return SourceModel(
        reference=reference,
        framework="tensorflow",
        native=Traced(function, owner),
        inputs=inputs,
        output_names=names,
        run=_runner(function, inputs, names),
        weights=weights,
        notes=(*notes, *left_out),
    )


def _traced(
    reference: str, call: Call, inputs: Sequence[TensorSpec], wanted: tuple[str, ...]
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Return a concrete function of flat tensors, the names of its outputs, and notes on values left out."""
    library = tensorflow()
    signature = [
        library.TensorSpec(
            [None if isinstance(dim, str) else dim for dim in spec.shape],
            library.string if spec.dtype == "object" else spec.dtype,
            name=re.sub(r"[^A-Za-z0-9_]", "_", f"in_{spec.name}"),
        )
        for spec in inputs
    ]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def flat(*tensors: Any) -> list[Any]:
        nonlocal names, notes
        answers, names, notes = flattened(reference, call(tensors), inputs, wanted)
        return [library.identity(answer) for answer in answers]

    try:
        with quiet():
            function = library.function(flat, input_signature=signature, autograph=False).get_concrete_function()
    except (SourceError, ConversionError):
        raise
    except Exception as error:  # any error of the model's code
        shapes = ", ".join(map(str, inputs))
        raise SourceError(
            f"{reference} itself fails on {shapes}: {cause(error)}", "Give an example of each input with --input-shape"
        ) from error
    return function, names, notes


def flattened(
    reference: str, answer: Any, inputs: Sequence[TensorSpec], wanted: tuple[str, ...]
) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
    """Return the tensors of a model's answer, their names (``wanted`` if as many), and notes on values left out.

    Raises SourceError if there is no tensor, and ConversionError for one that Triton has no type or form for.
    """
    library = tensorflow()
    paths, answers, notes = [], [], []
    for path, leaf in leaves(reference, answer):
        name = "_".join(map(str, path if path and isinstance(path[0], str) else (OUTPUT, *path)))
        if isinstance(leaf, (library.RaggedTensor, library.SparseTensor)):
            raise ConversionError(
                f"output {name!r} of {reference} is a {type(leaf).__name__}: Triton has only tensors",
                "Let the model return its to_tensor(), or tf.sparse.to_dense() of it",
            )
        if library.is_tensor(leaf):
            paths.append(name)
            answers.append(leaf)
        elif leaf is not None:
            notes.append(f"its output {name!r} is left out: a {type(leaf).__name__}, not a tensor")
    if not answers:
        raise SourceError(f"{reference} returns no tensor, but {type(answer).__name__}")
    names = unique(wanted if len(wanted) == len(answers) else paths, [spec.name for spec in inputs])
    for position, (name, tensor) in enumerate(zip(names, answers, strict=True)):
        if tensor.dtype == library.bfloat16:
            answers[position] = library.cast(tensor, library.float32)
            notes.append(f"output {name!r} is bfloat16, and returned as float32")
        else:
            dtype_name(tensor.dtype.name, name)
    return answers, names, tuple(notes)


def _runner(function: Any, inputs: Sequence[TensorSpec], names: tuple[str, ...]) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        library = tensorflow()
        try:
            answers = function(*(library.constant(arrays[spec.name]) for spec in inputs))
        except Exception as error:  # any error of the model's operators
            raise refused(arrays, cause(error)) from error
        return {name: array_of(answer) for name, answer in zip(names, answers, strict=True)}

    return run


def array_of(tensor: Any) -> Any:
    """Return a tensor as a numpy array; text as str, as ONNX Runtime returns it."""
    import numpy as np

    array = np.asarray(tensor.numpy())
    if array.dtype != object and array.dtype.kind != "S":
        return array
    texts = np.empty(array.shape, object)
    texts.ravel()[:] = [each.decode("utf-8", "replace") for each in array.ravel()]
    return texts
