"""`--domain`: what a user says that an input takes."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.domains import read_domains
from modelrepo.generator.sources.domains import told, with_domains
from modelrepo.generator.specs.options import Values
from modelrepo.generator.specs.tensors import Domain, TensorSpec

LENGTHS = TensorSpec("lengths", "int64", ("batch",), Domain(known=False))
SHARE = TensorSpec("share", "float32", ("batch", 3), Domain(known=False))
COLOUR = TensorSpec("colour", "object", ("batch", 1), Domain(known=False))
FLAG = TensorSpec("flag", "bool", ("batch",))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("lengths=1:6", Values("lengths", 1.0, 6.0)),
        ("=1:6", Values("", 1.0, 6.0)),
        ("scale=0:", Values("scale", 0.0, None)),
        ("scale=:-.5", Values("scale", None, -0.5)),
        ("scale=1e-3 : 1e3", Values("scale", 1e-3, 1e3)),
        ("axis=0,1", Values("axis", choices=("0", "1"))),
        ("k=3", Values("k", choices=("3",))),
        ("colour=red, dark green", Values("colour", choices=("red", "dark green"))),
        ({"axis": [0, 1]}, Values("axis", choices=(0, 1))),
        ({"axis": 1}, Values("axis", choices=(1,))),
        ({"lengths": "1:6"}, Values("lengths", 1.0, 6.0)),
    ],
)
def test_a_domain_is_a_range_or_choices(written: Any, read: Values) -> None:
    assert read_domains(written) == (read,)


def test_several_inputs_are_separated_by_semicolons_and_read_back_from_a_manifest() -> None:
    read = read_domains("lengths=1:6; axis=0,1")
    assert [each.name for each in read] == ["lengths", "axis"]
    assert read_domains([asdict(each) for each in read]) == read
    assert read_domains([]) == ()


def test_values_like_those_of_a_file_are_each_of_them_or_their_range(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, ids=np.arange(1000), axis=np.array([1, 0, 1]), share=np.array([0.0, 1.0]), colour=np.array(["red"]))
    ids, axis, share, colour = read_domains(
        ";".join(f"{name}=like {path}" for name in ("ids", "axis", "share", "colour"))
    )
    assert (ids.low, ids.high, ids.choices) == (0.0, 999.0, ())
    assert axis.choices == (0.0, 1.0)
    assert (share.low, share.high, share.center, share.spread) == (0.0, 1.0, 0.5, 0.5)
    assert colour.choices == ("red",)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("lengths", "expected INPUT=LOW:HIGH"),
        ("lengths=", "expected INPUT=LOW:HIGH"),
        ("lengths=:", "expected INPUT=LOW:HIGH"),
        ("lengths=like", "expected INPUT=LOW:HIGH"),
        ("lengths=6:1", "rising order"),
        ("lengths=1:2;lengths=3:4", "'lengths' is there twice"),
        ("lengths=like nowhere.npz", "can't read nowhere.npz"),
        ({"lengths": [[1]]}, "expected"),
        ({"lengths": None}, "expected text"),
        (3, "expected a list"),
    ],
)
def test_a_domain_that_says_nothing_is_refused(written: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("|", r"\|")):
        read_domains(written)


def test_files_without_the_input_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no numbers")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    np.savez(tmp_path / "nan.npz", x=np.array([np.nan]))
    with pytest.raises(ValueError, match=r"not a \.npy"):
        read_domains(f"x=like {tmp_path}/text.npz")
    with pytest.raises(ValueError, match="has no input 'y': it holds x"):
        read_domains(f"y=like {tmp_path}/other.npz")
    with pytest.raises(ValueError, match="holds NaN or infinity for 'x'"):
        read_domains(f"x=like {tmp_path}/nan.npz")


def test_a_known_domain_replaces_what_a_source_knows() -> None:
    lengths, share, colour, flag = with_domains(
        (LENGTHS, SHARE, COLOUR, FLAG), read_domains("lengths=1:6;share=0:1;colour=1,2;flag=true")
    )
    assert lengths.domain == Domain(1.0, 6.0)
    assert share.domain == Domain(0.0, 1.0, center=(0.5,), spread=(0.25,))
    assert colour.domain == Domain(choices=("1", "2"))
    assert flag.domain == Domain(choices=(1.0,))


def test_a_domain_without_a_name_is_that_of_the_only_input() -> None:
    assert with_domains([LENGTHS], read_domains("=2:3"))[0].domain == Domain(2.0, 3.0)
    with pytest.raises(OptionError, match="--domain does not name an input"):
        with_domains((LENGTHS, SHARE), read_domains("=2:3"))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("length=1:6", r"--domain names the input 'length'. The model takes lengths\[batch\]"),
        ("lengths=0.5:6", r"--domain gives lengths\[batch\] the value 0.5, but it takes int64"),
        ("lengths=a,b", r"the value a, but it takes int64"),
        ("lengths=1,1e30", "the value 1e30, but it takes int64"),
        ("share=1,nan", "the value nan, but it takes float32"),
        ("colour=1:2", "a range, but it takes text"),
        ("flag=2", "the value 2, but it takes bool"),
    ],
)
def test_values_that_an_input_can_not_have_are_refused(written: str, reason: str) -> None:
    with pytest.raises(OptionError) as refusal:
        with_domains((LENGTHS, SHARE, COLOUR, FLAG), read_domains(written))
    assert re.search(reason, str(refusal.value))


def test_the_report_says_what_the_proof_holds_for() -> None:
    assert told(read_domains("lengths=1:6;axis=0,1")) == ("proven for what --domain says: lengths 1:6, axis 0,1",)
    assert told(()) == ()
