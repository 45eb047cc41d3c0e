"""The answers of several models as one: the graph computes what the reference does, and members must agree."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime
import pytest

from modelrepo.generator.ensembles.combining import (
    Combination,
    are_probabilities,
    chosen,
    graph,
    input_name,
    reference,
)
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array, TensorSpec

CLASSES = 5


@dataclass(frozen=True)
class Voice:
    name: str
    outputs: tuple[TensorSpec, ...] = (TensorSpec("y", "float32", ("batch", CLASSES)),)
    labels: tuple[str, ...] = ()


MEMBERS = (Voice("a"), Voice("b"), Voice("c"))
TWO = MEMBERS[:2]


def answers(dtypes: tuple[str, ...]) -> list[dict[str, Array]]:
    """Return answers with ties, NaN and infinity in some rows."""
    rng = np.random.default_rng(0)
    found = [(3 * rng.normal(size=(40, CLASSES))).astype(dtype) for dtype in dtypes]
    found[0][5, 1], found[1][3, 2], found[-1][6, 1] = np.inf, np.nan, -np.inf
    found[-1][7] = 1
    return [{"y": each} for each in found]


def combined(combination: Combination, given: list[dict[str, Array]], members: tuple[Voice, ...]) -> Array:
    names, _ = chosen(combination, members)
    model = graph(combination, members, names)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    fed = {input_name(member.name, "y"): each["y"] for member, each in zip(members, given, strict=True)}
    return np.asarray(session.run(["y"], fed)[0])


@pytest.mark.parametrize("dtypes", [("float32",) * 3, ("float16", "float32", "float64")], ids=["alike", "mixed"])
@pytest.mark.parametrize(
    "combination",
    [Combination(), Combination("weighted mean", (1, 2, 5)), Combination(of="softmax"), Combination("vote")],
    ids=["mean", "weighted", "softmax", "vote"],
)
def test_the_graph_answers_as_the_reference_with_ties_nan_and_infinity(
    combination: Combination, dtypes: tuple[str, ...]
) -> None:
    members = tuple(
        replace(member, outputs=(TensorSpec("y", dtype, ("batch", CLASSES)),))
        for member, dtype in zip(MEMBERS, dtypes, strict=True)
    )
    given = answers(dtypes)
    right = reference(combination, given, ("y",))["y"]
    got = combined(combination, given, members)
    assert got.dtype == right.dtype
    np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_a_mean_of_large_numbers_does_not_overflow() -> None:
    given = [{"y": np.full((1, CLASSES), 3e38, np.float32)}] * 3
    np.testing.assert_allclose(combined(Combination(), given, MEMBERS), 3e38, rtol=1e-6)


def test_weights_are_shares_of_their_sum() -> None:
    given = [{"y": np.full((1, CLASSES), value, np.float32)} for value in (0, 4, 8)]
    np.testing.assert_allclose(combined(Combination("weighted mean", (1, 1, 2)), given, MEMBERS), 5)


def test_a_vote_is_the_share_of_members_and_ties_are_for_the_lowest_class() -> None:
    scores = np.eye(CLASSES, dtype=np.float32)
    given = [{"y": scores[[3, 2]]}, {"y": scores[[1, 2]]}]
    got = combined(Combination("vote"), given, TWO)
    np.testing.assert_array_equal(got, [[0, 0.5, 0, 0.5, 0], [0, 0, 1, 0, 0]])
    assert got.argmax(axis=1).tolist() == [1, 2]


def test_a_row_with_nan_has_no_vote() -> None:
    faulty = np.array([[np.nan, 9, 0, 0, 0], [0, 9, 0, 0, 0]], np.float32)
    got = combined(Combination("vote"), [{"y": faulty}, {"y": faulty}], TWO)
    assert np.isnan(got[0]).all()
    assert got[1].tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("combination", "members", "said"),
    [
        (Combination("median"), TWO, "can't combine answers by 'median'"),
        (Combination(), MEMBERS[:1], "there is only 'a'"),
        (Combination("weighted mean"), TWO, "weights is missing for combine = 'weighted mean'"),
        (Combination("mean", (1, 2)), TWO, "weights has no effect on combine = 'mean'"),
        (Combination("weighted mean", (1, 2, 3)), TWO, "there are 3 weights for 2 members"),
        (Combination("weighted mean", (1, 0)), TWO, "the weight of b is 0"),
        (Combination("vote", of="softmax"), TWO, "of = 'softmax' has no effect on a vote"),
        (Combination(outputs=("z",)), TWO, "can't combine 'z': a has no such output"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    combination: Combination, members: tuple[Voice, ...], said: str
) -> None:
    with pytest.raises(OptionError) as caught:
        chosen(combination, members)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            Voice("b", (TensorSpec("y", "float32", ("n", 4)),)),
            "a answers float32 y[batch, 5], b answers float32 y[n, 4]",
        ),
        (Voice("b", (TensorSpec("y", "int64", ("n", 5)),)), "a answers float32 y[batch, 5], b answers int64 y[n, 5]"),
        (Voice("b", (TensorSpec("z", "float32", ("n", 5)),)), "b has no such output"),
    ],
)
def test_members_that_disagree_are_refused_with_both_ends(other: Voice, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        chosen(Combination(), (MEMBERS[0], other))
    assert said in str(caught.value)


def test_classes_in_another_order_are_refused() -> None:
    one, other = Voice("a", labels=("cat", "dog", "owl")), Voice("b", labels=("dog", "cat", "owl"))
    with pytest.raises(OptionError, match="class 0 is 'cat' for a and 'dog' for b"):
        chosen(Combination(), (one, other))


def test_classes_without_names_are_told() -> None:
    _, notes = chosen(Combination(), (Voice("a", labels=("cat", "dog")), Voice("b")))
    assert notes == ("the classes of b have no names: that they are in the order of a was not checked",)


def test_outputs_that_are_no_floats_are_left_out_with_a_note() -> None:
    outputs = (TensorSpec("label", "int64", ("batch", 1)), MEMBERS[0].outputs[0])
    names, notes = chosen(Combination(), (Voice("a", outputs), Voice("b", outputs)))
    assert names == ("y",)
    assert notes == ("label of its members can't be averaged and is left out",)


@pytest.mark.parametrize("combination", [Combination("vote"), Combination(of="softmax")], ids=["vote", "softmax"])
def test_only_a_score_for_each_class_has_a_vote_or_a_softmax(combination: Combination) -> None:
    mask = (TensorSpec("y", "float32", ("batch", CLASSES, 8, 8)),)
    with pytest.raises(OptionError, match=r"a answers y\[batch, 5, 8, 8\], not a score for each class"):
        chosen(combination, (Voice("a", mask), Voice("b", mask)))


def test_probabilities_are_told_from_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(9, CLASSES))
    powers = np.exp(scores)
    assert are_probabilities((powers / powers.sum(axis=1, keepdims=True)).astype(np.float16))
    assert not are_probabilities(scores)
    assert not are_probabilities(powers)
    assert not are_probabilities(np.full((2, CLASSES), np.nan))
