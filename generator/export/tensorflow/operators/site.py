"""The place of an operator of TensorFlow in tf2onnx's graph: writes the ONNX nodes that replace it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# ONNX Runtime's Where, Max and Min have no kernel for these types; they are chosen in a type that holds all values.
WIDER = {"BOOL": "INT32", "INT16": "INT32", "UINT16": "INT32", "UINT64": "INT64"}


@dataclass(frozen=True)
class Site:
    """An operator in tf2onnx's graph: its tensors by name, and the type of its first output.

    ``kind`` is a number of onnx.TensorProto. ``attribute`` returns an attribute, or the given default.
    """

    graph: Any
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: int
    attribute: Callable[..., Any]

    def node(self, operator: str, *operands: str, domain: str = "", **attributes: Any) -> str:
        """Add a node and return its first output."""
        return self.nodes(operator, *operands, domain=domain, count=1, **attributes)[0]

    def nodes(self, operator: str, *operands: str, count: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node and return its outputs."""
        made = self.graph.make_node(operator, [*operands], attr=attributes, output_count=count, domain=domain)
        return [*made.output]

    def constant(self, value: Any) -> str:
        """Add a numpy array."""
        from tf2onnx import utils

        return str(self.graph.make_const(utils.make_name(self.name), value).output[0])

    def number(self, value: float, like: str | None = None) -> str:
        """Add a number of the type of a tensor, by default the first input."""
        import numpy as np

        return self.constant(np.array(value, self.dtype(like or self.inputs[0])))

    def whole(self, *values: int) -> str:
        """Add a list of int64, such as axes."""
        import numpy as np

        return self.constant(np.array(values, np.int64))

    def dtype(self, tensor: str) -> Any:
        """Return numpy's type of a tensor."""
        import numpy as np
        from tf2onnx import utils

        return np.dtype(utils.map_onnx_to_numpy_type(self.graph.get_dtype(tensor)))

    def known(self, place: int) -> Any:
        """Return the value of an input as an array; None if it is not constant."""
        node = self.graph.get_node_by_output(self.inputs[place])
        return node.get_tensor_value(as_list=False) if node is not None and node.is_const() else None

    def rank(self, place: int) -> int | None:
        """Return the number of dimensions of an input, or None."""
        shape = self.graph.get_shape(self.inputs[place])
        return None if shape is None else len(shape)

    def cast(self, tensor: str, kind: int | str) -> str:
        """Cast to a type of onnx.TensorProto, given as its number or name."""
        from onnx import TensorProto

        return self.node("Cast", tensor, to=TensorProto.DataType.Value(kind) if isinstance(kind, str) else kind)

    def choose(self, condition: str, yes: str, no: str) -> str:
        """Choose by element between two tensors of one type."""
        from onnx import TensorProto

        kind = self.graph.get_dtype(yes)
        wider = WIDER.get(TensorProto.DataType.Name(kind)) if kind else None
        if wider is None:
            return self.node("Where", condition, yes, no)
        return self.cast(self.node("Where", condition, self.cast(yes, wider), self.cast(no, wider)), kind)

    def axes(self, place: int) -> str:
        """Return the axes that an input names, as a list of int64."""
        value = self.known(place)
        if value is not None:
            return self.whole(*value.reshape(-1).tolist())
        return self.node("Reshape", self.cast(self.inputs[place], "INT64"), self.whole(-1))

    def answer(self, *tensors: str) -> None:
        """Let tensors be the operator's outputs, in its place."""
        kept = [(self.graph.get_dtype(each), self.graph.get_shape(each)) for each in self.outputs]
        self.graph.remove_node(self.name)
        for tensor, output, (kind, shape) in zip(tensors, self.outputs, kept, strict=True):
            self.graph.make_node("Identity", [tensor], outputs=[output], shapes=[shape], dtypes=[kind])


# Writes the nodes of one operator. After an error, the operator is left in the graph, and named in the refusal.
Writer = Callable[[Site], None]


def site_of(graph: Any, node: Any) -> Site:
    """Return the place of a node."""
    kind = graph.get_dtype(node.output[0])
    return Site(graph, node.name, (*node.input,), (*node.output,), kind, node.get_attr_value)
