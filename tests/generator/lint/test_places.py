"""The place of each field in a configuration's text."""

import json
from pathlib import Path

import pytest

from modelrepo.generator.lint import check
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


def test_a_value_has_a_span() -> None:
    config = read(Path("config.pbtxt"), TEXT)
    (size,) = config.tree.fields["max_batch_size"]
    assert (size.begins, size.ends) == ((4, 39), (4, 42))
    (output,) = config.tree.fields["output"]
    assert (output.begins, output.ends) == ((4, 8), (4, 21))


@pytest.mark.parametrize(
    "text", ["{", "[", "a: [ 1", "a {", 'a: "', "a: 'x\n'", "}" * 9, "a:" * 99, "a{" * 5000, "\0\xff"]
)
def test_a_broken_text_has_the_places_before_it_breaks(text: str) -> None:
    config = read(Path("config.pbtxt"), f'name: "net"\n{text}')
    assert config.message is None
    assert config.error
    assert str(config.place("name")) == "config.pbtxt:1:1"


def test_a_finding_is_json_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/config.pbtxt").write_text("max_batch_size: -1\n")
    found = [each for each in check(tmp_path) if each.code == "MBS-NEG"]
    assert str(found[0]).startswith(f"{tmp_path}/net/config.pbtxt:1:1: error MBS-NEG: Triton refuses the model")
    (row,) = json.loads(json.dumps([each.as_dict() for each in found]))
    assert (row["code"], row["line"], row["model"], row["fixable"]) == ("MBS-NEG", 1, "net", False)
