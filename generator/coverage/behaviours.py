"""The behaviours of operators: the table ``ROWS``. A row says what an operator can do, and how that is seen.

A behaviour is seen in the tensors of one run of a node. Coverage counts behaviours, so another one is a row here and a
test. Values that operators share are no behaviours: a convolution does the same with every number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelrepo.generator.coverage import categories, trees
from modelrepo.generator.specs.tensors import Array

# What a row reads of an operand: its values, its shape, or its smallest and largest value.
VALUES, SHAPE, SPAN = "values", "shape", "span"
# Beyond this, float32's sigmoid and tanh round to their limits; exp overflows beyond the second and is 0 below it.
SATURATED, OVERFLOWING = 18.0, 88.8
# The kinds of numpy's whole numbers.
WHOLE = "iu"
Operands = Sequence[Any]
Seen = Callable[[Operands], bool]


@dataclass(frozen=True)
class Row:
    """What some operators can do.

    ``reads`` says what is needed of each operand: VALUES, SHAPE, SPAN or nothing (empty).
    """

    operators: tuple[str, ...]
    reads: tuple[str, ...]
    # Names the behaviours of a node, by its attributes: each completes "… was never seen".
    names: Callable[[Mapping[str, Any]], Sequence[str]]
    # Returns which of them one run shows, by the attributes and the operands; None if the row does not apply to them,
    # such as one about whole numbers to floats.
    seen: Callable[[Mapping[str, Any], Operands], Any]
    # The operand that must depend on values of the inputs for a node to have these behaviours; None: any of them.
    decisive: int | None = None


def _row(operators: str, reads: tuple[str, ...], cases: Mapping[str, Seen], kinds: str = "") -> Row:
    """Return a row with fixed behaviours; it applies if the first operand has a dtype of one of ``kinds``."""

    def seen(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
        first = operands[0]
        if first is None or (kinds and first.dtype.kind not in kinds):
            return None
        with np.errstate(all="ignore"):
            return [bool(case(operands)) for case in cases.values()]

    return Row(tuple(operators.split()), reads, lambda attributes: tuple(cases), seen)


def _any(condition: Callable[..., Any], *places: int) -> Seen:
    """Return whether a condition on some operands holds for any element; an operand that is left out never does."""

    def seen(operands: Operands) -> bool:
        given = [operands[place] if place < len(operands) else None for place in places or (0,)]
        return all(each is not None for each in given) and bool(np.any(condition(*given)))

    return seen


def _clip(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    """Return whether a value was below, and above, the limits: attributes before opset 11, then operands."""
    bounds = [operands[place] if place < len(operands) else None for place in (1, 2)]
    low, high = (
        attributes.get(name) if each is None else each for name, each in zip(("min", "max"), bounds, strict=True)
    )
    span = operands[0]
    return [low is None or bool(np.any(span < low)), high is None or bool(np.any(span > high))]


def _gather(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    shape, places = operands[0], operands[1]
    if shape is None or places is None or not len(shape):
        return None
    size = int(shape[attributes.get("axis", 0)])
    return [bool(np.any((places == 0) | (places == -size))), bool(np.any((places == size - 1) | (places == -1)))]


def _one_hot(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool]:
    places, depth = operands[0], int(np.asarray(operands[1]).ravel()[0])
    tests = (places == 0, places == depth - 1, places < 0, (places >= depth) | (places < -depth))
    return [bool(np.any(test)) for test in tests]


def _best(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool]:
    """Return whether the first of several equal largest, or smallest, elements was taken."""
    values = operands[0]
    if not values.size:
        return [False]
    axis = attributes.get("axis", 0)
    ends = (np.max, np.min)
    return [any(bool(np.any((values == end(values, axis=axis, keepdims=True)).sum(axis=axis) > 1)) for end in ends)]


def _to_whole(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    """Casts of floats to whole numbers: negative ones and fractions (TensorProto's types 2 to 7, 12 and 13)."""
    values = operands[0]
    if values.dtype.kind != "f" or attributes.get("to") not in (2, 3, 4, 5, 6, 7, 12, 13):
        return None
    whole = np.trunc(values) != values
    return [bool(np.any(whole & (values > 0))), bool(np.any(whole & (values < 0))), bool(np.any(values < 0))]


def _narrowed(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    """Casts of whole numbers to whole numbers and truth values."""
    if operands[0].dtype.kind not in WHOLE or attributes.get("to") not in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13):
        return None
    return [bool(np.any(operands[0] < 0)), bool(np.any(operands[0] > 1))]


def _to_truth(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    if operands[0].dtype.kind != "f" or attributes.get("to") != 9:
        return None
    return [bool(np.any(operands[0] == 0)), bool(np.any((np.abs(operands[0]) < 1) & (operands[0] != 0)))]


def _quantized(attributes: Mapping[str, Any], operands: Operands) -> Sequence[bool] | None:
    span, scale = operands[0], operands[1]
    zero = operands[2] if len(operands) > 2 else None
    if scale is None or scale.size != 1:
        return None
    kind = zero.dtype if zero is not None else np.dtype(np.uint8)
    if kind.kind not in WHOLE:
        return None
    limits, steps = np.iinfo(kind), span / float(scale) + (float(zero) if zero is not None else 0.0)
    return [bool(np.any(steps < limits.min - 0.5)), bool(np.any(steps > limits.max + 0.5))]


def _nothing(name: str) -> Callable[[Mapping[str, Any]], Sequence[str]]:
    return lambda attributes: (name,)


ROWS: tuple[Row, ...] = (
    _row(
        "Relu LeakyRelu PRelu Elu Selu Celu ThresholdedRelu HardSwish Gelu Mish Abs Sign",
        (SPAN,),
        {"a value below zero": _any(lambda x: x < 0), "a value above zero": _any(lambda x: x > 0)},
    ),
    _row(
        "Sigmoid Tanh HardSigmoid Softplus Erf Softsign",
        (SPAN,),
        {
            f"a value below -{SATURATED:g}": _any(lambda x: x < -SATURATED),
            "a value below zero": _any(lambda x: x < 0),
            "a value above zero": _any(lambda x: x > 0),
            f"a value above {SATURATED:g}": _any(lambda x: x > SATURATED),
        },
    ),
    _row(
        "Exp",
        (SPAN,),
        {
            f"a value below -{OVERFLOWING:g}": _any(lambda x: x < -OVERFLOWING),
            "a value below zero": _any(lambda x: x < 0),
            "a value above zero": _any(lambda x: x > 0),
        },
    ),
    _row(
        "Log",
        (SPAN,),
        {"a value below one": _any(lambda x: (x > 0) & (x < 1)), "a value above one": _any(lambda x: x > 1)},
    ),
    _row(
        "Sqrt Reciprocal",
        (SPAN,),
        {"a value below one": _any(lambda x: x < 1), "a value above one": _any(lambda x: x > 1)},
    ),
    _row(
        "Softmax LogSoftmax ReduceLogSumExp",
        (SPAN,),
        {f"values more than {SATURATED:g} apart": lambda each: float(each[0].max() - each[0].min()) > SATURATED},
    ),
    Row(("Clip",), (SPAN, VALUES, VALUES), lambda attributes: ("a value below", "a value above"), _clip),
    replace(_row("Where", (VALUES,), {"true": _any(lambda x: x), "false": _any(lambda x: ~x)}), decisive=0),
    _row("Not And Or Xor", (VALUES,), {"true": _any(lambda x: x), "false": _any(lambda x: ~x)}, "b"),
    _row("NonZero", (VALUES,), {"none": lambda each: not np.any(each[0]), "some": _any(lambda x: x != 0)}),
    _row(
        "Less LessOrEqual Greater GreaterOrEqual",
        (VALUES, VALUES),
        {
            "less": _any(lambda x, y: x < y, 0, 1),
            "equal": _any(lambda x, y: x == y, 0, 1),
            "greater": _any(lambda x, y: x > y, 0, 1),
        },
    ),
    _row(
        "Equal",
        (VALUES, VALUES),
        {"equal": _any(lambda x, y: x == y, 0, 1), "not equal": _any(lambda x, y: x != y, 0, 1)},
    ),
    _row(
        "Max Min",
        (VALUES, VALUES),
        {"the first": _any(lambda x, y: x > y, 0, 1), "the second": _any(lambda x, y: x < y, 0, 1)},
    ),
    _row(
        "Div Mod",
        (VALUES, VALUES),
        {
            "a dividend below zero, with a rest": _any(lambda x, y: (x < 0) & (y != 0) & (np.fmod(x, y) != 0), 0, 1),
            "a dividend below zero, without a rest": _any(lambda x, y: (x < 0) & (y != 0) & (np.fmod(x, y) == 0), 0, 1),
            "a dividend above zero": _any(lambda x: x > 0),
        },
        WHOLE,
    ),
    _row("Mul Add Sub Neg ReduceSum ReduceProd CumSum", (VALUES,), {"a value below zero": _any(lambda x: x < 0)}, "i"),
    _row(
        "BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift",
        (VALUES,),
        {"zero": _any(lambda x: x == 0), "a value of several bits": _any(lambda x: (x & (x - 1)) != 0)},
        WHOLE,
    ),
    _row(
        "Round",
        (VALUES,),
        {
            "the half above an even number": _any(lambda x: np.abs(x) % 2 == 0.5),
            "the half above an odd number": _any(lambda x: np.abs(x) % 2 == 1.5),
            "a value below zero": _any(lambda x: x < 0),
        },
        "f",
    ),
    _row(
        "Floor Ceil",
        (VALUES,),
        {
            "a fraction below zero": _any(lambda x: (x < 0) & (x != np.trunc(x))),
            "a fraction above zero": _any(lambda x: (x > 0) & (x != np.trunc(x))),
        },
        "f",
    ),
    _row(
        "Mod",
        (VALUES, VALUES),
        {
            "a dividend below zero": _any(lambda x, y: (x < 0) & (np.fmod(x, y) != 0), 0, 1),
            "a dividend above zero": _any(lambda x: x > 0),
        },
        "f",
    ),
    _row("Pow", (VALUES, VALUES), {"a base below zero": _any(lambda x: x < 0), "zero": _any(lambda x: x == 0)}),
    Row(
        ("Cast",),
        (VALUES,),
        lambda attributes: ("a fraction above zero", "a fraction below zero", "a value below zero"),
        _to_whole,
    ),
    Row(("Cast",), (VALUES,), lambda attributes: ("a value below zero", "a value above one"), _narrowed),
    Row(("Cast",), (VALUES,), lambda attributes: ("zero", "a fraction"), _to_truth),
    Row(("Gather",), (SHAPE, VALUES), lambda attributes: ("the first place", "the last place"), _gather, 1),
    Row(
        ("OneHot",),
        (VALUES, VALUES),
        lambda attributes: ("the first place", "the last place", "a place below zero", "a place beyond the last"),
        _one_hot,
    ),
    Row(("ArgMax", "ArgMin"), (VALUES,), _nothing("a tie"), _best),
    Row(("QuantizeLinear",), (SPAN, VALUES, VALUES), lambda attributes: ("a value below", "a value above"), _quantized),
    _row("IsNaN", (VALUES,), {"NaN": _any(np.isnan), "a number": _any(lambda x: ~np.isnan(x))}, "f"),
    _row("IsInf", (VALUES,), {"infinity": _any(np.isinf)}, "f"),
    Row(("TreeEnsembleClassifier", "TreeEnsembleRegressor"), (VALUES,), trees.names, trees.seen),
    Row(("LabelEncoder", "OneHotEncoder", "CategoryMapper"), (VALUES,), categories.names, categories.seen),
    Row(("Imputer",), (VALUES,), categories.imputer_names, categories.imputed),
    _row(
        "StringNormalizer Tokenizer",
        (VALUES,),
        {
            "an upper-case letter": lambda each: any(text != text.lower() for text in _texts(each[0])),
            "a letter beyond ASCII": lambda each: any(not text.isascii() for text in _texts(each[0])),
            "an empty text": lambda each: any(not text for text in _texts(each[0])),
        },
    ),
    Row(("TfIdfVectorizer",), (VALUES,), categories.gram_names, categories.grams),
    _row(
        "Binarizer",
        (VALUES,),
        {"a value at or below zero": _any(lambda x: x <= 0), "a value above zero": _any(lambda x: x > 0)},
    ),
)


def _texts(values: Array) -> list[str]:
    return [str(each) for each in values.ravel()]


def rows_of(operator: str) -> tuple[Row, ...]:
    """Return the rows about an operator."""
    return tuple(row for row in ROWS if operator in row.operators)
