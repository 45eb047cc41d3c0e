"""Fitted estimators: those of the coverage page, and pipelines of what tables have: gaps, categories, texts."""
# ruff: noqa: E501 - a table, a row a line

from pathlib import Path
from typing import Any

from tests.mutation.asked import Data
from tests.random_models import sklearn_models as random_models

FILE = "model.joblib"
# fmt: off
NUMBERS = "X = r.normal(size=(200, 4)).astype('f4') * 3\ny = (X[:, 0] + X[:, 1] > X[:, 2]).astype(int)\n"
GAPS = NUMBERS + "X[r.random(X.shape) < .2] = np.nan\n"
THREE = NUMBERS + "y = np.array(['no', 'maybe', 'yes'])[y + (X[:, 3] > 1)]\n"
REAL = NUMBERS + "y = (X @ [1, -2, 3, .5] + np.abs(X[:, 1]))\n"
REAL_GAPS = REAL + "X[r.random(X.shape) < .2] = np.nan\n"
ZEROS = REAL + "X[r.random(X.shape) < .3] = 0\n"
COLOURS = "X = r.choice(['red', 'green', 'blue', 'rare'], (200, 3), p=[.4, .3, .2, .1]).astype(object)\ny = (X[:, 0] == 'red').astype(int) + (X[:, 1] == 'blue')\n"
TEXTS = "X = np.array([' '.join(r.choice(['good', 'bad', 'film', 'day', 'long', 'bread', 'seen', 'made'], r.integers(2, 9))) for _ in range(200)], object)\ny = np.array(['good' in x for x in X]).astype(int)\n"
FRAME = "X = pd.DataFrame({'size': (r.normal(size=200) * 4).astype('f4'), 'age': np.where(r.random(200) < .2, np.nan, r.integers(0, 90, 200)).astype('f4'), 'colour': r.choice(['red', 'green', 'blue', 'rare'], 200, p=[.4, .3, .2, .1])})\ny = (X['size'] > 0).astype(int) + (X.colour == 'red')\n"
COLUMNS = "ColumnTransformer([('n', StandardScaler(), ['size']), ('a', SimpleImputer(strategy='median'), ['age']), ('c', OneHotEncoder(handle_unknown='ignore'), ['colour'])])"
# The table, and the model that is fitted to it.
PIPELINES = {
    **{f"{name} gaps": (GAPS, f"{name}(7, max_depth=4, random_state=0)") for name in ("RandomForestClassifier", "ExtraTreesClassifier")},
    **{f"{name} real gaps": (REAL_GAPS, f"{name}(7, max_depth=4, random_state=0)") for name in ("RandomForestRegressor", "ExtraTreesRegressor")},
    "tree gaps": (GAPS, "DecisionTreeClassifier(max_depth=5)"), "tree real gaps": (REAL_GAPS, "DecisionTreeRegressor(max_depth=5)"), "tree three": (THREE, "DecisionTreeClassifier(max_depth=4)"),
    "hist gaps": (GAPS, "HistGradientBoostingClassifier(max_iter=6)"), "hist real gaps": (REAL_GAPS, "HistGradientBoostingRegressor(max_iter=6)"), "boosting three": (THREE, "GradientBoostingClassifier(n_estimators=5)"),
    "xgb gaps": (GAPS, "XGBClassifier(n_estimators=6, max_depth=3)"), "xgb real gaps": (REAL_GAPS, "XGBRegressor(n_estimators=6, max_depth=3)"), "xgb poisson": (REAL + "y = np.abs(y)\n", "XGBRegressor(n_estimators=6, objective='count:poisson')"), "xgb three": (NUMBERS + "y = y + (X[:, 3] > 1)\n", "XGBClassifier(n_estimators=4, max_depth=3)"),
    "lgbm gaps": (GAPS, "LGBMClassifier(n_estimators=6, min_child_samples=5, verbose=-1)"), "lgbm real gaps": (REAL_GAPS, "LGBMRegressor(n_estimators=6, min_child_samples=5, verbose=-1)"), "lgbm zeros": (ZEROS, "LGBMRegressor(n_estimators=6, min_child_samples=5, verbose=-1)"), "lgbm three": (THREE, "LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1)"),
    **{f"imputer {how}": (REAL_GAPS, f"make_pipeline(SimpleImputer(strategy='{how}'), LinearRegression())") for how in ("mean", "median", "most_frequent")}, "imputer constant": (REAL_GAPS, "make_pipeline(SimpleImputer(strategy='constant', fill_value=-5), Ridge())"), "imputer tree": (GAPS, "make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_depth=4))"), "imputer scaler": (GAPS, "make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())"),
    **{f"{name}": (NUMBERS, f"make_pipeline({step}, LogisticRegression())") for name, step in {"standard": "StandardScaler()", "minmax": "MinMaxScaler()", "minmax clip": "MinMaxScaler(clip=True)", "maxabs": "MaxAbsScaler()", "robust": "RobustScaler()", "norm l1": "Normalizer('l1')", "norm max": "Normalizer('max')", "norm l2": "Normalizer()", "poly": "PolynomialFeatures(2)", "kbins": "KBinsDiscretizer(4)", "kbins ordinal": "KBinsDiscretizer(4, encode='ordinal')", "binarizer": "Binarizer(threshold=.5)", "power": "PowerTransformer()", "pca": "PCA(2)", "pca whiten": "PCA(2, whiten=True)", "best": "SelectKBest(k=2)", "union": "FeatureUnion([('a', StandardScaler()), ('b', MinMaxScaler())])", "quantile": "QuantileTransformer(n_quantiles=20)"}.items()},
    **{f"colours {name}": (COLOURS, f"make_pipeline({step}, {model})") for name, step, model in (("onehot", "OneHotEncoder(handle_unknown='ignore')", "LogisticRegression()"), ("ordinal", "OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=-1)", "DecisionTreeClassifier(max_depth=4)"), ("onehot tree", "OneHotEncoder(handle_unknown='ignore', sparse_output=False)", "RandomForestClassifier(5, max_depth=4)"), ("onehot drop", "OneHotEncoder(drop='first', handle_unknown='ignore')", "LogisticRegression()"), ("ordinal linear", "OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=9)", "RidgeClassifier()"))}, "colours encoder alone": (COLOURS, "OneHotEncoder(handle_unknown='ignore', sparse_output=False)"),
    **{f"texts {name}": (TEXTS, f"make_pipeline({step}, LogisticRegression())") for name, step in {"tfidf": "TfidfVectorizer()", "count": "CountVectorizer()", "bigrams": "TfidfVectorizer(ngram_range=(1, 2))", "case": "TfidfVectorizer(lowercase=False)", "stop": "TfidfVectorizer(stop_words=['day', 'made'])", "sublinear": "TfidfVectorizer(sublinear_tf=True)", "binary": "CountVectorizer(binary=True)", "no norm": "TfidfVectorizer(norm=None)", "chars": "CountVectorizer(analyzer='char', ngram_range=(1, 1))", "pattern": "TfidfVectorizer(token_pattern=r'[a-z]+')"}.items()},
    **{f"frame {name}": (FRAME, f"make_pipeline({COLUMNS}, {model})") for name, model in {"linear": "LogisticRegression()", "forest": "RandomForestClassifier(5, max_depth=4)", "boosting": "GradientBoostingClassifier(n_estimators=4)", "svc": "SVC(probability=False)", "mlp": "MLPClassifier((5,), max_iter=50)", "knn": "KNeighborsClassifier(3)", "ridge": "RidgeClassifier()", "xgb": "XGBClassifier(n_estimators=4)"}.items()},
    **{f"{name} two": (NUMBERS, f"{model}") for name, model in {"svc poly": "SVC(kernel='poly')", "svc sigmoid": "SVC(kernel='sigmoid')", "calibrated": "CalibratedClassifierCV(cv=2)", "voting": "VotingClassifier([('a', LogisticRegression()), ('b', DecisionTreeClassifier(max_depth=3))], voting='soft')", "bagging": "BaggingClassifier(n_estimators=4)", "isolation": "IsolationForest(n_estimators=5)", "oneclass": "OneClassSVM()", "kmeans": "KMeans(3, n_init=1)", "mixture": "GaussianMixture(2)"}.items()},
}
# Of the coverage page's estimators: one of each kind of graph.
PLAIN = ("AdaBoostClassifier", "AdaBoostRegressor", "BaggingRegressor", "BayesianRidge", "BernoulliNB", "CategoricalNB", "ComplementNB", "DecisionTreeRegressor", "ElasticNet", "ExtraTreeClassifier", "GaussianNB", "GaussianProcessRegressor", "GradientBoostingRegressor", "KNeighborsClassifier", "KNeighborsRegressor", "LinearDiscriminantAnalysis", "LinearRegression", "LinearSVC", "LogisticRegression", "MLPClassifier", "MLPRegressor", "MultinomialNB", "MultiOutputRegressor", "NearestCentroid", "NuSVC", "OneVsRestClassifier", "PLSRegression", "PoissonRegressor", "QuadraticDiscriminantAnalysis", "RadiusNeighborsRegressor", "RidgeClassifier", "SGDClassifier", "SVC", "SVR", "StackingRegressor", "XGBRFRegressor")
SCRIPTS = {
    **{name: random_models.SCRIPT.format(words=(), seed=7, table=table, target="y", model=model) for name, (table, model) in PIPELINES.items()},
    **{name: name for name in PLAIN},
}
# fmt: on


def save(script: str, folder: Path) -> None:
    """Fit the model of a script, or of the coverage page by its name, and write it with its table."""
    import joblib

    model, table = _fitted(script)
    joblib.dump(model, folder / FILE)
    joblib.dump(table, folder / "table.joblib")


def _fitted(script: str) -> tuple[Any, Any]:
    if script not in PLAIN:
        return random_models.fitted(script)
    from tests.coverage import sklearn_models

    kind, build = sklearn_models.models()[script]
    return sklearn_models.fitted(kind, script, build), sklearn_models.samples(kind, script)[0]


def data(folder: Path) -> Data:
    """Return what the table of a saved model tells of its inputs."""
    import joblib

    return random_models.data_of(joblib.load(folder / "table.joblib"))
