"""The user's labelled samples, from a file to the report."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate

LINEAR = ("--model", "numpy:linear", "--client-dir", "none")
pytestmark = pytest.mark.usefixtures("numpy_models")


def save(count: int = 100, shift: int = 0) -> None:
    """Write samples and the names of the classes that numpy:linear predicts, or of those behind them."""
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    rows = np.random.default_rng(1).standard_normal((count, 4)).astype("float32")
    names = np.array(["cat", "dog", 'a "quoted" fish'])
    np.savez("test.npz", X_test=rows, y_test=names[((rows @ weights).argmax(axis=1) + shift) % 3])


def test_accuracy_on_all_samples_is_in_the_report_and_the_manifest(generate: Generate) -> None:
    save()
    found = generate(*LINEAR, "--samples", "test.npz", "--json", "-q").result["verification"]
    told = "X_test as the input 'input', y_test as the labels"
    assert (
        found["samples"] == f"100 samples of test.npz ({told}): 64 compared number by number, accuracy measured on all"
    )
    assert {name: found["accuracy"][name] for name in ("measured", "samples", "source", "value", "limit")} == {
        **{"measured": "top-1 of labels", "samples": 100, "source": 1.0, "value": 1.0, "limit": 1.0}
    }
    newest = Repository(Path("model_repository")).newest("linear")
    assert newest is not None
    assert newest.provenance.verification.accuracy is not None
    assert newest.provenance.verification.accuracy.samples == 100


def test_labels_of_any_name_are_named_by_an_option(generate: Generate) -> None:
    save()
    with np.load("test.npz") as saved:
        np.savez("named.npz", X_test=saved["X_test"], survived=saved["y_test"])
    given = (*LINEAR, "--samples", "named.npz", "--json", "-q")
    found = generate(*given, "--label-column", "survived").result["verification"]
    assert found["accuracy"]["samples"] == 100
    assert "survived as the labels" in found["samples"]
    outcome = generate(*given, "--label-column", "surviving")
    assert outcome.code == 2
    assert "named.npz has no such column or array. Did you mean survived?" in outcome.err
    hinted = generate(*given, "--labels", "survived")
    assert "Labels in a column of --samples are named with --label-column survived" in hinted.err
    alone = generate(*LINEAR, "--label-column", "survived", "-q")
    assert "--label-column was given without samples" in alone.err


def test_accuracy_is_printed_below_the_table(generate: Generate) -> None:
    save()
    outcome = generate(*LINEAR, "--samples", "test.npz")
    assert "linear: accuracy 100.0% of 100 labelled samples (the source: 100.0%)" in outcome.out.splitlines()
    assert "measuring accuracy on 100 labelled samples:  100.0% (the source: 100.0%)" in outcome.err


def test_labels_that_do_not_fit_the_model_are_published_with_a_warning(generate: Generate) -> None:
    save(shift=1)
    outcome = generate(*LINEAR, "--samples", "test.npz", "-q")
    assert outcome.code == 0
    assert "warning: linear: the source predicts 0.0% of 100 labels, no better than guessing" in outcome.err


def test_simplifying_keeps_the_accuracy(generate: Generate) -> None:
    save()
    found = generate(*LINEAR, "--samples", "test.npz", "--simplify", "--json", "-q").result["verification"]
    assert found["accuracy"]["samples"] == 100


def test_without_verification_samples_are_not_compared_and_it_is_said(generate: Generate) -> None:
    save()
    found = generate(*LINEAR, "--samples", "test.npz", "--no-verify", "--json", "-q").result["verification"]
    assert found["accuracy"] is None
    assert found["samples"].endswith("not compared, because of --no-verify")


def test_a_manifest_without_these_fields_is_read(generate: Generate) -> None:
    generate(*LINEAR, "-q")
    path = Path(".modelrepo/model_repository/manifests/linear/1.json")
    document = json.loads(path.read_text())
    for name in ("accuracy", "samples"):
        del document["provenance"]["verification"][name]
    path.write_text(json.dumps(document))
    newest = Repository(Path("model_repository")).newest("linear")
    assert newest is not None
    assert newest.provenance.verification.accuracy is None


def test_labels_may_be_the_classes_of_a_scikit_learn_model_or_the_users_names_for_them(generate: Generate) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).standard_normal((90, 4))
    classes = np.array([3, 7, 9])[rows[:, :3].argmax(axis=1)]
    skops.io.dump(LogisticRegression(max_iter=500).fit(rows, classes), "m.skops")
    Path("names.csv").write_text("name,id\nant,0\nbee,1\nfly,2\n")
    arguments = ("--model", "sklearn:m.skops", "--labels", "names.csv", "--client-dir", "none", "--json", "-q")
    reached = []
    for labels in (classes, np.array([{3: "ant", 7: "bee", 9: "fly"}[int(each)] for each in classes])):
        np.savez("test.npz", X=rows, y=labels)
        result = generate(*arguments, "--samples", "test.npz").result
        reached.append(result["verification"]["accuracy"]["source"])
        assert "the names in names.csv are those of the classes 3, 7, 9, in this order" in result["notes"]
    assert reached[0] == reached[1] > 0.9
    assert Path("model_repository/m/labels.txt").read_text().split() == ["ant", "bee", "fly"]
