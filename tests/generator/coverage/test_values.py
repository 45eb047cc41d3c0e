"""The values that an input is tried with."""

import math

import pytest

from modelrepo.generator.coverage.flows import Flow
from modelrepo.generator.coverage.values import neighbours, values_of
from modelrepo.generator.specs.tensors import Domain, TensorSpec

UNKNOWN = Domain(known=False)


def spec(dtype: str, domain: Domain = UNKNOWN) -> TensorSpec:
    return TensorSpec("x", dtype, ("batch", 2), domain)


def test_whole_numbers_of_unknown_domain_have_both_signs_and_all_magnitudes() -> None:
    values = values_of(spec("int64"), Flow())
    assert {-1, -7, 7, 1000, -2147483647, 1234567890123} <= set(values)
    assert max(values_of(spec("int8"), Flow())) == 127
    assert min(values_of(spec("uint8"), Flow())) == 0


def test_an_index_is_tried_with_every_place_of_a_small_table_and_below_zero() -> None:
    assert {*range(-7, 8)} <= set(values_of(spec("int64"), Flow(indexed={7})))


def test_a_divisor_is_never_zero_or_minus_one() -> None:
    assert not {0, -1} & set(values_of(spec("int64"), Flow(divides=True)))
    assert values_of(spec("int64"), Flow(divides_computed=True))
    assert not values_of(spec("int64"), Flow(divides_computed=True), cautious=True)


def test_a_size_stays_small() -> None:
    assert max(values_of(spec("int64"), Flow(size=True))) < 10


def test_a_known_domain_bounds_the_values() -> None:
    assert all(0 <= value <= 1 for value in values_of(spec("float32", Domain(0, 1)), Flow()))
    assert set(values_of(spec("int64", Domain(0, 30)), Flow())) <= set(range(31))


def test_a_range_of_floats_is_not_left() -> None:
    values = values_of(spec("float32", Domain(2, 4, known=False)), Flow())
    assert (min(values), max(values)) == (2, 4)


def test_numbers_stay_within_a_hundred_deviations_of_the_fitted_range() -> None:
    fitted = Domain(known=False, center=(5.0, 1000.0), spread=(1.0, 2.0))
    assert 100 < max(values_of(spec("float32", fitted), Flow())) <= 1200
    assert max(values_of(spec("float32"), Flow())) > 10000


@pytest.mark.parametrize(("flow", "kind"), [(Flow(missing=True), math.isnan), (Flow(infinite=True), math.isinf)])
def test_nan_and_infinity_are_tried_if_the_graph_looks_for_them(flow: Flow, kind: object) -> None:
    assert callable(kind)
    assert any(map(kind, values_of(spec("float32"), flow)))
    assert not any(map(kind, values_of(spec("float32"), Flow())))


def test_texts_are_known_unknown_empty_long_and_in_many_scripts() -> None:
    values = values_of(spec("object", Domain(known=False, choices=("Bern",))), Flow(keys={"Oslo"}))
    assert {"Bern", "Oslo", "", "None"} <= set(values)
    assert any(len(value) > 1000 for value in values)
    assert any(not value.isascii() for value in values)


def test_the_neighbours_of_a_number_that_is_no_float32_lie_on_both_sides() -> None:
    found = neighbours(0.1, "float32")
    assert min(found) < 0.1 < max(found)
    assert neighbours(2.5, "int64") == [2.0, 3.0, 1.0, 4.0]
