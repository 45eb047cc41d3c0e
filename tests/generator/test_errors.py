"""Errors: one line for the user, whatever is at hand."""

import pytest

from modelrepo.generator.errors import ConversionError, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n\n  one.  \ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("\n . \n"), "ValueError"),
        ("", "no reason"),
        ("a text.", "a text"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error: object, line: str) -> None:
    assert first_line(error) == line


def test_what_only_a_terminal_understands_is_left_out() -> None:
    error = ConversionError("\x1b[1;31mbad\x1b[0m \x1b]0;title\x07layer\x08", "\x1b[4mSee\x1b[m it\r\n")
    assert (error.message, error.hint) == ("bad layer", "See it\r\n")
    assert first_line(ValueError("\x1b[2K\x1b[1mone\x1b[0m\ntwo")) == "one"
