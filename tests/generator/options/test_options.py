"""Options: flags, modelrepo.toml, and how they come together."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.config_file import ConfigFile, load_config
from modelrepo.generator.options.fields import FIELDS, parse_field
from modelrepo.generator.options.names import published_name
from modelrepo.generator.options.relevance import applies_to, idle
from modelrepo.generator.options.resolve import resolve, resolve_run
from modelrepo.generator.specs.options import (
    Calibration,
    Choice,
    Instances,
    Options,
    Pruning,
    RunOptions,
    Tolerance,
    VersionPolicy,
)
from modelrepo.generator.specs.tensors import InputShape
from tests.conftest import Generate

READINGS: list[tuple[str, Any, Any]] = [
    ("backends", "onnx, tensorrt,onnx", (Choice("onnx", ""), Choice("tensorrt", ""))),
    ("backends", ["tensorrt:fp16", "onnx+tensorrt-ep"], (Choice("tensorrt", "fp16"), Choice("onnx+tensorrt-ep", ""))),
    ("precision", "int8-dynamic", "int8-dynamic"),
    ("prune", "30%", Pruning(0.3)),
    ("prune", "2:4", Pruning(structured=True)),
    ("prune", "none", None),
    ("calibration", "16 random", Calibration(count=16)),
    ("max_accuracy_drop", "2%", 0.02),
    ("max_accuracy_drop", 0.5, 0.5),
    ("max_accuracy_drop", "100%", 1.0),
    ("keep_precise", "auto", ("auto",)),
    ("keep_precise", ["/conv1/Conv", "/fc/Gemm"], ("/conv1/Conv", "/fc/Gemm")),
    ("profiles", "batch=1:8:16,seq=4; batch=1", ({"batch": (1, 8, 16), "seq": (4, 4, 4)}, {"batch": (1, 1, 1)})),
    ("input_shape", "3x224x224", (InputShape("", (3, 224, 224)),)),
    ("input_shape", [3, 224, 224], (InputShape("", (3, 224, 224)),)),
    (
        "input_shape",
        "ids=1x128:int64,on=scalar:bool",
        (InputShape("ids", (1, 128), "int64"), InputShape("on", (), "bool")),
    ),
    ("dynamic", "ids:0=batch,1=seq;mask:0=batch", {"ids": {0: "batch", 1: "seq"}, "mask": {0: "batch"}}),
    ("dynamic", "0=batch", {"": {0: "batch"}}),
    ("preferred_batch_sizes", "8,4,8", (4, 8)),
    ("instances", "gpu:2", Instances("KIND_GPU", 2)),
    ("instances", "cpu", Instances("KIND_CPU", 1)),
    ("version_policy", "specific", VersionPolicy("specific")),
    ("version_policy", "specific:3,1", VersionPolicy("specific", (1, 3))),
    ("version_policy", "latest:2", VersionPolicy("latest", num_versions=2)),
    ("version_policy", "all", VersionPolicy("all")),
    ("tolerance", "1e-3", Tolerance(1e-3)),
    ("tolerance", 0.01, Tolerance(0.01)),
    ("tolerance", "relative=1e-2,absolute=1e-5", Tolerance(1e-2, 1e-5)),
    ("tolerance", "absolute=1", Tolerance(0.0, 1.0)),
    ("max_batch_size", "0", 0),
    ("verify", False, False),
]


@pytest.mark.parametrize(("name", "written", "read"), READINGS)
def test_a_value_is_read_alike_from_a_flag_and_a_file(name: str, written: Any, read: Any) -> None:
    assert parse_field(name, written, name) == read


def test_flags_win_over_a_models_table_and_that_over_the_files_defaults(workdir: Path) -> None:
    Path("modelrepo.toml").write_text(
        "seed = 1\nmax_batch_size = 1\nopset = 18\n[models.mine]\nmodel = 'torchvision:resnet18'\n"
        "max_batch_size = 2\nopset = 19\n"
    )
    name, resolved = resolve({"opset": 20}, load_config(None), "mine")
    assert (name, resolved.model) == ("mine", "torchvision:resnet18")
    assert (resolved.seed, resolved.max_batch_size, resolved.opset) == (1, 2, 20)


def test_paths_in_a_file_are_relative_to_the_file(workdir: Path) -> None:
    (workdir / "conf").mkdir()
    for name in ("p.pbtxt", "w.pth"):
        (workdir / "conf" / name).touch()
    (workdir / "conf/m.toml").write_text(
        "repository = 'models'\nconfig_patch = 'p.pbtxt'\n[models.resnet18]\nweights = 'w.pth'\n"
    )
    file = load_config(Path("conf/m.toml"))
    _, resolved = resolve({}, file, "resnet18")
    assert resolve_run({}, file).repository == Path("conf/models")
    assert resolved.config_patch == Path("conf/p.pbtxt")
    assert resolved.weights == "conf/w.pth"


def test_without_a_file_the_defaults_stand() -> None:
    name, resolved = resolve({}, ConfigFile(), "torchvision:resnet18")
    assert name == "resnet18"
    decided = ("model", "backends", "precision")
    of_one = {name: field.default for name, field in FIELDS.items() if not field.run and name not in decided}
    of_run = {name: field.default for name, field in FIELDS.items() if field.run}
    assert {name: getattr(resolved, name) for name in of_one} == of_one
    assert asdict(resolve_run({}, ConfigFile())) == of_run
    assert resolved.backends == (Choice("onnx", "fp32"),)


@pytest.mark.parametrize(
    ("backends", "template", "names"),
    [
        (("onnx",), "", ["resnet18"]),
        (("onnx", "tensorrt"), "", ["resnet18_onnx", "resnet18_tensorrt"]),
        (("onnx",), "{backend}-{model}.v1", ["onnx-resnet18.v1"]),
    ],
)
def test_names_follow_the_number_of_backends(backends: tuple[str, ...], template: str, names: list[str]) -> None:
    flags = {"backends": tuple(map(Choice, backends)), "name_template": template}
    _, resolved = resolve(flags, ConfigFile(), "resnet18")
    assert [published_name("resnet18", resolved, choice) for choice in resolved.backends] == names


def test_a_name_that_the_user_gives_is_the_name() -> None:
    _, resolved = resolve({"precision": "fp16", "name_template": "served"}, ConfigFile(), "resnet18")
    assert published_name("resnet18", resolved, resolved.backends[0]) == "served"


REFUSED = [
    ({"backends": "onnx:"}, "expected a precision behind the colon"),
    ({"backends": "onnx:fp12"}, "unknown precision 'fp12'. Did you mean fp32"),
    ({"max_accuracy_drop": "1"}, "for all of it 100%"),
    ({"prune": "1:4"}, "expected 2:4, or a share above 0% and below 100%"),
    ({"prune": "100%"}, "expected 2:4, or a share above 0% and below 100%"),
    ({"calibration": "0 random"}, "expected at least 1"),
    ({"calibration": "nowhere"}, "no such file"),
    ({"profiles": "batch=8:4:1"}, "expected MIN:OPT:MAX in rising order"),
    ({"profiles": "batch=1:2,batch=1"}, "expected DIMENSION=MIN:OPT:MAX"),
    ({"backends": "tensorrt", "instances": "cpu:1"}, "tensorrt needs a GPU, and --instances says cpu"),
]


@pytest.mark.parametrize(("flags", "told"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_can_not_be_meant_is_refused(flags: dict[str, str], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        resolve({name: parse_field(name, value, f"--{name}") for name, value in flags.items()}, ConfigFile(), "m")


def test_every_option_is_in_the_table_and_in_options() -> None:
    fields = {*Options.__dataclass_fields__, *RunOptions.__dataclass_fields__}
    assert set(FIELDS) == {*fields, "precision"}  # which becomes that of each backend


def test_every_option_that_may_have_no_effect_says_where_it_has_one() -> None:
    everywhere = resolve({"backends": (Choice("onnx", "fp32"),)}, ConfigFile(), "resnet18")[1]
    for name in idle(everywhere.backends[0], everywhere):
        assert applies_to(name), name


def test_one_command_generates_every_model_of_the_file(generate: Generate, workdir: Path, numpy_models: None) -> None:
    Path("modelrepo.toml").write_text(
        "max_batch_size = 4\n[models.one]\nmodel = 'numpy:linear'\n"
        "[models.two]\nmodel = 'numpy:linear'\nseed = 1\nbackends = ['onnx', 'tensorrt']\n"
    )
    outcome = generate("--json", "-q")
    rows = [(row["model"], row["name"], row["status"]) for row in outcome.report["results"]]
    assert rows == [
        ("one", "one", "published"),
        ("two", "two_onnx", "published"),
        ("two", "two_tensorrt", "deferred"),
    ]
    assert {row["status"] for row in generate("--json", "-q").report["results"]} == {"unchanged", "deferred"}


def test_two_models_of_one_name_are_refused_before_any_work(
    generate: Generate, workdir: Path, numpy_models: None
) -> None:
    outcome = generate("--model", "numpy:linear", "--model", "numpy:mixes_samples", "--name-template", "m")
    assert outcome.code == 2
    assert "two models would be published as 'm'" in outcome.err
    assert list(workdir.iterdir()) == []
