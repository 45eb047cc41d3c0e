"""How many inputs the search may make: by the effort that the user asks for, and the work of one answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from modelrepo.generator.graphs.edit import infer_shapes
from modelrepo.generator.specs.options import Effort

# Multiplications of float32 that all probes of one model may take in the source, and the most and the fewest probes: a
# ResNet50 takes 4e9 for an image.
WORK = {"quick": 8e9, "normal": 64e9, "thorough": 1e12}
MOST = {"quick": 256, "normal": 2560, "thorough": 16384}
# A model that is asked row by row: each call costs milliseconds in Python.
MOST_CALLS = {"quick": 48, "normal": 192, "thorough": 2048}
FEWEST = 4
# With a time, the number of probes has no other limit that matters.
UNBOUNDED = 1 << 20
MULTIPLYING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "QLinearConv"}


@dataclass
class Budget:
    """The probes that may still be made; with a time limit, until it is over."""

    rows: int
    until: float | None = None  # of ``monotonic``

    def take(self) -> bool:
        """Count a row as made; return whether there was room for it."""
        if self.rows <= 0 or (self.until is not None and monotonic() > self.until):
            return False
        self.rows -= 1
        return True


def budget_of(effort: Effort, work: float, batched: bool) -> Budget:
    """Return the budget for a model that multiplies ``work`` times; the same each time, unless the effort is a time."""
    if effort.seconds is not None:
        return Budget(UNBOUNDED, monotonic() + effort.seconds)
    most = (MOST if batched else MOST_CALLS)[effort.name]
    return Budget(int(np.clip(WORK[effort.name] / work, FEWEST, most)))


def work_of(model: Any, sizes: Mapping[str, int]) -> float:
    """Return about how many multiplications one answer takes, from the shapes that ONNX infers; at least 1."""
    constants = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    inferred = infer_shapes(model)
    shapes = {
        value.name: [dim.dim_value or sizes.get(dim.dim_param, 1) for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    }
    work = 1.0
    for node in model.graph.node:
        outputs = float(np.prod(shapes.get(node.output[0], [1]), dtype=float)) if node.output else 1.0
        weight = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type in MULTIPLYING and weight:
            work += outputs * float(np.prod(weight[1:] if "Conv" in node.op_type else weight[:-1], dtype=float))
        elif node.op_type in MULTIPLYING:
            work += outputs * float((shapes.get(node.input[0]) or [1])[-1])  # empty: of a rank that is not known
        elif node.op_type in ("LSTM", "GRU", "RNN") and weight:
            work += float(np.prod(shapes.get(node.output[0], [1])[:2], dtype=float)) * float(
                np.prod(weight, dtype=float)
            )
        else:
            work += outputs
    return work
