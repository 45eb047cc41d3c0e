"""Random estimators of scikit-learn, XGBoost and LightGBM, fitted on random tables."""
# ruff: noqa: E501 - a table, a row a line

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.mutation.asked import Data
from tests.random_models.drawing import drawn
from tests.random_models.trial import Description

FILE = "model.joblib"
WORDS = ("good", "bad", "film", "day", "I've", "naïve", "café", "x", "3rd", "GOOD", "co-op", "don't", "été", "re_do")
# A table, by the words that say what may be in it: numbers, numbers with gaps, whole numbers, categories, texts.
# fmt: off
TABLES = {
    "numbers": "X = r.normal(size=(200, 4)).astype('f4') * {scale}",
    "gaps": "X = r.normal(size=(200, 4)).astype('f4') * {scale}; X[r.random(X.shape) < .2] = np.nan",
    "zeros": "X = r.normal(size=(200, 4)).astype('f4') * {scale}; X[r.random(X.shape) < .3] = 0",
    "counts": "X = r.integers(0, 6, (200, 4)).astype('f4')",
    "coded": "X = r.integers(0, 5, (200, 4)); X[:, 0] *= -1",
    "constant": "X = r.normal(size=(200, 4)).astype('f4') * {scale}; X[:, 2] = 3",
    "words": "X = r.choice(['red', 'green', 'blue', 'Blue', ''], (200, 3)).astype(object)",
    "gaps in words": "X = r.choice(['red', 'green', 'blue', 'rare'], (200, 3), p=[.5, .3, .19, .01]).astype(object); X[r.random(X.shape) < .1] = None",
    "frame": "X = pd.DataFrame({{'size': (r.normal(size=200) * {scale}).astype('f4'), 'age': np.where(r.random(200) < .2, np.nan, r.integers(0, 90, 200)).astype('f4'), 'colour': r.choice(['red', 'green', 'blue', 'rare'], 200, p=[.5, .3, .19, .01]), 'rank': r.integers(0, 4, 200)}})",
    "texts": "X = np.array([' '.join(r.choice(WORDS, r.integers(1, 9))) for _ in range(200)], object)",
}
# Steps before an estimator that a table allows.
NUMBER_STEPS = ("StandardScaler(with_mean={f})", "MinMaxScaler(feature_range={range}, clip={f})", "MaxAbsScaler()", "RobustScaler(quantile_range=({low}, 80))", "Normalizer('{norm}')", "PolynomialFeatures({d}, interaction_only={f})",
    "KBinsDiscretizer({n}, encode='{bins}', strategy='{how}')", "Binarizer(threshold={t})", "PowerTransformer()", "QuantileTransformer(n_quantiles={n}0, output_distribution='{dist}')", "PCA(2, whiten={f})", "SelectKBest(k=2)", "VarianceThreshold()", "TruncatedSVD(2)", "FunctionTransformer()", "SplineTransformer({n})", "Nystroem(n_components=5, random_state=0)", "FeatureUnion([('a', StandardScaler()), ('b', MinMaxScaler())])")
GAP_STEPS = ("SimpleImputer(strategy='{fill}', add_indicator={f})", "SimpleImputer(strategy='constant', fill_value={t})", "KNNImputer(n_neighbors={n})", "make_pipeline(StandardScaler(), SimpleImputer())", "make_pipeline(SimpleImputer(), PolynomialFeatures())", "make_pipeline(RobustScaler(), SimpleImputer(strategy='median'), PCA(2))")
WORD_STEPS = ("OneHotEncoder(handle_unknown='{unknown}', sparse_output=False)", "OneHotEncoder(drop='{drop}', handle_unknown='ignore')", "OneHotEncoder(min_frequency={n}0, handle_unknown='infrequent_if_exist')", "OneHotEncoder(max_categories=3, handle_unknown='infrequent_if_exist')", "OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value={code})", "OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=-1, min_frequency={n}0)")
TEXT_STEPS = ("TfidfVectorizer(ngram_range=(1, {d}), lowercase={f}, norm={tnorm}, sublinear_tf={g})", "CountVectorizer(binary={f}, min_df={d})", "TfidfVectorizer(stop_words={stop}, use_idf={f})", "CountVectorizer(analyzer='char', ngram_range=(1, 2))", "TfidfVectorizer(token_pattern=r'{pattern}')", "TfidfVectorizer(strip_accents={accents}, max_features=8)", "TfidfVectorizer(analyzer='char_wb', ngram_range=(2, 3))", "HashingVectorizer(n_features=16)")
FRAME_STEPS = ("ColumnTransformer([('n', {number}, ['size']), ('a', {gap}, ['age']), ('c', {word}, ['colour'])], remainder='{rest}')", "ColumnTransformer([('n', make_pipeline(SimpleImputer(strategy='{fill}'), {number}), ['size', 'age']), ('c', {word}, ['colour', 'rank'])])", "ColumnTransformer([('n', 'passthrough', ['size', 'rank']), ('c', {word}, ['colour']), ('x', {gap}, ['age'])], sparse_threshold={t})")
MODELS = ("LogisticRegression(C={c})", "RidgeClassifier()", "LinearSVC()", "SVC(kernel='{kernel}', probability={f})", "KNeighborsClassifier({n}, weights='{weights}', metric='{metric}')", "DecisionTreeClassifier(max_depth={n})", "RandomForestClassifier(7, max_depth={n})", "ExtraTreesClassifier(7, max_depth={n})", "GradientBoostingClassifier(n_estimators=7)", "HistGradientBoostingClassifier(max_iter=7)", "GaussianNB()", "BernoulliNB()", "MLPClassifier((5,), '{act}', max_iter=50)", "AdaBoostClassifier(n_estimators=5)", "BaggingClassifier(n_estimators=5)", "LinearDiscriminantAnalysis()", "QuadraticDiscriminantAnalysis(reg_param=0.1)", "SGDClassifier(loss='{loss}')", "CalibratedClassifierCV(cv=2, method='{cal}')", "VotingClassifier([('a', LogisticRegression()), ('b', DecisionTreeClassifier(max_depth=3))], voting='{voting}')", "StackingClassifier([('a', DecisionTreeClassifier(max_depth=3)), ('b', GaussianNB())])", "Perceptron()",
    "LinearRegression()", "Ridge({c})", "Lasso(0.01)", "SVR(C={c})", "KNeighborsRegressor({n}, weights='{weights}')", "DecisionTreeRegressor(max_depth={n})", "RandomForestRegressor(7, max_depth={n})", "GradientBoostingRegressor(n_estimators=7, loss='{rloss}')", "HistGradientBoostingRegressor(max_iter=7, loss='{hloss}')", "MLPRegressor((5,), '{act}', max_iter=50)", "GaussianProcessRegressor()", "PoissonRegressor()", "TweedieRegressor(power={power})", "TransformedTargetRegressor(LinearRegression(), transformer=StandardScaler())", "KMeans({n}, n_init=1)", "IsolationForest(n_estimators=7)", "OneClassSVM()", "BayesianGaussianMixture(2)", "GaussianMixture(2)", "IsotonicRegression()")
BOOSTED = ("XGBClassifier(n_estimators=7, max_depth={n}, missing={missing})", "XGBRegressor(n_estimators=7, objective='{objective}', booster='{booster}', base_score={base})", "XGBRFRegressor(n_estimators=5)", "XGBRegressor(n_estimators=7, missing={missing})", "LGBMClassifier(n_estimators=7, zero_as_missing={f}, use_missing={g}, boosting_type='{boosting}', min_child_samples=5, verbose=-1)", "LGBMRegressor(n_estimators=7, zero_as_missing={f}, use_missing={g}, objective='{lobjective}', min_child_samples=5, verbose=-1)", "LGBMRegressor(n_estimators=7, linear_tree={f}, min_child_samples=5, verbose=-1)")
BEARS_GAPS = ("DecisionTreeClassifier(max_depth={n})", "RandomForestClassifier(7, max_depth={n})", "HistGradientBoostingClassifier(max_iter=7)", "HistGradientBoostingRegressor(max_iter=7, loss='{hloss}')", "ExtraTreesRegressor(7)", "RandomForestRegressor(7, max_depth={n})", "DecisionTreeRegressor(max_depth={n})", "BaggingClassifier(n_estimators=5)")
CHOICES: dict[str, Sequence[Any]] = {
    "f": (True, False), "g": (True, False), "range": ("(0, 1)", "(-2, 3)"), "low": (10, 25), "norm": ("l1", "l2", "max"), "d": (1, 2), "n": (3, 4, 5), "bins": ("onehot-dense", "ordinal"), "how": ("uniform", "quantile", "kmeans"), "t": (0, 0.5, 1, -1), "dist": ("uniform", "normal"),
    "fill": ("mean", "median", "most_frequent"), "unknown": ("ignore", "error"), "drop": ("first", "if_binary"), "code": (-1, 99), "tnorm": ("None", "'l1'", "'l2'"), "stop": ("None", "'english'", "['a', 'good']"), "pattern": (r"\b\w+\b", r"[a-z]+", r"(?u)\b\w\w+\b", r"\S+"), "accents": ("None", "'unicode'"), "rest": ("drop", "passthrough"),
    "c": (0.1, 1.0, 10), "kernel": ("rbf", "linear", "poly", "sigmoid"), "weights": ("uniform", "distance"), "metric": ("euclidean", "manhattan"), "act": ("relu", "tanh", "logistic", "identity"), "loss": ("hinge", "log_loss", "modified_huber"), "cal": ("sigmoid", "isotonic"), "voting": ("soft", "hard"), "rloss": ("squared_error", "huber", "quantile"), "hloss": ("squared_error", "poisson", "quantile', quantile=0.5, random_state='"), "power": (0, 1.5),
    "missing": ("np.nan", "0", "-1"), "objective": ("reg:squarederror", "count:poisson", "reg:logistic", "reg:tweedie", "reg:absoluteerror"), "booster": ("gbtree", "dart", "gblinear"), "base": (0.5, 0.1), "boosting": ("gbdt", "dart", "rf', bagging_freq=1, bagging_fraction=0.7, class_weight='balanced"), "lobjective": ("regression", "poisson", "tweedie", "huber", "quantile"),
}
# fmt: on
SCALES = (1, 1, 1000, 1e-4)
SCRIPT = """import numpy as np, pandas as pd
from sklearn import *
WORDS = {words!r}
r = np.random.default_rng({seed})
{table}
y = {target}
model = {model}.fit(X, y)
"""
TARGETS = {
    "two": "(r.random(200) < .5).astype(int); y[:9] = 1 - y[:9]",
    "three": "r.choice(['yes', 'no', 'maybe'], 200)",
    "numbers": "np.exp(r.normal(size=200) / 3) / 5",
}


@st.composite
def scripts(draw: Any, seed: int) -> str:
    """Return a script that fits ``model`` to ``X`` and ``y``."""
    kind = draw(st.sampled_from(tuple(TABLES)))
    steps = _steps(draw, kind)
    bears = kind in ("gaps",) and not steps
    candidates = (*BEARS_GAPS, *BOOSTED) if bears else (*MODELS, *BOOSTED)
    estimator = _filled(draw, draw(st.sampled_from(candidates)))
    if steps and draw(st.integers(0, 5)) == 5:
        steps, estimator = steps[:-1], steps[-1]  # a transformer alone
    target = "numbers" if "Regress" in estimator or "SVR" in estimator or "Ridge(" in estimator else "two"
    if target == "two" and draw(st.booleans()) and not estimator.startswith(("XGB", "LGBM")):
        target = "three"
    if "Lasso" in estimator:
        target = "numbers"
    model = f"make_pipeline({', '.join([*steps, estimator])})" if steps else estimator
    table = TABLES[kind].format(scale=draw(st.sampled_from(SCALES)))
    if draw(st.integers(0, 4)) == 4 and kind in ("numbers", "gaps", "counts"):
        table += "; X = pd.DataFrame(X, columns=list('abcd'))"
    return SCRIPT.format(words=WORDS, seed=seed, table=table, target=TARGETS[target], model=model)


def _steps(draw: Any, kind: str) -> list[str]:
    """Return the steps that make numbers of a table, or that change its numbers."""
    forced = {"words": WORD_STEPS, "gaps in words": WORD_STEPS, "texts": TEXT_STEPS, "frame": FRAME_STEPS}
    if kind in forced:
        parts = {
            name: _filled(draw, draw(st.sampled_from(table)))
            for name, table in (("number", NUMBER_STEPS), ("gap", GAP_STEPS[:2]), ("word", WORD_STEPS))
        }
        return [_filled(draw, draw(st.sampled_from(forced[kind])), parts)]
    steps = []
    if kind == "gaps" and draw(st.booleans()):
        steps.append(_filled(draw, draw(st.sampled_from(GAP_STEPS))))
    if kind == "coded" and draw(st.booleans()):
        return [_filled(draw, draw(st.sampled_from(WORD_STEPS)))]
    if (kind != "gaps" or steps) and draw(st.booleans()):
        steps.append(_filled(draw, draw(st.sampled_from(NUMBER_STEPS))))
    return steps


def _filled(draw: Any, text: str, more: dict[str, str] | None = None) -> str:
    values = {name: draw(st.sampled_from(each)) for name, each in CHOICES.items() if "{" + name + "}" in text}
    return text.format(**values, **(more or {}))


def namespace() -> dict[str, Any]:
    """Return every name that a script may use, as from its imports."""
    import importlib

    import lightgbm
    import numpy as np
    import pandas as pd
    import sklearn
    import xgboost
    from sklearn.utils import all_estimators

    names = {"np": np, "pd": pd, "sklearn": sklearn, **dict(all_estimators())}
    for module in ("pipeline", "compose"):
        names |= vars(importlib.import_module(f"sklearn.{module}"))
    for library in (xgboost, lightgbm):
        names |= {name: getattr(library, name) for name in dir(library) if name.startswith(("XGB", "LGBM"))}
    return names


def fitted(text: str) -> tuple[Any, Any]:
    """Run a script, and return the model and the table ``X`` that it was fitted on."""
    from threadpoolctl import threadpool_limits

    made = namespace()
    with threadpool_limits(1):
        exec(text.replace("from sklearn import *\n", ""), made)
    return made["model"], made["X"]


def data_of(table: Any) -> Data:
    """Return what the table tells of the inputs: a row for each of its samples, gaps and words."""
    import numpy as np
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        rows = {str(name): table[name].to_numpy()[:, None] for name in table}
        whole = table.select_dtypes("number").to_numpy(np.float32)
        rows["input"] = whole
    else:
        rows = {"input": table if table.ndim == 2 else table[:, None]}
        rows |= {f"x{place}": column[:, None] for place, column in enumerate(rows["input"].T)}
    texts = [str(each) for array in rows.values() if array.dtype == object for each in array.ravel()]
    words = tuple(sorted({word for text in texts for word in (text, *text.split())})) if texts else ()
    missing = any(array.dtype.kind == "f" and np.isnan(array).any() for array in rows.values())
    rows = {name: array for name, array in rows.items() if None not in array.ravel().tolist()}
    return Data(rows=rows, texts=words or WORDS, whole=(-6, 7), missing=missing)


def describe(seed: int) -> Description:
    """Return the model of a seed, always the same; raises what fitting it raises."""
    text = str(drawn(scripts(seed), seed))
    model, table = fitted(text)
    direct = re.search(r"^model = \w*(Tree|Forest|Boosting|XGB|LGBM)", text, re.MULTILINE) is not None
    return Description(
        text,
        f"sklearn:{{folder}}/{FILE}",
        lambda folder: _dump(model, folder),
        {"trust_source": True},
        data_of(table),
        direct,
    )


def _dump(model: Any, folder: Path) -> None:
    import joblib

    joblib.dump(model, folder / FILE)
