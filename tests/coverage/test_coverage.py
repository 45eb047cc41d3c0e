"""A model of each family through all of it, and what `make coverage` does with those that misbehave."""

import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.coverage import __main__ as command
from tests.coverage import page
from tests.coverage.cases import FAMILIES, Case, cases_of
from tests.coverage.misbehaving import misbehave
from tests.coverage.row import Row
from tests.coverage.runner import Limits, run
from tests.coverage.worker import generated
from tests.kept_rows import KeptRows

# The quickest of each family; the light one is also compared with the answers that lie beside it.
QUICK = {
    "light": "light_squeezenet",
    "sklearn": "LogisticRegression",
    "transformers": "distilbert",
    "timm": "resnet10t",
    "keras": "MobileNet",
    "torchvision": "squeezenet1_1",
}
LIMITS = Limits(jobs=2, seconds=4.0, bytes=150 << 20)


# Beside these, the tests of each source export, verify and serve a model of theirs.
SLOW_FAMILIES = ("transformers", "timm", "keras", "torchvision")


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_FAMILIES else name for name in FAMILIES]
)
def test_a_model_of_each_family_is_exported_verified_and_served(family: str, tmp_path: Path) -> None:
    (case,) = (case for case in cases_of(family) if case.name == QUICK[family])
    (row,) = generated([case], tmp_path)
    assert not row.reason
    assert (row.key, row.verified, row.served) == (case.key, True, True)
    assert row.exporter not in ("", "yes")
    assert row.difference is not None
    assert list(tmp_path.iterdir()) == [], "models are large, and there are hundreds"


def test_a_model_that_answers_otherwise_than_it_must_fails(tmp_path: Path) -> None:
    (case,) = (case for case in cases_of("light") if case.name == QUICK["light"])
    assert case.expected

    def refuse(answers: object) -> None:
        raise AssertionError("not that")

    inputs = case.expected().inputs
    (row,) = generated([Case(**{**vars(case), "expected": lambda: type(case.expected())(inputs, refuse)})], tmp_path)
    assert (row.verified, row.served, row.reason) == (True, False, "through Triton: not that")


def test_a_model_that_cannot_be_made_says_why_and_keeps_none_from_its_turn(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise ZeroDivisionError("by nothing")

    cases = [
        Case("light", "no file", "onnx:{folder}/absent.onnx"),
        Case("light", "fails", "onnx:x.onnx", make=fail),
    ]
    rows = list(generated(cases, tmp_path))
    assert [row.exporter for row in rows] == ["", ""]
    assert "absent.onnx" in rows[0].reason
    assert rows[1].reason == "unexpected ZeroDivisionError: by nothing"


def test_what_dies_hangs_or_takes_too_much_fails_and_the_others_are_run() -> None:
    names = ["one", "dies", "two", "hangs", "takes", "three"]
    rows = {}
    for row in run(
        [Case("sklearn", name, "") for name in names], LIMITS, target=misbehave, preload=[misbehave.__module__]
    ):
        rows[row.key.removeprefix("sklearn/")] = row
    assert list(rows) == names
    assert rows["dies"].reason == "its process died (last words)"
    assert rows["hangs"].reason == "killed after 4 s"
    assert re.fullmatch(r"killed at \d\.\d GB of memory", rows["takes"].reason)
    assert [name for name in names if not rows[name].reason] == ["one", "two", "three"]
    assert not any(Path(row.exporter).exists() for row in rows.values() if row.exporter)


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the command have three models, one of which fails; return those that are run, up to an interrupt at one."""
    ran: list[str] = []
    cases = {"light": [Case("light", name, "") for name in ("a", "b", "c")]}

    def pretend(waiting: Sequence[Case], limits: Limits) -> Iterator[Row]:
        for case in waiting:
            if case.name == "c" and "c" not in ran:
                ran.append("c")
                raise KeyboardInterrupt
            ran.append(case.name)
            yield Row(case.key, "as-is", True, case.name != "b", 1e-6, 2.4, "no | luck" * (case.name == "b"))

    monkeypatch.setattr(command, "STATE", tmp_path / "state/rows.jsonl")
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "ROWS", tmp_path / "page.csv")
    monkeypatch.setattr(command, "FAMILIES", {"light": FAMILIES["light"]})
    monkeypatch.setattr(command, "cases_of", cases.__getitem__)
    monkeypatch.setattr(command, "run", pretend)
    return ran


def coverage(*arguments: str) -> Any:
    return CliRunner().invoke(command.main, arguments)


def test_an_interrupted_run_goes_on_where_it_was(few: list[str]) -> None:
    assert coverage().exit_code == 130
    assert not command.PAGE.exists()
    assert coverage().exit_code == 1
    assert few == ["a", "b", "c", "c"]
    text = command.PAGE.read_text()
    assert "| Networks of the onnx package | 3 | 3 | 3 | 2 | 1 | 0 | 1.0e-06 |\n" in text
    assert "\n- `light/b`: no | luck\n" in text
    (line,) = (line for line in command.ROWS.read_text().splitlines() if line.startswith("light/b,"))
    assert line.startswith("light/b,,as-is,yes,no,1.0e-06,2,no | luck,,")

    assert coverage().exit_code == 1
    assert few == ["a", "b", "c", "c"], "nothing is run twice"
    assert coverage("--retry-failed").exit_code == 1
    assert few == ["a", "b", "c", "c", "b"]
    assert coverage("--fresh", "--only", "light/a").exit_code == 0
    assert few == ["a", "b", "c", "c", "b", "a"]
    assert command.PAGE.read_text() == text, "a part is no page"
    assert coverage("--update-page").exit_code == 1
    assert command.PAGE.read_text() == text, "the other rows are those of the CSV file"
    command.ROWS.unlink()
    assert coverage("--update-page").exit_code == 0
    counts = "| Networks of the onnx package | 3 (2 not measured) | 1 | 1 | 1 | 0 | 0 | 1.0e-06 |\n"
    assert counts in command.PAGE.read_text()


def test_rows_of_other_versions_do_not_count(few: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    coverage("--only", "a")
    coverage("--only", "a")
    assert few == ["a"]
    monkeypatch.setattr("tests.coverage.cases.EVERYWHERE", ("onnx",))
    coverage("--only", "a")
    assert few == ["a", "a"]


def test_the_page_says_what_was_measured_with_other_versions(few: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        coverage("--only", name)
    monkeypatch.setattr("tests.coverage.cases.EVERYWHERE", ("onnx",))
    coverage("--only", "c")
    coverage("--only", "c")
    assert coverage("--update-page").exit_code == 1, "b has failed"
    text = " ".join(command.PAGE.read_text().split())
    assert f"numpy {metadata.version('numpy')}. c: onnx {metadata.version('onnx')}." in text


def test_a_row_that_was_cut_short_is_no_row(tmp_path: Path) -> None:
    kept = KeptRows(tmp_path / "rows.jsonl", Row)
    kept.add(Row("light/a"))
    with kept.path.open("a") as file:
        file.write('{"key": "light/b", "expor')
    again = KeptRows(tmp_path / "rows.jsonl", Row)
    assert [row.key for row in again.rows] == ["light/a"]
    again.add(Row("light/c"))
    assert [row.key for row in KeptRows(tmp_path / "rows.jsonl", Row).rows] == ["light/a", "light/c"]


def test_the_page_that_is_kept_has_a_row_for_every_model_and_is_made_from_the_csv_file() -> None:
    cases = {family: cases_of(family) for family in FAMILIES}
    rows = page.read(page.ROWS)
    assert set(rows) == {case.key for own in cases.values() for case in own}
    assert page.table(cases, rows) == page.ROWS.read_text("utf-8")
    assert page.page(cases, rows) == page.PAGE.read_text("utf-8")
