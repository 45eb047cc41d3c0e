"""Regressors of transformed targets: the answer is turned back (skl2onnx 1.20 has no converter; no issue known)."""

from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type

# Scalers, which turn each target back by a factor and a number that is added.
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
# numpy's functions that turn a target back, as operators in turn; "One" subtracts 1.
BACK = {
    "exp": ("Exp",),
    "expm1": ("Exp", "One"),
    "square": ("Square",),
    "log": ("Log",),
    "sqrt": ("Sqrt",),
    "abs": ("Abs",),
}


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a TransformedTargetRegressor of a scaler, or of numpy's function."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    own, nodes = operator.raw_operator, Nodes(scope, container)
    alias = sklearn_operator_name_map.get(type(own.regressor_))
    if alias is None:
        raise ConversionError(
            f"can't convert a TransformedTargetRegressor of a {type(own.regressor_).__name__}",
            "Fit it with a single regressor, and put it into a Pipeline as the last step",
        )
    inner = scope.declare_local_operator(alias, own.regressor_)
    inner.inputs = operator.inputs
    answer = scope.declare_local_variable("inner", operator.outputs[0].type.__class__())
    inner.outputs.append(answer)
    exact = nodes.cast(answer.onnx_name, "float64")
    kind = number_type(operator.inputs)
    nodes.cast(_back(nodes, exact, own.transformer_), kind, result=operator.outputs[0].full_name)


def shapes(operator: Any) -> None:
    """Set the type of ``regressor``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), None)  # type: ignore[arg-type]


def _back(nodes: Nodes, answer: str, transformer: Any) -> str:
    import numpy as np

    if type(transformer).__name__ in SCALERS and not getattr(transformer, "clip", False):
        width = transformer.n_features_in_
        start, end = (transformer.inverse_transform(np.full((1, width), each)) for each in (0.0, 1.0))
        return nodes.add("Add", nodes.add("Mul", answer, end - start), start)
    func = getattr(transformer, "inverse_func", "")
    name = getattr(func, "__name__", "")
    if func is None:
        return answer
    if not isinstance(func, np.ufunc) or name not in BACK:
        what = getattr(func, "__qualname__", "") or type(transformer).__name__
        raise ConversionError(
            f"can't convert what turns the targets of a TransformedTargetRegressor back: {what}",
            f"Use one of numpy's {', '.join(BACK)}, or a {SCALERS[0]}",
        )
    for step in BACK[name]:
        if step == "One":
            answer = nodes.add("Sub", answer, np.ones((1, 1)))
        else:
            answer = nodes.add("Mul", answer, answer) if step == "Square" else nodes.add(step, answer)
    return answer
