"""The files of golden requests: what they hold, and what is said of damaged ones."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.verification import golden
from modelrepo.generator.verification.golden import Golden, Request, Wanted, within
from modelrepo.generator.verification.sequences import Step

TEXTS = np.array([[b"a\0b\0"], [b""], ["é".encode()], [b"\xff\xfe"]], object)
ARRAYS = {
    "a/b": np.array([[1.5, np.nan], [np.inf, -3e38]], "float32"),
    "text": TEXTS,
    "whole": np.array([2**63 - 1, -(2**63)], "int64"),
    "large": np.array([2**64 - 1], "uint64"),
    "truth": np.array([True, False]),
    "half": np.array([[[6e4]]], "float16"),
    "brain": np.array([1.0, -2.5], ml_dtypes.bfloat16),
    "scalar": np.array(3.0),
    "nothing": np.zeros((2, 0), "float32"),
    "no text": np.empty((0, 3), object),
}


def of(arrays: dict[str, np.ndarray], **more: object) -> Golden:
    wanted = {name: Wanted(array, (0.5,), (1.0,)) for name, array in arrays.items()}
    return Golden((Request(("zeros",), arrays, wanted, Step(7, True, False)),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ARRAYS)
def test_every_type_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    golden.write(tmp_path, "1", of({name: ARRAYS[name]}, precision="p", follows=True, any_id=False))
    found = golden.read(tmp_path, "1")
    assert found
    assert (found.precision, found.follows, found.any_id, found.reason) == ("p", True, False, "")
    (request,) = found.requests
    assert request.step == Step(7, True, False)
    for array in (request.inputs[name], request.outputs[name].array):
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert array.tolist() == ARRAYS[name].tolist() or np.isnan(array.astype(float)).any()


def test_the_same_requests_are_the_same_bytes_without_pickles() -> None:
    first, second = golden.packed(of(ARRAYS), "1"), golden.packed(of(dict(ARRAYS)), "1")
    assert first == second
    assert b"numpy.core" not in first[1]
    assert b"_reconstruct" not in first[1]


def test_others_replace_them_and_their_arrays_are_removed(tmp_path: Path) -> None:
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    golden.write(tmp_path, "10", of({"x": np.zeros(3)}))
    golden.write(tmp_path, "1", of({"x": np.ones(3)}))
    assert sorted(file.name.split(".")[0] for file in tmp_path.iterdir()) == ["1", "1", "10", "10"]
    golden.write(tmp_path, "1", Golden(reason="none"))
    assert [file.name for file in tmp_path.glob("1.*")] == ["1.json"]
    found = golden.read(tmp_path, "1")
    assert found
    assert found.reason == "none"
    assert not found.requests


def test_a_writer_that_dies_between_both_files_leaves_the_earlier_ones(tmp_path: Path) -> None:
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    text = (tmp_path / "1.json").read_bytes()
    archive = next(tmp_path.glob("*.npz"))
    content = archive.read_bytes()
    golden.write(tmp_path, "1", of({"x": np.ones(3)}))
    archive.write_bytes(content)
    (tmp_path / "1.json").write_bytes(text)  # as if it had never been replaced
    found = golden.read(tmp_path, "1")
    assert found
    assert not found.requests[0].inputs["x"].any()


def test_what_a_killed_writer_has_not_finished_goes_with_the_next_one(tmp_path: Path) -> None:
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    for name in (".1.json.0f", ".1.aa.npz.0f", ".10.json.0f"):
        (tmp_path / name).write_text("half")
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    assert [file.name for file in tmp_path.glob(".*")] == [".10.json.0f"]
    assert len(list(tmp_path.glob("1.*"))) == 2


def _newer(document: dict[str, Any]) -> None:
    document["schema"] = 99


def _longer(document: dict[str, Any]) -> None:
    document["requests"][0]["outputs"][0]["limits"] = [1.0, 2.0]


def _endless(document: dict[str, Any]) -> None:
    document["requests"][0]["outputs"][0]["limits"] = [float("nan")]


def _elsewhere(document: dict[str, Any]) -> None:
    document["arrays"] = "../../secret.npz"


def _retyped(document: dict[str, Any]) -> None:
    document["requests"][0]["inputs"][0]["type"] = "int64"


def _reshaped(document: dict[str, Any]) -> None:
    document["requests"][0]["inputs"][0]["shape"] = [2, 2]


def _listless(document: dict[str, Any]) -> None:
    document["requests"] = 5


@pytest.mark.parametrize("change", [_newer, _longer, _endless, _elsewhere, _retyped, _reshaped, _listless])
def test_other_contents_are_one_clear_error(change: object, tmp_path: Path) -> None:
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    path = tmp_path / "1.json"
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document))
    with pytest.raises(RepositoryError, match="newer release" if change is _newer else "are damaged"):
        golden.read(tmp_path, "1")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{", b'{"schema": 1}'])
def test_a_file_that_is_not_ours_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_bytes(content)
    with pytest.raises(RepositoryError, match=r"1\.json are damaged"):
        golden.read(tmp_path, "1")


def test_arrays_that_are_missing_or_changed_are_damaged(tmp_path: Path) -> None:
    assert golden.read(tmp_path, "1") is None
    golden.write(tmp_path, "1", of({"x": np.zeros(3)}))
    archive = next(tmp_path.glob("*.npz"))
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(RepositoryError, match="has other content"):
        golden.read(tmp_path, "1")
    archive.unlink()
    with pytest.raises(RepositoryError, match="are damaged"):
        golden.read(tmp_path, "1")


@pytest.mark.parametrize(
    ("right", "got", "limits", "expected"),
    [
        ([[1.0], [2.0]], [[1.1], [2.0]], (0.2, 0.0), (True, 0)),
        ([[1.0], [2.0]], [[1.1], [2.1]], (0.2, 0.05), (False, 1)),
        ([[1.0], [2.0]], [[np.nan], [2.0]], (1e9, 1e9), (False, 0)),
        ([[np.inf]], [[np.inf]], (0.0,), (True, 0)),
        ([[1e300]], [[-1e300]], (1e299,), (False, 0)),
        (3.0, 3.5, (0.6,), (True, 0)),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.5], (0.1,), (False, 0)),
        ([[2**62]], [[2**62 + 1]], (0.0,), (False, 0)),
        ([[2**62]], [[2**62]], (0.0,), (True, 0)),
        (np.zeros((1, 0)), np.zeros((1, 0)), (0.0,), (True, 0)),
    ],
)
def test_answers_are_judged_sample_by_sample(
    right: object, got: object, limits: tuple[float, ...], expected: tuple[bool, int]
) -> None:
    found = within(np.array(right), np.array(got), limits)
    assert (found.right, found.sample) == expected


def test_texts_are_right_only_if_they_are_equal() -> None:
    other = TEXTS.copy()
    other[0, 0] = b"a\0b"
    assert within(TEXTS, TEXTS.copy(), (0.0,) * 4).right
    assert within(TEXTS, other, (0.0,) * 4)[:3] == (False, 0, 1.0)
