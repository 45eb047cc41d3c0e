"""The story of a lower precision: clean up, prune, lower, compare with the source, and see what it costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from generator import accuracy, datasets
from generator.backends import onnxruntime
from generator.comparison import Precision, why_useless
from generator.datasets import Dataset
from generator.errors import ConversionError, InputRefused, OptionError, VerificationError, nearest
from generator.inputs import Pool
from generator.optimize import graph, prune, recipe_of, simplify
from generator.optimize.recipe import Lowered, Recipe, Request
from generator.progress import Progress
from generator.releases import release_named
from generator.remembered import Remembered
from generator.specs import Accuracy, Choice, Export, Optimization, Options, Tolerance, Verification
from generator.staging import Proven
from generator.verify import Run, verify

# Answers of a pruned model are others, and judged by its accuracy: of all distances only NaN and infinity are refused.
PRUNED = Precision(Tolerance(relative=1e9), rounding=1e9)
# Where there is no accuracy, because the model names no classes: how far its answers may move, of their magnitude.
PRUNED_MAX_DIFFERENCE = 0.5
PRUNED_MAX_ACCURACY_DROP = 0.03
# How many inputs accuracy is measured on where the user gives none: one that differs is less than 1%.
GENERATED = 128
# Fewer samples of the user's, without labels, say too little to be measured on.
ENOUGH = 32
# Of data that is calibrated with, this share is kept back to measure on.
HELD_OUT = 0.25
# How many rows of that are compared number by number.
COMPARED = 16
# The layers that lose most, which a message names.
NAMED = 3
MIXES = (
    "batching is off: one range is found for all samples of a batch, so that their answers depend on their neighbours"
)
ALIKE = "the source names the same class for all that it was asked: agreement says little. Give real --samples"
NOTHING = Dataset(())
RANDOM = "calibrated with random inputs, whose ranges are not those of real ones: give real ones with --calibration DIR"


@dataclass(frozen=True)
class Task:
    """A variant to make of a proven model: ``recipe`` is None where the precision stays."""

    choice: Choice
    proven: Proven
    options: Options
    recipe: Recipe | None
    folder: Path
    progress: Progress

    @property
    def limit(self) -> float:
        """How much accuracy the variant may cost, in 0..1."""
        own = [self.recipe.MAX_ACCURACY_DROP] if self.recipe else []
        pruned = [PRUNED_MAX_ACCURACY_DROP] if self.options.prune else []
        asked = self.options.max_accuracy_drop
        return max([*own, *pruned], default=0.0) if asked is None else asked

    @property
    def for_tensorrt(self) -> bool:
        """Whether TensorRT's parser must take the graph."""
        return self.choice.backend != "onnx"

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form of it."""
        return 0 if self.recipe and self.recipe.MIXES_SAMPLES else self.proven.max_batch_size

    @property
    def precision(self) -> Precision | None:
        """How far its answers may lie from the source's; None for as far as those of the export."""
        own = self.recipe.PRECISION if self.recipe else None
        return PRUNED if self.options.prune else own


@dataclass(frozen=True)
class Data:
    """What a variant is calibrated with, if it is, and what its accuracy is measured on."""

    calibration: Dataset | None
    measured: Dataset
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A variant beside its source: what was found, or the problem that keeps it from being published.

    ``served`` answers as a server here would.
    """

    lowered: Lowered
    served: Run
    verification: Verification
    accuracy: Accuracy | None = None
    problem: VerificationError | None = None


class Variants:
    """The variants of one proven model; what several of them need is made once, below ``folder``."""

    def __init__(self, proven: Proven, options: Options, folder: Path, progress: Progress) -> None:
        self.proven, self.options, self.folder, self.progress = proven, options, folder, progress
        self._graphs: dict[bool, tuple[Export, tuple[str, ...], float | None]] = {}
        self._data: dict[bool, Data] = {}

    def made(self, choice: Choice) -> Proven:
        """Make the model into what a choice serves, and prove that; the model itself where nothing is to be done.

        Raises ConversionError where a recipe fails or did nothing, and VerificationError where the outcome answers too
        differently, or costs more accuracy than is allowed.
        """
        if choice.precision == "fp32" and not self.options.simplify and not self.options.prune:
            return self.proven
        recipe = None if choice.precision == "fp32" else recipe_of(choice.precision)
        task = Task(choice, self.proven, self.options, recipe, self.folder / str(choice), self.progress)
        calibrated = recipe is not None and recipe.CALIBRATED
        if task.for_tensorrt not in self._graphs:
            self._graphs[task.for_tensorrt] = _graph(task)
        if calibrated not in self._data:
            self._data[calibrated] = _data(task)
        return _made(task, *self._graphs[task.for_tensorrt], self._data[calibrated])


def _made(task: Task, base: Export, done: tuple[str, ...], sparsity: float | None, data: Data) -> Proven:
    request = Request(
        base,
        task.folder / task.choice.precision,
        kept=_named_to_keep(task, base),
        data=data.calibration.pools if data.calibration else (),
        method=task.options.calibration_method,
        for_tensorrt=task.for_tensorrt,
    )
    judged, kept = _lowered(task, request, data)
    said = (*done, *([judged.lowered.done] if task.recipe else []))
    notes = (
        *data.notes,
        *([ALIKE] if judged.accuracy and judged.accuracy.classes == 1 else []),
        *judged.verification.notes,
        *([MIXES] if task.max_batch_size < task.proven.max_batch_size else []),
    )
    for note in notes:
        task.progress.warn(f"{task.choice}: {note}")
    return replace(
        task.proven,
        export=judged.lowered.export,
        reference=Remembered(judged.served),
        verification=judged.verification,
        max_batch_size=task.max_batch_size,
        notes=tuple(dict.fromkeys((*task.proven.notes, *notes))),
        optimization=Optimization(task.choice.precision, said, kept, sparsity, judged.accuracy),
        precision=task.recipe.PRECISION if task.recipe else None,
        twin=None if judged.lowered.runs_here else judged.lowered.twin,
    )


def _graph(task: Task) -> tuple[Export, tuple[str, ...], float | None]:
    """Clean up and prune the graph as asked; return it, what was done, and the share of weights that are zero."""
    export, done, sparsity = task.proven.export, [], None
    if task.options.simplify:
        with task.progress.step("simplify", "simplifying the graph") as step:
            export, said = simplify.simplified(export, task.folder / "simplified", for_tensorrt=task.for_tensorrt)
            step.outcome = said
        done.append(said)
    if task.options.prune:
        with task.progress.step("prune", f"pruning {task.options.prune} of the weights") as step:
            export, said, sparsity = prune.pruned(export, task.options.prune, task.folder / "pruned")
            step.outcome = said
        done.append(said)
    return export, tuple(done), sparsity


def _named_to_keep(task: Task, export: Export) -> tuple[str, ...]:
    """Return the layers that the user wants to keep, if the graph has them all."""
    names = tuple(name for name in task.options.keep_precise if name != "auto")
    known = [node.name for node in graph.nodes(graph.load(export.path))] if names and task.recipe else ()
    for name in names if task.recipe else ():
        if name not in known:
            raise OptionError(f"--keep-precise names {name!r}, which is no layer of the model", nearest(name, known))
    return names if task.recipe else ()


def _data(task: Task) -> Data:
    """Gather what to calibrate and to measure with: the user's, and random inputs where there is none."""
    calibrated = task.recipe is not None and task.recipe.CALIBRATED
    wanted = task.options.calibration
    calibration = held_out = None
    notes: tuple[str, ...] = ()
    if calibrated and wanted.path:
        given = _read(task, wanted.path)
        notes = (*given.notes, *datasets.check_calibration(given, wanted.path))
        calibration, held_out = given.split(HELD_OUT, task.options.seed)
    elif calibrated:
        calibration, notes = _random(task, wanted.count, task.options.seed), (RANDOM,)
    samples = _read(task, task.options.samples) if task.options.samples else None
    if samples and (samples.labels is not None or samples.count >= ENOUGH):
        return Data(calibration, samples, notes)
    if held_out and held_out.count:  # however few: what lies outside the calibrated ranges would be judged unjustly
        return Data(calibration, held_out, notes)
    return Data(calibration, _random(task, GENERATED, task.options.seed + 1) if task.options.verify else NOTHING, notes)


def _read(task: Task, path: Path) -> Dataset:
    source = task.proven.source
    return datasets.read(path, task.proven.export.signature, source.preprocess, source.labels)


def _random(task: Task, count: int, seed: int) -> Dataset:
    """Return random inputs; of a model that may refuse some, those that it answers with numbers."""
    signature = task.proven.export.signature
    drawn = datasets.random_like(signature, task.proven.source.preprocess, count, seed)
    if all(spec.domain.known for spec in signature.inputs):
        return drawn
    answered = drawn.only(lambda pool, row: _is_answered(task, pool, row))
    if not answered.count:
        raise VerificationError(
            "the model answers no random input with numbers, so nothing tells what a lower precision costs",
            "Give inputs that it answers with --samples, and --calibration",
        )
    return answered


def _is_answered(task: Task, pool: Pool, row: int) -> bool:
    arrays = pool.rows([row])
    if task.proven.export.signature.batch_dim is None:
        arrays = {name: array[0, ...] for name, array in arrays.items()}
    try:
        answers = task.proven.reference.recall(arrays)
    except InputRefused:
        return False
    return why_useless({name: np.asarray(answer)[np.newaxis] for name, answer in answers.items()}, pool, [row]) is None


def _lowered(task: Task, request: Request, data: Data) -> tuple[Judged, tuple[str, ...]]:
    """Lower the precision, keeping ever more of the layers that lose most where that is asked for and needed."""
    judged = _attempt(task, request, data, 0)
    if not judged.problem or not task.recipe:
        return _accepted(judged), request.kept
    costs = task.recipe.costs(request, judged.lowered)
    worst = sorted(costs, key=lambda name: costs[name], reverse=True)
    if "auto" not in task.options.keep_precise:
        named = ", ".join(f"{name} ({_share(costs[name])})" for name in worst[:NAMED])
        hint = f"Layers that lose most in {task.choice.precision}: {named}; --keep-precise auto keeps such in FP32"
        raise VerificationError(judged.problem.message, f"{judged.problem.hint}. {hint}")
    for attempt, count in enumerate(_more(len(worst)), 1):
        kept = (*request.kept, *worst[:count])
        judged = _attempt(task, replace(request, kept=kept), data, attempt)
        if not judged.problem:
            break
    return _accepted(judged), kept


def _share(cost: float) -> str:
    return f"{cost:.1%}" if isfinite(cost) else "overflows"


def _more(layers: int) -> Iterator[int]:
    """Yield how many layers to keep: 1, 2, 4, …, and at last half of them."""
    count = 1
    while count < layers / 2:
        yield count
        count *= 2
    yield max(1, layers // 2)


def _accepted(judged: Judged) -> Judged:
    if judged.problem:
        raise judged.problem
    return judged


def _attempt(task: Task, request: Request, data: Data, number: int) -> Judged:
    lowered = Lowered(request.export, "", ())
    if task.recipe:
        kept = f", {len(request.kept)} layers kept" if request.kept else ""
        with task.progress.step("lower", f"lowering to {task.choice.precision}{kept}") as step:
            lowered = task.recipe.lower(replace(request, folder=request.folder / str(number)))
            step.outcome = lowered.done
    _check_release(task, lowered.export)
    compared, served = _opened(task, lowered)
    if not task.options.verify:
        return Judged(lowered, served, task.proven.verification)
    with task.progress.step("verify", f"verifying {task.choice} against the source") as step:
        judged = _judged(task, Judged(lowered, served, task.proven.verification), compared, data)
        step.outcome = judged.problem.message if judged.problem else _outcome(judged)
    return judged


def _opened(task: Task, lowered: Lowered) -> tuple[Run, Run]:
    """Return what is compared with the source, and what a server here would answer.

    Raises ConversionError for what ONNX Runtime is to serve, and can't run here: nothing of it could be proven.
    """
    if not lowered.runs_here and not task.for_tensorrt:
        raise ConversionError(
            f"ONNX Runtime can't run this model in {task.choice.precision} on a CPU",
            f"Build a plan of it with --backends tensorrt:{task.choice.precision}",
        )
    served = onnxruntime.open_model(lowered.export.path) if lowered.runs_here else None
    compared = onnxruntime.open_model(lowered.twin) if lowered.twin else served
    assert compared is not None  # noqa: S101 - what does not run here has a twin
    return compared, served or compared


def _check_release(task: Task, export: Export) -> None:
    """Refuse a graph that is newer than the target release reads; a recipe may have raised the opset."""
    release = release_named(task.options.target_release)
    if export.opset > release.max_opset or export.ir_version > release.max_ir:
        raise ConversionError(
            f"in {task.choice.precision} the model needs opset {export.opset} and IR {export.ir_version}; Triton "
            f"{release.container} reads up to opset {release.max_opset} and IR {release.max_ir}",
            "Name a newer --target-release, or another precision",
        )


def _judged(task: Task, judged: Judged, run: Run, data: Data) -> Judged:
    """Compare a variant, by its run, with the source: number by number and then by its accuracy."""
    source, signature = task.proven.reference.recall, task.proven.export.signature
    pools = _first(data.measured.pools) if task.options.prune or (task.recipe and task.recipe.CALIBRATED) else ()
    origin = task.proven.source
    samples = _first(datasets.samples(task.options.samples, signature, origin.preprocess, origin.labels))
    try:
        found = verify(
            source,
            run,
            signature,
            max_batch_size=task.max_batch_size,
            sizes=() if task.max_batch_size or signature.batch_dim is None else (1,),
            seed=task.options.seed,
            samples=samples,
            tolerance=task.options.tolerance,
            precision=task.precision,
            pools=pools,
        )
    except VerificationError as error:
        return replace(judged, problem=error)
    if not (task.recipe or task.options.prune):
        return replace(judged, verification=found)
    if task.options.prune and not task.options.tolerance:
        found = replace(found, tolerance="that of its accuracy")
    reached = accuracy.measured(source, run, data.measured, signature, batch=task.max_batch_size, limit=task.limit)
    problem = _too_costly(reached) if reached else _moved_too_far(task, found)
    return replace(judged, verification=found, accuracy=reached, problem=problem)


def _first(pools: Sequence[Pool]) -> tuple[Pool, ...]:
    """Return the rows that are compared number by number."""
    return tuple(pool.only(range(min(COMPARED, len(pool.families)))) for pool in pools)


def _moved_too_far(task: Task, found: Verification) -> VerificationError | None:
    """Return why a pruned model may not be published that names no classes."""
    moved = found.max_rel_diff or 0.0
    if not task.options.prune or task.options.tolerance or moved <= PRUNED_MAX_DIFFERENCE:
        return None
    return VerificationError(
        f"pruning moved its answers by {moved:.0%} of their magnitude, where {PRUNED_MAX_DIFFERENCE:.0%} is allowed",
        "Prune less, or allow more with --tolerance",
    )


def _too_costly(reached: Accuracy) -> VerificationError | None:
    if reached.drop <= reached.limit + 1e-9:
        return None
    return VerificationError(
        f"{reached.measured} is {reached.value:.1%} of {reached.samples} samples, where {reached.source:.1%} less "
        f"{reached.limit:.1%} is allowed",
        "Allow more with --max-accuracy-drop",
    )


def _outcome(judged: Judged) -> str:
    found, reached = judged.verification, judged.accuracy
    told = f"worst difference {found.max_rel_diff:.1e}" if found.max_rel_diff is not None else "equal"
    return f"{told}, {reached.measured} {reached.value:.1%} of {reached.samples}" if reached else told
