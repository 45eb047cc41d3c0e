"""Tables as the user's samples: a column an input or all of one, their labels, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Domain, Signature, TensorSpec
from modelrepo.generator.verification import datasets

SCORES = (TensorSpec("y", "float32", ("batch", 3)),)
MATRIX = Signature((TensorSpec("x", "float32", ("batch", 2)),), SCORES)
COLUMNS = Signature(
    (TensorSpec("age", "float64", ("batch", 1), Domain(known=False)), TensorSpec("city", "object", ("batch", 1))),
    SCORES,
)

pytestmark = pytest.mark.usefixtures("workdir")


def test_a_matrix_takes_all_columns_but_the_labels() -> None:
    Path("a.csv").write_text("a,labels,b\n1,2,3\n4,0,6\n")
    data = datasets.read(Path("a.csv"), MATRIX)
    assert data.pools[0].arrays["x"].tolist() == [[1, 3], [4, 6]]
    assert data.labels is not None
    assert data.labels[0].tolist() == [2, 0]


def test_a_matrix_takes_the_columns_that_it_was_fitted_on_in_any_order() -> None:
    Path("a.csv").write_text("b,Target,id,a\n2,one,9,1\n5,two,9,4\n")
    signature = Signature(MATRIX.inputs, SCORES)
    data = datasets.read(Path("a.csv"), signature, {"kind": "table", "columns": ["a", "b"]}, ("one", "two", "three"))
    assert data.pools[0].arrays["x"].tolist() == [[1, 2], [4, 5]]
    assert data.labels is not None
    assert data.labels[0].tolist() == [0, 1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_inputs_by_name(suffix: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [1, 2], "city": ["Köln", "Ulm"], "age": [1.5, np.nan]})
    path = Path(f"a{suffix}")
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    arrays = datasets.read(path, COLUMNS).pools[0].arrays
    assert arrays["city"].tolist() == [["Köln"], ["Ulm"]]
    np.testing.assert_array_equal(arrays["age"], [[1.5], [np.nan]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", "has 3 columns for x FP32[-1, 2], which takes 2: a, b, c"),
        ("a,b\n1,two\n", "line 2: b is 'two', which is not a number for x FP32[-1, 2]"),
        ("a,b\n", "has no rows"),
    ],
)
def test_tables_that_do_not_fit_are_refused(text: str, message: str) -> None:
    Path("a.csv").write_text(text)
    with pytest.raises(OptionError) as refused:
        datasets.read(Path("a.csv"), MATRIX)
    assert message in refused.value.message


def test_more_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_BYTES", 10)
    Path("a.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(OptionError, match="Give fewer rows"):
        datasets.read(Path("a.csv"), MATRIX)


def test_a_table_beside_arrays_in_a_folder_is_left_alone() -> None:
    Path("samples").mkdir()
    np.save("samples/a.npy", np.ones((3, 2), "float32"))
    Path("samples/notes.csv").write_text("what,ever\n")
    assert datasets.read(Path("samples"), MATRIX).count == 3


def test_a_column_that_is_not_used_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("b,kind,a,y\n2,one,1,0\n5,two,4,1\n")
    data = datasets.read(path, MATRIX, {"kind": "table", "columns": ["a", "b"]})
    assert "(without kind" in datasets.told(data, path, 0)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "A.CSV", "a.data"])
def test_a_table_of_samples_may_have_every_name_that_a_test_set_may_have(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = b"a,b\n1,2\n3,4\n"
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    datasets.check(path)
    assert datasets.read(path, MATRIX).count == 2


def test_a_column_of_any_name_may_be_named_as_the_labels() -> None:
    Path("a.csv").write_text("a,survived,b\n1,two,3\n4,one,6\n")
    data = datasets.read(Path("a.csv"), MATRIX, None, ("one", "two", "three"), column="survived")
    assert data.pools[0].arrays["x"].tolist() == [[1, 3], [4, 6]]
    assert data.labels is not None
    assert data.labels[0].tolist() == [1, 0]
    assert data.taken == "survived as the labels"


def test_a_named_array_holds_the_labels() -> None:
    np.savez("a.npz", x=np.zeros((2, 2), "float32"), y=[0, 0], diagnosis=[2, 1])
    data = datasets.read(Path("a.npz"), MATRIX, column="diagnosis")
    assert data.labels is not None
    assert data.labels[0].tolist() == [2, 1]
    with pytest.raises(OptionError, match="--label-column x names an input of the model"):
        datasets.read(Path("a.npz"), MATRIX, column="x")


def test_a_label_column_that_is_not_there_is_refused_beforehand() -> None:
    Path("a.csv").write_text("a,survived,b\n1,two,3\n")
    datasets.check(Path("a.csv"), "survived")
    with pytest.raises(OptionError, match=r"a.csv has no such column or array") as caught:
        datasets.check(Path("a.csv"), "survive")
    assert caught.value.hint == "Did you mean survived?"


def test_columns_that_are_not_used_are_a_warning_that_says_how_labels_are_named() -> None:
    Path("a.csv").write_text("city,survived,age\nUlm,1,3\n")
    (note,) = datasets.read(Path("a.csv"), COLUMNS).notes
    assert note.startswith("a.csv: survived is not used, and there are no labels: they are called label, labels, y or ")
    assert "--label-column NAME" in note


def test_an_assumed_order_is_a_warning() -> None:
    Path("a.csv").write_text("b,a,label\n1,2,0\n")
    (note,) = datasets.read(Path("a.csv"), MATRIX).notes
    assert note.startswith("a.csv: the order of the columns is taken as that of the model")
    known = {"kind": "table", "columns": ["a", "b"], "missing": {}}
    assert datasets.read(Path("a.csv"), MATRIX, known).notes == ()


def test_empty_texts_that_the_model_knows_otherwise_are_a_warning() -> None:
    Path("a.csv").write_text("city,age\n,3\nUlm,3\n")
    known = {"kind": "table", "columns": ["age", "city"], "missing": {"city": "Ulm"}}
    (note,) = datasets.read(Path("a.csv"), COLUMNS, known).notes
    assert note == "a.csv: city is empty in 1 rows: both models get empty text there, not a missing value"
