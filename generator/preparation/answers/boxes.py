"""A detector's boxes, the best first: those of transformers' queries, and those that a model has chosen itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelrepo.generator.preparation.answers.classes import scaled
from modelrepo.generator.preparation.answers.finish import NOTHING, Finish, fragment
from modelrepo.generator.specs.preparation import BOXES, CLASSES, COUNT, LABELS, SCORES
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, TensorSpec

# From a centre, a width and a height to two corners: what each of the two counts.
CORNERS = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
# Scores of each query's best class, among those before the last one, "nothing".
BEST_OF_A_QUERY = """
shares = Softmax <axis = -1> (logits)
something = Slice (shares, zero, nothing, last)
tops, kinds = TopK <axis = -1> (something, one)
scored = Squeeze (tops, last)
kind = Squeeze (kinds, last)
{SCORES}, place = TopK <axis = -1> (scored, within)
{CLASSES} = GatherElements <axis = 1> (kind, place)
"""
# The best of all classes of all queries.
BEST_OF_ALL = """
shares = Sigmoid (logits)
line = Flatten (shares)
{SCORES}, flat = TopK <axis = -1> (line, within)
place = Div (flat, classes_of_a_query)
{CLASSES} = Mod (flat, classes_of_a_query)
"""


@dataclass(frozen=True)
class Wanted:
    """What a user wants of a detector."""

    names: Sequence[str]
    threshold: float
    most: int  # detections


def listed(batch: Dim, wanted: Wanted, most: int) -> tuple[TensorSpec, ...]:
    """Return the outputs of a list of ``most`` detections for each picture, and the number of those that count."""
    return (
        TensorSpec(SCORES, "float32", (batch, most)),
        TensorSpec(CLASSES, "int64", (batch, most)),
        TensorSpec(BOXES, "float32", (batch, most, 4)),
        TensorSpec(COUNT, "int64", (batch, 1)),
        *([TensorSpec(LABELS, "object", (batch, most))] if wanted.names else []),
    )


def queries(logits: TensorSpec, boxes: TensorSpec, wanted: Wanted, *, focal: bool) -> Finish:
    """Return the best detections of (batch, queries, classes) logits and (batch, queries, 4) boxes.

    As transformers' ``post_process_object_detection``: with a class for "nothing" at the end, each query has one, the
    best; ``focal`` ones may have several. Outputs are ``scores``, ``classes`` and ``labels`` (batch, most), the best
    first, ``boxes`` (batch, most, 4) as left, top, right and bottom in shares of the picture, and ``count`` (batch, 1):
    the number of them whose score is above the threshold.
    """
    number, classes = int(logits.shape[1]), int(logits.shape[2])
    most = min(wanted.most, number * classes if focal else number)
    nodes = BEST_OF_ALL if focal else BEST_OF_A_QUERY
    nodes = "\n".join((nodes.format(SCORES=SCORES, CLASSES=CLASSES), OF_A_PLACE, COUNTED, *_named(wanted)))
    constants = {
        **shared(wanted, most),
        "nothing": np.array([classes - 1]),
        "classes_of_a_query": np.array([classes]),
        "corners": CORNERS,
    }
    given = (TensorSpec("logits", "float32", logits.shape), TensorSpec("centred", "float32", boxes.shape))
    joins = {logits.name: "logits", boxes.name: "centred"}

    def run(arrays: Arrays) -> dict[str, Array]:
        scores, place, kinds = _best(np.asarray(arrays[logits.name]), most, focal)
        chosen = np.take_along_axis(np.asarray(arrays[boxes.name]), place[..., np.newaxis], axis=1)
        return answered(scores, kinds, chosen @ CORNERS, wanted)

    made = fragment(nodes, given, listed(logits.shape[0], wanted, most), constants, joins)
    return Finish(made, run)


OF_A_PLACE = f"""
column = Unsqueeze (place, last)
wide = Expand (column, four)
chosen = GatherElements <axis = 1> (centred, wide)
{BOXES} = MatMul (chosen, corners)
"""
COUNTED = f"""
certain = Greater ({SCORES}, threshold)
ones = Cast <to = 7> (certain)
{COUNT} = ReduceSum <keepdims = 1> (ones, last)
"""


def shared(wanted: Wanted, most: int) -> dict[str, Array]:
    """Return the constants of a list of detections."""
    names = {"names": np.array([*wanted.names, NOTHING], object)} if wanted.names else {}
    return {
        "zero": np.array([0]),
        "one": np.array([1]),
        "last": np.array([-1]),
        "four": np.array([1, 1, 4]),
        "within": np.array([most]),
        "threshold": np.array(wanted.threshold, np.float32),
        **names,
    }


def _named(wanted: Wanted) -> list[str]:
    return [f"{LABELS} = Gather (names, {CLASSES})"] if wanted.names else []


def _best(logits: Array, most: int, focal: bool) -> tuple[Array, Array, Array]:
    """Return the scores, queries and classes of the best detections, each (batch, most)."""
    if focal:
        line = scaled(logits, "sigmoid").reshape(len(logits), -1)
        flat = np.argsort(-line, axis=-1, kind="stable")[:, :most].astype(np.int64)
        return np.take_along_axis(line, flat, axis=-1), flat // logits.shape[2], flat % logits.shape[2]
    shares = scaled(logits, "softmax")[..., :-1]
    kinds, scores = shares.argmax(axis=-1), shares.max(axis=-1)
    place = np.argsort(-scores, axis=-1, kind="stable")[:, :most].astype(np.int64)
    return np.take_along_axis(scores, place, axis=-1), place, np.take_along_axis(kinds, place, axis=-1)


def answered(scores: Array, kinds: Array, boxes: Array, wanted: Wanted) -> dict[str, Array]:
    """Return detections as outputs; those without a class have the number -1, which is the empty name at the end."""
    count = (scores > np.float32(wanted.threshold)).sum(axis=-1, keepdims=True).astype(np.int64)
    names = {LABELS: np.array([*wanted.names, NOTHING], object)[kinds]} if wanted.names else {}
    return {SCORES: scores, CLASSES: kinds.astype(np.int64), BOXES: boxes, COUNT: count, **names}


def found(outputs: Mapping[str, TensorSpec], wanted: Wanted) -> Finish:
    """Return the boxes that a model of torchvision has chosen, with names, without those below a threshold.

    ``outputs`` are "boxes" (any, 4), "scores" (any,) and "labels" int64 (any,), and whatever else has one for each box,
    such as masks, which is kept. The numbers of the classes are called ``classes``, and their names ``labels``.
    """
    renamed = {"labels": CLASSES}
    limited = wanted.threshold > 0
    nodes = ["certain = GreaterOrEqual (of_scores, threshold)"] if limited else []
    given, specs = [], []
    for name, spec in outputs.items():
        given.append(TensorSpec(f"of_{name}", spec.dtype, spec.shape))
        specs.append(TensorSpec(renamed.get(name, name), spec.dtype, ("detections", *spec.shape[1:])))
        kept = f"Compress <axis = 0> (of_{name}, certain)" if limited else f"Identity (of_{name})"
        nodes.append(f"{renamed.get(name, name)} = {kept}")
    if wanted.names:
        specs.append(TensorSpec(LABELS, "object", ("detections",)))
        nodes.append(f"{LABELS} = Gather (names, {CLASSES})")
    constants = {"threshold": np.array(wanted.threshold, np.float32)}
    if wanted.names:
        constants["names"] = np.array(wanted.names, object)

    def run(arrays: Arrays) -> dict[str, Array]:
        certain = np.asarray(arrays["scores"]) >= np.float32(wanted.threshold)
        kept = {renamed.get(name, name): np.asarray(arrays[name])[certain] for name in outputs}
        return kept | ({LABELS: np.array(wanted.names, object)[kept[CLASSES]]} if wanted.names else {})

    joins = {name: f"of_{name}" for name in outputs}
    return Finish(fragment("\n".join(nodes), tuple(given), tuple(specs), constants, joins), run)
