"""How far variants of a model agree: their ONNX files get the same inputs, in this process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modelrepo.clients.models import Model as ServedModel
from modelrepo.clients.models import Tensor
from modelrepo.generator.errors import OptionError, VerificationError
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Provenance
from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from modelrepo.generator.verification import accuracy, datasets
from modelrepo.generator.verification.comparison import largest_difference, largest_magnitude
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import Run
from modelrepo.perf.measuring import had

SEED = 0
# Photographs or texts; a photograph of pixels has half a megabyte.
PICTURES = 64


@dataclass(frozen=True)
class Agreement:
    """The agreement of a variant's answers to ``samples`` inputs with the baseline's.

    For classifiers ``top1`` is the share of samples, 0 to 1, with the same class, which is the place of the largest of
    several floats. For models that answer no floats it is the share of equal answers. For other models it is None, and
    ``max_rel_diff`` is the largest difference over the largest magnitude of the same sample's output. ``accuracy`` is
    the share of right labels, None without labels.
    """

    samples: int
    top1: float | None = None
    max_rel_diff: float | None = None
    accuracy: Accuracy | None = None


@dataclass(frozen=True)
class AskedVariant:
    """A variant to ask: its ONNX model, how it was made, and the largest batch that it is served in."""

    name: str
    onnx: Path
    provenance: Provenance
    max_batch_size: int
    labels: tuple[str, ...] = ()


def agreements(
    models: Sequence[AskedVariant], samples: Path | None, progress: Progress
) -> tuple[Mapping[str, Agreement], Mapping[str, str]]:
    """Return by name the agreement of each model with the first, including itself, and the reasons of failed models.

    Inputs are the user's ``samples``, or random ones for the model. Raises OptionError for samples that do not fit,
    inputs that the first model refuses, and models with different outputs.
    """
    baseline, *_ = models
    signature = onnx_file.signature_of(baseline.onnx, baseline.provenance.source.inputs)
    for other in models[1:]:
        _refuse_other_outputs(baseline, signature, other)
    found: dict[str, Agreement] = {}
    problems: dict[str, str] = {}
    try:
        first = Remembered(runtime.open_model(baseline.onnx))
    except VerificationError as error:
        return found, {baseline.name: error.message}
    data = _data(baseline, signature, samples)
    for note in data.notes:
        progress.warn(note)
    batch = min(model.max_batch_size for model in models)
    for model in models:
        with progress.step("ask", f"asking {model.name} {data.count} inputs") as step:
            try:
                run = first if model is baseline else Remembered(runtime.open_model(model.onnx))
                found[model.name] = _agreement(
                    _answering(first.recall), _answering(run.recall), data, signature, batch, len(baseline.labels)
                )
            except VerificationError as error:
                if model is baseline:
                    raise OptionError(error.message, "Give inputs that it answers with --samples PATH") from error
                problems[model.name] = error.message
                continue
            step.outcome = "" if model is baseline else f"{in_words(found[model.name])} against {baseline.name}"
    return found, problems


def in_words(agreement: Agreement) -> str:
    """Return an agreement in a few words."""
    if agreement.top1 is not None:
        return f"top-1 agreement {agreement.top1:.1%}"
    return f"worst difference {agreement.max_rel_diff:.1e}"


def same_tensors(one: Sequence[TensorSpec], other: Sequence[TensorSpec]) -> bool:
    """Whether tensors have the same names, types and sizes; the names of dimensions of any size may differ."""
    return [_plain(spec) for spec in one] == [_plain(spec) for spec in other]


def _plain(spec: TensorSpec) -> tuple[object, ...]:
    return spec.name, spec.dtype, tuple(-1 if isinstance(dim, str) else dim for dim in spec.shape)


def _refuse_other_outputs(baseline: AskedVariant, signature: Signature, other: AskedVariant) -> None:
    outputs = onnx_file.signature_of(other.onnx, other.provenance.source.inputs).outputs
    if not same_tensors(outputs, signature.outputs):
        ours, theirs = (", ".join(map(str, specs)) for specs in (signature.outputs, outputs))
        raise OptionError(
            f"can't compare {baseline.name} and {other.name}: they answer {ours} and {theirs}",
            "Name models that were made from the same source",
        )


def _data(baseline: AskedVariant, signature: Signature, samples: Path | None) -> Dataset:
    source = baseline.provenance.source
    preprocess = source.preprocess
    if source.input_kinds and (samples is None or had.is_had(samples)):
        return _had(baseline, signature, samples)
    if samples is None:
        return datasets.random_like(signature, preprocess, accuracy.GENERATED, SEED)
    if not samples.exists():
        raise OptionError(f"there is no file {samples}", "Name images, a .npz, a .npy, or a folder with --samples")
    return datasets.read(samples, signature, preprocess, baseline.labels)


def _had(baseline: AskedVariant, signature: Signature, samples: Path | None) -> Dataset:
    """Return what clients have: the user's pictures or texts, or photographs and texts; each a pool of its own size."""
    batched = signature.batch_dim is not None
    model = ServedModel(
        baseline.name, (), "", int(batched), tuple(_tensor(each, baseline) for each in signature.inputs), ()
    )
    if samples is not None:
        rows = had.of_file(samples, model, lambda _: PICTURES)
    else:
        kept = datasets.random_like(signature, None, PICTURES, SEED).pools[0]
        made = {
            each.name: had.made(each, batched, PICTURES, None, SEED) if each.kind else list(kept.arrays[each.name])
            for each in model.inputs
        }
        rows = [{name: values[row] for name, values in made.items()} for row in range(PICTURES)]
    name = "sample" if samples else "natural-looking"
    return Dataset(
        tuple(
            Pool({key: value[np.newaxis] for key, value in row.items()}, (f"{name} {number}",))
            for number, row in enumerate(rows, 1)
        )
    )


def _tensor(spec: TensorSpec, baseline: AskedVariant) -> Tensor:
    dims = tuple(-1 if isinstance(dim, str) else dim for dim in spec.shape)
    return Tensor(spec.name, spec.dtype, dims, kind=baseline.provenance.source.input_kinds.get(spec.name, ""))


def _answering(run: Run) -> Run:
    """Return a run that raises VerificationError for an answer with NaN: nothing agrees with that."""

    def checked(arrays: Arrays) -> Arrays:
        answers = run(arrays)
        for name, answer in answers.items():
            if np.issubdtype(answer.dtype, np.floating) and np.isnan(answer).any():
                raise VerificationError(f"output {name!r} is NaN")
        return answers

    return checked


def _agreement(first: Run, run: Run, data: Dataset, signature: Signature, batch: int, classes: int) -> Agreement:
    def measured(asked: Dataset) -> Accuracy | None:
        return accuracy.measured(first, run, asked, signature, batch=batch, limit=0.0, classes=classes)

    same = measured(replace(data, labels=None))
    if same is None and all(spec.dtype.startswith(("int", "uint", "bool", "object")) for spec in signature.outputs):
        return Agreement(data.count, top1=_equal(first, run, data, signature))
    if same is None:
        return Agreement(data.count, max_rel_diff=_worst(first, run, data, signature))
    right = measured(data) if data.labels is not None else None
    return Agreement(data.count, top1=same.value, accuracy=right)


def _equal(first: Run, run: Run, data: Dataset, signature: Signature) -> float:
    """Return the share of samples, 0 to 1, with equal answers: differences between classes mean nothing."""
    asked = [(first(arrays), run(arrays)) for arrays in _one_by_one(data, signature)]
    return float(np.mean([all(np.array_equal(one[name], other[name]) for name in one) for one, other in asked]))


def _worst(first: Run, run: Run, data: Dataset, signature: Signature) -> float:
    """Return the largest difference of any output to any sample, over that output's largest magnitude.

    Raises VerificationError for a different shape or an infinite difference.
    """
    worst = 0.0
    for arrays in _one_by_one(data, signature):
        wanted, got = first(arrays), run(arrays)
        for name, answer in wanted.items():
            if got[name].shape != answer.shape:
                raise VerificationError(f"output {name!r} has shape {got[name].shape}, expected {answer.shape}")
            difference, magnitude = largest_difference(answer, got[name], True)[0], largest_magnitude(answer)
            if not np.isfinite(difference):
                raise VerificationError(f"output {name!r} is infinite, and the first model's is not")
            worst = max(worst, difference / magnitude if magnitude else difference)
    return worst


def _one_by_one(data: Dataset, signature: Signature) -> Iterator[Arrays]:
    for pool in data.pools:
        for row in range(len(pool.families)):
            yield pool.single(row, signature)
