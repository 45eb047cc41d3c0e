"""YOLO's raw heads, as ultralytics exports them: boxes chosen by non-maximum suppression, for each class.

The layouts are those of their documentation; none of their code is used. YOLOv8 and later answer (batch, 4 + classes,
anchors) with a score for each class, YOLOv5 (batch, anchors, 5 + classes) with one for the box before those. A box is
its centre, width and height in pixels of the input. Each anchor has its best class.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelrepo.generator.errors import OptionError
from modelrepo.generator.preparation.answers.boxes import CORNERS, COUNTED, Wanted, answered, listed, shared
from modelrepo.generator.preparation.answers.finish import Finish, fragment
from modelrepo.generator.specs.preparation import BOXES, CLASSES, LABELS, SCORES
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

LAYOUTS = "YOLOv8 answers [batch, 4 + classes, anchors], YOLOv5 [batch, anchors, 5 + classes]"
FROM_V8 = """
rows = Transpose <perm = [0, 2, 1]> (given)
centred = Slice (rows, zero, four_, last)
scored = Slice (given, four_, far, one)
"""
FROM_V5 = """
centred = Slice (given, zero, four_, last)
objectness = Slice (given, four_, five, last)
each = Slice (given, five, far, last)
weighted = Mul (each, objectness)
scored = Transpose <perm = [0, 2, 1]> (weighted)
"""
# ``scored`` is (batch, classes, anchors), ``centred`` (batch, anchors, 4). Non-maximum suppression answers the places
# of what it keeps; these become a mask, since their number differs from picture to picture.
CHOSEN = f"""
tops, kinds = TopK <axis = 1> (scored, one)
kind = Squeeze (kinds, one)
shape = Shape (scored)
classes_in = Slice (shape, one, two, zero)
till = Squeeze (classes_in, zero)
numbers = Range (nought, till, step)
upright = Unsqueeze (numbers, last)
is_best = Equal (upright, kinds)
none = Mul (scored, off)
own = Where (is_best, scored, none)
places = NonMaxSuppression <center_point_box = 1> (centred, own, most, overlap, threshold)
empty = ConstantOfShape <value = float[1] {{0.0}}> (shape)
kept_of = Shape (places)
kept_number = Slice (kept_of, zero, one, zero)
marks = ConstantOfShape <value = float[1] {{1.0}}> (kept_number)
mask = ScatterND (empty, places, marks)
kept = Mul (own, mask)
line = ReduceSum <keepdims = 0> (kept, one)
{SCORES}_, place = TopK <axis = -1> (line, within)
is_found = Greater ({SCORES}_, off)
kind_ = GatherElements <axis = 1> (kind, place)
{CLASSES}_ = Where (is_found, kind_, last)
column = Unsqueeze (place, last)
wide = Expand (column, four)
chosen = GatherElements <axis = 1> (centred, wide)
cornered = MatMul (chosen, corners)
found_column = Unsqueeze (is_found, last)
{BOXES}_ = Where (found_column, cornered, off)
"""
PADDED = f"""
{SCORES} = Pad ({SCORES}_, lack2)
{CLASSES} = Pad ({CLASSES}_, lack2, minus)
{BOXES} = Pad ({BOXES}_, lack3)
"""


@dataclass(frozen=True)
class Layout:
    """Where a head has its numbers."""

    version: Literal["v5", "v8"]
    classes: int
    anchors: int


def layout(output: TensorSpec, shape: tuple[int, ...], names: int) -> Layout:
    """Return the layout of an output, from the ``shape`` of an answer and the number of names of classes, 0 if none.

    Raises OptionError for an output that has neither layout, or whose classes are not those that have names.
    """
    if len(shape) != 3 or not output.dtype.startswith("float"):
        raise OptionError(f"--head yolo can't read {output} of {output.dtype}: {LAYOUTS}")
    v8 = Layout("v8", shape[1] - 4, shape[2])
    v5 = Layout("v5", shape[2] - 5, shape[1])
    if names:
        fitting = [each for each in (v8, v5) if each.classes == names]
    else:
        fitting = [v8] if shape[1] < shape[2] else [v5] if shape[2] < shape[1] else []
    fitting = [each for each in fitting if each.classes > 0]
    if len(fitting) == 1:
        return fitting[0]
    named = f" with {names} classes" if names else ""
    raise OptionError(
        f"--head yolo can't read an answer of the shape {list(shape)}{named}: {LAYOUTS}",
        "Give the names of its classes with --labels, or leave --head out",
    )


def chosen(output: TensorSpec, found: Layout, wanted: Wanted, overlap: float) -> Finish:
    """Return the boxes of a head: those above the threshold, without ones that overlap a better one of their class.

    Outputs are ``scores``, ``classes`` and ``labels`` (batch, most), the best first, ``boxes`` (batch, most, 4) as
    left, top, right and bottom in pixels of the input, and ``count`` (batch, 1). Behind the first ``count``, scores and
    boxes are 0, classes are -1 and labels are empty.
    """
    within = min(wanted.most, found.anchors)
    lack = wanted.most - within
    names = [f"{LABELS} = Gather (names, {CLASSES})"] if wanted.names else []
    first = FROM_V8 if found.version == "v8" else FROM_V5
    nodes = "\n".join(("given = Cast <to = 1> (answer)", first, CHOSEN, PADDED, COUNTED, *names))
    constants = {
        **shared(wanted, within),
        **{name: np.array([value]) for name, value in {"two": 2, "four_": 4, "five": 5, "far": 1 << 30}.items()},
        "corners": CORNERS,
        "off": np.array(0, np.float32),
        "nought": np.array(0),
        "step": np.array(1),
        "minus": np.array(-1),
        "most": np.array([wanted.most]),
        "overlap": np.array([overlap], np.float32),
        "lack2": np.array([0, 0, 0, lack]),
        "lack3": np.array([0, 0, 0, 0, lack, 0]),
    }

    def run(arrays: Arrays) -> dict[str, Array]:
        answer = np.asarray(arrays[output.name]).astype(np.float32)
        rows = answer.transpose(0, 2, 1) if found.version == "v8" else answer
        scores = rows[..., 4:] if found.version == "v8" else rows[..., 5:] * rows[..., 4:5]
        each = [_of_a_picture(*pair, wanted, overlap) for pair in zip(rows[..., :4], scores, strict=True)]
        best, kinds, placed = (np.stack(part) for part in zip(*each, strict=True))
        return answered(best, kinds, placed, wanted)

    given = (TensorSpec("answer", output.dtype, output.shape),)
    outputs = listed(output.shape[0], wanted, wanted.most)
    return Finish(fragment(nodes, given, outputs, constants, {output.name: "answer"}), run)


def _of_a_picture(centred: Array, scores: Array, wanted: Wanted, overlap: float) -> tuple[Array, Array, Array]:
    """Return the scores, classes and boxes of one picture, each of ``wanted.most`` rows."""
    kinds, best = scores.argmax(axis=1), scores.max(axis=1)
    boxes = centred @ CORNERS
    kept: list[int] = []
    for kind in np.unique(kinds[best > np.float32(wanted.threshold)]):
        candidates = np.flatnonzero((kinds == kind) & (best > np.float32(wanted.threshold)))
        kept += _suppressed(boxes, candidates[np.argsort(-best[candidates], kind="stable")], overlap)
    places = np.array(sorted(kept, key=lambda place: (-best[place], place))[: wanted.most], int)
    number = len(places)
    out_scores, out_kinds = np.zeros(wanted.most, np.float32), np.full(wanted.most, -1)
    out_boxes = np.zeros((wanted.most, 4), np.float32)
    out_scores[:number], out_kinds[:number], out_boxes[:number] = best[places], kinds[places], boxes[places]
    return out_scores, out_kinds, out_boxes


def _suppressed(boxes: Array, ordered: Array, overlap: float) -> list[int]:
    """Return the places of boxes that overlap no better one too much; ``ordered`` are theirs, the best first."""
    kept = []
    while ordered.size:
        best, ordered = int(ordered[0]), ordered[1:]
        kept.append(best)
        ordered = ordered[_overlap(boxes[best], boxes[ordered]) <= np.float32(overlap)]
    return kept


def _overlap(one: Array, others: Array) -> Array:
    """Return the shares of intersection in union; boxes without an area overlap nothing."""
    corner, opposite = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    shared_area = np.prod(np.maximum(opposite - corner, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(one[2:] - one[:2])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(shared_area / (areas - shared_area)))
