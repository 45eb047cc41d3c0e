"""The step of a cascade: a function of ours that asks a small model, and a large one where the small one is unsure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from modelrepo.generator.ensembles import calling, cascades, combining, python_step
from modelrepo.generator.ensembles.cascades import Asked, Judged
from modelrepo.generator.ensembles.combine_step import Voice, specs, voice
from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.ensembles.python_step import PythonStep
from modelrepo.generator.errors import InputRefused, OptionError
from modelrepo.generator.progress import Remark
from modelrepo.generator.repository.layout import LABELS
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec, first_sizes
from modelrepo.generator.system.templates import environment
from modelrepo.generator.verification import accuracy, datasets
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool, make_pool

TEMPLATE, MODULE, FUNCTION = "cascade.py.j2", "modelrepo_cascade", "cascade"
SMALL, LARGE = "small", "large"
KEEP_ACCURACY = 0.99
Likely: TypeAlias = Callable[[int, int], Sequence[Arrays]]


@dataclass(frozen=True)
class Cascade:
    """Two models whose answers agree in names, types, shapes and classes."""

    small: Member
    large: Member
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]  # that both have
    scores: TensorSpec  # the output with a score of each class
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs as verification knows them."""
        return Signature(*(tuple(map(_as_numpy, each)) for each in (self.inputs, self.outputs)))


def member(step: Step, site: Site) -> Member:
    """Return the model of a cascade, with its threshold as given, or as chosen on labelled samples.

    Raises OptionError for two models that do not fit each other, for samples that can't choose a threshold, and for
    settings that contradict each other.
    """
    settings = step.settings
    _refuse_senseless(step)
    called = calling.resolved(step.name, (settings[SMALL], settings[LARGE]), site)
    found = fitted(list(called.values()), settings["scores"], site)
    samples = _samples(found, settings)
    softmax = _takes_softmax(found, settings, samples)
    judged = _judged(found, settings, samples, softmax=softmax)
    sure = settings["sure"] if judged is None else judged.threshold
    module = site.folder / "modules" / f"{MODULE}.py"
    write(module, found, sure, softmax=softmax)
    names = [spec.name for spec in found.outputs]
    callees = tuple(calling.callee(*each, names) for each in ((SMALL, found.small), (LARGE, found.large)))
    own = PythonStep(
        step.name,
        f"{MODULE}:{FUNCTION}",
        batched=True,
        timeout=step.timeout,
        max_batch_size=site.ensemble.max_batch_size or found.small.config.max_batch_size,
        callees=callees,
    )
    name, ask = site.ensemble.own_model(step), calling.asking(called.values())
    made = calling.with_calls(python_step.made(own, {module.name: module}, name, site.folder, ask), called.values())
    notes = (*found.notes, *_notes(judged, settings, samples, softmax=softmax))
    return replace(_told(made, found, site, notes), likely=_likely(found, samples, softmax=softmax))


def _refuse_senseless(step: Step) -> None:
    """Raise OptionError for settings that lack a model, or that contradict each other."""
    missing = next((key for key in (SMALL, LARGE) if not step.settings[key]), None)
    if missing:
        raise OptionError(
            f"step {step.name!r}: the cascade has no {missing} model",
            "Name models of the repository as small and large",
        )
    if step.settings["sure"] is not None and step.settings["keep_accuracy"] is not None:
        raise OptionError(
            f"step {step.name!r}: the cascade has both sure and keep_accuracy",
            "Give the threshold as sure, or let samples choose one that keeps this accuracy",
        )


def fitted(models: Sequence[Member], scores: str, site: Site) -> Cascade:
    """Return a small and a large model as a cascade; OptionError names both ends of what does not fit."""
    small, large = models
    for each in models:
        if not each.config.max_batch_size:
            raise OptionError(
                f"{each.name} has no batches, so its samples can't go to another model one by one",
                "Generate it with --max-batch-size 1 or more",
            )
    taken = [specs(each.config.input, batched=True) for each in (small, large)]
    _refuse_other_inputs(small, large, *taken)
    voices = [voice(each.name, each, site.repository) for each in (small, large)]
    names = [spec.name for spec in voices[0].outputs if spec.name in {each.name for each in voices[1].outputs}]
    outputs = tuple(spec for spec in voices[0].outputs if spec.name in names)
    for spec in outputs:
        _refuse_other_output(spec, *voices)
    notes = tuple(combining.agreed_labels(voices))
    left_out = sorted({spec.name for each in voices for spec in each.outputs} - set(names))
    if left_out:
        notes = (*notes, f"{', '.join(left_out)} is left out: only one of {small.name} and {large.name} answers it")
    named = next((each.labels for each in voices if each.labels), ())
    return Cascade(small, large, taken[0], outputs, _scores(scores, outputs, voices), named, notes)


def write(path: Path, found: Cascade, sure: float, *, softmax: bool) -> None:
    """Write the function of a cascade as a Python module: see ``cascades.threshold`` for what ``sure`` means."""
    template = environment().get_template(TEMPLATE)
    values: Mapping[str, Any] = {
        "comment": f"{found.small.name} first, and {found.large.name} where it is unsure: made by modelrepo.",
        "sure": sure,
        "scores": found.scores.name,
        "softmax": softmax,
        "inputs": [_annotated(spec) for spec in found.inputs],
        "outputs": [_annotated(spec) for spec in found.outputs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template.render(values), "utf-8")


def asked(found: Cascade, data: Dataset, *, softmax: bool) -> Asked:
    """Return what the references of both models answer to labelled samples; a class of NaN is wrong."""
    rows: list[tuple[Array, Array, Array]] = []
    for pool, right in data.parts():
        both = [_answers(each, found, pool) for each in (found.small, found.large)]
        rows.append((_sure(both[0], softmax=softmax), *(_named(each) == right for each in both)))
    return Asked(*(np.concatenate(each) for each in zip(*rows, strict=True)))


def _sure(scores: Array, *, softmax: bool) -> Array:
    return np.asarray((combining.softmax(scores) if softmax else scores.astype(np.float64)).max(axis=-1))


def _answers(model: Member, found: Cascade, pool: Pool) -> Array:
    parts = accuracy.answers(model.reference, pool, found.signature, model.config.max_batch_size)
    return np.concatenate([np.asarray(each[found.scores.name]) for each in parts])


def _named(scores: Array) -> Array:
    return np.where(np.isnan(scores).any(axis=-1), accuracy.NO_CLASS, scores.argmax(axis=-1))


def _samples(found: Cascade, settings: Mapping[str, Any]) -> Dataset:
    path = settings["samples"]
    preprocess = found.small.record.provenance.source.preprocess if found.small.record else None
    data = datasets.samples(path, found.signature, preprocess, found.labels, (), settings["label_column"])
    if data.labels is None and settings["sure"] is None:
        why = f"{path} has no labels" if path else "there are no labelled samples"
        raise OptionError(f"can't choose a threshold: {why}", "Give samples with labels, or the threshold as sure")
    return data


def _judged(found: Cascade, settings: Mapping[str, Any], data: Dataset, *, softmax: bool) -> Judged | None:
    if data.labels is None:
        return None
    answers = asked(found, data, softmax=softmax)
    if settings["sure"] is not None:
        return cascades.judged(answers, settings["sure"])
    return cascades.chosen(answers, _keep(settings))


def _keep(settings: Mapping[str, Any]) -> float:
    return KEEP_ACCURACY if settings["keep_accuracy"] is None else float(settings["keep_accuracy"])


def _takes_softmax(found: Cascade, settings: Mapping[str, Any], data: Dataset) -> bool:
    """Whether the small model's answers are scores that softmax makes probabilities of: as told, or as answered."""
    told, name = settings["softmax"], found.scores.name
    answers = [np.asarray(each[name]) for pool in data.pools or (_drawn(found),) for each in _each(found.small, pool)]
    if not answers and told is None:
        raise OptionError(
            f"can't tell whether {found.small.name} answers probabilities: it refuses all inputs that were tried",
            "Give samples, or write softmax = true for scores and false for probabilities",
        )
    probabilities = bool(answers) and combining.are_probabilities(np.concatenate(answers))
    if told is False and answers and not probabilities:
        raise OptionError(
            f"softmax = false, but {name!r} of {found.small.name} is not probabilities: they have the sum 1",
            "Leave out softmax",
        )
    return not probabilities if told is None else bool(told)


def _likely(found: Cascade, data: Dataset, *, softmax: bool) -> Likely | None:
    """Return what draws likely inputs: samples from the least sure to the surest, or what the small model draws."""
    if not data.count:
        return found.small.likely
    pool = data.pools[0]
    order = np.argsort(_sure(_answers(found.small, found, pool), softmax=softmax))

    def draw(count: int, seed: int) -> Sequence[Arrays]:
        return [pool.rows(order[np.linspace(0, len(order) - 1, count).astype(int)].tolist())]

    return draw


def _each(model: Member, pool: Pool) -> Iterator[Arrays]:
    for row in range(len(pool.families)):
        try:
            yield model.reference(pool.rows([row]))
        except InputRefused:
            continue


def _drawn(found: Cascade) -> Pool:
    """Return random inputs within what is known of the small model's inputs."""
    known = {spec.name: spec for spec in found.small.inputs}
    inputs = [known.get(spec.name, spec) for spec in found.signature.inputs]
    sizes = first_sizes(inputs)
    return make_pool([replace(spec, shape=("batch", *spec.sized(sizes)[1:])) for spec in inputs], 0, 0)


def _notes(judged: Judged | None, settings: Mapping[str, Any], data: Dataset, *, softmax: bool) -> Iterator[str]:
    yield from data.notes
    kind = "the softmax of its scores" if softmax else "its answers, which are probabilities"
    yield Remark(f"the small model is as sure as the largest of {kind}")
    if judged is None:
        yield Remark("the share of samples that go to the large model is not known: give labelled samples")
        return
    yield Remark(judged)
    short = "" if settings["sure"] is not None else cascades.falls_short(judged, _keep(settings))
    if short:
        yield short


def _told(made: Member, found: Cascade, site: Site, notes: tuple[str, ...]) -> Member:
    """Return the model of a cascade with what is known of the small model's inputs, its labels, and notes."""
    assert made.made is not None  # noqa: S101 - it was made just now
    beside = {}
    if found.labels:
        beside[LABELS] = site.folder / LABELS
        beside[LABELS].write_text("".join(f"{label}\n" for label in found.labels), "utf-8")
        for tensor in made.config.output:
            if tensor.name == found.scores.name:
                tensor.label_filename = LABELS
    return replace(
        made,
        inputs=found.small.inputs or made.inputs,
        input_kinds=found.small.input_kinds,
        made=replace(made.made, beside=beside, notes=notes),
    )


def _refuse_other_inputs(
    small: Member, large: Member, ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]
) -> None:
    by_name = {spec.name: spec for spec in theirs}
    for spec in ours:
        other = by_name.get(spec.name)
        if other is None or not _alike(spec, other):
            takes = f"{other.dtype} {other}" if other else ", ".join(map(str, theirs))
            raise OptionError(
                f"{small.name} takes {spec.dtype} {spec}, and {large.name} takes {takes}",
                "Both must take the same inputs: --with-preprocessing makes pictures of any size one",
            )
    more = sorted(by_name.keys() - {spec.name for spec in ours})
    if more:
        raise OptionError(f"{large.name} takes {', '.join(more)}, and {small.name} does not", "Both must take the same")


def _refuse_other_output(spec: TensorSpec, small: Voice, large: Voice) -> None:
    other = next(each for each in large.outputs if each.name == spec.name)
    if not _alike(spec, other):
        raise OptionError(
            f"{small.name} answers {spec.dtype} {spec}, and {large.name} answers {other.dtype} {other}",
            "A cascade answers with either, so both must have the same type and shape",
        )


def _alike(one: TensorSpec, other: TensorSpec) -> bool:
    sizes = [[dim if isinstance(dim, int) else -1 for dim in spec.shape] for spec in (one, other)]
    return one.dtype == other.dtype and sizes[0] == sizes[1]


def _scores(name: str, outputs: Sequence[TensorSpec], voices: Sequence[Voice]) -> TensorSpec:
    """Return the output with a score of each class: the named one, or the only one that may be."""
    able = [spec for spec in outputs if _has_scores(spec) and name in ("", spec.name)]
    if len(able) == 1:
        return able[0]
    both = " and ".join(each.name for each in voices)
    if able:
        names = " or ".join(repr(spec.name) for spec in able)
        raise OptionError(f"several outputs of {both} may be scores of classes", f"Write scores = {names}")
    which = f"{name!r} of {both} is not" if name else f"no output that {both} share is"
    raise OptionError(f"can't make a cascade: {which} a score for each class", "Use two classifiers")


def _has_scores(spec: TensorSpec) -> bool:
    many = len(spec.shape) == 2 and (not isinstance(spec.shape[-1], int) or spec.shape[-1] > 1)
    return many and spec.dtype in combining.FLOATS


def _as_numpy(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dtype="object") if spec.dtype == "string" else spec


def _annotated(spec: TensorSpec) -> Mapping[str, str]:
    dims = ", ".join("?" if isinstance(dim, str) and axis else str(dim) for axis, dim in enumerate(spec.shape))
    return {"name": spec.name, "annotation": f"{spec.name}={spec.dtype}[{dims}]"}
