"""Tables as inputs: which columns are taken, how cells become values, and what is refused."""

import datetime
import decimal
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.clients import tables
from modelrepo.clients.errors import DependencyError, InputError
from modelrepo.clients.models import Model, Tensor
from modelrepo.clients.tables import Selection, is_header, open_table, plain, select
from modelrepo.generator.sources.sklearn import tabular

COLUMNS = Model(
    "columns", ("1",), "", 4,
    (Tensor("age", "FP32", (-1, 1)), Tensor("count", "INT8", (-1, 1)), Tensor("city_name", "BYTES", (-1, 1))), (),
)  # fmt: skip


def matrix(datatype: str, *dims: int, batch: int = 4) -> Model:
    return Model("matrix", ("1",), "", batch, (Tensor("input", datatype, dims),), ())


def selected(path: Path, model: Model, labels: str | None = None, columns: Sequence[str] = ()) -> Selection:
    return select(open_table(path, [tensor.name for tensor in model.inputs]), model, labels, columns)


def rows(selection: Selection) -> dict[str, list[Any]]:
    chunks = list(selection.chunks())
    return {name: np.concatenate([arrays[name] for arrays, _, _ in chunks]).tolist() for name in chunks[0][0]}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_go_by_name_and_the_others_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,city name,count,age\n1,"Köln,\nDeutz",3,\n2,Bonn,-4.0,1e2\n')
    selection = selected(path, COLUMNS, labels="id")
    found = rows(selection)
    assert found["city_name"] == [["Köln,\nDeutz".encode()], [b"Bonn"]]
    assert found["count"] == [[3], [-4]]
    assert np.isnan(found["age"][0][0])
    assert found["age"][1] == [100.0]
    assert selection.notes == ()
    (_, labels, places), *_ = selection.chunks()
    assert (list(labels or ()), list(places)) == (["1", "2"], [2, 4])
    assert "id is not asked for" in selected(path, COLUMNS).notes[0]


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("a.csv", "a,b\n1,2\n", "utf-8-sig"),
        ("a.csv", "a;b\r\n1;2\r\n\r\n", "utf-8"),
        ("a.tsv", "a\tb\n1\t2", "utf-8"),
        ("a.csv", " a | b \n1|2\n", "utf-8"),
        ("a.csv", "a,b\n1,2\n", "utf-16"),
        ("a.csv", ",a,b\n0,1,2\n", "utf-8"),
        ("a.csv", ",0,1\n7,1,2\n", "utf-8"),
        ("a.csv", "0,1\n1,2\n", "utf-8"),
        ("a.csv", "1,2\n", "utf-8"),
        ("a.csv", "1.0,2e0\n", "utf-8"),
    ],
)
def test_what_programs_write_is_read(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    assert rows(selected(write(tmp_path / name, text, encoding), matrix("FP32", -1, 2))) == {"input": [[1.0, 2.0]]}


def test_a_compressed_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert tables.is_table(path)
    assert rows(selected(path, matrix("FP32", -1, 2))) == {"input": [[1.0, 2.0]]}


def test_the_columns_of_a_matrix_can_be_named_and_shape_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,c,d,e\n1,2,3,4,x\n")
    assert rows(selected(path, matrix("INT64", -1, 2, 2), labels="e")) == {"input": [[[1, 2], [3, 4]]]}
    assert rows(selected(path, matrix("INT64", -1, 2), columns=("d", "a"))) == {"input": [[4, 1]]}
    assert rows(selected(path, matrix("INT64", -1, 2, batch=0), columns=("d", "a"))) == {"input": [[[4, 1]]]}
    assert rows(selected(path, matrix("BYTES", -1, -1))) == {"input": [[b"1", b"2", b"3", b"4", b"x"]]}


def test_two_columns_that_become_one_name_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "age,count,city name,city.name\n1,2,x,y\n")
    with pytest.raises(InputError, match=r"'city name' and 'city\.name' could both be the input city_name"):
        selected(path, COLUMNS)
    double = write(tmp_path / "b.csv", "age,age,count,city name\n1,1,2,x\n")
    with pytest.raises(InputError, match="'age' and 'age' could both"):
        selected(double, COLUMNS)
    with pytest.raises(InputError, match="several columns named 'a'"):
        selected(write(tmp_path / "c.csv", "a,a\n1,1\n"), matrix("FP32", -1, 2))


def test_columns_that_a_model_was_fitted_on_are_taken_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,b (cm),a\n7,2,1\n")
    selection = select(open_table(path), matrix("FP32", -1, 2), None, (), ("a", "b (cm)"))
    assert rows(selection) == {"input": [[1.0, 2.0]]}
    assert "id is not asked for" in selection.notes[0]
    with pytest.raises(InputError, match="has no column c"):
        select(open_table(path), matrix("FP32", -1, 2), None, (), ("a", "c"))
    other = write(tmp_path / "b.csv", "x,y\n2,1\n")
    by_place = select(open_table(other), matrix("FP32", -1, 2), None, (), ("a", "b (cm)"))
    assert rows(by_place) == {"input": [[2.0, 1.0]]}
    (caution,) = by_place.cautions
    assert "the order of the columns is taken as that of matrix, which was fitted on a, b (cm): x, y" in caution


def test_a_column_that_is_taken_as_the_labels_is_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "age,count,city_name\n1,2,x\n")
    with pytest.raises(InputError, match="no column for the input age") as caught:
        selected(path, COLUMNS, labels="age")
    assert caught.value.hint == "It has count, city_name, and age, which is taken as the labels"


def test_the_order_of_columns_is_a_caution_unless_the_user_chose_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "b,a\n1,2\n")
    (caution,) = selected(path, matrix("FP32", -1, 2)).cautions
    assert caution.endswith("the order of the columns is taken as that of matrix, which does not name them: b, a")
    assert not selected(path, matrix("FP32", -1, 2), columns=("a", "b")).cautions


def test_a_missing_whole_number_gets_the_way_to_send_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "age,count,city_name\n1,,x\n")
    with pytest.raises(InputError, match="count is empty, and nothing stands for a missing value") as caught:
        list(selected(path, COLUMNS).chunks())
    assert "--input-shape count=1x1:float64" in caught.value.hint


def test_columns_that_differ_in_case_and_spaces_alone_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "B (CM),A\n2,1\n")
    selection = select(open_table(path), matrix("FP32", -1, 2), None, (), ("a", "b (cm)"))
    assert rows(selection) == {"input": [[1.0, 2.0]]}


def test_chosen_columns_in_another_order_than_fitted_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    chosen = select(open_table(path), matrix("FP32", -1, 2), None, ("b", "a"), ("a", "b"))
    assert rows(chosen) == {"input": [[2.0, 1.0]]}
    assert "the model was fitted on a, b" in chosen.notes[0]
    assert "fitted" not in select(open_table(path), matrix("FP32", -1, 2), None, ("a", "b"), ("a", "b")).notes[0]


@pytest.mark.parametrize("name", ["sepal length (cm)", "2nd", "größe", "", "a.b-c", "ok_1"])
def test_names_become_those_that_tabular_models_are_served_with(name: str) -> None:
    assert plain(name) == tabular._served_names([name])[0]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a", "b"], True),
        (["5.1", "3.5", "setosa"], False),
        (["1", "2", "3"], False),
        (["0", "1", "2"], True),
        (["", "0", "1", "target"], True),
        (["1,5", "2"], False),
        (["id", "2019", "2020", "name"], True),
    ],
)
def test_a_header_is_told_from_data(cells: list[str], expected: bool) -> None:
    assert is_header(cells, set()) is expected
    assert is_header([*cells, "age"], {"age"})


CELLS: list[tuple[str, Any, list[Any] | str]] = [
    ("FP32", ["1", " 2.5 ", "-1e3", "inf"], [1.0, 2.5, -1000.0, float("inf")]),
    ("FP64", ["True", "false", "1"], [1.0, 0.0, 1.0]),
    ("FP32", ["1_000"], "'1_000', which is not a number"),
    ("FP32", ["1e39"], "'1e39', which is out of range"),
    ("FP16", ["70000"], "'70000', which is out of range"),
    ("FP32", ["2020-01-01"], "'2020-01-01', which is not a number"),
    ("INT64", ["9007199254740993", "-1", "4.0"], [9007199254740993, -1, 4]),
    ("UINT64", ["18446744073709551615"], [18446744073709551615]),
    ("INT8", ["127", "128"], "'128', which is out of range"),
    ("UINT8", ["-1"], "'-1', which is out of range"),
    ("INT32", ["1", "2.5"], "'2.5', which is not a whole number"),
    ("INT32", ["1", ""], "is empty, and nothing stands for a missing value"),
    ("INT32", ["inf"], "'inf', which is not a whole number"),
    ("BOOL", ["true", "0"], [True, False]),
    ("BOOL", ["2"], "'2', which is out of range"),
    ("BYTES", ["é", ""], ["é".encode(), b""]),
    ("BYTES", [1, 2], "is 1, which is not text"),
    ("FP32", [1.5, None], [1.5, float("nan")]),
    ("FP32", [datetime.date(2020, 1, 1)], "is 2020-01-01, a date, which is not a number"),
    ("FP32", np.array([1, 2**24 + 2]), [1.0, 16777218.0]),
    ("INT64", np.array([1.0, 2.0], "float32"), [1, 2]),
    ("INT64", np.array([1.0, np.nan], "float32"), "is nan, and nothing stands for a missing value"),
    ("INT64", [True, False], [1, 0]),
    ("FP32", [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]),
    ("FP32", [[1.0, 2.0], [3.0]], "which is not a list of 2 values"),
]


@pytest.mark.parametrize(("datatype", "cells", "expected"), CELLS)
def test_cells_become_values_that_stay_the_same(datatype: str, cells: Any, expected: list[Any] | str) -> None:
    from modelrepo.clients.cells import read_column

    tensor = Tensor("x", datatype, (-1, 1))
    if isinstance(expected, str):
        with pytest.raises(InputError) as refused:
            read_column(cells, tensor, lambda row: f"line {row}: x")
        assert expected in refused.value.message
        assert refused.value.message.startswith("line ")
    else:
        np.testing.assert_array_equal(read_column(cells, tensor, str), np.array(expected))


def test_parquet_has_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    columns = {
        "age": pyarrow.array([1.5, None]), "count": pyarrow.array([3, 4]), "__index_level_0__": [7, 8],
        "city_name": pyarrow.array(["x", "y"]).dictionary_encode(),
        "price": pyarrow.array([decimal.Decimal(1), decimal.Decimal(2)]),
    }  # fmt: skip
    parquet.write_table(pyarrow.table(columns), path)
    found = rows(selected(path, COLUMNS, labels="price"))
    assert (found["count"], found["city_name"]) == ([[3], [4]], [[b"x"], [b"y"]])
    assert found["age"][0] == [1.5]
    assert np.isnan(found["age"][1][0])
    assert rows(selected(path, matrix("FP64", -1, 2), columns=("price", "count"))) == {
        "input": [[1.0, 3.0], [2.0, 4.0]]
    }
    with pytest.raises(InputError, match="row 1: city_name is 'x', which is not a number for input"):
        rows(selected(path, matrix("FP64", -1, 1), columns=("city_name",)))


def test_parquet_without_pyarrow_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DependencyError, match=r"pyarrow.* is not installed. Install the package pyarrow"):
        open_table(path)


def test_rows_are_read_a_part_at_a_time_in_whole_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CELLS", 20)
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 21)
    sizes = [len(places) for _, _, places in selected(path, matrix("FP32", -1, 2)).chunks()]
    assert sizes == [8, 8, 5]
