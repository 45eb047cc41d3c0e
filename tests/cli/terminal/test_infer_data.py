"""Files as what `infer` asks: which arrays are taken, and texts that can't be sent."""

import sys
from pathlib import Path

import numpy as np
import pytest

from modelrepo.cli.terminal.infer_data import UNKNOWN, Fitted, Samples, of_file
from modelrepo.cli.terminal.infer_files import check_output
from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError

TOWNS = Model("towns", ("1",), "", 4, (Tensor("town", "BYTES", (-1, 1)),), ())
MATRIX = Model("matrix", ("1",), "", 4, (Tensor("input", "FP32", (-1, 2)),), ())


def samples(path: Path, model: Model, labels: str | None = None, fitted: Fitted = UNKNOWN) -> Samples:
    return of_file(path, model, labels, (), fitted, lambda cells, where: None)


@pytest.mark.parametrize(
    ("fill", "way"),
    [("Bonn", "Write 'Bonn', as the model itself fills it in"), ("", "Write a text that the model knows")],
)
def test_an_empty_text_is_refused_where_the_model_knows_missing_ones(tmp_path: Path, fill: str, way: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,town\n1,Ulm\n2,\n")
    with pytest.raises(OptionError, match="line 3: town is empty") as caught:
        samples(path, TOWNS, fitted=Fitted(("town",), {"town": fill}))
    assert caught.value.hint.startswith(way)


def test_an_empty_text_is_a_caution_if_nothing_is_known_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,town\n1,Ulm\n2,\n")
    said = f"{path}: town has 1 empty cell: sent as empty text, not as a missing value"
    assert samples(path, TOWNS).cautions == (said,)
    known = samples(path, TOWNS, fitted=Fitted(("town",), {}))
    assert known.cautions == ()
    assert said in known.notes


@pytest.mark.parametrize("name", ["y", "Target"])
def test_arrays_are_taken_by_the_rules_of_generate(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{"x": np.ones((3, 2), "float32"), name: np.array([0, 1, 0])})  # type: ignore[arg-type]
    found = samples(path, MATRIX)
    assert found.rows == 3
    assert found.notes == (
        f"the array {name} of {path} is not used: measure with --labels {name}",
        f"{path}: x is taken as the input 'input'",
    )
    (part,) = found.parts()
    assert isinstance(part.inputs, dict)
    assert np.shape(part.inputs["input"]) == (3, 2)


def test_parquet_answers_without_pyarrow_are_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match="pyarrow is not installed") as caught:
        check_output(Path("answers.parquet"))
    assert "[tables]" in caught.value.hint
    check_output(Path("answers.csv"))
