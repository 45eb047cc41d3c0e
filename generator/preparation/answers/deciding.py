"""The decision which graph follows a model: from what its outputs mean, and what the user asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelrepo.generator.errors import OptionError
from modelrepo.generator.preparation.answers import boxes, classes, embeddings, segments, yolo
from modelrepo.generator.preparation.answers.finish import Finish
from modelrepo.generator.preparation.answers.probing import Probed, probed
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import LABELS, Meaning
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import TensorSpec

TOP_K, MOST = 5, 100
TENSORRT = "tensorrt"
# transformers' post_process_object_detection, and what ultralytics documents of its predictions.
OF_TRANSFORMERS, OF_YOLO = 0.5, 0.25
OVERLAP = {"v5": 0.45, "v8": 0.7}
# Shares of one may be this far from one in sum.
ROUNDED = 1e-3
MASK = "attention_mask"
# The options that have an effect, by what the outputs mean, and what such a model is called.
USED: Mapping[str, tuple[str, ...]] = {
    "softmax": ("top_k", "labels"),
    "sigmoid": ("top_k", "labels"),
    "queries": ("score_threshold", "max_detections", "labels"),
    "focal": ("score_threshold", "max_detections", "labels"),
    "found": ("score_threshold", "labels"),
    "yolo": ("head", "score_threshold", "iou_threshold", "max_detections", "labels"),
    "segments": (),
    "embedding": (),
    "tokens": ("pooling",),
}
CALLED = {
    **dict.fromkeys(("softmax", "sigmoid"), "a classifier"),
    **dict.fromkeys(("queries", "focal"), "a detector of transformers"),
    "found": "a detector that chooses its boxes itself",
    "yolo": "a YOLO",
    "segments": "a segmentation model",
    "embedding": "a model of one embedding a sample",
    "tokens": "a model of an embedding for each token",
}
ASKED = ("head", "top_k", "score_threshold", "iou_threshold", "max_detections", "pooling", "labels")
FLAG = "--with-postprocessing"
WAYS = "Leave it out, or say what the answers are: --labels FILE for a classifier, --head yolo for a detector"
LOGITS = "its scores are taken as logits: a softmax makes shares of one of them"
SHARES = "its scores are served as the shares that they are: they lie in 0..1 already"
NAMELESS = "its classes have no names, so it answers with their numbers alone: --labels FILE names them"
NO_STRINGS = "TensorRT has no strings, so it answers with the numbers of classes, without their names"


def finish(source: SourceModel, options: Options, names: Sequence[str] = ()) -> Finish:
    """Return what makes a source's answers what clients want; ``names`` are the user's of its classes.

    Raises OptionError if nothing can be made of its outputs, or an option has no effect on it.
    """
    found = probed(source, dynamic=options.make_batch_dynamic)
    meaning = Meaning("none") if options.head else source.meaning or _guessed(source, found, names)
    kind = "yolo" if options.head else meaning.kind
    if kind == "none":
        raise OptionError(f"can't make labels, boxes or embeddings of {source.reference}: {meaning.reason}", WAYS)
    _refuse_idle(kind, source, options)
    named = names or meaning.labels or source.labels
    spared = any(choice.backend == TENSORRT for choice in options.backends)
    made = MAKERS[kind](source, found, meaning, () if spared else tuple(named), options)
    if "labels" not in USED[kind] or any(spec.name == LABELS for spec in made.fragment.outputs):
        return made
    return replace(made, notes=(*made.notes, NO_STRINGS if spared and named else NAMELESS))


def _refuse_idle(kind: str, source: SourceModel, options: Options) -> None:
    """Refuse what a user asks for, and has no effect on such answers."""
    for name in ASKED:
        if getattr(options, name) not in ("", None) and name not in USED[kind]:
            fitting = ", ".join(dict.fromkeys(CALLED[each] for each, used in USED.items() if name in used))
            raise OptionError(
                f"--{name.replace('_', '-')} has no effect on {source.reference} {FLAG}: it is {CALLED[kind]}",
                f"It applies to {fitting}",
            )


def _guessed(source: SourceModel, found: Probed, names: Sequence[str]) -> Meaning:
    """Return what the outputs of a source that does not say it mean: scores of classes, if they can be nothing else."""
    labels = tuple(names) or source.labels
    for name, spec in found.outputs.items():
        shape = [dim for dim in spec.shape[1:] if dim != 1]
        if not spec.dtype.startswith("float") or len(shape) != 1 or (labels and shape != [len(labels)]):
            continue
        if labels or _are_shares(found.answers[name]):
            return Meaning("softmax", (name,), labels)
    shown = ", ".join(map(str, found.outputs.values()))
    if labels:
        return Meaning("none", reason=f"it has {len(labels)} classes, and no output a score for each ({shown})")
    return Meaning("none", reason=f"nothing says what its outputs mean ({shown})")


def _are_shares(answers: Sequence[np.ndarray]) -> bool:
    """Whether the numbers of each row are shares of one."""
    return all(
        answer.size and answer.min() >= 0 and np.abs(answer.reshape(len(answer), -1).sum(axis=1) - 1).max() < ROUNDED
        for answer in answers
    )


def _classified(
    source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options
) -> Finish:
    """Return the best classes; those of a source that does not say it are logits, unless they are within 0..1."""
    output, answers = _output(found, meaning.outputs[0]), found.answers[meaning.outputs[0]]
    output = _flat(output)
    count = output.shape[-1]
    if not isinstance(count, int):
        raise _unsized(source, output)
    names = _fitting(names, count, output, options)
    scale: classes.Scale = "sigmoid" if meaning.kind == "sigmoid" else "softmax"
    notes: tuple[str, ...] = ()
    if source.meaning is None:
        within = all(answer.min() >= 0 and answer.max() <= 1 for answer in answers)
        scale, notes = ("probabilities", (SHARES,)) if within else ("softmax", (LOGITS,))
    if options.top_k and options.top_k > count:
        raise OptionError(f"--top-k {options.top_k} is more than the {count} classes of {source.reference}", "Lower it")
    made = classes.best(output, names, options.top_k or min(TOP_K, count), scale)
    return replace(made, notes=notes)


def _flat(output: TensorSpec) -> TensorSpec:
    """Return an output of scores without axes of one behind them, as a network of convolutions may have."""
    while len(output.shape) > 2 and output.shape[-1] == 1:
        output = replace(output, shape=output.shape[:-1])
    return output


def _queries(source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options) -> Finish:
    logits, placed = (_output(found, name) for name in meaning.outputs)
    if not isinstance(logits.shape[1], int) or not isinstance(logits.shape[2], int):
        raise _unsized(source, logits)
    focal = meaning.kind == "focal"
    names = _fitting(names, logits.shape[2] if focal else logits.shape[2] - 1, logits, options)
    return boxes.queries(logits, placed, _wanted(names, options, OF_TRANSFORMERS), focal=focal)


def _found(source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options) -> Finish:
    lacking = {"boxes", "scores", "labels"} - found.outputs.keys()
    if lacking:
        raise OptionError(f"can't name the boxes of {source.reference}: it has no output {min(lacking)}", WAYS)
    return boxes.found(found.outputs, _wanted(names, options, 0.0))


def _yolo(source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options) -> Finish:
    output = next(iter(found.outputs.values()))
    if len(found.outputs) > 1:
        shown = ", ".join(map(str, found.outputs.values()))
        raise OptionError(f"--head yolo reads one output, and {source.reference} has several: {shown}", yolo.LAYOUTS)
    layout = yolo.layout(output, found.answers[output.name][0].shape, len(names or source.labels))
    overlap = OVERLAP[layout.version] if options.iou_threshold is None else options.iou_threshold
    made = yolo.chosen(output, layout, _wanted(names, options, OF_YOLO), overlap)
    told = f"its answers are read as those of YOLO{layout.version}, with {layout.classes} classes"
    return replace(made, notes=(told,))


def _wanted(names: tuple[str, ...], options: Options, threshold: float) -> boxes.Wanted:
    asked = options.score_threshold
    return boxes.Wanted(names, threshold if asked is None else asked, options.max_detections or MOST)


def _mapped(source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options) -> Finish:
    output = _output(found, meaning.outputs[0])
    picture = next((spec for spec in found.inputs if len(spec.shape) == 4), None)
    if picture is None or len(output.shape) != 4:
        raise OptionError(f"can't enlarge {output} of {source.reference} to its input's size: it is no picture")
    if output.shape[1] == 1:
        raise OptionError(
            f"can't choose a class for each place: {output} of {source.reference} has one score",
            f"Leave {FLAG} out: clients compare it with a threshold of their own",
        )
    return segments.mapped(output, picture)


def _embedded(source: SourceModel, found: Probed, meaning: Meaning, names: tuple[str, ...], options: Options) -> Finish:
    output = _output(found, meaning.outputs[0])
    if meaning.kind == "tokens":
        return _pooled(source, found, output, options)
    if len(output.shape) != 2:
        raise OptionError(f"can't make an embedding of {output} of {source.reference}: it is not one vector a sample")
    return embeddings.unit(output)


def _pooled(source: SourceModel, found: Probed, output: TensorSpec, options: Options) -> Finish:
    if not options.pooling:
        raise OptionError(
            f"can't make one embedding of {output}: {source.reference} does not say how tokens are pooled",
            "Say it with --pooling mean or --pooling cls, as the model was trained",
        )
    mask = next((spec for spec in found.inputs if spec.name == MASK), None)
    if options.pooling == "mean" and mask is None:
        raise OptionError(f"--pooling mean needs the input {MASK}, which {source.reference} does not have")
    return embeddings.unit(output, options.pooling, mask)


def _output(found: Probed, name: str) -> TensorSpec:
    return found.outputs[name]


def _fitting(names: tuple[str, ...], count: int, output: TensorSpec, options: Options) -> tuple[str, ...]:
    """Return names of classes if there are as many as scores; OptionError for the user's if there are not."""
    if names and len(names) != count and options.labels:
        raise OptionError(
            f"{options.labels} names {len(names)} classes, and {output} has {count}",
            "Give a name for each score, in their order",
        )
    return names if len(names) == count else ()


def _unsized(source: SourceModel, output: TensorSpec) -> OptionError:
    return OptionError(f"can't choose the best of {output} of {source.reference}: their number is not fixed")


Maker = Callable[[SourceModel, Probed, Meaning, tuple[str, ...], Options], Finish]
MAKERS: Mapping[str, Maker] = {
    **dict.fromkeys(("softmax", "sigmoid"), _classified),
    **dict.fromkeys(("queries", "focal"), _queries),
    **dict.fromkeys(("embedding", "tokens"), _embedded),
    "found": _found,
    "yolo": _yolo,
    "segments": _mapped,
}
