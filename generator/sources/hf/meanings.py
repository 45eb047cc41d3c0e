"""What the outputs of transformers models mean, as transformers' own pipelines and image processors read them."""

from collections.abc import Sequence
from typing import Any

from modelrepo.generator.sources.hf import tasks
from modelrepo.generator.specs.preparation import Meaning

CLASSIFIED = ("text-classification", "token-classification", "image-classification", "video-classification")
ALSO_CLASSIFIED = ("audio-classification", "audio-frame-classification")
# Types of models by the ``post_process_object_detection`` of their image processors: a softmax with a class for
# "nothing" at the end, or a sigmoid for each class of each query.
QUERIES = ("detr", "yolos", "table-transformer")
FOCAL = (
    *("conditional_detr", "deformable_detr", "dab-detr", "rt_detr", "rt_detr_v2", "d_fine", "deimv2", "lw_detr"),
    "rf_detr",
)
# Vectors of a whole sample, the first that a model has.
VECTORS = ("sentence_embedding", "embeddings")


def meaning(config: Any, task: str, outputs: Sequence[str], labels: tuple[str, ...]) -> Meaning:
    """Return what the outputs of a model mean, from its configuration, its task and the names of its classes."""
    if task in (*CLASSIFIED, *ALSO_CLASSIFIED) and "logits" in outputs:
        return _classified(config, labels)
    if task == "object-detection" and {"logits", "pred_boxes"} <= {*outputs}:
        kind = getattr(config, "model_type", "")
        if kind in QUERIES or kind in FOCAL:
            return Meaning("queries" if kind in QUERIES else "focal", ("logits", "pred_boxes"), labels)
        return Meaning("none", reason=f"how a detector of the type {kind} is read is not known")
    if task == "image-segmentation":
        if [*outputs] == ["logits"]:
            return Meaning("segments", ("logits",), labels)
        return Meaning("none", reason="its masks are those of queries, which transformers joins in Python")
    vector = next((name for name in VECTORS if name in outputs), None)
    if vector:
        return Meaning("embedding", (vector,))
    if task in tasks.BARE and "last_hidden_state" in outputs:
        return Meaning("tokens", ("last_hidden_state",))
    return Meaning("none", reason=f"its task is {task}")


def _classified(config: Any, labels: tuple[str, ...]) -> Meaning:
    """Return the meaning of a classifier's logits: the rules of transformers' text-classification pipeline."""
    problem = getattr(config, "problem_type", None)
    if problem == "regression":
        return Meaning("none", reason="its problem_type is regression")
    several = problem == "multi_label_classification" or config.num_labels == 1
    return Meaning("sigmoid" if several else "softmax", ("logits",), labels)
