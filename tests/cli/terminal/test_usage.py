"""Words that are no command, option or argument get the ones that were meant."""

import sys

import pytest

from modelrepo.cli.main import modelrepo
from modelrepo.cli.terminal import errors


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("serv", "there is no command 'serv'. Did you mean serve"),
        ("docter", "there is no command 'docter'. Did you mean doctor?"),
        ("xyz", "there is no command 'xyz'. Known: bench, check, compare, diff, doctor"),
        ("plans biuld", "No such command 'biuld'."),
        ("generate digits.onnx", "there is no option before 'digits.onnx'. Name models with --model digits.onnx"),
        ("generate --model a b c", "there is no option before 'b'. Name models with --model b --model c"),
        ("generate -model digits.onnx", "Did you mean --model?"),
        ("generate -model=digits.onnx", "Did you mean --model?"),
        ("models -source timm", "Did you mean --source?"),
        ("generate -x", "No such option"),
    ],
)
def test_what_was_meant_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["modelrepo", *typed.split()])
    assert errors.run(modelrepo, "modelrepo") == errors.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_no_color_leaves_colours_out_of_errors_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("click._compat.should_strip_ansi", lambda stream, color: color is False)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda stream, color: color is False)
    errors.show_error("can't")
    assert capsys.readouterr().err.startswith("\x1b[")
    monkeypatch.setenv("NO_COLOR", "1")
    errors.show_error("can't")
    assert capsys.readouterr().err == "error: can't\n"
