"""What is known of a model file, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

# A size, the name of an open one, or None for an open one without a name.
Dim: TypeAlias = int | str | None
Verdict: TypeAlias = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Tensor:
    """An input or output: ``data_type`` as Triton calls it (``FP32``), or the format's own name if Triton has none.

    ``shape`` is None if nothing is known of it.
    """

    name: str
    data_type: str
    shape: tuple[Dim, ...] | None
    optional: bool = False  # whether a request may leave it out


@dataclass(frozen=True)
class Weight:
    """A constant tensor of the file: ``layer`` is the node or module that uses it first."""

    name: str
    layer: str
    data_type: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    shared_by: int = 1  # nodes that use it
    external: str = ""  # the file that holds it; empty: this one


@dataclass(frozen=True)
class Node:
    """A step of the graph, in the order of its execution."""

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()  # names of weights among its inputs
    shapes: tuple[tuple[Dim, ...] | None, ...] = ()  # of its outputs, as far as they are known
    level: int = 0  # of nesting: the body of a Loop, a submodule


@dataclass(frozen=True)
class Batching:
    """Whether requests can be stacked along the first dimension; ``by`` names the tensor or operator that decides."""

    verdict: Verdict
    by: str
    reason: str


@dataclass(frozen=True)
class Use:
    """What a backend of Triton, or a tool, could do with the file, in which releases."""

    target: str  # such as "onnxruntime" or "tensorrt"
    releases: tuple[str, ...]
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Inspection:
    """A model file or folder, as far as it could be read without running it.

    ``faults`` say why it is not valid, ``remarks`` what a user should know; ``facts`` are label and value in the order
    of their printing: producer, opset, IR, metadata.
    """

    path: Path
    format: str  # as people call it: "ONNX", "TensorRT plan", "TorchScript"
    bytes: int  # of all its files
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    batching: Batching | None = None
    operators: Mapping[str, int] = field(default_factory=dict)  # most frequent first
    nodes: tuple[Node, ...] = ()
    weights: tuple[Weight, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)  # all files that belong to it, and their bytes
    uses: tuple[Use, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether no fault was found."""
        return not self.faults
