"""Estimators whose answer is one formula, in float64, that skl2onnx 1.20 has no converter for (no issues known)."""

from collections.abc import Callable
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole
from modelrepo.generator.sources.sklearn import by_row

# Estimators that add weighted columns.
LINEAR_TRANSFORMERS = ("FactorAnalysis", "FastICA", "MiniBatchSparsePCA", "SparsePCA")
LINEAR_REGRESSORS = ("CCA", "PLSCanonical")
KERNELS = ("linear", "rbf", "poly", "polynomial", "sigmoid")


def linear_transformer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a transformer that adds weighted columns, which it is asked for itself."""
    _linear(Nodes(scope, container), operator, lambda rows: by_row(_plain(operator.raw_operator).transform(rows), rows))


def linear_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a regressor that adds weighted columns, which it is asked for itself."""
    _linear(Nodes(scope, container), operator, operator.raw_operator.predict)


def machine(scope: Any, operator: Any, container: Any) -> None:
    """Convert a BernoulliRBM: the probability of each of its hidden units."""
    nodes, own = Nodes(scope, container), operator.raw_operator
    weighed = nodes.add("MatMul", nodes.joined(operator.inputs, "float64"), _exact(own.components_.T))
    _answer(nodes, operator, nodes.add("Sigmoid", nodes.add("Add", weighed, _exact(own.intercept_hidden_))))


def waves(scope: Any, operator: Any, container: Any) -> None:
    """Convert an RBFSampler or a SkewedChi2Sampler: cosines of random projections."""
    import numpy as np

    nodes, own = Nodes(scope, container), operator.raw_operator
    rows = nodes.joined(operator.inputs, "float64")
    if hasattr(own, "skewedness"):
        rows = nodes.add("Log", nodes.add("Add", rows, np.array([own.skewedness], np.float64)))
    found = nodes.add("Add", nodes.add("MatMul", rows, _exact(own.random_weights_)), _exact(own.random_offset_))
    # ONNX Runtime has no cosine of float64: a whole turn less keeps the digits that float32 has
    turn = np.array([2 * np.pi])
    part = nodes.add("Sub", found, nodes.add("Mul", nodes.add("Floor", nodes.add("Div", found, turn)), turn))
    cosine = nodes.cast(nodes.add("Cos", nodes.cast(part, "float32")), "float64")
    _answer(nodes, operator, nodes.add("Mul", cosine, np.array([np.sqrt(2 / own.n_components)])))


def kernel_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert a KernelRidge."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    settings = {"gamma": own.gamma, "degree": own.degree, "coef0": own.coef0}
    near = _kernel(nodes, operator, own.X_fit_, own.kernel, settings)
    weights = _exact(own.dual_coef_)
    _answer(nodes, operator, nodes.add("MatMul", near, weights[:, None] if weights.ndim == 1 else weights))


def kernel_map(scope: Any, operator: Any, container: Any) -> None:
    """Convert a Nystroem."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    near = _kernel(nodes, operator, own.components_, own.kernel, own._get_kernel_params())
    _answer(nodes, operator, nodes.add("MatMul", near, _exact(own.normalization_.T)))


def envelope(scope: Any, operator: Any, container: Any) -> None:
    """Convert an EllipticEnvelope: how far a row is from the center, and whether that is an outlier."""
    import numpy as np

    own, nodes = operator.raw_operator, Nodes(scope, container)
    apart = nodes.add("Sub", nodes.joined(operator.inputs, "float64"), _exact(own.location_))
    weighed = nodes.add("Mul", nodes.add("MatMul", apart, _exact(own.get_precision())), apart)
    squared = nodes.add("ReduceSum", weighed, whole([1]), keepdims=1)
    score = nodes.add("Sub", np.array([-own.offset_], np.float64), squared)
    inside = nodes.add("Not", nodes.add("Less", score, np.zeros(1)))
    nodes.add("Where", inside, whole([1]), whole([-1]), result=operator.outputs[0].full_name)
    nodes.cast(score, number_type(operator.inputs), result=operator.outputs[1].full_name)


def envelope_shapes(operator: Any) -> None:
    """Set the types of ``envelope``."""
    operator.outputs[0].type = tensor_type("int64", 1)
    operator.outputs[1].type = tensor_type(number_type(operator.inputs), 1)


def shapes(operator: Any) -> None:
    """Set the type of a formula: numbers, (batch, any number)."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), None)  # type: ignore[arg-type]


def _linear(nodes: Nodes, operator: Any, answer: Callable[[Any], Any]) -> None:
    """Write (rows - center) @ weights + answer(center): the weights are what each column adds to that answer."""
    import numpy as np

    own = operator.raw_operator
    found = [getattr(own, name, None) for name in ("mean_", "_x_mean")]
    center = next((_exact(each) for each in found if each is not None), np.zeros(own.n_features_in_))
    answers = [answer(each) for each in (center[None], center + np.eye(len(center)))]
    start, steps = (np.asarray(each.toarray() if hasattr(each, "toarray") else each, np.float64) for each in answers)
    start, steps = start.reshape(1, -1), steps.reshape(len(center), -1)
    apart = nodes.add("Sub", nodes.joined(operator.inputs, "float64"), center)
    _answer(nodes, operator, nodes.add("Add", nodes.add("MatMul", apart, steps - start), start))


def _kernel(nodes: Nodes, operator: Any, samples: Any, name: Any, settings: dict[str, Any]) -> str:
    """Return scikit-learn's ``pairwise_kernels`` of the rows and samples."""
    import numpy as np

    if name not in KERNELS or hasattr(samples, "toarray"):
        kind = name if isinstance(name, str) else "of its own"
        raise ConversionError(
            f"can't convert the kernel {kind!r} of a {type(operator.raw_operator).__name__}",
            f"Fit it with one of {', '.join(KERNELS)}, on a dense matrix",
        )
    fitted, rows = _exact(samples), nodes.joined(operator.inputs, "float64")
    number = {each: float(value) for each, value in settings.items() if value is not None}
    gamma, degree, offset = (
        number.get("gamma", 1 / fitted.shape[1]),
        number.get("degree", 3.0),
        number.get("coef0", 1.0),
    )
    if name == "rbf":
        apart = nodes.add("Sub", nodes.add("Unsqueeze", rows, whole([1])), fitted[None])
        squared = nodes.add("ReduceSum", nodes.add("Mul", apart, apart), whole([2]), keepdims=0)
        return nodes.add("Exp", nodes.add("Mul", squared, np.array([-gamma])))
    product = nodes.add("MatMul", rows, fitted.T)
    if name == "linear":
        return product
    moved = nodes.add("Add", nodes.add("Mul", product, np.array([gamma])), np.array([offset]))
    if name == "sigmoid":
        return nodes.cast(nodes.add("Tanh", nodes.cast(moved, "float32")), "float64")
    return nodes.add("Pow", moved, np.array([degree]))


def _answer(nodes: Nodes, operator: Any, found: str) -> None:
    nodes.cast(found, number_type(operator.inputs), result=operator.outputs[0].full_name)


def _plain(estimator: Any) -> Any:
    """Return a copy that answers with arrays, also if ``set_output`` asked for data frames."""
    import copy

    plain = copy.copy(estimator)
    plain._sklearn_output_config = {}
    return plain


def _exact(values: Any) -> Any:
    import numpy as np

    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float64)
