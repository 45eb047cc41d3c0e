"""Estimators that are one formula, dummies, and targets that are turned back: served as scikit-learn answers."""

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import AffinityPropagation, FeatureAgglomeration, MeanShift
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical
from sklearn.decomposition import FactorAnalysis, FastICA, SparsePCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.kernel_approximation import Nystroem, RBFSampler, SkewedChi2Sampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.random_projection import SparseRandomProjection

from modelrepo.generator.errors import ConversionError
from tests.generator.export.sklearn.serving import check

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(80, 4)).astype(np.float32)
ABOVE = np.abs(ROWS)
NUMBER = 2 * ROWS[:, 0] + ROWS[:, 1] ** 2
TWO = np.column_stack([NUMBER, ROWS[:, 2]])
KIND = (NUMBER > 0).astype(int) + (ROWS[:, 2] > 0.5)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS * 5 + 100], ids=["many", "one", "far"])
@pytest.mark.parametrize(
    "model",
    [
        FactorAnalysis(2),
        FastICA(2, random_state=0),
        SparsePCA(2, max_iter=20),
        SparseRandomProjection(2, random_state=0),
        FeatureAgglomeration(2),
        PLSSVD(1),
        CCA(1),
        PLSCanonical(1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_weighted_columns_are_added(model: Any, rows: Any) -> None:
    check(model.fit(ROWS, TWO), rows)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "sigmoid"])
def test_a_row_is_compared_with_samples_by_every_kernel(kernel: str) -> None:
    check(KernelRidge(alpha=99, kernel=kernel).fit(ROWS, NUMBER), ROWS)
    check(KernelRidge(alpha=99, kernel=kernel, gamma=0.3, degree=2, coef0=0.5).fit(ROWS, TWO), ROWS)
    check(Nystroem(kernel=kernel, n_components=5, random_state=0).fit(ROWS), ROWS)


def test_another_kernel_is_named() -> None:
    with pytest.raises(ConversionError, match="can't convert the kernel 'laplacian' of a KernelRidge"):
        check(KernelRidge(kernel="laplacian").fit(ROWS, NUMBER), ROWS)


def test_random_waves_and_hidden_units_are_computed() -> None:
    check(RBFSampler(n_components=9, random_state=0).fit(ROWS), np.concatenate([ROWS, ROWS * 1e3]), within=1e-4)
    check(SkewedChi2Sampler(n_components=9, random_state=0).fit(ABOVE), ABOVE)
    check(BernoulliRBM(3, n_iter=2, random_state=0).fit(ABOVE / 5), ROWS)


def test_outliers_of_a_covariance_are_found() -> None:
    check(EllipticEnvelope(random_state=0).fit(ROWS), ROWS * 2)


@pytest.mark.parametrize("model", [MeanShift(bandwidth=1.5), AffinityPropagation(random_state=0)])
def test_the_nearest_center_is_the_label(model: Any) -> None:
    check(model.fit(ROWS), ROWS)


def test_a_dummy_answers_the_same_for_every_row() -> None:
    check(DummyClassifier().fit(ROWS, KIND), ROWS)
    check(DummyClassifier(strategy="most_frequent").fit(ROWS, np.array(["a", "b", "c"])[KIND]), ROWS)
    check(DummyRegressor(strategy="median").fit(ROWS, TWO), ROWS)
    with pytest.raises(ConversionError, match="the strategy 'stratified', which draws its answers"):
        check(DummyClassifier(strategy="stratified").fit(ROWS, KIND), ROWS)


@pytest.mark.parametrize(
    "settings",
    [
        {"transformer": StandardScaler()},
        {"transformer": MinMaxScaler()},
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.sqrt, "inverse_func": np.square},
    ],
    ids=str,
)
def test_a_transformed_target_is_turned_back(settings: dict[str, Any]) -> None:
    check(TransformedTargetRegressor(Ridge(), check_inverse=False, **settings).fit(ROWS, np.abs(TWO)), ROWS)
    inner = make_pipeline(StandardScaler(), LinearRegression())
    check(TransformedTargetRegressor(inner, check_inverse=False, **settings).fit(ROWS, np.abs(NUMBER)), ROWS)


def test_what_turns_a_target_back_is_named_if_it_has_no_formula() -> None:
    model = TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=5))
    with pytest.raises(ConversionError, match=r"turns the targets .* back: QuantileTransformer"):
        check(model.fit(ROWS, NUMBER), ROWS)


def test_a_formula_may_be_a_step() -> None:
    steps = (StandardScaler(), FeatureAgglomeration(2), Nystroem(n_components=4, random_state=0), LogisticRegression())
    check(make_pipeline(*steps).fit(ROWS, KIND), ROWS)


def test_thousands_of_words_do_not_cancel() -> None:
    check(MultinomialNB().fit(ABOVE, KIND), np.full((1, 4), 1e4, np.float32))


def test_another_pooling_function_is_named() -> None:
    with pytest.raises(ConversionError, match="with the pooling function max"):
        check(FeatureAgglomeration(2, pooling_func=np.max).fit(ROWS), ROWS)
