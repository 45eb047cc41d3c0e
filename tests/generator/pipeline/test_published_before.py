"""A repository that was published before generator/ had rooms stays readable, and is not published again.

tests/data/published_before was made by `generate --model onnx:linear.onnx --backends onnx,tensorrt --max-batch-size 4`
at commit 40cbecc, with the live check. Its folder ``state`` is what lies in ``.modelrepo``.
"""

import json
import shutil
from pathlib import Path

import pytest

from modelrepo.cli.commands.plans import plans
from modelrepo.generator.pipeline import content_key
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.repository import Repository
from tests.conftest import PROJECT, Generate, ModelRepo, snapshot

COMMAND = ("--model", "onnx:linear.onnx", "--backends", "onnx,tensorrt", "--max-batch-size", "4", "--json", "-q")
MANIFEST = ".modelrepo/model_repository/manifests/linear_onnx/1.json"


@pytest.fixture
def before(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide the repository, on a machine that has the tools which made it."""
    shutil.copytree(PROJECT / "tests/data/published_before", workdir, dirs_exist_ok=True)
    (workdir / "state").rename(workdir / ".modelrepo")
    tools = json.loads((workdir / MANIFEST).read_text())["provenance"]["tools"]
    monkeypatch.setattr(content_key, "version_of", tools.get)
    return workdir


def test_it_is_proven_again_and_what_is_served_stays(before: Path, generate: Generate) -> None:
    """Its proof was an older one, which asked less: the model is made and verified again, once."""
    served = snapshot(before / "model_repository")
    outcome = generate(*COMMAND, "--client-dir", "none")
    assert [row["status"] for row in outcome.report["results"]] == ["unchanged", "deferred"], outcome.err
    assert snapshot(before / "model_repository") == served
    newest = Repository(before / "model_repository").newest("linear_onnx")
    assert newest is not None
    assert newest.provenance.verification.coverage is not None
    after = snapshot(before)
    assert generate(*COMMAND, "--client-dir", "none").report["seconds"].keys() <= {"total"}
    assert snapshot(before) == after


def test_its_live_check_counts(before: Path, generate: Generate) -> None:
    command = ("--model", "onnx:linear.onnx", "--max-batch-size", "4", "--name-template", "linear_onnx", "--json", "-q")
    assert generate(*command, "--live-check", "require").result["status"] == "unchanged"


def test_its_client_gets_the_present_name_of_our_package(before: Path, generate: Generate) -> None:
    client = before / "clients/generated/linear_onnx.py"
    client.parent.mkdir(parents=True)
    client.write_text("from clients import Client\n")
    generate(*COMMAND)
    assert "from modelrepo.clients import Client" in client.read_text()
    edited = client.read_text().replace("from modelrepo.clients import", "from modelrepo import clients  #")
    client.write_text(edited)
    generate(*COMMAND)
    assert client.read_text() == edited  # it is written again only when the model changes


def test_its_manifest_and_its_pending_plan_are_read(before: Path) -> None:
    repository = Repository(before / "model_repository")
    newest = repository.newest("linear_onnx")
    assert newest is not None
    assert newest.provenance.verification.live is not None
    assert newest.provenance.verification.live.status == "passed"
    entry = PlanStore(repository).intact("linear_tensorrt")
    assert entry is not None
    assert (entry.version, entry.precision) == (1, "fp32")


def test_its_plan_is_listed_as_pending(before: Path, modelrepo: ModelRepo) -> None:
    (row,) = json.loads(modelrepo(plans, "status", "--json").out)["plans"]
    assert (row["name"], row["status"]) == ("linear_tensorrt", "pending")


def test_a_new_version_is_published_beside_it(before: Path, generate: Generate) -> None:
    outcome = generate(*COMMAND, "--queue-delay-us", "100")
    assert [row["version"] for row in outcome.report["results"]] == [2, None], outcome.err
    assert (before / "model_repository/linear_onnx/1/model.onnx").exists()
