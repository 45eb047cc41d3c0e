"""What the linter says of versions, links and stray folders is what the real server does."""

from pathlib import Path

import pytest

from modelrepo.generator.errors import ServerError
from modelrepo.generator.lint import check
from tests.differential.layouts import LAYOUTS, Layout
from tests.differential.verdicts import light_backend, verdicts


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return light_backend(tmp_path_factory.mktemp("backend"))


def test_an_error_is_what_the_server_refuses(library: Path, tmp_path: Path) -> None:
    layouts = [each for each in LAYOUTS if each.core and not each.alone]
    for each in layouts:
        each.write(tmp_path, [library])
    wrong = {found.model for found in check(tmp_path) if found.severity == "error"}
    said = verdicts(tmp_path)
    assert {each.name for each in layouts} == set(said)
    assert wrong == {name for name, verdict in said.items() if not verdict.loads}


@pytest.mark.parametrize("layout", [each for each in LAYOUTS if each.alone], ids=lambda layout: layout.name)
def test_what_ends_the_server_is_an_error(layout: Layout, library: Path, tmp_path: Path) -> None:
    layout.write(tmp_path, [library])
    with pytest.raises(ServerError):
        verdicts(tmp_path)
    assert any(found.severity == "error" for found in check(tmp_path))


def test_a_link_in_the_root_that_leads_nowhere_ends_the_server(library: Path, tmp_path: Path) -> None:
    Layout("right", ("1/",)).write(tmp_path, [library])
    (tmp_path / "x").symlink_to("nowhere")
    with pytest.raises(ServerError):
        verdicts(tmp_path)
    assert "ROOT-LINK" in {found.code for found in check(tmp_path)}
