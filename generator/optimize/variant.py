"""The story of a lower precision: clean up, prune, lower, compare with the source, and find the costly layers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from modelrepo.generator.errors import ConversionError, InputRefused, VerificationError
from modelrepo.generator.graphs import outline, runtime
from modelrepo.generator.optimize import prune, recipe_of, simplify
from modelrepo.generator.optimize.data import Data, gather
from modelrepo.generator.optimize.judging import Judgement, judge
from modelrepo.generator.optimize.recipe import Lowered, Request
from modelrepo.generator.optimize.task import Task
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.findings import Optimization
from modelrepo.generator.specs.options import Choice, Options
from modelrepo.generator.specs.preparation import BEFORE
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.triton.releases import release_named
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import Run

# How many of the layers that lose most a message names.
NAMED = 3
# A layer that loses this share of its answer, or more, answers zero.
VANISHED = 0.999
# The number of the attempt that keeps what a recipe would rather keep, after those of --keep-precise auto.
ANEW = 99
MIXES = "batching is off: all samples of a batch share one range, so answers would depend on their neighbours"
ALIKE = "the source predicts the same class for every input, so agreement says little: give real --samples"


@dataclass(frozen=True)
class Base:
    """The graph that a recipe starts from: cleaned up and pruned."""

    export: Export
    done: tuple[str, ...] = ()  # the changes so far, in words
    sparsity: float | None = None  # share of weights that are zero, 0..1


@dataclass(frozen=True)
class Attempt:
    """A variant that was made and judged."""

    lowered: Lowered
    served: Run  # answers as a server on this machine would
    judgement: Judgement


class Variants:
    """The variants of one proven model; shared parts are made once, below ``folder``."""

    def __init__(self, proven: Proven, options: Options, folder: Path, progress: Progress) -> None:
        self.proven, self.options, self.folder, self.progress = proven, options, folder, progress
        self._bases: dict[bool, Base] = {}
        self._data: dict[tuple[bool, bool], Data] = {}
        self._made: dict[tuple[str, bool], Proven] = {}

    def made(self, choice: Choice, *, read_by_tensorrt: bool) -> Proven:
        """Return the proven model that a choice serves; the model itself if nothing has to change.

        ``read_by_tensorrt``: TensorRT's parser will read the graph; otherwise ONNX Runtime, which must run it here.
        Choices that serve the same graph share it. Raises ConversionError if a recipe fails or changed nothing, and
        VerificationError if the result answers too differently, or costs more accuracy than is allowed.
        """
        if choice.precision == "fp32" and not self.options.simplify and not self.options.prune:
            return self.proven
        recipe = None if choice.precision == "fp32" else recipe_of(choice.precision)
        folder = self.folder / str(choice)
        task = Task(choice, read_by_tensorrt, self.proven.closed, self.options, recipe, folder, self.progress)
        wanted = choice.precision, task.for_tensorrt
        data = self._data_for(task)
        for note in data.notes:  # before anything is made: they may be why it is refused
            self.progress.warn(f"{choice}: {note}")
        if wanted not in self._made:
            self._made[wanted] = _made(task, self._base(task), data)
        variant = self._made[wanted]
        _refuse_unrunnable(task, runs_here=variant.twin is None)
        for note in variant.notes:
            if note not in (*self.proven.notes, *data.notes):
                self.progress.warn(f"{choice}: {note}")
        return variant

    def _base(self, task: Task) -> Base:
        differs = task.for_tensorrt and self.options.simplify
        if differs not in self._bases:
            self._bases[differs] = _based(task)
        return self._bases[differs]

    def _data_for(self, task: Task) -> Data:
        wanted = task.calibrated, task.costs_accuracy
        if wanted not in self._data:
            self._data[wanted] = gather(task)
        return self._data[wanted]


def _based(task: Task) -> Base:
    """Clean up and prune the graph as the options say."""
    base = Base(task.proven.export)
    if task.options.simplify:
        with task.progress.step("simplify", "simplifying the graph") as step:
            folder = task.folder / "simplified"
            export, step.outcome = simplify.simplified(base.export, folder, for_tensorrt=task.for_tensorrt)
        base = Base(export, (step.outcome,))
    if task.options.prune:
        with task.progress.step("prune", f"pruning {task.options.prune} of the weights") as step:
            export, step.outcome, sparsity = prune.pruned(base.export, task.options.prune, task.folder / "pruned")
        base = Base(export, (*base.done, step.outcome), sparsity)
    return base


def _preparing(path: Path) -> Iterator[str]:
    """Yield the names of the nodes that prepare pictures or texts, and are always as precise as the source's own."""
    yield from (node.name for node in outline.read(path).graph.node if node.name.startswith(BEFORE))


def _made(task: Task, base: Base, data: Data) -> Proven:
    request = Request(
        base.export,
        task.folder / task.choice.precision,
        kept=(*(name for name in task.options.keep_precise if name != "auto"), *_preparing(base.export.path)),
        data=data.calibration.pools if data.calibration else (),
        method=task.options.calibration_method,
        for_tensorrt=task.for_tensorrt,
    )
    attempt, kept = _lowered(task, request, data)
    lowered, judgement = attempt.lowered, attempt.judgement
    notes = (
        *task.proven.notes,
        *data.notes,
        *([ALIKE] if judgement.accuracy and judgement.accuracy.classes == 1 else []),
        *judgement.notes,
        *judgement.verification.notes,
        *([MIXES] if task.max_batch_size < task.proven.max_batch_size else []),
    )
    done = (*base.done, *data.done, *([lowered.done] if task.recipe else []))
    return replace(
        task.proven,
        export=lowered.export,
        reference=Remembered(_as_source(attempt.served)),
        verification=judgement.verification,
        max_batch_size=task.max_batch_size,
        notes=tuple(dict.fromkeys(notes)),
        optimization=Optimization(task.choice.precision, done, kept, base.sparsity, judgement.accuracy),
        precision=task.recipe.precision if task.recipe else task.proven.precision,
        twin=None if lowered.runs_here else lowered.twin,
    )


def _lowered(task: Task, request: Request, data: Data) -> tuple[Attempt, tuple[str, ...]]:
    """Lower the precision; if needed, and allowed by the options, keep more and more of the costliest layers."""
    attempt = _attempt(task, request, data, 0)
    problem = attempt.judgement.problem
    if not problem or not task.recipe:
        return _accepted(attempt), request.kept if task.recipe else ()
    if attempt.judgement.blames_the_source:
        raise problem
    if attempt.lowered.rather:
        request = replace(request, kept=tuple(dict.fromkeys((*request.kept, *attempt.lowered.rather))))
        attempt = _attempt(task, request, data, ANEW)
        if not attempt.judgement.problem:
            return attempt, request.kept
        problem = attempt.judgement.problem
    if _pruned_too_far(task, request, data):
        raise VerificationError(problem.message, f"{problem.hint}. Pruning alone costs too much: prune less")
    costs = task.recipe.costs(request, attempt.lowered)
    worst = sorted(costs, key=lambda name: costs[name], reverse=True)
    if "auto" not in task.options.keep_precise:
        raise VerificationError(problem.message, f"{problem.hint}. {_layers_hint(task, costs, worst)}")
    kept = request.kept
    for number, count in enumerate(_more(len(worst)), 1):
        kept = (*request.kept, *worst[:count])
        try:
            attempt = _attempt(task, replace(request, kept=kept), data, number)
        except ConversionError:  # nothing is left to lower: the last attempt counts
            break
        if not attempt.judgement.problem:
            break
    return _accepted(attempt), kept


def _pruned_too_far(task: Task, request: Request, data: Data) -> bool:
    """Whether the model would also be refused if it were only pruned."""
    if not task.options.prune:
        return False
    pruned = runtime.open_model(request.export.path)
    return judge(replace(task, recipe=None), pruned, data.measured).problem is not None


def _layers_hint(task: Task, costs: Mapping[str, float], worst: Sequence[str]) -> str:
    """Say which layers lose most, and how to keep them; a single layer can't be kept."""
    named = ", ".join(f"{name} ({_share(costs[name])})" for name in worst[:NAMED])
    hint = f"Layers that lose most in {task.choice.precision}: {named}"
    if any(_out_of_range(cost) for cost in costs.values()) and task.choice.precision == "fp16":
        return f"{hint}; FP16 holds 6e-8 to 65504, bf16 has the range of FP32"
    return f"{hint}; --keep-precise auto keeps such layers in FP32" if len(worst) > 1 else hint


def _share(cost: float) -> str:
    return f"{cost:.1%}" if isfinite(cost) and not _out_of_range(cost) else "overflows" if cost > 1 else "vanishes"


def _out_of_range(cost: float) -> bool:
    """Whether a layer's answer became infinite or zero, so that all of it is lost."""
    return not isfinite(cost) or VANISHED <= cost <= 1


def _more(layers: int) -> Iterator[int]:
    """Yield how many layers to keep: 1, 2, 4, …, and at last half of them; nothing for a single layer."""
    count = 1
    while count < layers / 2:
        yield count
        count *= 2
    if layers > 1:
        yield layers // 2


def _accepted(attempt: Attempt) -> Attempt:
    if attempt.judgement.problem:
        raise attempt.judgement.problem
    return attempt


def _attempt(task: Task, request: Request, data: Data, number: int) -> Attempt:
    lowered = Lowered(request.export, "", ())
    if task.recipe:
        kept = f", {len(request.kept)} layers kept" if request.kept else ""
        with task.progress.step("lower", f"lowering to {task.choice.precision}{kept}") as step:
            lowered = task.recipe.lower(replace(request, folder=request.folder / str(number)))
            step.outcome = lowered.done
    _check_release(task, lowered.export)
    _refuse_unrunnable(task, runs_here=lowered.runs_here)
    compared, served = _opened(lowered)
    if not task.options.verify:
        return Attempt(lowered, served, Judgement(task.proven.verification))
    with task.progress.step("verify", f"verifying {task.choice} against the source") as step:
        judgement = judge(task, compared, data.measured)
        if lowered.rather and served is not compared and not judgement.problem:
            # A CPU doesn't round between some nodes, so what is beside a mask may show there, and only there.
            here = judge(task, served, data.measured)
            judgement = here if here.problem else judgement
        step.outcome = str(judgement)
    return Attempt(lowered, served, judgement)


def _refuse_unrunnable(task: Task, *, runs_here: bool) -> None:
    """Raise ConversionError for what ONNX Runtime is to serve, and can't run here: nothing of it could be proven."""
    if not runs_here and not task.read_by_tensorrt:
        raise ConversionError(
            f"ONNX Runtime can't run this model in {task.choice.precision} on a CPU",
            f"Build a plan of it with --backends tensorrt:{task.choice.precision}",
        )


def _opened(lowered: Lowered) -> tuple[Run, Run]:
    """Return the model that is compared with the source, and the one that a server on this machine would run."""
    served = runtime.open_model(lowered.export.path) if lowered.runs_here else None
    compared = runtime.open_model(lowered.twin) if lowered.twin else served
    assert compared is not None  # noqa: S101 - a model that does not run here has a twin
    return compared, served or compared


def _as_source(run: Run) -> Run:
    """Return a run of what is served, as the source of the live check: it may fail on inputs that were left out."""

    def asked(arrays: Arrays) -> Mapping[str, Array]:
        try:
            return run(arrays)
        except VerificationError as error:
            raise InputRefused(error.message, error.hint) from error

    return asked


def _check_release(task: Task, export: Export) -> None:
    """Raise ConversionError if the target release can't read the graph; a recipe may have raised the opset."""
    release = release_named(task.options.target_release)
    if export.opset > release.max_opset or export.ir_version > release.max_ir:
        raise ConversionError(
            f"in {task.choice.precision} the model needs opset {export.opset} and IR {export.ir_version}; "
            f"{release.limits}",
            "Name a newer --target-release, or another precision",
        )
