"""The outputs of a source before it is exported: their types and shapes, and some of its answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from modelrepo.generator.errors import InputRefused, OptionError, Unsteady
from modelrepo.generator.graphs.onnx_file import read_signature
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, Signature, TensorSpec
from modelrepo.generator.verification.inputs import example, example_sizes, generated

# How many pools of generated inputs are asked at most, besides the example, and rows of each.
POOLS, ROWS = 4, 7
BATCH = "batch"


@dataclass(frozen=True)
class Probed:
    """What a source answered: the outputs as it seems to declare them, and the answers themselves."""

    inputs: tuple[TensorSpec, ...]
    outputs: Mapping[str, TensorSpec]
    answers: Mapping[str, tuple[Array, ...]]


def probed(source: SourceModel, *, dynamic: bool) -> Probed:
    """Return the outputs of a source, from its answers to generated inputs.

    A dimension that is the same in all of them has that size; the first is named like that of the first input if that
    is symbolic and all outputs follow it. With ``dynamic``, a fixed batch will not be fixed. Raises
    OptionError if the source answers none of the inputs.
    """
    inputs = source.inputs or read_signature(source.native.model.graph).inputs  # of an ONNX file
    if dynamic:
        inputs = tuple(replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in inputs)
    seen = list(_answers(source, inputs))
    if not seen:
        raise OptionError(
            f"can't tell the shapes of the answers of {source.reference}: it refuses the generated inputs",
            "Give the shape of its inputs with --input-shape",
        )
    lead = inputs[0].shape[0] if inputs[0].shape else 1
    outputs = {name: _spec(name, [answers[name] for _, answers in seen], lead) for name in seen[0][1]}
    follows = isinstance(lead, str) and all(
        np.shape(answer)[:1] == (rows,) for rows, answers in seen for answer in answers.values()
    )
    if follows:
        outputs = {name: TensorSpec(name, spec.dtype, (lead, *spec.shape[1:])) for name, spec in outputs.items()}
    return Probed(inputs, outputs, {name: tuple(answers[name] for _, answers in seen) for name in outputs})


def _answers(source: SourceModel, inputs: tuple[TensorSpec, ...]) -> Iterator[tuple[int, dict[str, Array]]]:
    """Yield the sizes of the leading dimension of inputs, and the answers to them."""
    sizes = example_sizes(inputs)
    asked: list[Arrays] = [{spec.name: example(spec, sizes) for spec in inputs if not spec.optional}]
    signature = Signature(inputs, ())
    for _, pool in islice(generated(signature, ROWS, 0), POOLS):
        asked += [pool.rows(range(len(pool.families)))] if signature.batch_dim is not None else [pool.whole(0)]
    for arrays in asked:
        try:
            answers = source.run(arrays)
        except Unsteady as error:
            answers = error.answer
        except InputRefused:
            continue
        rows = next(iter(arrays.values())).shape[:1]
        yield (rows[0] if rows else 0), {name: np.asarray(answer) for name, answer in answers.items()}


def _spec(name: str, answers: list[Array], lead: Dim) -> TensorSpec:
    shapes = [answer.shape for answer in answers]
    same = [set(sizes) for sizes in zip(*shapes, strict=False)]
    dims = tuple(
        next(iter(sizes)) if len(sizes) == 1 else f"{name}_{axis}".replace(":", "_") for axis, sizes in enumerate(same)
    )
    return TensorSpec(name, answers[0].dtype.name, dims)
