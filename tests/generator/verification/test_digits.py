"""Rounding users' numbers to the types of inputs: which rows get another answer, and which decimals are generated."""

from collections.abc import Callable
from typing import Any

import numpy as np

from modelrepo.generator.errors import InputRefused
from modelrepo.generator.specs.tensors import Arrays, Domain, TensorSpec
from modelrepo.generator.verification import digits
from modelrepo.generator.verification.digits import Loss
from modelrepo.generator.verification.inputs import Pool

NARROW = (TensorSpec("x", "float32", ("batch", 1)),)


def lost(answer: Callable[[Any], Any], values: list[float], name: str = "y") -> Loss | None:
    """Return what rounding to float32 changes in an answer to float64 values."""
    pool = Pool({"x": np.array(values)[:, np.newaxis]}, tuple(f"row {number}" for number in range(len(values))))
    return digits.loss(lambda arrays: {name: answer(arrays["x"].astype(np.float64))}, pool, NARROW, None, "samples")


def test_rows_on_the_other_side_of_a_decimal_are_counted_with_their_difference() -> None:
    # As float32, 55.8 is 55.79999923706055, and 0.1 is 0.10000000149011612.
    found = lost(lambda x: np.where(x < 55.8, 100.0, 101.5), [55.8, 55.9, 0.1, 3.5])
    assert found is not None
    assert (found.count, found.asked, found.labels) == (1, 4, 0)
    assert found.rows.arrays["x"].tolist() == [[55.8]]
    assert str(found) == "1 of 4 samples gets another answer (worst 1.5%)"


def test_another_label_is_counted_apart() -> None:
    found = lost(lambda x: np.where(x[:, 0] < 55.8, "low", "high").astype(object), [55.8, 55.9], "label")
    assert str(found) == "1 of 2 samples gets another answer (1 of another class)"


def test_numbers_that_the_type_holds_are_not_asked() -> None:
    def refuse(_: Arrays) -> Any:
        raise AssertionError

    assert lost(refuse, [1.0, 55.5, float("nan"), 2.0**24]) is None


def test_whole_numbers_beyond_24_bits_lose_digits() -> None:
    found = lost(lambda x: x % 2, [2.0**24 + 1, 7.0])
    assert found is not None
    assert (found.count, found.worst) == (1, 1.0)


def test_differences_within_the_limit_do_not_count() -> None:
    found = lost(lambda x: 3 * x, [55.8, 0.1])
    assert found is not None
    assert str(found) == "none of 2 samples gets another answer"


def test_a_source_that_refuses_a_row_shows_nothing() -> None:
    def refuse(_: Arrays) -> Any:
        raise InputRefused("the source model fails")

    assert lost(refuse, [0.1]) is None


def test_generated_numbers_have_few_decimals_within_the_fitted_ranges() -> None:
    domain = Domain(known=False, center=(80.0, 0.5), spread=(25.0, 0.004))
    (rows, again) = (
        digits.decimals([TensorSpec("x", "float64", ("batch", 2), domain)], seed).arrays["x"] for seed in (0, 0)
    )
    assert (rows == again).all()
    assert rows.shape == (digits.ROWS, 2)
    for column, decimals in ((0, (1, 2)), (1, (3, 4))):
        for parity, places in enumerate(decimals):
            own = rows[parity::2, column]
            assert (own == np.round(own, places)).all()
            assert (own != np.round(own, places - 1)).any()
    np.testing.assert_allclose(rows.mean(0), domain.center, rtol=0.05)


def test_generated_numbers_keep_the_bounds_and_the_choices_of_their_inputs() -> None:
    bounded = TensorSpec("bounded", "float64", ("batch", 1), Domain(1e-3, None, known=False))
    chosen = TensorSpec("chosen", "float32", ("batch", 1), Domain(known=False, choices=(0.1, 2.0)))
    arrays = digits.decimals([bounded, chosen], 0).arrays
    assert arrays["bounded"].min() == 1e-3
    assert set(arrays["chosen"].ravel().tolist()) == {float(np.float32(0.1)), 2.0}
