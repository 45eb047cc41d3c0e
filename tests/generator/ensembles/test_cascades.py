"""The threshold of a cascade: the lowest that keeps enough right answers, judged on samples that did not choose it."""

import numpy as np
import pytest

from modelrepo.generator.ensembles.cascades import (
    NEVER,
    Asked,
    Judged,
    Proportion,
    chosen,
    falls_short,
    judged,
    threshold,
)
from modelrepo.generator.errors import OptionError


def of(*rows: tuple[float, bool, bool]) -> Asked:
    return Asked(*(np.array(each) for each in zip(*rows, strict=True)))


def drawn(count: int, seed: int = 0, large: float = 0.95) -> Asked:
    """Return a small model that is right as often as it is sure, and a large one that is right by itself."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.3, 1, count)
    return Asked(sure, rng.uniform(size=count) < sure, rng.uniform(size=count) < large)


def test_the_threshold_lies_between_the_last_that_stays_and_the_first_that_goes() -> None:
    asked = of((0.9, True, True), (0.8, True, True), (0.6, False, True), (0.5, True, True))
    assert threshold(asked, 1.0) == pytest.approx(0.7)


def test_a_later_rise_by_luck_does_not_lower_the_threshold() -> None:
    asked = of((0.9, True, True), (0.8, False, True), (0.7, True, False), (0.6, True, False), (0.5, False, True))
    assert threshold(asked, 1.0) == pytest.approx(0.85)


def test_samples_of_equal_probability_go_together() -> None:
    asked = of((0.9, True, True), (0.8, True, True), (0.8, False, True), (0.5, False, True))
    assert threshold(asked, 1.0) == pytest.approx(0.85)


def test_every_higher_threshold_keeps_as_much() -> None:
    asked = drawn(500)
    lowest = threshold(asked, 0.98)
    needed = 0.98 * asked.large.sum()
    for other in np.linspace(lowest, 1.1, 50):
        assert judged(asked, other).cascade.count >= needed


def test_a_sample_with_nan_always_goes_to_the_large_model() -> None:
    asked = of((np.nan, True, True), (0.9, True, True), (0.8, True, False))
    assert threshold(asked, 1.0) == NEVER
    assert judged(asked, NEVER).to_large.count == 1


def test_neighbours_without_a_number_between_them_are_still_told_apart() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    asked = of((high, True, True), (low, False, True))
    found = judged(asked, threshold(asked, 1.0))
    assert (found.to_large.count, found.cascade.count) == (1, 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (of((0.9, True, False), (0.5, True, False)), "the large model is right in none of the samples"),
        (of((0.9, False, True), (0.5, True, True)), "where the small model is surest, it is wrong too often"),
        (of((0.9, True, True), (0.5, True, True)), "no sample needs the large model"),
    ],
)
def test_samples_that_can_not_choose_are_refused(asked: Asked, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        threshold(asked, 1.0)
    assert said in str(caught.value)


def test_few_samples_are_refused() -> None:
    with pytest.raises(OptionError, match="can't choose a threshold on 63 labelled samples"):
        chosen(drawn(63), 0.99)


def test_what_is_told_comes_from_samples_that_did_not_choose() -> None:
    asked = drawn(1001)
    found = chosen(asked, 0.97)
    assert (found.chosen_on, found.cascade.of) == (500, 501)
    assert chosen(asked, 0.97) == found
    assert str(found).startswith(
        f"on 501 labelled samples with the threshold {found.threshold:.4g}, chosen on 500 others"
    )


def test_the_accuracy_that_is_told_is_not_optimistic() -> None:
    """The threshold of 200 runs, judged on many fresh samples, is as good as the told one on average."""
    fresh = drawn(100_000, seed=99)
    told, true = [], []
    for seed in range(200):
        found = chosen(drawn(200, seed), 0.97)
        told.append(found.cascade.share)
        true.append(judged(fresh, found.threshold).cascade.share)
    assert np.mean(told) - np.mean(true) == pytest.approx(0, abs=0.006)


def test_most_thresholds_keep_what_was_asked_for() -> None:
    fresh, keep = drawn(100_000, seed=99), 0.97
    kept = [judged(fresh, chosen(drawn(800, seed), keep).threshold) for seed in range(60)]
    assert sum(found.cascade.count >= keep * found.large.count for found in kept) >= 50


def test_a_cascade_that_keeps_less_than_asked_is_told() -> None:
    short = Judged(0.5, Proportion(5, 10), Proportion(6, 10), Proportion(10, 10), Proportion(9, 10))
    assert "keeps 0.9 of the large model's accuracy, less than the 0.95" in falls_short(short, 0.95)
    assert falls_short(short, 0.9) == ""


def test_the_interval_of_a_share_stays_within_its_bounds() -> None:
    assert Proportion(0, 10).interval[0] == 0
    low, high = Proportion(10, 10).interval
    assert (low, high) == pytest.approx((0.7225, 1), abs=1e-4)
    assert str(Proportion(50, 100)) == "50.0% (40.4 to 59.6 %)"
