"""Nodes and constants of a converter's graph, written in few words."""

from collections.abc import Iterable
from typing import Any

ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"


class Nodes:
    """Writes nodes into the graph of one operator of skl2onnx; each method returns the name of a tensor."""

    def __init__(self, scope: Any, container: Any) -> None:
        self.scope, self.container = scope, container

    def constant(self, value: Any) -> str:
        """Return the name of a constant with the values and the type of an array; texts are an array of objects."""
        import numpy as np
        from onnx import TensorProto, helper

        array = np.asarray(value)
        name = str(self.scope.get_unique_variable_name("constant"))
        if array.dtype.kind in "OU":
            kind, content = int(TensorProto.STRING), [str(each).encode() for each in array.ravel()]
        else:
            kind, content = int(helper.np_dtype_to_tensor_dtype(array.dtype)), array.ravel().tolist()
        self.container.add_initializer(name, kind, list(array.shape), content)
        return name

    def add(self, operator: str, *inputs: Any, domain: str = "", result: str = "", **attributes: Any) -> str:
        """Add a node and return its output, ``result`` if given; an input that is not a name becomes a constant."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output = result or str(self.scope.get_unique_variable_name(operator.lower()))
        name = self.scope.get_unique_operator_name(operator)
        self.container.add_node(operator, names, [output], op_domain=domain, name=name, **attributes)
        return output

    def cast(self, tensor: str, kind: Any, result: str = "") -> str:
        """Cast to a type of numpy."""
        import numpy as np
        from onnx import helper

        return self.add("Cast", tensor, result=result, to=int(helper.np_dtype_to_tensor_dtype(np.dtype(kind))))

    def columns(self, inputs: Iterable[Any]) -> list[tuple[str, Any]]:
        """Return each column of the inputs of an operator, (batch, 1), with its type in skl2onnx."""
        found = []
        for variable in inputs:
            name, width = variable.full_name, variable.type.shape[1]
            for place in range(width):
                own = name if width == 1 else self.add("Gather", name, whole([place]), axis=1)
                found.append((own, variable.type))
        return found

    def joined(self, inputs: Iterable[Any], kind: Any) -> str:
        """Return all inputs of an operator as one matrix of a type of numpy."""
        parts = [variable.full_name for variable in inputs]
        return self.side_by_side(parts if kind is object else [self.cast(part, kind) for part in parts])

    def side_by_side(self, parts: list[str], result: str = "") -> str:
        """Return matrices next to each other."""
        return self.add("Concat", *parts, axis=1, result=result)


def whole(values: Any) -> Any:
    """Return whole numbers as an array of int64."""
    import numpy as np

    return np.asarray(values, np.int64)


def number_type(inputs: Iterable[Any]) -> Any:
    """Return the type that the inputs of an operator are computed in: float64 if one has it, otherwise float32."""
    import numpy as np
    from skl2onnx.common.data_types import DoubleTensorType

    return np.dtype("float64" if any(isinstance(each.type, DoubleTensorType) for each in inputs) else "float32")


def tensor_type(kind: Any, *shape: int) -> Any:
    """Return skl2onnx's type of a tensor (batch, *shape) of a type of numpy."""
    import numpy as np
    from skl2onnx.common.data_types import StringTensorType, _guess_numpy_type

    return StringTensorType([None, *shape]) if kind is object else _guess_numpy_type(np.dtype(kind), [None, *shape])


def is_text(kind: Any) -> bool:
    """Whether a type of skl2onnx is that of texts."""
    from skl2onnx.common.data_types import StringTensorType

    return isinstance(kind, StringTensorType)


def is_whole(kind: Any) -> bool:
    """Whether a type of skl2onnx is one of whole numbers or of truth values."""
    from skl2onnx.common import data_types

    return isinstance(kind, (data_types.Int64TensorType, data_types.Int32TensorType, data_types.BooleanTensorType))
