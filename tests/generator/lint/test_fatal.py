"""What ends the server."""

from pathlib import Path

import pytest

from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.rules import fatal
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.triton.releases import release_named

TEXTS = {
    'metric_tags { key: "a b" value: "c" }': "METRIC-TAG",
    'metric_tags { key: "a-b" value: "c" }': "METRIC-TAG",
    'metric_tags { key: "_a" value: "c" }': "METRIC-TAG",
    'metric_tags { key: "ä" value: "c" }': "METRIC-TAG",
    'metric_tags { key: "a_b" value: "c d" }': "",
    'metric_tags { key: "1" value: "c" }': "",
    'metric_tags { value: "c" }': "",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_ends_the_server_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/config.pbtxt").write_text(text, "utf-8")
    found = check(tmp_path / "net", [Host(release_named("24.10"))], fatal.RULES)
    assert [finding.code for finding in found] == [code for code in (TEXTS[text],) if code]
