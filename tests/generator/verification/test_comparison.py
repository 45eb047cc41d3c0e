"""Labels beside scores that a precision may move."""

import numpy as np
import pytest

from modelrepo.generator.verification.comparison import FP16, INT8, Comparison, Differs, Precision
from modelrepo.generator.verification.inputs import Pool

POOL = Pool({"x": np.zeros((1, 1), "float32")}, ("sample",))


@pytest.mark.parametrize(
    ("precision", "gap", "expected"),
    [(None, 0.01, "no"), (FP16, 0.005, "rounded"), (FP16, 0.2, "no"), (INT8, 0.01, "rounded"), (INT8, 0.5, "no")],
)
def test_a_label_may_change_where_a_precision_may_exchange_its_scores(
    precision: Precision | None, gap: float, expected: str
) -> None:
    scores = np.array([[0.5 + gap / 2, 0.5 - gap / 2]], "float32")
    wanted = {"label": np.array([0]), "scores": scores}
    got = {"label": np.array([1]), "scores": scores[:, ::-1]}
    comparison = Comparison(None, precision=precision)
    comparison.learn({name: [each[0]] for name, each in wanted.items()}, POOL)
    with pytest.raises(Differs):
        comparison.add({"label": wanted["label"]}, got, POOL, [0], 1)
    assert comparison.undecided(wanted, got, 0, "label") == expected
