"""`modelrepo models`: what can be named, whatever is installed."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from modelrepo.cli.commands.models import models
from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import SOURCES, catalogue
from modelrepo.generator.system.extras import TENSORFLOW, TORCH
from tests.conftest import ModelRepo


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Packages that are not installed, as far as can be seen; a test adds to them."""
    absent: set[str] = set()
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None if name in absent else find_spec(name))
    monkeypatch.setattr(
        "modelrepo.generator.system.extras.find_spec", lambda name: None if name in absent else find_spec(name)
    )
    return absent


def test_the_table_has_a_row_for_every_source(modelrepo: ModelRepo) -> None:
    outcome = modelrepo(models)
    assert outcome.code == 0, outcome.err
    rows = outcome.out.splitlines()[1:]
    assert [row.split(":")[0] for row in rows] == list(SOURCES)
    assert rows[0].split()[-2] == "121"


def test_a_pattern_without_wildcards_is_a_part_of_a_name(modelrepo: ModelRepo) -> None:
    outcome = modelrepo(models, "--source", "torchvision", "raft")
    assert outcome.out.splitlines() == ["torchvision:raft_large", "torchvision:raft_small"]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("resnet18", True), ("net1", True), ("resnet", True), ("timm:resnet*", True), ("*18", True), ("resnet1?", True),
     ("*net", False), ("resnet[23]*", False), ("ResNet18", False)],
)  # fmt: skip
def test_wildcards_fit_the_whole_name_or_reference(pattern: str, fits: bool) -> None:
    assert catalogue.fits("timm:resnet18", pattern) is fits


def test_tags_of_timm_are_found(modelrepo: ModelRepo) -> None:
    outcome = modelrepo(models, "--source", "timm", "resnet50.a*_in1k")
    assert "timm:resnet50.a1_in1k" in outcome.out.splitlines()


def test_json_has_the_names_that_are_asked_for(modelrepo: ModelRepo) -> None:
    every = modelrepo(models, "--json").report["sources"]
    assert [each["scheme"] for each in every] == list(SOURCES)
    assert "models" not in every[0]
    assert (every[0]["known"], every[0]["install"], every[0]["extras"]) == (121, None, ["torch"])
    (one,) = modelrepo(models, "--source", "torchvision", "swin_?", "--json").report["sources"]
    assert one["models"] == ["torchvision:swin_b", "torchvision:swin_s", "torchvision:swin_t"]


def test_a_source_of_files_says_how_one_is_named(modelrepo: ModelRepo) -> None:
    outcome = modelrepo(models, "--source", "onnx")
    assert (outcome.code, outcome.out) == (0, f"{SOURCES['onnx'].form}: {SOURCES['onnx'].summary}\n")


def test_what_fits_nothing_is_told_with_what_is_near(modelrepo: ModelRepo, golden: Callable[[str, str], None]) -> None:
    outcome = modelrepo(models, "--source", "torchvision", "resnet5*0x")
    assert (outcome.code, outcome.out) == (3, "")
    golden("messages/models/unmatched.txt", outcome.err)
    files = modelrepo(models, "--source", "onnx", "resnet")
    assert files.code == 3
    golden("messages/models/unmatched-file.txt", files.err)


def test_a_source_whose_packages_are_missing_is_a_row_with_what_to_install(
    modelrepo: ModelRepo, without: set[str]
) -> None:
    without.add("timm")
    outcome = modelrepo(models)
    (row,) = (line for line in outcome.out.splitlines() if line.startswith("timm:"))
    assert row.endswith("pip install 'modelrepo[timm]'")
    found = modelrepo(models, "resnet18")
    assert found.out.splitlines()[0] == "torchvision:quantized_resnet18"
    assert "timm is not installed: pip install 'modelrepo[timm]'" in found.err


def test_to_list_a_source_its_packages_are_needed(
    modelrepo: ModelRepo, without: set[str], golden: Callable[[str, str], None]
) -> None:
    without.add("timm")
    outcome = modelrepo(models, "--source", "timm", "--json")
    assert (outcome.code, outcome.report["error"]["exit_code"]) == (3, 3)
    golden("messages/models/not-installed.txt", outcome.err)


def test_one_of_several_extras_is_enough(without: set[str]) -> None:
    without.update({"tensorflow", "torch"})
    (python,) = catalogue.read(["python"])
    assert (python.extras, python.missing[:1]) == ((TORCH, TENSORFLOW), ("torch",))
    without.discard("torch")
    assert catalogue.read(["python"])[0].missing == ()


def test_a_source_whose_listing_fails_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> Any:
        raise SourceError("the cache is unreadable")

    monkeypatch.setitem(SOURCES, "hf", replace(SOURCES["hf"], known=failing))
    with pytest.raises(SourceError, match="unreadable"):
        catalogue.read(SOURCES)
