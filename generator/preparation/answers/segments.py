"""The class of each place of a picture, at the size of the model's input."""

from typing import Any

import numpy as np

from modelrepo.generator.preparation.answers.finish import Finish, fragment
from modelrepo.generator.specs.preparation import CLASS_MAP, MARGIN
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

# With more classes than a byte has values, a map is of int32.
BYTE = 256
FLOAT, INTEGERS = 1, {"uint8": 2, "int32": 6}


def mapped(output: TensorSpec, picture: TensorSpec) -> Finish:
    """Return the class of each place, from (batch, classes, height, width) of scores and the picture of the input.

    Outputs are ``class_map``, uint8 or int32 (batch, height, width) of the input's size, and ``margin``, float32 of the
    same shape: how far the score of the best class is ahead of the next one's. Scores of a smaller size are enlarged
    before, bilinearly and without antialiasing, as transformers' ``post_process_semantic_segmentation`` does it.
    """
    dtype = "uint8" if isinstance(output.shape[1], int) and output.shape[1] <= BYTE else "int32"
    shape = (output.shape[0], *picture.shape[2:])
    outputs = (TensorSpec(CLASS_MAP, dtype, shape), TensorSpec(MARGIN, "float32", shape))
    enlarged = output.shape[2:] != picture.shape[2:] or any(isinstance(dim, str) for dim in output.shape[2:])
    nodes = [f"given = Cast <to = {FLOAT}> (answer)", ENLARGED if enlarged else "logits = Identity (given)", BEST]
    nodes += [f"{CLASS_MAP} = Cast <to = {INTEGERS[dtype]}> (class)"]
    given: tuple[TensorSpec, ...] = (TensorSpec("answer", output.dtype, output.shape),)
    joins = {output.name: "answer"}
    if enlarged:
        given = (*given, TensorSpec("picture", picture.dtype, picture.shape))
        joins[picture.name] = "picture"
    constants = {name: np.array([value]) for name, value in {"two": 2, "one": 1, "zero": 0, "four": 4}.items()}

    def run(arrays: Arrays) -> dict[str, Array]:
        logits = np.asarray(arrays[output.name]).astype(np.float32)
        if enlarged:
            logits = _enlarged(logits, np.shape(arrays[picture.name])[2:])
        two = np.partition(logits, -2, axis=1)
        return {CLASS_MAP: logits.argmax(axis=1).astype(dtype), MARGIN: two[:, -1] - two[:, -2]}

    return Finish(fragment("\n".join(nodes), given, outputs, constants, joins), run)


ENLARGED = """
whole = Shape (picture)
size = Slice (whole, two, four, zero)
own = Shape (given)
lead = Slice (own, zero, two, zero)
sizes = Concat <axis = 0> (lead, size)
logits = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (given, , , sizes)
"""
BEST = f"""
top, places = TopK <axis = 1> (logits, two)
best = Slice (top, zero, one, one)
next = Slice (top, one, two, one)
ahead = Sub (best, next)
{MARGIN} = Squeeze (ahead, one)
first = Slice (places, zero, one, one)
class = Squeeze (first, one)
"""


def _enlarged(logits: Array, size: Any) -> Array:
    import torch

    whole = torch.nn.functional.interpolate(
        torch.from_numpy(logits), size=tuple(size), mode="bilinear", align_corners=False
    )
    return np.asarray(whole.numpy())
