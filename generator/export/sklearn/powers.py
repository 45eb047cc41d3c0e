"""Functions of single numbers: power transformers and numpy's own functions; in float64.

skl2onnx 1.20 answers a number for NaN in a PowerTransformer, and refuses every function of a FunctionTransformer (no
issues known).
"""

from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type

# numpy's functions by the operators that compute them, one after another.
FUNCTIONS = {
    **{name: (name.capitalize(),) for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sign", "floor")},
    **{"log1p": ("One", "Log"), "ceil": ("Ceil",), "abs": ("Abs",), "absolute": ("Abs",), "fabs": ("Abs",)},
    **{"negative": ("Neg",), "square": ("Square",), "reciprocal": ("Reciprocal",), "arctan": ("Atan",)},
}


def transformer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a PowerTransformer."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    function = _yeo_johnson if own.method == "yeo-johnson" else _box_cox
    columns = nodes.columns(operator.inputs)
    parts = [
        function(nodes, nodes.cast(column, "float64"), float(power))
        for (column, _), power in zip(columns, own.lambdas_, strict=True)
    ]
    found = nodes.side_by_side(parts)
    if own.standardize:
        scaler = own._scaler
        found = nodes.add("Div", nodes.add("Sub", found, scaler.mean_[None]), scaler.scale_[None])
    nodes.cast(found, number_type(operator.inputs), result=operator.outputs[0].full_name)


def shapes(operator: Any) -> None:
    """Set the type of ``transformer`` and ``function``: as many columns as they get."""
    width = sum(each.type.shape[1] for each in operator.inputs)
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), width)


def function(scope: Any, operator: Any, container: Any) -> None:
    """Convert a FunctionTransformer of one of numpy's functions; ConversionError for another function."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    name = getattr(own.func, "__name__", "") if isinstance(own.func, np.ufunc) else ""
    if own.func is not None and (name not in FUNCTIONS or own.kw_args):
        called = getattr(own.func, "__qualname__", type(own.func).__name__)
        raise ConversionError(
            f"can't convert the function {called} of a FunctionTransformer: it is code of its own",
            f"Use one of numpy's {', '.join(list(FUNCTIONS)[:8])}, or apply it before the request",
        )
    found = nodes.joined(operator.inputs, "float64")
    for step in FUNCTIONS[name] if own.func is not None else ():
        if step == "One":
            found = nodes.add("Add", found, np.ones((1, 1)))
        elif step == "Square":
            found = nodes.add("Mul", found, found)
        else:
            found = nodes.add(step, found)
    nodes.cast(found, number_type(operator.inputs), result=operator.outputs[0].full_name)


def _yeo_johnson(nodes: Nodes, column: str, power: float) -> str:
    """Return scikit-learn's ``_yeo_johnson_transform``: each side is computed for 0 where the other one holds."""
    import numpy as np

    zero, one = np.zeros(1), np.ones(1)
    below = nodes.add("Less", column, zero)
    up = nodes.add("Add", nodes.add("Where", below, zero, column), one)
    down = nodes.add("Sub", one, nodes.add("Where", below, column, zero))
    positive = _power(nodes, up, power)
    return nodes.add("Where", below, nodes.add("Neg", _power(nodes, down, 2 - power)), positive)


def _box_cox(nodes: Nodes, column: str, power: float) -> str:
    return _power(nodes, column, power)


def _power(nodes: Nodes, number: str, power: float) -> str:
    """Return (number ** power - 1) / power, or its limit for the power 0: the logarithm."""
    import numpy as np

    if abs(power) < np.spacing(1.0):
        return nodes.add("Log", number)
    raised = nodes.add("Sub", nodes.add("Pow", number, np.full(1, power)), np.ones(1))
    return nodes.add("Div", raised, np.full(1, power))
