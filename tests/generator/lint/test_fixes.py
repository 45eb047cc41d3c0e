"""Mending mechanically: edits of texts."""

import os
from pathlib import Path

import pytest

from modelrepo.generator.lint.finding import Edit, Finding, Place, Problem
from modelrepo.generator.lint.fixes import END, mended


def finding(file: Path, *edits: tuple[tuple[int, int], tuple[int, int], str]) -> Finding:
    made = tuple(Edit(file, *edit) for edit in edits)
    return Finding("X", "error", "net", Problem(Place(file, 1, 1), "says", "write", made))


def after(file: Path, content: bytes, *findings: Finding) -> bytes:
    file.write_bytes(content)
    for each in mended(findings):
        each.write()
    return file.read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.pbtxt"


def test_a_span_is_replaced_and_all_else_stays(file: Path) -> None:
    text = b'# a comment\r\nname: "net"  # \xc3\xa4\r\n\tmax_batch_size: -1\r\n'
    done = after(file, text, finding(file, ((3, 18), (3, 20), "0")))
    assert done == text.replace(b"-1", b"0")


def test_what_is_added_at_the_end_begins_a_line_and_ends_as_the_others(file: Path) -> None:
    add = finding(file, (END, END, 'backend: "onnxruntime"\n'))
    assert after(file, b'name: "x"', add) == b'name: "x"\nbackend: "onnxruntime"\n'
    assert after(file, b'name: "x"\r\n', add) == b'name: "x"\r\nbackend: "onnxruntime"\r\n'
    assert after(file, b"", add) == b'backend: "onnxruntime"\n'


def test_several_edits_are_applied_together(file: Path) -> None:
    one = finding(file, ((1, 7), (1, 10), '"y"'), (END, END, "max_batch_size: 1\n"))
    two = finding(file, (END, END, 'backend: "b"\n'))
    assert after(file, b'name: "x"\n', one, two, two) == b'name: "y"\nmax_batch_size: 1\nbackend: "b"\n'


def test_of_edits_that_overlap_the_first_counts(file: Path) -> None:
    one = finding(file, ((1, 7), (1, 10), '"y"'))
    two = finding(file, ((1, 8), (1, 9), "z"))
    file.write_bytes(b'name: "x"\n')
    (made,) = mended([one, two])
    assert made.after == 'name: "y"\n'
    assert made.findings == (one,)


def test_an_edit_that_breaks_the_text_is_not_made(file: Path) -> None:
    assert after(file, b'name: "x"\n', finding(file, ((1, 1), (1, 5), "{"))) == b'name: "x"\n'


def test_bytes_that_are_not_utf_8_stay(file: Path) -> None:
    text = b'# \xff\nname: "x"\n'
    assert after(file, text, finding(file, ((2, 7), (2, 10), '"y"'))) == b'# \xff\nname: "y"\n'


def test_a_link_stays_a_link_and_a_mode_stays(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.pbtxt"
    real.write_bytes(b'name: "x"\n')
    real.chmod(0o640)
    file.symlink_to("real.pbtxt")
    for each in mended([finding(file, ((1, 7), (1, 10), '"y"'))]):
        each.write()
    assert file.is_symlink()
    assert real.read_bytes() == b'name: "y"\n'
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_diff_is_one_that_patch_reads(file: Path) -> None:
    file.write_bytes(b'name: "x"')
    (made,) = mended([finding(file, (END, END, 'backend: "b"\n'))])
    assert made.diff().splitlines()[2:] == [
        "@@ -1 +1,2 @@",
        '-name: "x"',
        "\\ No newline at end of file",
        '+name: "x"',
        '+backend: "b"',
    ]


def test_the_mode_and_the_owner_of_a_file_stay(file: Path) -> None:
    file.write_bytes(b'name: "x"\n')
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 1234)
    before = file.stat()
    after(file, b'name: "x"\n', finding(file, ((1, 7), (1, 10), '"y"')))
    assert (file.stat().st_mode, file.stat().st_uid) == (before.st_mode, before.st_uid)
    assert file.stat().st_ino != before.st_ino


def test_a_file_that_has_become_shorter_is_left_alone(file: Path) -> None:
    assert after(file, b"#", finding(file, ((3, 7), (3, 10), '"y"'))) == b"#"
    file.unlink()
    assert [made.after for made in mended([finding(file, ((3, 7), (3, 10), '"y"'))])] == [""]
