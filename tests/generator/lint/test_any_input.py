"""Whatever is in the files: findings, and never a traceback or a wait."""

import random
import time
from pathlib import Path

import pytest

from modelrepo.generator.lint import Finding, Host, check
from modelrepo.generator.triton.releases import release_named
from tests.generator.lint.mutations import write

HOSTS = (Host(release_named("24.10"), gpus=0, cores=4, memory=1 << 30), Host(release_named("26.09"), gpus=2))
# What one model may take, on a machine that is busy.
SECONDS = 2.0


def judged(root: Path, count: int, seed: int) -> list[Finding]:
    write(root, count, seed)
    started = time.process_time()
    found = check(root, HOSTS)
    assert time.process_time() - started < SECONDS * count
    return found


def faults(found: list[Finding]) -> list[str]:
    return [f"{each.model}: {each.problem.says}" for each in found if each.code == "UNJUDGED"]


def test_broken_files_have_findings(tmp_path: Path) -> None:
    found = judged(tmp_path, 240, seed=0)
    assert faults(found) == []
    assert len({each.model for each in found}) > 200


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_broken_files_have_findings(seed: int, tmp_path: Path) -> None:
    assert faults(judged(tmp_path, 1000, seed)) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 1000, random.Random(0).randbytes(100_000), b"\xff\xfe" + "name: 'x'".encode("utf-16-le"),
        b"{" * 10_000, b"parameters {" * 3_000, b"[" * 10_000, b"dims: [" + b"1," * 50_000,
        b'name: "' + b"x" * 1_000_000 + b'"',
        b"input { " * 90, b"\x1f\x8b\x08", b'{"name": "x"}', b"\xef\xbb\xbfname: 'x'", b"#" * 1_000_000,
        b"input { dims: 0 }\n" * 3_000,
    ],
    ids=range(15),
)  # fmt: skip
def test_rubbish_has_findings(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/config.pbtxt").write_bytes(content)
    assert faults(check(tmp_path)) == []


def test_a_fault_of_a_rule_is_a_finding(tmp_path: Path) -> None:
    from collections.abc import Iterator

    from modelrepo.generator.lint.finding import Problem
    from modelrepo.generator.lint.rule import Rule
    from modelrepo.generator.lint.subject import Case

    def broken(case: Case) -> Iterator[Problem]:
        raise ValueError("so it is")

    (tmp_path / "net/1").mkdir(parents=True)
    rule = Rule("BROKEN", "error", "broken", "It is broken.", "Mend it", broken, needs_config=False)
    (found,) = check(tmp_path, chosen=[rule])
    assert (found.code, found.severity) == ("UNJUDGED", "warning")
    assert "so it is" in found.problem.says
