"""A classifier's best classes: their scores, numbers and names."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from modelrepo.generator.preparation.answers.finish import Finish, fragment
from modelrepo.generator.specs.preparation import CLASSES, LABELS, SCORES
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

Scale = Literal["softmax", "sigmoid", "probabilities"]
NODES: Mapping[Scale, str] = {
    "softmax": "shares = Softmax <axis = -1> (logits)",
    "sigmoid": "shares = Sigmoid (logits)",
    "probabilities": "shares = Identity (logits)",
}


def best(output: TensorSpec, names: Sequence[str], count: int, scale: Scale) -> Finish:
    """Return the best ``count`` classes of an output with a score for each on its last axis.

    Outputs are ``scores`` float32, ``classes`` int64 and, if there are ``names``, ``labels`` as texts, each of the
    output's shape with ``count`` at the end, the best first; of equal scores, the lower class. Classes are ranked by
    the output itself: a softmax rounds small differences away.
    """
    shape = (*output.shape[:-1], count)
    outputs: tuple[TensorSpec, ...] = (TensorSpec(SCORES, "float32", shape), TensorSpec(CLASSES, "int64", shape))
    nodes = ["logits = Cast <to = 1> (answer)", NODES[scale], f"best, {CLASSES} = TopK <axis = -1> (logits, count)"]
    nodes += [f"{SCORES} = GatherElements <axis = -1> (shares, {CLASSES})"]
    constants = {"count": np.array([count])}
    if names:
        outputs = (*outputs, TensorSpec(LABELS, "object", shape))
        nodes += [f"{LABELS} = Gather (names, {CLASSES})"]
        constants["names"] = np.array(names, object)
    given = (TensorSpec("answer", output.dtype, output.shape),)

    def run(arrays: Arrays) -> dict[str, Array]:
        logits = np.asarray(arrays[output.name]).astype(np.float32)
        order = np.argsort(-logits, axis=-1, kind="stable")[..., :count].astype(np.int64)
        scores = np.take_along_axis(scaled(logits, scale), order, axis=-1)
        return {SCORES: scores, CLASSES: order} | ({LABELS: np.array(names, object)[order]} if names else {})

    return Finish(fragment("\n".join(nodes), given, outputs, constants, {output.name: "answer"}), run)


def scaled(logits: Array, scale: Scale) -> Array:
    """Return float32 logits as shares of one, or each as a probability of its own."""
    with np.errstate(over="ignore"):
        if scale == "softmax":
            raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
        return np.asarray(1 / (1 + np.exp(-logits))) if scale == "sigmoid" else logits
