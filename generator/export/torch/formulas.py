"""Formulas that torch's exporters write in a way that overflows or rounds values away, written so that they don't.

``FORMULAS`` is the table, an operator of torch a row. One function writes a formula for both exporters.
"""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

from modelrepo.generator.errors import ConversionError

# The overloads of torch's operators that take tensors, and numbers in their place.
OVERLOADS = {"default", "Tensor", "Scalar", "Scalar_Tensor"}


class Newer:
    """Writes nodes for the torch.export-based exporter, with onnxscript."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from onnxscript import opset18

        return getattr(opset18, name)  # type: ignore[no-any-return]

    def kind(self, value: Any) -> Any:
        """Return the type of a value as torch's."""
        from onnx_ir import tensor_adapters

        return tensor_adapters.to_torch_dtype(value.dtype)

    def stand_in(self, value: Any) -> Any:
        """Return something that torch.result_type takes for a value: a number, or a tensor on no device."""
        import torch

        if isinstance(value, (bool, int, float)):
            return value
        return torch.empty((1,) * len(value.shape or (1,)), dtype=self.kind(value), device="meta")

    def number(self, value: float, like: Any) -> Any:
        """Write a constant of the type of a value."""
        return self.CastLike(self.Constant(value_float=float(value)), like)

    def constant(self, value: float, kind: Any) -> Any:
        """Write a constant of one of torch's types."""
        return self.Cast(
            self.Constant(value_int=value) if isinstance(value, int) else self.Constant(value_float=value),
            to=_onnx_kind(kind),
        )

    def cast(self, value: Any, kind: Any) -> Any:
        """Write a cast to one of torch's types."""
        return self.Cast(value, to=_onnx_kind(kind))

    def mod(self, one: Any, other: Any, *, fmod: int) -> Any:
        """Write a remainder: with the sign of the dividend if ``fmod`` is 1, otherwise with the divisor's."""
        return self.Mod(one, other, fmod=fmod)

    def value(self, argument: Any) -> Any:
        """Return an argument that is a number."""
        return argument

    def reduced(self, loss: Any, reduction: int) -> Any:
        """Write a loss as it is, its mean or its sum, by torch's number of the reduction."""
        if not reduction:
            return loss
        return (self.ReduceMean if reduction == 1 else self.ReduceSum)(loss, keepdims=0)


class Older:
    """Writes nodes for the TorchScript-based exporter."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self.graph.op, name)

    def kind(self, value: Any) -> Any:
        """Return the type of a value as torch's."""
        from torch.onnx._internal.torchscript_exporter._type_utils import JitScalarType

        return JitScalarType.from_value(value, JitScalarType.FLOAT).dtype()

    def stand_in(self, value: Any) -> Any:
        """Return something that torch.result_type takes for a value: a number, or a tensor on no device."""
        import torch
        from torch.onnx import symbolic_helper

        rank = symbolic_helper._get_tensor_rank(value)
        kind = self.kind(value)
        if rank in (0, None) and value.node().kind() in ("onnx::Constant", "prim::Constant"):
            return 1.5 if kind.is_floating_point else 1
        return torch.empty((1,) * (1 if rank is None else rank), dtype=kind, device="meta")

    def number(self, value: float, like: Any) -> Any:
        """Write a constant of the type of a value."""
        return self.constant(value, self.kind(like))

    def constant(self, value: float, kind: Any) -> Any:
        """Write a constant of one of torch's types."""
        import torch

        return self.graph.op("Constant", value_t=torch.tensor(value, dtype=kind))

    def cast(self, value: Any, kind: Any) -> Any:
        """Write a cast to one of torch's types."""
        return self.graph.op("Cast", value, to_i=_onnx_kind(kind))

    def mod(self, one: Any, other: Any, *, fmod: int) -> Any:
        """Write a remainder: with the sign of the dividend if ``fmod`` is 1, otherwise with the divisor's."""
        return self.graph.op("Mod", one, other, fmod_i=fmod)

    def value(self, argument: Any) -> Any:
        """Return an argument that is a number."""
        from torch.onnx import symbolic_helper

        return symbolic_helper._node_get(argument.node(), "value") if hasattr(argument, "node") else argument

    def reduced(self, loss: Any, reduction: int) -> Any:
        """Write a loss as it is, its mean or its sum, by torch's number of the reduction."""
        return self.graph.op(("", "ReduceMean", "ReduceSum")[reduction], loss, keepdims_i=0) if reduction else loss


def _onnx_kind(kind: Any) -> int:
    from torch.onnx._internal.torchscript_exporter._type_utils import JitScalarType

    return int(JitScalarType.from_dtype(kind).onnx_type())


def promoted(op: Any, *values: Any) -> tuple[Any, ...]:
    """Return the type that torch computes with for two values, and the values cast to it."""
    import torch

    kind = torch.result_type(*(op.stand_in(value) for value in values))
    return kind, *(
        op.constant(value, kind) if isinstance(value, (bool, int, float)) else op.cast(value, kind) for value in values
    )


def log_sigmoid(op: Any, x: Any) -> Any:
    """Write -log(1 + e⁻ˣ): the exporters take the logarithm of a sigmoid, which is 0 below -18 in FP32.

    PyTorch pull request 14830; pytorch/pytorch#1835 has the stable formula.
    """
    return op.Neg(op.Softplus(op.Neg(x)))


def log1p(op: Any, x: Any) -> Any:
    """Write log(1 + x) that keeps an x far below 1, by Kahan's correction of the rounding of 1 + x; no issue known."""
    one = op.number(1, x)
    sum_ = op.Add(x, one)
    rounded = op.Sub(sum_, one)
    # Where the sum is 1 the answer is x, and where adding 1 rounds nothing away it is the logarithm itself.
    is_exact = op.Equal(rounded, x)
    divisor = op.Where(op.Or(is_exact, op.Equal(rounded, op.number(0, x))), one, rounded)
    corrected = op.Mul(op.Log(sum_), op.Div(x, divisor))
    found = op.Where(is_exact, op.Log(sum_), corrected)
    return op.Where(op.Equal(rounded, op.number(0, x)), x, found)


def expm1(op: Any, x: Any) -> Any:
    """Write eˣ - 1 that keeps an x far below 1: near 0 it is tanh(x/2) (eˣ + 1); no issue known."""
    one = op.number(1, x)
    power = op.Exp(x)
    near = op.Less(op.Abs(x), op.number(0.5, x))
    small = op.Where(near, x, op.number(0, x))
    product = op.Mul(op.Tanh(op.Mul(small, op.number(0.5, x))), op.Add(op.Exp(small), one))
    return op.Where(near, product, op.Sub(power, one))


def floor_divide(op: Any, x: Any, y: Any) -> Any:
    """Write the quotient rounded down, of whole numbers and floats, as torch's div_floor computes it.

    The TorchScript exporter rounds towards zero (pytorch/pytorch#58734 is about torch's own change from that), and both
    round the quotient of floats before they round it down.
    """
    kind, x, y = promoted(op, x, y)
    remainder = op.mod(x, y, fmod=1 if kind.is_floating_point else 0)
    if not kind.is_floating_point:
        return op.Div(op.Sub(x, remainder), y)
    zero, one = op.constant(0.0, kind), op.constant(1.0, kind)
    quotient = op.Div(op.Sub(x, remainder), y)
    uneven = op.And(op.Not(op.Equal(remainder, zero)), op.Xor(op.Less(remainder, zero), op.Less(y, zero)))
    quotient = op.Where(uneven, op.Sub(quotient, one), quotient)
    down = op.Floor(quotient)
    down = op.Where(op.Greater(op.Sub(quotient, down), op.constant(0.5, kind)), op.Add(down, one), down)
    return op.Where(op.Equal(y, zero), op.Div(x, y), down)


def remainder(op: Any, x: Any, y: Any) -> Any:
    """Write the remainder with the sign of the divisor: the exporters subtract a rounded product; no issue known."""
    kind, x, y = promoted(op, x, y)
    if not kind.is_floating_point:
        return op.mod(x, y, fmod=0)
    found, zero = op.mod(x, y, fmod=1), op.constant(0.0, kind)
    other = op.And(op.Not(op.Equal(found, zero)), op.Xor(op.Less(found, zero), op.Less(y, zero)))
    return op.Where(other, op.Add(found, y), found)


def truncated(op: Any, x: Any, y: Any) -> Any:
    """Write the quotient rounded towards zero: the exporters round a float quotient of whole numbers, or cast it."""
    kind, x, y = promoted(op, x, y)
    if not kind.is_floating_point:
        return op.Div(op.Sub(x, op.mod(x, y, fmod=1)), y)
    quotient = op.Div(x, y)
    return op.Where(op.Less(quotient, op.constant(0.0, kind)), op.Ceil(quotient), op.Floor(quotient))


def atan2(op: Any, y: Any, x: Any) -> Any:
    """Write the angle of a point: the exporters answer -π for π where y is 0, and NaN at the origin; no issue known."""
    import torch

    kind, y, x = promoted(op, y, x)
    if not kind.is_floating_point:
        kind, y, x = torch.float32, op.cast(y, torch.float32), op.cast(x, torch.float32)
    zero, half = op.constant(0.0, kind), op.constant(torch.pi / 2, kind)
    below = _is_negative(op, y, kind)
    sign = op.Where(below, op.constant(-1.0, kind), op.constant(1.0, kind))
    steep = op.Greater(op.Abs(y), op.Abs(x))
    # Within 45 degrees of the axis that it is measured from, so that no quotient overflows.
    large, small = op.Where(steep, op.Abs(y), op.Abs(x)), op.Where(steep, op.Abs(x), op.Abs(y))
    origin = op.Equal(large, zero)
    angle = op.Atan(op.Where(origin, zero, op.Div(small, op.Where(origin, op.constant(1.0, kind), large))))
    angle = op.Where(steep, op.Sub(half, angle), angle)
    angle = op.Where(_is_negative(op, x, kind), op.Sub(op.constant(torch.pi, kind), angle), angle)
    return op.Mul(sign, angle)


def signbit(op: Any, x: Any) -> Any:
    """Write whether a number is negative, -0 included, which the exporter leaves out; no issue known."""
    kind, x, _ = promoted(op, x, x)
    if not kind.is_floating_point:
        return op.Less(x, op.constant(0, kind))
    return _is_negative(op, x, kind)


def _is_negative(op: Any, x: Any, kind: Any) -> Any:
    zero = op.constant(0.0, kind)
    return op.Or(op.Less(x, zero), op.Less(op.Div(op.constant(1.0, kind), x), zero))


def logaddexp2(op: Any, x: Any, y: Any) -> Any:
    """Write log2(2ˣ + 2ʸ) as the larger and a correction: the exporter's powers overflow; no issue known."""
    import math

    kind, x, y = promoted(op, x, y)
    larger, smaller = op.Max(x, y), op.Min(x, y)
    scale = op.constant(math.log(2), kind)
    gap = op.Where(op.Equal(x, y), op.constant(0.0, kind), op.Sub(smaller, larger))  # equal infinities differ by NaN
    return op.Add(larger, op.Div(op.Softplus(op.Mul(gap, scale)), scale))


def logaddexp(op: Any, x: Any, y: Any) -> Any:
    """Write log(eˣ + eʸ) as the larger and a correction: the exporter's powers overflow; no issue known."""
    kind, x, y = promoted(op, x, y)
    gap = op.Where(op.Equal(x, y), op.constant(0.0, kind), op.Sub(op.Min(x, y), op.Max(x, y)))
    return op.Add(op.Max(x, y), op.Softplus(gap))


def isclose(op: Any, x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False) -> Any:
    """Write torch's own comparison: the exporter subtracts the two sides, and denormals round away; no issue known."""
    kind, x, y = promoted(op, x, y)
    equal = op.Equal(x, y)
    if not kind.is_floating_point:
        import torch

        kind, x, y = torch.float32, op.cast(x, torch.float32), op.cast(y, torch.float32)
    rtol, atol = (op.constant(float(op.value(each)), kind) for each in (rtol, atol))
    error = op.Abs(op.Sub(x, y))
    allowed = op.Add(atol, op.Abs(op.Mul(rtol, y)))
    near = op.And(op.Less(error, op.constant(float("inf"), kind)), op.Not(op.Greater(error, allowed)))
    equal = op.Or(equal, near)
    if not op.value(equal_nan):
        return equal
    return op.Or(equal, op.And(op.Not(op.Equal(x, x)), op.Not(op.Equal(y, y))))


def rounded(operator: str) -> Callable[..., Any]:
    """Return the formula of a rounding, which leaves whole numbers alone: the exporters round them as floats."""

    def formula(op: Any, x: Any) -> Any:
        return getattr(op, operator)(x) if op.kind(x).is_floating_point else op.Identity(x)

    return formula


def trunc(op: Any, x: Any) -> Any:
    """Write a number rounded towards zero; the TorchScript exporter has no translation."""
    kind = op.kind(x)
    if not kind.is_floating_point:
        return op.Identity(x)
    return op.Where(op.Less(x, op.constant(0.0, kind)), op.Ceil(x), op.Floor(x))


def neg(op: Any, x: Any) -> Any:
    """Write a number with the other sign; that of an unsigned one wraps around, which ONNX's operator does not take."""
    kind = op.kind(x)
    return op.Neg(x) if kind.is_floating_point or kind.is_signed else op.Sub(op.constant(0, kind), x)


def hypot(op: Any, x: Any, y: Any) -> Any:
    """Write the length of a vector, scaled by the larger part so that no square overflows; no translation there."""
    kind, x, y = promoted(op, x, y)
    x, y = op.Abs(x), op.Abs(y)
    larger, smaller = op.Max(x, y), op.Min(x, y)
    share = op.Div(smaller, op.Where(op.Equal(larger, op.constant(0.0, kind)), op.constant(1.0, kind), larger))
    one = op.constant(1.0, kind)
    return op.Mul(larger, op.Sqrt(op.Add(one, op.Mul(share, share))))


def copysign(op: Any, x: Any, y: Any) -> Any:
    """Write a magnitude with the sign of another number, that of -0 included; no translation there."""
    import torch

    kind, x, y = promoted(op, x, y)
    if not kind.is_floating_point:
        kind, x, y = torch.float32, op.cast(x, torch.float32), op.cast(y, torch.float32)
    return op.Where(_is_negative(op, y, kind), op.Neg(op.Abs(x)), op.Abs(x))


def refused(name: str) -> Callable[..., Any]:
    """Return a formula that refuses an operator whose translation overflows."""

    def refuse(op: Any, x: Any) -> Any:
        raise ConversionError(f"{name} has no ONNX translation that is right for large values")

    return refuse


def bce_with_logits(op: Any, x: Any, y: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 1) -> Any:
    """Write the loss with a softplus: the exporters take the logarithm of a sigmoid (see ``log_sigmoid``)."""
    kind, x, y = promoted(op, x, y)
    one = op.constant(1.0, kind)
    soft = op.Softplus(op.Neg(x))
    if pos_weight is not None:
        soft = op.Mul(soft, op.Add(one, op.Mul(op.Sub(pos_weight, one), y)))
    loss = op.Add(op.Mul(op.Sub(one, y), x), soft)
    if weight is not None:
        loss = op.Mul(loss, weight)
    return op.reduced(loss, reduction)


def cross_entropy(
    op: Newer,
    x: Any,
    target: Any,
    weight: Any = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Write the loss of classes, or of their probabilities.

    The torch.export-based exporter leaves ``label_smoothing`` out, and takes probabilities for classes; no issue known.
    """
    if len(x.shape) < 2:
        raise ConversionError("cross_entropy of a single sample has no ONNX translation", "Give it a batch")
    kind = op.kind(x)
    scores = op.LogSoftmax(x, axis=1)
    axis = op.Constant(value_ints=[1])
    spread = scores if weight is None else op.Mul(scores, op.Reshape(weight, [1, -1, *([1] * (len(x.shape) - 2))]))
    smooth = op.Neg(op.ReduceMean(spread, axis, keepdims=0))
    shares = op.constant(1 - label_smoothing, kind), op.constant(float(label_smoothing), kind)
    if op.kind(target).is_floating_point:
        loss = op.Neg(op.ReduceSum(op.Mul(spread, target), axis, keepdims=0))
        loss = op.Add(op.Mul(loss, shares[0]), op.Mul(smooth, shares[1]))
        return op.reduced(loss, reduction)
    weights = () if weight is None else (weight,)
    hard = op.NegativeLogLikelihoodLoss(scores, target, *weights, ignore_index=ignore_index, reduction="none")
    counted = op.Not(op.Equal(target, op.CastLike(op.Constant(value_int=ignore_index), target)))
    smooth = op.Where(counted, smooth, op.constant(0.0, kind))
    loss = op.Add(op.Mul(hard, shares[0]), op.Mul(smooth, shares[1]))
    if reduction != 1:
        return op.reduced(loss, reduction)
    known = op.Where(counted, target, op.CastLike(op.Constant(value_int=0), target))
    mass = op.cast(counted, kind)
    if weight is not None:
        mass = op.Mul(mass, op.Gather(weight, known))
    return op.Div(op.reduced(loss, 2), op.reduced(mass, 2))


def mean(op: Newer, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Write the mean in the type that it is asked in; the exporter takes that of whole numbers, and casts it after.

    No issue known.
    """
    single = x.shape is not None and not len(x.shape)
    if dtype is not None and int(dtype) >= 0:
        x = op.Cast(x, to=int(dtype))
    if single:
        return op.Identity(x)
    axes = [] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    where = (op.Constant(value_ints=axes),) if axes else ()
    return op.ReduceMean(x, *where, keepdims=int(keepdim))


def adaptive_max(op: Newer, x: Any, output_size: Any) -> tuple[Any, Any]:
    """Write the largest value of each of so many parts, and its place in the whole: the exporter has no translation.

    A part reaches from its share of a size rounded down to the next one's rounded up, as PyTorch says.
    """
    height, width = x.shape[-2:]
    if not isinstance(height, int) or not isinstance(width, int):
        raise ConversionError("adaptive_max_pool2d of any size has no ONNX translation", "Fix it with --input-shape")
    rows, columns = (_parts(size, count) for size, count in zip((height, width), output_size, strict=True))
    axes, last = op.Constant(value_ints=[-2, -1]), op.Constant(value_ints=[-1])
    values, places = [], []
    for top, bottom in rows:
        for left, right in columns:
            starts, ends = op.Constant(value_ints=[top, left]), op.Constant(value_ints=[bottom, right])
            part = op.Slice(x, starts, ends, axes)
            kept = op.Constant(value_ints=[*[0] * (len(x.shape) - 2), -1])
            flat = op.Reshape(part, kept)
            values.append(op.ReduceMax(flat, last, keepdims=1))
            place, across = op.ArgMax(flat, axis=-1, keepdims=1), op.Constant(value_int=right - left)
            down = op.Mul(op.Div(place, across), op.Constant(value_int=width))
            first = op.Constant(value_int=top * width + left)
            places.append(op.Add(op.Add(down, op.Mod(place, across)), first))
    shape = op.Constant(value_ints=[*[0] * (len(x.shape) - 2), len(rows), len(columns)])
    whole, index = (op.Reshape(op.Concat(*each, axis=-1), shape) for each in (values, places))
    return whole, index


def _parts(size: int, count: int) -> list[tuple[int, int]]:
    return [(place * size // count, -(-(place + 1) * size // count)) for place in range(count)]


FORMULAS: Mapping[str, Callable[..., Any]] = {
    "log_sigmoid": log_sigmoid,
    "log1p": log1p,
    "expm1": expm1,
    "special_expm1": expm1,
    "floor_divide": floor_divide,
    "remainder": remainder,
    "atan2": atan2,
    "arctan2": atan2,
    "signbit": signbit,
    "logaddexp2": logaddexp2,
    "logaddexp": logaddexp,
    "isclose": isclose,
    "floor": rounded("Floor"),
    "ceil": rounded("Ceil"),
    "trunc": trunc,
    "fix": trunc,
    "neg": neg,
    "hypot": hypot,
    "copysign": copysign,
    "special_log_ndtr": refused("log_ndtr"),
    "special_erfcx": refused("erfcx"),
}


def exp2(op: Any, x: Any) -> Any:
    """Write 2ˣ."""
    x = _float(op, x)
    return op.Pow(op.number(2, x), x)


def as_operator(name: str) -> Callable[..., Any]:
    """Return the formula of an operator that ONNX has, of floats."""

    def formula(op: Any, x: Any) -> Any:
        return getattr(op, name)(_float(op, x))

    return formula


def xlogy(op: Any, x: Any, y: Any) -> Any:
    """Write x log y, which is 0 for an x of 0, and NaN for a y of NaN."""
    kind, x, y = promoted(op, x, y)
    if not kind.is_floating_point:
        x, y = _float(op, x), _float(op, y)
    zero = op.number(0, x)
    return op.Where(op.And(op.Equal(x, zero), op.Equal(y, y)), zero, op.Mul(x, op.Log(y)))


def _float(op: Any, x: Any) -> Any:
    import torch

    return x if op.kind(x).is_floating_point else op.cast(x, torch.float32)


# What the TorchScript exporter alone has no translation of.
OLDER: Mapping[str, Callable[..., Any]] = {
    "frac": lambda op, x: op.Sub(x, trunc(op, x)),
    "exp2": exp2,
    "xlogy": xlogy,
    **{name: as_operator(name.capitalize()) for name in ("sinh", "cosh", "asinh", "acosh", "atanh")},
}


def div(op: Any, x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    """Write a quotient, rounded as PyTorch says."""
    import torch

    if rounding_mode:
        return (floor_divide if rounding_mode == "floor" else truncated)(op, x, y)
    kind, x, y = promoted(op, x, y)
    kind = kind if kind.is_floating_point else torch.float32
    return op.Div(op.cast(x, kind), op.cast(y, kind))


def translations() -> dict[Any, Callable[..., Any]]:
    """Return the formulas for the torch.export-based exporter, by torch's operator."""
    import torch

    aten = torch.ops.aten
    found = {
        aten.div.Tensor_mode: _translation(div),
        aten.div.Scalar_mode: _translation(div),
        aten.binary_cross_entropy_with_logits.default: _translation(bce_with_logits),
        aten.cross_entropy_loss.default: _translation(cross_entropy),
        aten.mean.dim: _translation(mean),
        aten.adaptive_max_pool2d.default: _translation(adaptive_max),
    }
    for name, formula in FORMULAS.items():
        packet = getattr(aten, name)
        for overload in OVERLOADS.intersection(packet.overloads()):
            found[getattr(packet, overload)] = _translation(formula)
    return found


def symbolics() -> dict[str, Callable[..., Any]]:
    """Return the formulas for the TorchScript-based exporter, by the name of torch's operator."""
    formulas = {f"aten::{name}": partial(_symbolic, formula) for name, formula in {**FORMULAS, **OLDER}.items()}
    return {
        **formulas,
        "aten::div": _older_div,
        "aten::divide": _older_div,
        "aten::softplus": _older_softplus,
        "aten::binary_cross_entropy_with_logits": _older_bce,
        "aten::cosine_similarity": _older_cosine,
        "aten::pairwise_distance": _older_distance,
        "aten::cdist": _older_distances,
        "aten::cumsum": _older_cumsum,
    }


def _translation(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that the exporter can read the parameters of: those of the formula but the first."""

    def translated(*arguments: Any, **named: Any) -> Any:
        return formula(Newer(), *arguments, **named)

    own = signature(formula)
    translated.__signature__ = own.replace(parameters=[*own.parameters.values()][1:])  # type: ignore[attr-defined]
    return translated


def _symbolic(formula: Callable[..., Any], graph: Any, *arguments: Any) -> Any:
    return formula(Older(graph), *arguments)


def _older_div(graph: Any, x: Any, y: Any, *mode: Any) -> Any:
    from torch.onnx import symbolic_helper

    rounding = symbolic_helper._maybe_get_const(mode[0], "s") if mode else None
    return div(Older(graph), x, y, rounding if isinstance(rounding, str) else None)


def _older_softplus(graph: Any, x: Any, beta: Any, threshold: Any) -> Any:
    """Write softplus with its threshold, above which it is x: the exporter leaves it out; no issue known."""
    from torch.onnx import symbolic_helper

    op = Older(graph)
    scaled = op.Mul(x, op.number(symbolic_helper._maybe_get_const(beta, "f"), x))
    soft = op.Div(op.Softplus(scaled), op.number(symbolic_helper._maybe_get_const(beta, "f"), x))
    return op.Where(op.Greater(scaled, op.number(symbolic_helper._maybe_get_const(threshold, "f"), x)), x, soft)


def _older_bce(graph: Any, x: Any, y: Any, weight: Any, pos_weight: Any, reduction: Any) -> Any:
    from torch.onnx import symbolic_helper

    weight, pos_weight = (None if symbolic_helper._is_none(each) else each for each in (weight, pos_weight))
    return bce_with_logits(Older(graph), x, y, weight, pos_weight, symbolic_helper._maybe_get_const(reduction, "i"))


def _older_cosine(graph: Any, x: Any, y: Any, axis: Any, epsilon: Any) -> Any:
    """Write the cosine of vectors, each at least ``epsilon`` long: the exporter bounds their product."""
    from torch.onnx import symbolic_helper

    op, axes = Older(graph), [symbolic_helper._maybe_get_const(axis, "i")]
    least = op.number(symbolic_helper._maybe_get_const(epsilon, "f"), x)

    def summed(value: Any) -> Any:
        return symbolic_helper._reducesum_helper(graph, value, axes_i=axes, keepdims_i=0)

    lengths = [op.Max(op.Sqrt(summed(op.Mul(each, each))), least) for each in (x, y)]
    return op.Div(summed(op.Mul(x, y)), op.Mul(*lengths))


def _older_distance(graph: Any, x: Any, y: Any, power: Any, epsilon: Any, keep: Any) -> Any:
    """Write the distance of vectors of which ``epsilon`` is added to the difference, as PyTorch does; no issue known.

    The exporter adds it to the power of the difference, which is NaN for an odd power below zero.
    """
    from torch.onnx import symbolic_helper

    op = Older(graph)
    gap = op.Add(op.Sub(x, y), op.number(symbolic_helper._maybe_get_const(epsilon, "f"), x))
    return _length(op, gap, power, keep=bool(symbolic_helper._maybe_get_const(keep, "i")))


def _older_distances(graph: Any, x: Any, y: Any, power: Any, how: Any) -> Any:
    """Write the distances of each vector from each other one; the exporter's are those of ``_older_distance``."""
    from torch.onnx import symbolic_helper

    one = symbolic_helper._unsqueeze_helper(graph, x, [_rank(x) - 1])
    other = symbolic_helper._unsqueeze_helper(graph, y, [_rank(y) - 2])
    return _length(Older(graph), graph.op("Sub", one, other), power, keep=False)


def _older_cumsum(graph: Any, x: Any, axis: Any, dtype: Any) -> Any:
    """Write a running sum in the type that torch answers: int64 for whole numbers, whose type the exporter keeps."""
    import torch
    from torch.onnx import symbolic_helper
    from torch.onnx._internal.torchscript_exporter._type_utils import JitScalarType

    op = Older(graph)
    asked = symbolic_helper._maybe_get_const(dtype, "i")
    kind = JitScalarType(asked).dtype() if isinstance(asked, int) else op.kind(x)
    if not isinstance(asked, int) and not kind.is_floating_point:
        kind = torch.int64
    place = graph.op("Constant", value_t=torch.tensor(symbolic_helper._maybe_get_const(axis, "i")))
    return graph.op("CumSum", op.cast(x, kind), place)


def _rank(value: Any) -> int:
    from torch.onnx import symbolic_helper

    rank = symbolic_helper._get_tensor_rank(value)
    if rank is None:
        raise ConversionError("cdist of a tensor whose number of dimensions is not known has no ONNX translation")
    return int(rank)


def _length(op: Older, gap: Any, power: Any, *, keep: bool) -> Any:
    from torch.onnx import symbolic_helper

    p = symbolic_helper._maybe_get_const(power, "f")
    if not 0 < p < float("inf"):
        raise ConversionError(f"a distance with p={p} has no ONNX translation")
    powers = op.Pow(op.Abs(gap), op.number(p, gap))
    total = symbolic_helper._reducesum_helper(op.graph, powers, axes_i=[-1], keepdims_i=int(keep))
    return op.Pow(total, op.number(1 / p, gap))
