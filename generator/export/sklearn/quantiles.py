"""Functions that are straight between given points: quantiles, and isotonic calibration; in float64.

skl2onnx 1.20 takes the nearest point of an isotonic calibration instead of the line between two, rounds quantiles to
float32, and refuses the normal distribution (no issues known).
"""

from typing import Any

from modelrepo.generator.export.sklearn.nodes import Nodes, number_type, tensor_type, whole

# Wichura's algorithm AS 241 (PPND16), as in the ``NormalDist.inv_cdf`` of Python: coefficients from the constant on.
CENTRE = (
    (
        *(3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125),
        *(45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    ),
    (
        *(1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077),
        *(21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
    ),
)
MIDDLE = (
    (
        *(1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504),
        *(1.27045825245236838258, 0.241780725177450611770, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    ),
    (
        *(1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550),
        *(0.148103976427480074590, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
    ),
)
TAIL = (
    (
        *(6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230),
        *(2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    ),
    (
        *(1.0, 0.599832206555887937690, 0.136929880922735805310, 1.48753612908506148525e-2),
        *(7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
    ),
)
# Where AS 241 changes its formula: the distance from 1/2, and the square root of the negative logarithm.
NEAR, FAR = 0.425, 5.0
# BOUNDS_THRESHOLD of sklearn/preprocessing/_data.py.
BOUND = 1e-7


def transformer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a QuantileTransformer."""
    own, nodes = operator.raw_operator, Nodes(scope, container)
    parts = []
    for (column, _), quantiles in zip(nodes.columns(operator.inputs), own.quantiles_.T, strict=True):
        parts.append(_quantile(nodes, nodes.cast(column, "float64"), quantiles, own))
    nodes.cast(nodes.side_by_side(parts), number_type(operator.inputs), result=operator.outputs[0].full_name)


def transformer_shapes(operator: Any) -> None:
    """Set the type of ``transformer``."""
    operator.outputs[0].type = tensor_type(number_type(operator.inputs), operator.raw_operator.n_features_in_)


def isotonic(scope: Any, container: Any, model: Any, scores: str, place: int, dtype: Any, _: Any) -> str:
    """Return the calibrated scores (batch, 1), in place of skl2onnx's ``_transform_isotonic``."""
    nodes, own = Nodes(scope, container), model.calibrators[place]
    answer = between(nodes, nodes.cast(scores, "float64"), own.X_thresholds_, own.y_thresholds_)
    return nodes.cast(answer, dtype)


def between(nodes: Nodes, column: str, points: Any, values: Any) -> str:
    """Return what numpy.interp returns for a column, float64 (batch, 1); NaN stays NaN."""
    import numpy as np

    points, values = np.asarray(points, np.float64), np.asarray(values, np.float64)
    if len(points) == 1:
        return nodes.add("Add", nodes.add("Mul", column, np.zeros((1, 1))), values[np.newaxis])
    steps = np.diff(points)
    slopes = np.divide(np.diff(values), steps, out=np.zeros_like(steps), where=steps > 0)
    reached = nodes.cast(nodes.add("GreaterOrEqual", column, points[np.newaxis]), "int64")
    place = nodes.add("Sub", nodes.add("ReduceSum", reached, whole([1]), keepdims=1), whole([1]))
    place = nodes.add("Max", nodes.add("Min", place, whole([len(points) - 2])), whole([0]))
    start, slope, value = (nodes.add("Gather", each, place, axis=0) for each in (points, slopes, values))
    found = nodes.add("Add", nodes.add("Mul", slope, nodes.add("Sub", column, start)), value)
    found = nodes.add("Where", nodes.add("Less", column, points[:1]), values[:1], found)
    return nodes.add("Where", nodes.add("GreaterOrEqual", column, points[-1:]), values[-1:], found)


def _quantile(nodes: Nodes, column: str, quantiles: Any, own: Any) -> str:
    import numpy as np

    upwards = between(nodes, column, quantiles, own.references_)
    downwards = between(nodes, nodes.add("Neg", column), -quantiles[::-1], -own.references_[::-1])
    found = nodes.add("Mul", nodes.add("Sub", upwards, downwards), np.full((1, 1), 0.5))
    first, last, bound = quantiles[:1], quantiles[-1:], np.full(1, BOUND)
    if own.output_distribution == "uniform":
        high, low = nodes.add("Equal", column, last), nodes.add("Equal", column, first)
    else:
        high = nodes.add("Greater", nodes.add("Add", column, bound), last)
        low = nodes.add("Less", nodes.add("Sub", column, bound), first)
    found = nodes.add("Where", low, np.zeros(1), nodes.add("Where", high, np.ones(1), found))
    return found if own.output_distribution == "uniform" else _normal(nodes, found)


def _normal(nodes: Nodes, share: str) -> str:
    """Return the normal distribution's quantile of a share between 0 and 1, clipped as scikit-learn clips it."""
    import numpy as np
    from scipy import stats  # type: ignore[import-untyped]

    one = np.ones(1)
    offset = nodes.add("Sub", share, one / 2)
    square = nodes.add("Sub", np.full(1, NEAR**2), nodes.add("Mul", offset, offset))
    centre = nodes.add("Mul", offset, _ratio(nodes, square, CENTRE))
    least = nodes.add("Min", share, nodes.add("Sub", one, share))
    least = nodes.add("Max", least, np.full(1, 1e-300))  # 0 is clipped in the end
    root = nodes.add("Sqrt", nodes.add("Neg", nodes.add("Log", least)))
    middle = _ratio(nodes, nodes.add("Sub", root, np.full(1, 1.6)), MIDDLE)
    tail = _ratio(nodes, nodes.add("Sub", root, np.full(1, FAR)), TAIL)
    outer = nodes.add("Where", nodes.add("LessOrEqual", root, np.full(1, FAR)), middle, tail)
    outer = nodes.add("Mul", nodes.add("Sign", offset), outer)
    inside = nodes.add("LessOrEqual", nodes.add("Abs", offset), np.full(1, NEAR))
    found = nodes.add("Where", inside, centre, outer)
    low, high = (float(stats.norm.ppf(each)) for each in (BOUND - np.spacing(1), 1 - (BOUND - np.spacing(1))))
    clipped = nodes.add("Max", nodes.add("Min", found, np.full(1, high)), np.full(1, low))
    return nodes.add("Where", nodes.add("IsNaN", share), share, clipped)


def _ratio(nodes: Nodes, number: str, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Return the ratio of two polynomials."""
    import numpy as np

    values = []
    for coefficients in polynomials:
        *lower, first = coefficients
        value: Any = np.full(1, first)
        for each in reversed(lower):
            value = nodes.add("Add", nodes.add("Mul", value, number), np.full(1, each))
        values.append(value)
    return nodes.add("Div", *values)
