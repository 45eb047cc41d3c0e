"""Fitted estimators as a source: verified on columns like those of the fit, served with labels and probabilities."""

import contextlib
import importlib
import json
import os
import pickle
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import pandas
import pytest
import sklearn
import skops.io
import xgboost
from google.protobuf import text_format
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from tritonclient.grpc.model_config_pb2 import ModelConfig

from tests.conftest import Generate, snapshot
from tests.coverage import sklearn_models

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal((50_000, 40, 0.1), (9_000, 12, 0.02), (120, 3)).astype("float32")
CLASS = (NUMBERS[:, 0] / 9_000 + NUMBERS[:, 1] / 12 > 9).astype(int)
NAMED = np.array(["no", "yes"])[CLASS]
THREE = CLASS + (NUMBERS[:, 2] > 0.1)
PEOPLE = pandas.DataFrame(
    {
        "income": NUMBERS[:, 0],
        "age in years": NUMBERS[:, 1],
        "city": RANDOM.choice(["Bern", "Oslo", "Rome"], 120),
        "left out": RANDOM.choice(["a", "b"], 120),
    }
)


def by_column() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["income", "age in years"]),
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"]),
        ]
    )


def save(model: Any, name: str = "model.skops") -> str:
    skops.io.dump(model, name)
    return f"sklearn:{name}"


def served(name: str) -> tuple[dict[str, tuple[str, list[int]]], dict[str, tuple[str, list[int]]]]:
    """Return the type and the dimensions of each input and output of a published model."""
    config = text_format.Parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), ModelConfig())
    kind = config.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"].enum_type
    inputs, outputs = (
        {
            tensor.name: (kind.values_by_number[tensor.data_type].name.removeprefix("TYPE_"), list(tensor.dims))
            for tensor in tensors
        }
        for tensors in (config.input, config.output)
    )
    return inputs, outputs


def published(generate: Generate, reference: str, *arguments: str) -> dict[str, Any]:
    outcome = generate("--model", reference, "--json", "-q", *arguments)
    assert outcome.code == 0, outcome.err
    result: dict[str, Any] = outcome.result
    return result


# Through a real Triton.


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, NAMED), ["input"]),
        (
            lambda: make_pipeline(by_column(), LogisticRegression()).fit(PEOPLE, CLASS),
            ["income", "age_in_years", "city"],
        ),
        (
            lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
                ["a good film", "what a bad day", "good, very good!", "bad film"] * 3, [1, 0, 1, 0] * 3
            ),
            ["input"],
        ),
        (lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=5)).fit(NUMBERS, THREE), ["input"]),
        (lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(NUMBERS, NAMED), ["input"]),
        (lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(NUMBERS, NUMBERS[:, 0]), ["input"]),
    ],
    ids=["numbers", "columns", "texts", "xgboost", "lightgbm", "regressor"],
)
def test_triton_serves_the_outputs_of_the_estimator(
    make: Callable[[], Any], inputs: list[str], generate: Generate, workdir: Path
) -> None:
    arguments = ("--trust-source", "--live-check", "require")
    result = published(generate, save(make()), *arguments)
    assert result["max_batch_size"] == 16
    found = result["verification"]
    assert (found["passed"], found["live"]["status"]) == (True, "passed")
    assert found["max_rel_diff"] < 1e-5
    assert list(served("model")[0]) == inputs


# What is asked, and what is answered.


def test_a_classifier_answers_labels_and_the_probabilities_of_its_classes(generate: Generate, workdir: Path) -> None:
    published(generate, save(make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, NAMED)))
    inputs, outputs = served("model")
    assert inputs == {"input": ("FP32", [3])}
    assert outputs == {"label": ("STRING", [1]), "probabilities": ("FP32", [2])}
    assert Path("model_repository/model/labels.txt").read_text().split() == ["no", "yes"]
    assert "ZipMap" not in {node.op_type for node in onnx.load("model_repository/model/1/model.onnx").graph.node}


def test_a_classifier_without_probabilities_answers_scores(generate: Generate, workdir: Path) -> None:
    published(generate, save(make_pipeline(StandardScaler(), LinearSVC()).fit(NUMBERS, THREE), "three.skops"))
    published(generate, save(make_pipeline(StandardScaler(), SVC()).fit(NUMBERS, CLASS), "two.skops"))
    assert served("three")[1] == {"label": ("INT64", [1]), "scores": ("FP32", [3])}
    assert served("two")[1] == {"label": ("INT64", [1]), "scores": ("FP32", [1])}


def test_each_output_of_a_classifier_with_several_has_its_own_probabilities(generate: Generate, workdir: Path) -> None:
    pair = np.column_stack([NAMED, np.array(["a", "b", "c"])[THREE]])
    model = make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression())).fit(NUMBERS, pair)
    published(generate, save(model))
    assert served("model")[1] == {
        "label": ("STRING", [2]),
        "probabilities_0": ("FP32", [2]),
        "probabilities_1": ("FP32", [3]),
    }


def test_a_regressor_answers_a_column_for_each_target(generate: Generate, workdir: Path) -> None:
    published(generate, save(LinearRegression().fit(NUMBERS, NUMBERS[:, 0]), "one.skops"))
    published(generate, save(LinearRegression().fit(NUMBERS, NUMBERS[:, :2]), "two.skops"))
    assert [served(name)[1] for name in ("one", "two")] == [{"prediction": ("FP32", [size])} for size in (1, 2)]


def test_a_transformer_and_an_outlier_detector_are_models(generate: Generate, workdir: Path) -> None:
    published(generate, save(StandardScaler().fit(NUMBERS), "scaler.skops"))
    detector = IsolationForest(n_estimators=4, random_state=0).fit(NUMBERS)
    published(generate, save(detector, "forest.skops"), "--trust-source")
    assert served("scaler")[1] == {"output": ("FP32", [3])}
    assert served("forest")[1] == {"label": ("INT64", [1]), "scores": ("FP32", [1])}


def test_clusters_found_in_float64_are_served_in_float32(generate: Generate, workdir: Path) -> None:
    clusters = KMeans(3, n_init=1, random_state=0).fit(NUMBERS.astype("float64"))
    published(generate, save(clusters, "clusters.skops"))
    assert served("clusters")[0] == {"input": ("FP32", [3])}
    assert served("clusters")[1] == {"label": ("INT64", [1]), "scores": ("FP32", [3])}


def test_columns_of_different_kinds_are_separate_inputs_and_dropped_ones_are_not_inputs(
    generate: Generate, workdir: Path
) -> None:
    published(generate, save(make_pipeline(by_column(), LogisticRegression()).fit(PEOPLE, CLASS)))
    assert served("model")[0] == {"income": ("FP32", [1]), "age_in_years": ("FP32", [1]), "city": ("STRING", [1])}
    (manifest,) = Path(".modelrepo").rglob("manifests/*/1.json")
    source = json.loads(manifest.read_text())["provenance"]["source"]
    assert source["preprocess"] == {"kind": "table", "columns": list(PEOPLE.columns), "missing": {"city": "Rome"}}
    income, _, city = source["inputs"]
    assert city["domain"]["choices"] == ["Bern", "Oslo", "Rome"]
    assert 45_000 < income["domain"]["center"][0] < 55_000


def test_columns_of_numbers_are_one_matrix_with_a_note_on_their_order(generate: Generate, workdir: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(PEOPLE[["income", "age in years"]], CLASS)
    (note,) = published(generate, save(model))["notes"]
    assert note == "input[batch, 2] holds the columns income, age in years, in this order"
    assert served("model")[0] == {"input": ("FP32", [2])}


def test_input_shape_names_columns_and_chooses_their_types(generate: Generate, workdir: Path) -> None:
    reference = save(LogisticRegression().fit(PEOPLE[["income", "age in years"]] / 10_000, CLASS))
    shapes = "income=1x1:float64,age_in_years=1x1:float32"
    published(generate, reference, "--input-shape", shapes, "--name-template", "columns")
    assert served("columns")[0] == {"income": ("FP64", [1]), "age_in_years": ("FP32", [1])}
    published(generate, reference, "--input-shape", "1x2:float64", "--name-template", "matrix")
    assert served("matrix")[0] == {"input": ("FP64", [2])}


def test_a_column_may_have_the_name_of_an_output_or_one_that_clients_cannot_write(
    generate: Generate, workdir: Path
) -> None:
    table = PEOPLE.rename(columns={"income": "label", "age in years": "größe (%)"})[["label", "größe (%)", "city"]]
    model = make_pipeline(
        ColumnTransformer([("texts", OrdinalEncoder(), ["city"])], remainder="passthrough"), LogisticRegression()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        published(generate, save(model.fit(table, CLASS)))
    inputs, outputs = served("model")
    assert list(inputs) == ["label", "gr__e____", "city"]
    assert list(outputs) == ["label_out", "probabilities"]


def test_known_categories_of_an_array_are_asked(generate: Generate, workdir: Path) -> None:
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(PEOPLE[["city", "left out"]].to_numpy(), CLASS)
    assert published(generate, save(model))["verification"]["passed"]
    assert served("model")[0] == {"x0": ("STRING", [1]), "x1": ("STRING", [1])}


def test_the_best_estimator_of_a_search_is_served(generate: Generate, workdir: Path) -> None:
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]})
    joblib.dump(search.fit(NUMBERS, CLASS), "model.joblib")
    notes = published(generate, "sklearn:model.joblib", "--trust-source")["notes"]
    assert notes == ["the best estimator of the search is served: Pipeline"]


def test_trees_are_asked_near_their_limits(generate: Generate, workdir: Path) -> None:
    """With standard normal values every tree would take one branch only: incomes lie around 50,000."""
    model = RandomForestClassifier(5, random_state=0).fit(NUMBERS, CLASS)
    joblib.dump(model, "model.pkl", compress=3)
    published(generate, "sklearn:model.pkl", "--trust-source")
    (manifest,) = Path(".modelrepo").rglob("manifests/*/1.json")
    (table,) = json.loads(manifest.read_text())["provenance"]["source"]["inputs"]
    random = RANDOM.normal(table["domain"]["center"], table["domain"]["spread"], (50, 3))
    assert 5 < model.predict(random).sum() < 45


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_a_booster_of_xgboost_is_read_without_trust(suffix: str, generate: Generate, workdir: Path) -> None:
    table = xgboost.DMatrix(NUMBERS, CLASS)
    xgboost.train({"objective": "binary:logistic"}, table, 5).save_model(f"model.{suffix}")
    published(generate, f"sklearn:model.{suffix}")
    assert served("model")[1] == {"label": ("INT64", [1]), "probabilities": ("FP32", [2])}


@pytest.mark.parametrize("classes", [CLASS, THREE], ids=["two", "three"])
def test_a_booster_of_lightgbm_is_read_without_trust(classes: Any, generate: Generate, workdir: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(NUMBERS, classes)
    model.booster_.save_model("model.txt")
    published(generate, "sklearn:model.txt")
    assert served("model")[1]["probabilities"] == ("FP32", [classes.max() + 1])


def test_an_older_release_and_an_older_opset_are_respected(generate: Generate, workdir: Path) -> None:
    reference = save(make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, CLASS))
    published(generate, reference, "--opset", "13", "--target-release", "24.10")
    model = onnx.load("model_repository/model/1/model.onnx")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    assert versions[""] <= 13
    assert versions["ai.onnx.ml"] <= 3
    assert model.ir_version <= 10


@pytest.mark.parametrize(
    "name",
    [
        "LinearDiscriminantAnalysis",  # of which skl2onnx takes another function
        "TunedThresholdClassifierCV",  # and another label
        "RadiusNeighborsClassifier",  # and places that are not there
        "GaussianProcessClassifier",  # and an operator that nothing runs
        "XGBRFClassifier",  # and trees for those of other classes
        "NuSVC",
        "HistGradientBoostingRegressor",
        "PLSRegression",
    ],
)
def test_estimators_that_conversion_alone_gets_wrong_are_proven(name: str, generate: Generate, workdir: Path) -> None:
    sklearn_models.save(name, workdir)
    found = published(generate, f"sklearn:{sklearn_models.FILE}", "--trust-source")["verification"]
    assert found["passed"]
    assert found["batch_invariant"]


# What is refused.


class Runs:
    """A pickle of it runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files that can't be served, and one file that can."""
    folder = tmp_path_factory.mktemp("bad")
    with contextlib.chdir(folder):
        write_bad_files()
    return folder


def write_bad_files() -> None:
    model = LogisticRegression().fit(NUMBERS / 10_000, CLASS)
    save(model, "good.skops")
    whole = Path("good.skops").read_bytes()
    Path("empty.skops").touch()
    Path("truncated.skops").write_bytes(whole[:-200])
    Path("text.joblib").write_text("no model\n")
    save(RandomForestClassifier(2).fit(NUMBERS, CLASS), "trees.skops")
    save({"weights": [1, 2]}, "no-estimator.skops")
    save(LogisticRegression(), "unfitted.skops")
    joblib.dump(LogisticRegression, "class.joblib")
    save(LabelEncoder().fit(["a", "b"]), "labels.skops")
    save(NearestCentroid().fit(NUMBERS, CLASS), "unknown.skops")
    save(make_pipeline(FunctionTransformer(np.sinc), LinearRegression()).fit(NUMBERS, CLASS), "function.skops")
    trees = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, linear_tree=True, verbose=-1)
    joblib.dump(trees.fit(NUMBERS, CLASS), "linear.joblib")
    with zipfile.ZipFile("leads-out.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("../../evil", "")
    Path("code.pkl").write_bytes(pickle.dumps(Runs()))
    joblib.dump(model, "renamed.skops")
    joblib.dump(model, "truncated.joblib")
    Path("truncated.joblib").write_bytes(Path("truncated.joblib").read_bytes()[:-50])
    xgboost.train({}, xgboost.DMatrix(NUMBERS, CLASS), 1).save_model("truncated.json")
    Path("truncated.json").write_bytes(Path("truncated.json").read_bytes()[:-50])
    lightgbm.LGBMRegressor(n_estimators=1, verbose=-1).fit(NUMBERS, CLASS).booster_.save_model("truncated.txt")
    Path("truncated.txt").write_bytes(Path("truncated.txt").read_bytes()[:500])


@pytest.mark.parametrize(
    ("name", "code", "arguments"),
    [
        ("empty.skops", 3, ()),
        ("truncated.skops", 3, ()),
        ("trees.skops", 3, ()),
        ("no-estimator.skops", 3, ()),
        ("unfitted.skops", 3, ()),
        ("labels.skops", 3, ()),
        ("class.joblib", 3, ("--trust-source",)),
        ("leads-out.skops", 3, ()),
        ("renamed.skops", 3, ()),
        ("code.pkl", 3, ()),
        ("text.joblib", 3, ("--trust-source",)),
        ("truncated.joblib", 3, ("--trust-source",)),
        ("truncated.json", 3, ()),
        ("truncated.txt", 3, ()),
        ("absent.skops", 3, ()),
        ("unknown.skops", 4, ("--trust-source",)),
        ("function.skops", 4, ("--trust-source",)),
        ("linear.joblib", 4, ("--trust-source",)),
        ("good.skops", 4, ("--opset", "23")),
        ("good.skops", 2, ("--input-shape", "1x4")),
        ("good.skops", 2, ("--input-shape", "age=1x1:float32")),
    ],
    ids=lambda value: value[1].partition("=")[0] if isinstance(value, tuple) and len(value) > 1 else None,
)
def test_files_that_cannot_be_served_are_refused_in_one_line(
    name: str,
    code: int,
    arguments: tuple[str, ...],
    generate: Generate,
    workdir: Path,
    bad_files: Path,
    golden: Callable[[str, str], None],
) -> None:
    if (bad_files / name).exists():
        shutil.copy(bad_files / name, workdir)
    before = snapshot(workdir)
    outcome = generate("--model", f"sklearn:{name}", "-q", *arguments)
    assert outcome.code == code, outcome.err
    assert snapshot(workdir) == before
    stem = name.replace(".", "-") + "".join(f"-{each.lstrip('-').partition('=')[0]}" for each in arguments)
    golden(f"messages/sklearn/{stem}.txt", outcome.err)


def test_a_missing_class_is_named(generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_steps.py").write_text(
        "from sklearn.preprocessing import StandardScaler\nclass Own(StandardScaler): ...\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    import own_steps  # type: ignore[import-not-found]

    joblib.dump(own_steps.Own().fit(NUMBERS), "own.joblib")
    outcome = generate("--model", "sklearn:own.joblib", "--trust-source", "-q")
    assert (outcome.code, "can't convert own_steps.Own" in outcome.err) == (4, True)
    Path("own_steps.py").unlink()
    del sys.modules["own_steps"]
    outcome = generate("--model", "sklearn:own.joblib", "--trust-source", "-q")
    assert outcome.code == 3
    assert "own.joblib needs the module own_steps, which is not installed. Run generate where" in outcome.err


def test_the_missing_extra_is_named(generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(LogisticRegression().fit(NUMBERS, CLASS))

    def without(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", without)
    outcome = generate("--model", "sklearn:model.skops", "-q")
    assert outcome.code == 3
    assert "is not installed. pip install 'modelrepo[sklearn]'" in outcome.err


def test_a_model_of_another_version_gets_a_note(generate: Generate, workdir: Path) -> None:
    own = sklearn.__version__
    older = "0" * (len(own) - 2) + ".1"
    content = pickle.dumps(LogisticRegression().fit(NUMBERS / 10_000, CLASS))
    Path("model.pkl").write_bytes(content.replace(own.encode(), older.encode()))
    notes = published(generate, "sklearn:model.pkl", "--trust-source")["notes"]
    assert f"it was made with scikit-learn {older} and read with {own}, which may understand it differently" in notes


def test_a_classifier_of_lightgbm_with_an_objective_of_its_own_is_refused_by_name() -> None:
    from modelrepo.generator.errors import SourceError
    from modelrepo.generator.sources.sklearn import boosters

    def pulled(truth: Any, scores: Any) -> tuple[Any, Any]:
        return scores - truth, np.ones_like(scores)

    model = lightgbm.LGBMClassifier(n_estimators=2, objective=pulled, verbose=-1).fit(NUMBERS, CLASS)
    with pytest.raises(SourceError, match="an objective of its own, for which LightGBM has no probabilities"):
        boosters.refuse_own_objective(model, "model.joblib")
    for usual in (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor):
        boosters.refuse_own_objective(usual(n_estimators=2, verbose=-1).fit(NUMBERS, CLASS), "model.joblib")
