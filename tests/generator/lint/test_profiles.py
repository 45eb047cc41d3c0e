"""The rules of other servers than Triton: what each finds, and that no other profile asks them."""

from pathlib import Path
from typing import Literal

import pytest

from modelrepo.generator.lint import Host, check
from modelrepo.generator.lint.rule import PROFILES
from modelrepo.generator.lint.rules import profiles
from modelrepo.generator.triton.releases import release_named

Profile = Literal["triton", "dynamo", "kserve"]
LIGHT = 'backend: "light"\n'
ENSEMBLE = 'platform: "ensemble"\nensemble_scheduling { }\n'


def model(root: Path, config: str, versions: tuple[str, ...] = ("1",), name: str = "net") -> Path:
    for version in versions:
        (root / name / version).mkdir(parents=True)
        (root / name / version / "model.txt").write_text("x")
    (root / name / "config.pbtxt").write_text(config)
    return root


def found(root: Path, profile: Profile) -> list[str]:
    host = Host(release_named("26.09"), profile=profile)
    return [each.code for each in check(root, [host], profiles.RULES)]


@pytest.mark.parametrize(
    ("config", "codes"),
    [
        ("", []),  # the newest alone
        ("version_policy { latest { num_versions: 1 } }", []),
        ("version_policy { specific { versions: 1 } }", []),
        ("version_policy { all { } }", ["DYNAMO-VP"]),
        ("version_policy { latest { num_versions: 2 } }", ["DYNAMO-VP"]),
        ("version_policy { specific { versions: [ 1, 2 ] } }", ["DYNAMO-VP"]),
        ('input { name: "x" data_type: TYPE_FP16 dims: 1 }', ["DYNAMO-TYPE"]),
        ('input { name: "x" data_type: TYPE_BF16 dims: 1 }', ["DYNAMO-TYPE"]),
        ('input { name: "x" data_type: TYPE_FP32 dims: 1 }', []),
        ("sequence_batching { }", ["DYNAMO-SEQ"]),
        ("sequence_batching { iterative_sequence: true }", []),
    ],
)
def test_dynamo_differs(config: str, codes: list[str], tmp_path: Path) -> None:
    model(tmp_path, LIGHT + config, ("1", "2"))
    assert found(tmp_path, "dynamo") == codes
    assert found(tmp_path, "triton") == found(tmp_path, "kserve") == []


def test_dynamo_asks_for_the_newest_version(tmp_path: Path) -> None:
    model(tmp_path, LIGHT + "version_policy { all { } }", ("1", "2", "10"))
    (finding,) = check(tmp_path, [Host(release_named("26.09"), profile="dynamo")], profiles.RULES)
    assert "asks for version 10 alone: nothing reaches 1, 2" in finding.problem.says
    assert (finding.problem.place.line, finding.problem.place.column) == (2, 18)


@pytest.mark.parametrize(("content", "codes"), [(None, ["KSERVE-EMPTY"]), ("", ["KSERVE-EMPTY"]), ("x", [])])
def test_kserve_brings_nothing_empty(content: str | None, codes: list[str], tmp_path: Path) -> None:
    model(tmp_path, ENSEMBLE)
    (tmp_path / "net/1/model.txt").unlink()
    if content is not None:
        (tmp_path / "net/1/.gitkeep").write_text(content)
    assert found(tmp_path, "kserve") == codes
    assert found(tmp_path, "triton") == found(tmp_path, "dynamo") == []


def test_kserve_names_trained_models(tmp_path: Path) -> None:
    for name in ("net-1", "net_2", "Net"):
        model(tmp_path, LIGHT, name=name)
    (finding,) = check(tmp_path, [Host(release_named("26.09"), profile="kserve")], profiles.RULES)
    assert finding.code == "KSERVE-NAME"
    assert "can serve Net, net_2: " in finding.problem.says
    assert found(tmp_path, "triton") == []


def test_a_rule_of_a_profile_names_its_source() -> None:
    assert all(rule.decided_by in PROFILES and rule.source for rule in profiles.RULES)
