"""The place of each field in a configuration's text."""

from pathlib import Path

import pytest

from modelrepo.generator.lint.text import Key, read

TEXT = """name: "net"
input [ { name: "x" dims: [ 3, -1 ] }, { name: "y"
    dims: 4, dims: 0 } ]
output < name: "z" >; max_batch_size: - 1
parameters { key: "a" value { string_value: "1" } }  # dims: 7
parameters: {
  key: 'b'
  value: { string_value: "two" "parts" } }
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("name",), "1:1"),
        (("input", 0), "2:9"),
        (("input", 0, "dims", 1), "2:32"),
        (("input", 1, "dims", 1), "3:14"),
        (("output", 0, "name"), "4:10"),
        (("max_batch_size",), "4:23"),
        (("parameters", Key("b")), "6:1"),
        (("parameters", Key("b"), "value", "string_value"), "8:12"),
        (("input", 1, "reshape"), "2:40"),
    ],
    ids=str,
)
def test_a_field_has_a_place(path: tuple[str | int, ...], place: str) -> None:
    config = read(Path("config.pbtxt"), TEXT)
    assert str(config.place(*path)) == f"config.pbtxt:{place}"


def test_what_is_not_written_has_the_whole_file() -> None:
    assert str(read(Path("config.pbtxt"), "").place("backend")) == "config.pbtxt"
