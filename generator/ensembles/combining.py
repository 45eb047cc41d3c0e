"""The answers of several models as one: their mean, weighted mean or vote, as an ONNX graph and in numpy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, TensorSpec

MEAN, WEIGHTED_MEAN, VOTE = "mean", "weighted mean", "vote"
WAYS = (MEAN, WEIGHTED_MEAN, VOTE)
# What is averaged: the answers as they are, or the probabilities that softmax makes of them.
ANSWERS, SOFTMAX = "answers", "softmax"
# The types that can be averaged. The mean is FP64 if a member's answer is, and else FP32; a vote is FP32.
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Every release of Triton that is known reads them; the operators have not changed since.
OPSET, IR_VERSION = 13, 7
# How far a row of probabilities may be from a sum of 1: FP16's rounding of a thousand of them.
SUM_OF_PROBABILITIES = 0.01
# As names in modelrepo.toml: STEP.OUTPUT.
SEPARATOR = "."


class Answering(Protocol):
    """A model whose answers are combined: the name of its step, its outputs, and the names of its classes."""

    @property
    def name(self) -> str:
        """The name that messages call it, and that the inputs of the graph begin with."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """Its outputs, with the batch."""

    @property
    def labels(self) -> Sequence[str]:
        """The names of its classes in order, or none."""


@dataclass(frozen=True)
class Combination:
    """How answers are combined.

    ``weights`` has one for each member, for a weighted mean only; their sum may be any. With ``of`` SOFTMAX, the
    softmax of each answer over its last axis is averaged. The default is the answers as they are: softmax would distort
    what is a probability already, or a number that is no score.
    """

    way: str = MEAN
    weights: tuple[float, ...] = ()
    of: str = ANSWERS
    outputs: tuple[str, ...] = ()  # that are combined; none: all that are floats

    def shares(self, count: int) -> tuple[float, ...]:
        """Return the weight of each of ``count`` members; they have the sum 1."""
        weights = self.weights or (1.0,) * count
        return tuple(weight / math.fsum(weights) for weight in weights)

    def refuse_senseless(self, members: Sequence[str]) -> None:
        """Raise OptionError for settings that contradict each other, or the number of members."""
        if self.way not in WAYS:
            raise OptionError(
                f"can't combine answers by {self.way!r}", f"Write {', '.join(WAYS)}, or python:MODULE:FUNCTION"
            )
        if len(members) < 2:
            count = f"there is only {members[0]!r}" if members else "there are none"
            raise OptionError(f"can't combine answers: {count}", "Name two members or more")
        if self.of not in (ANSWERS, SOFTMAX) or (self.of == SOFTMAX and self.way == VOTE):
            what = "has no effect on a vote" if self.of == SOFTMAX else "is not known"
            raise OptionError(f"of = {self.of!r} {what}", f"Write {ANSWERS} or {SOFTMAX}, with a mean")
        if bool(self.weights) != (self.way == WEIGHTED_MEAN):
            what = "has no effect on" if self.weights else "is missing for"
            raise OptionError(f"weights {what} combine = {self.way!r}", f"Give weights with {WEIGHTED_MEAN!r} only")
        if self.weights and len(self.weights) != len(members):
            raise OptionError(
                f"there are {len(self.weights)} weights for {len(members)} members", "Give one weight for each member"
            )
        for weight, member in zip(self.weights, members, strict=False):
            if not (math.isfinite(weight) and weight > 0):
                raise OptionError(f"the weight of {member} is {weight:g}", "Give a number above 0, or drop the member")


def chosen(combination: Combination, members: Sequence[Answering]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the outputs that are combined, and notes for the user.

    Raises OptionError for members that disagree in an output or in the order of their classes; it names both ends.
    """
    combination.refuse_senseless([member.name for member in members])
    first, notes = members[0], []
    known = {spec.name: spec for spec in first.outputs}
    names = combination.outputs or tuple(spec.name for spec in first.outputs if spec.dtype in FLOATS)
    left_out = [name for name in known if name not in names]
    if left_out and not combination.outputs:
        notes.append(f"{', '.join(left_out)} of its members can't be averaged and is left out")
    if not names:
        raise OptionError(
            f"can't combine {_listed(members)}: no output of {first.name} is a float", "Combine scores, not classes"
        )
    for name in names:
        for one, other in pairwise(members):
            refuse_different(name, one, other)
        _refuse_unfit(combination, first, known[name])
    return names, (*notes, *agreed_labels(members))


def input_name(member: str, output: str) -> str:
    """Return the name that a member's output has as an input of the graph."""
    return f"{member}{SEPARATOR}{output}"


def graph(combination: Combination, members: Sequence[Answering], names: Sequence[str]) -> Any:
    """Return an ``onnx.ModelProto`` that combines the outputs ``names`` of members that agree in them.

    Its inputs are called as by ``input_name`` and keep the members' types; its outputs have the names, shapes and
    labels of the members' own. It computes what ``reference`` does.
    """
    from onnx import helper

    nodes: list[Any] = []
    inputs, outputs = [], []
    shares = combination.shares(len(members))
    for name in names:
        specs = [_output(member, name) for member in members]
        dtype, shape = _result(combination, [spec.dtype for spec in specs]), list(specs[0].shape)
        parts = []
        for member, spec, share in zip(members, specs, shares, strict=True):
            own = input_name(member.name, name)
            inputs.append(helper.make_tensor_value_info(own, _onnx_type(spec.dtype), shape))
            if combination.way == VOTE:
                nodes += _ballot(own, spec.dtype, spec.shape[-1], share)
            else:
                nodes += _weighted(own, dtype, share, softmax=combination.of == SOFTMAX)
            parts.append(f"{own}:part")
        nodes.append(helper.make_node("Sum", parts, [name], name=f"{name}:sum"))
        outputs.append(helper.make_tensor_value_info(name, _onnx_type(dtype), shape))
    made = helper.make_graph(nodes, "combine", inputs, outputs)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="modelrepo")


def reference(combination: Combination, answers: Sequence[Arrays], names: Sequence[str]) -> dict[str, Array]:
    """Return the combined outputs of members' answers to the same inputs, computed in FP64.

    A vote is the share of the members that rank each class first, so that its largest element is the class with the
    most votes. A member votes for the lowest of the classes with its largest score; equal shares are broken by argmax,
    for the lowest class again. NaN in a member's answer makes the combined answer NaN: in that place for a mean, for
    the whole row after softmax and in a vote.
    """
    shares = combination.shares(len(answers))
    found = {}
    for name in names:
        own = [np.asarray(answer[name]) for answer in answers]
        dtype = _result(combination, [array.dtype.name for array in own])
        if combination.way == VOTE:
            rows = [_cast_ballot(array) for array in own]
        elif combination.of == SOFTMAX:
            rows = [softmax(array) for array in own]
        else:
            rows = [array.astype(np.float64) for array in own]
        found[name] = np.asarray(sum(share * row for share, row in zip(shares, rows, strict=True))).astype(dtype)
    return found


def softmax(scores: Array) -> Array:
    """Return the softmax over the last axis in FP64; NaN for a row with NaN or infinity."""
    scores = scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def are_probabilities(answers: Array) -> bool:
    """Whether every row along the last axis consists of shares of 1; rows with NaN don't count."""
    rows = np.asarray(answers, np.float64).reshape(-1, np.shape(answers)[-1])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if not len(rows) or rows.min() < 0:
        return False
    return bool((np.abs(rows.sum(axis=1) - 1) <= SUM_OF_PROBABILITIES).all())


def _listed(members: Sequence[Answering]) -> str:
    return ", ".join(member.name for member in members)


def _output(member: Answering, name: str) -> TensorSpec:
    found = next((spec for spec in member.outputs if spec.name == name), None)
    if found is None:
        raise OptionError(
            f"can't combine {name!r}: {member.name} has no such output",
            f"Its outputs are {', '.join(spec.name for spec in member.outputs)}",
        )
    return found


def refuse_different(name: str, one: Answering, other: Answering) -> None:
    """Raise OptionError if two members' outputs of a name can't be added, element by element."""
    ours, theirs = _output(one, name), _output(other, name)
    told = f"{one.name} answers {ours.dtype} {ours}, {other.name} answers {theirs.dtype} {theirs}"
    for spec in (ours, theirs):
        if spec.dtype not in FLOATS:
            raise OptionError(f"can't combine {name!r}: {told}", f"Combine outputs of {', '.join(FLOATS)}")
    if [_known(dim) for dim in ours.shape] != [_known(dim) for dim in theirs.shape]:
        raise OptionError(f"can't combine {name!r}: {told}", "Combine models whose answers have the same shape")


def _known(dim: Dim) -> int:
    return dim if isinstance(dim, int) else -1


def _refuse_unfit(combination: Combination, member: Answering, spec: TensorSpec) -> None:
    """Raise OptionError for an output whose last axis is not certain to be that of the classes."""
    if combination.way != VOTE and combination.of != SOFTMAX:
        return
    classes = spec.shape[-1] if len(spec.shape) == 2 else 0
    if not isinstance(classes, int) or classes < 2:
        asked = VOTE if combination.way == VOTE else f"of = {SOFTMAX!r}"
        raise OptionError(
            f"can't combine {spec.name!r} by {asked}: {member.name} answers {spec}, not a score for each class",
            f"Use combine = {MEAN!r} with the answers as they are",
        )


def agreed_labels(members: Sequence[Answering]) -> Iterator[str]:
    """Yield a note on members whose classes have no names; OptionError for two that order them differently."""
    named = [member for member in members if member.labels]
    for one, other in pairwise(named):
        ours, theirs = list(one.labels), list(other.labels)
        if ours == theirs:
            continue
        if len(ours) != len(theirs):
            said = f"{one.name} has {len(ours)} classes, {other.name} has {len(theirs)}"
        else:
            place = next(index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
            said = f"class {place} is {ours[place]!r} for {one.name} and {theirs[place]!r} for {other.name}"
        raise OptionError(
            f"can't combine {one.name} and {other.name}: {said}",
            "Combine models whose classes have the same names in the same order",
        )
    nameless = [member.name for member in members if not member.labels]
    if named and nameless:
        yield (
            f"the classes of {', '.join(nameless)} have no names: that they are in the order of {named[0].name} was "
            "not checked"
        )


def _result(combination: Combination, dtypes: Sequence[str]) -> str:
    return "float64" if "float64" in dtypes and combination.way != VOTE else "float32"


def _onnx_type(dtype: str) -> int:
    import onnx

    if dtype == "bfloat16":
        return int(onnx.TensorProto.BFLOAT16)
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _constant(name: str, values: Any, dtype: str) -> Any:
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(np.array(values, dtype)))


def _weighted(own: str, dtype: str, share: float, *, softmax: bool) -> Iterator[Any]:
    """Yield the nodes that multiply an answer, or its softmax, by its share: before the sum, so that none overflows."""
    from onnx import helper

    yield helper.make_node("Cast", [own], [f"{own}:cast"], name=f"{own}:cast", to=_onnx_type(dtype))
    scores = f"{own}:cast"
    if softmax:
        yield helper.make_node("Softmax", [scores], [f"{own}:softmax"], name=f"{own}:softmax", axis=-1)
        scores = f"{own}:softmax"
    yield _constant(f"{own}:share", share, dtype)
    yield helper.make_node("Mul", [scores, f"{own}:share"], [f"{own}:part"], name=f"{own}:part")


def _ballot(own: str, dtype: str, classes: Dim, share: float) -> Iterator[Any]:
    """Yield the nodes that give the member's share to the class with its largest score, or NaN for a row with NaN.

    Scores keep FP64: two of them must not become equal.
    """
    from onnx import helper

    compared = "float64" if dtype == "float64" else "float32"
    yield helper.make_node("Cast", [own], [f"{own}:cast"], name=f"{own}:cast", to=_onnx_type(compared))
    # ONNX's ArgMax takes the first of equal scores (select_last_index=0).
    yield helper.make_node("ArgMax", [f"{own}:cast"], [f"{own}:class"], name=f"{own}:class", axis=-1, keepdims=0)
    yield _constant(f"{own}:classes", classes, "int64")
    yield _constant(f"{own}:values", [0.0, share], "float32")
    inputs = [f"{own}:class", f"{own}:classes", f"{own}:values"]
    yield helper.make_node("OneHot", inputs, [f"{own}:vote"], name=f"{own}:vote", axis=-1)
    yield helper.make_node("IsNaN", [f"{own}:cast"], [f"{own}:nan"], name=f"{own}:nan")
    yield helper.make_node("Cast", [f"{own}:nan"], [f"{own}:nans"], name=f"{own}:nans", to=_onnx_type("float32"))
    yield helper.make_node("ReduceMax", [f"{own}:nans"], [f"{own}:any"], name=f"{own}:any", axes=[-1], keepdims=1)
    yield helper.make_node("Cast", [f"{own}:any"], [f"{own}:faulty"], name=f"{own}:faulty", to=_onnx_type("bool"))
    yield _constant(f"{own}:unknown", np.nan, "float32")
    inputs = [f"{own}:faulty", f"{own}:unknown", f"{own}:vote"]
    yield helper.make_node("Where", inputs, [f"{own}:part"], name=f"{own}:part")


def _cast_ballot(scores: Array) -> Array:
    scores = scores.astype(np.float64)
    vote = np.eye(scores.shape[-1])[scores.argmax(axis=-1)]
    return np.where(np.isnan(scores).any(axis=-1, keepdims=True), np.nan, vote)
