"""The input data of a measurement: values that a model answers, in the shapes that it takes."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from modelrepo.perf.measuring import input_data

BERT = Model(
    "bert", ("1",), "", 8,
    (Tensor("ids", "INT64", (-1, -1)), Tensor("mask", "INT64", (-1, -1)), Tensor("x", "FP32", (-1, 2), optional=True)),
    (Tensor("out", "FP32", (-1, 4)),),
)  # fmt: skip
IDS = TensorSpec("ids", "int64", ("batch", "sequence"), Domain(0, 30521))
MASK = TensorSpec("mask", "int64", ("batch", "sequence"), Domain(0, 1))


def manifest(*inputs: TensorSpec) -> Manifest:
    source = SourceRecord("hf:bert", Weights("random", "", True), None, "torch", 18, 10, (), inputs)
    return Manifest("bert", 1, "onnxruntime", "", 8, "", {}, Provenance("", source, {}, {}, Verification()))


def one(datatype: str, dims: tuple[int, ...], max_batch_size: int = 0) -> Model:
    return Model("m", ("1",), "", max_batch_size, (Tensor("x", datatype, dims),), (Tensor("y", datatype, dims),))


def rows_of(
    model: Model, size: int = 5, known: Manifest | None = None, **shapes: tuple[int, ...]
) -> list[dict[str, Any]]:
    wanted = input_data.signature(model, known)
    return input_data.random_rows(wanted, model.max_batch_size > 0, size, shapes, seed=0)


def test_token_ids_stay_within_the_vocabulary() -> None:
    rows = rows_of(BERT, 128, manifest(IDS, MASK))
    ids = np.concatenate([row["ids"] for row in rows])
    assert ids.dtype == np.int64
    assert 0 <= ids.min() < 100
    assert 5_000 < ids.max() <= 30521
    assert {value for row in rows for value in row["mask"]} == {0, 1}


def test_integers_without_a_known_domain_are_0_or_1() -> None:
    assert {value for row in rows_of(BERT) for value in row["ids"]} <= {0, 1}


def test_dimensions_of_any_size_get_one_and_equal_names_the_same() -> None:
    assert {row["ids"].shape for row in rows_of(BERT, 7, manifest(IDS, MASK))} == {(7,)}


def test_a_shape_can_be_chosen() -> None:
    row = rows_of(BERT, 7, None, ids=(384,))[0]
    assert (row["ids"].shape, row["mask"].shape) == ((384,), (7,))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [({"nope": (1,)}, "names the input 'nope'"), ({"ids": (1, 128)}, "--shape ids:1,128 does not fit")],
)
def test_a_shape_that_does_not_fit_is_refused(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rows_of(BERT, 5, None, **shapes)


def test_a_fixed_dimension_can_not_be_chosen() -> None:
    with pytest.raises(OptionError, match="A sample of x is \\[3\\]"):
        rows_of(one("FP32", (-1, 3), 8), x=(4,))


def test_optional_inputs_are_left_out() -> None:
    assert set(rows_of(BERT)[0]) == {"ids", "mask"}


def test_rows_differ_and_do_not_change_from_run_to_run() -> None:
    first, second = rows_of(one("FP32", (-1, 3), 8)), rows_of(one("FP32", (-1, 3), 8))
    assert len({row["x"].tobytes() for row in first}) == len(first) == input_data.ROWS
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))


def test_large_inputs_have_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_data, "MOST_BYTES", 2.5 * 4 * 100)
    assert [len(rows_of(one("FP32", dims))) for dims in ((10,), (100,), (1000,))] == [8, 2, 1]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64"])
def test_the_file_has_the_exact_bytes(tmp_path: Path, datatype: str) -> None:
    rows = rows_of(one(datatype, (2, 3)))
    input_data.write(rows, tmp_path / "in.json")
    cells = json.loads((tmp_path / "in.json").read_text())["data"]
    assert [cell["x"]["shape"] for cell in cells] == [[2, 3]] * len(rows)
    first = np.frombuffer(base64.b64decode(cells[0]["x"]["content"]["b64"]), rows[0]["x"].dtype).reshape(2, 3)
    assert np.array_equal(first, rows[0]["x"])


def test_strings_have_their_length_before_them(tmp_path: Path) -> None:
    input_data.write([{"x": np.array(["a", "öl"], object)}], tmp_path / "in.json")
    (cell,) = json.loads((tmp_path / "in.json").read_text())["data"]
    assert base64.b64decode(cell["x"]["content"]["b64"]) == b"\x01\0\0\0a\x03\0\0\0\xc3\xb6l"


def test_samples_become_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", ids=np.arange(6).reshape(2, 3), mask=np.ones((2, 3), int))
    model = replace(BERT, inputs=BERT.inputs[:2])
    rows = input_data.sample_rows(tmp_path / "s.npz", input_data.signature(model, None), True)
    assert [row["ids"].tolist() for row in rows] == [[0, 1, 2], [3, 4, 5]]


def test_a_sample_of_a_model_that_does_not_batch_is_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), "float32"))
    rows = input_data.sample_rows(tmp_path / "x.npy", input_data.signature(one("FP32", (-1, 3)), None), False)
    assert [row["x"].shape for row in rows] == [(2, 3)]


def test_samples_of_another_model_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", other=np.ones(3))
    with pytest.raises(OptionError, match="has no input 'ids'"):
        input_data.sample_rows(tmp_path / "s.npz", input_data.signature(BERT, None), True)
