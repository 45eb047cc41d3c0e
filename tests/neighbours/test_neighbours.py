"""What is published answers as its source on inputs that our generator did not choose; the rest names its cause."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.errors import ModelRepoError
from tests.neighbours.case import PUBLISHED, Neighbour, disagreement

# Each module has a table called NEIGHBOURS.
TABLES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py")))


def rows() -> list[Any]:
    return [
        pytest.param(row, marks=[pytest.mark.slow] * row.slow, id=f"{table.removesuffix('_cases')}-{row.name}")
        for table in TABLES
        for row in import_module(f"tests.neighbours.{table}").NEIGHBOURS
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", rows())
def test_what_is_published_answers_as_its_source_and_what_is_not_names_its_cause(
    row: Neighbour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = row.make(tmp_path)
    if row.verdict == PUBLISHED:
        assert not disagreement(made, row.options, tmp_path / "export")
        return
    with pytest.raises(ModelRepoError) as refusal:
        disagreement(made, row.options, tmp_path / "export")
    assert row.verdict in f"{refusal.value.message} {refusal.value.hint or ''}"


def test_names_are_unique() -> None:
    names = [each.id for each in rows()]
    assert len(set(names)) == len(names)
