"""Errors: one line for the user, whatever is at hand."""

import pytest

from modelrepo.generator.errors import first_line


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
