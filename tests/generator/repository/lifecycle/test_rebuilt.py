"""`versions --rebuild`: records made anew from the files, and what a repository without its records is told."""

import json
import os
import shutil
from pathlib import Path

import pytest
from onnx import numpy_helper

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository import choice
from modelrepo.generator.repository.choice import Choice
from modelrepo.generator.repository.lifecycle import policy
from modelrepo.generator.repository.lifecycle.rebuilt import rebuilt
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.repository import Repository
from modelrepo.perf.variants import lineage
from tests.conftest import Generate, assert_refused, snapshot
from tests.generator.repository.lifecycle.onnx_models import net, repository_of
from tests.generator.repository.lifecycle.published import LINEAR, two_versions

pytestmark = pytest.mark.usefixtures("numpy_models")
FOREIGN = 'backend: "python" input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }\n'


@pytest.fixture
def repository(generate: Generate, workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Publish two versions of a model."""
    return two_versions(generate, workdir, tmp_path_factory)


def lose_records(repository: Repository) -> None:
    shutil.rmtree(repository.state)


def test_lost_records_are_made_anew(repository: Repository) -> None:
    published = repository.manifests("linear")
    lose_records(repository)
    made = rebuilt(repository)
    assert made == repository.manifests("linear")
    for before, after in zip(published, made, strict=True):
        assert (after.version, after.backend, after.content()) == (before.version, before.backend, before.content())
        assert after.files.keys() == before.files.keys()
        assert (after.max_batch_size, after.provenance.source.opset) == (16, 20)
        assert after.provenance.optimization.precision == "fp32"
        assert after.is_intact(repository.root / "linear")
    assert made[1].config == published[1].config
    assert policy.served(made[0].config, [1, 2]) == (1,)
    assert rebuilt(repository) == []


def test_what_was_rebuilt_is_not_proven_and_says_so(repository: Repository) -> None:
    lose_records(repository)
    older, newest = rebuilt(repository)
    assert older.provenance.rebuilt
    assert older.provenance.verification.passed is None
    assert (older.provenance.source.reference, newest.provenance.source.reference) == ("unknown", "numpy:linear")
    assert "numpy:linear" not in older.config
    assert "random" not in older.config
    assert newest.provenance.source.weights.detail == "random: seed 1 (rebuilt record of linear)"
    assert older.provenance.source.weights.detail == "unknown (rebuilt record of linear)"
    assert "its own configuration is lost: this is that of version 2" in older.provenance.source.notes


def test_generate_proves_the_same_files_again_and_adds_no_version(repository: Repository, generate: Generate) -> None:
    lose_records(repository)
    rebuilt(repository)
    outcome = generate(*LINEAR, "--seed", "1")
    assert (outcome.result["status"], outcome.result["version"]) == ("unchanged", 2)
    newest = repository.manifests("linear")[-1]
    assert (newest.provenance.rebuilt, newest.provenance.verification.passed) == (False, True)
    assert generate(*LINEAR, "--seed", "2").result["version"] == 3


def test_a_new_version_is_not_said_to_have_another_source(repository: Repository, generate: Generate) -> None:
    shutil.rmtree(repository.root / "linear/2")
    config = repository.root / "linear/config.pbtxt"
    config.write_text(config.read_text().replace("numpy:linear", "numpy:another").replace("[ 2 ]", "[ 1 ]"))
    lose_records(repository)
    rebuilt(repository)
    assert "made from" not in generate(*LINEAR, "--seed", "2").err


def test_generate_without_verification_does_not_take_it_for_proven(repository: Repository, generate: Generate) -> None:
    lose_records(repository)
    rebuilt(repository)
    generate(*LINEAR, "--seed", "1", "--no-verify")
    provenance = repository.manifests("linear")[-1].provenance
    assert (provenance.rebuilt, provenance.verification.passed) == (False, None)
    generate(*LINEAR, "--seed", "1")
    assert repository.manifests("linear")[-1].provenance.verification.passed


def test_a_record_that_is_there_stays(repository: Repository) -> None:
    first = repository.state / "manifests/linear/1.json"
    second = repository.state / "manifests/linear/2.json"
    before = first.read_bytes()
    second.unlink()
    (made,) = rebuilt(repository, ["linear"])
    assert made.version == 2
    assert first.read_bytes() == before


@pytest.mark.parametrize("text", ["{", '{"schema": 2}'])
def test_a_record_that_cannot_be_read_is_not_replaced(repository: Repository, text: str) -> None:
    shutil.copytree(repository.root / "linear", repository.root / "first")  # by name, and without records
    record = repository.state / "manifests/linear/1.json"
    record.write_text(text)
    (repository.state / "manifests/linear/2.json").unlink()
    before = snapshot(repository.state)
    with pytest.raises(RepositoryError):
        rebuilt(repository)
    assert snapshot(repository.state) == before


def test_a_version_that_was_rolled_back_to_stays_served(repository: Repository) -> None:
    first = repository.manifests("linear")[0]
    chosen = choice.marked(first.config, Choice("rollback", (1,), (2,), choice.now()))
    (repository.root / "linear/config.pbtxt").write_text(chosen)
    lose_records(repository)
    made = rebuilt(repository)
    assert made[0].config == first.config
    model = standing(repository, "linear")
    assert (model.served, model.edited) == ((1,), ())
    assert policy.served(made[1].config, [1, 2]) == (2,)


@pytest.mark.parametrize(
    ("config", "file", "backend", "precision"),
    [
        ('backend: "tensorrt"', "model.plan", "tensorrt", "unknown"),
        ('platform: "tensorrt_plan"', "model.plan", "tensorrt", "unknown"),
        ('platform: "onnxruntime_onnx"', "model.onnx", "onnx", "fp32"),
        (
            'backend: "onnxruntime" optimization { execution_accelerators '
            '{ gpu_execution_accelerator { name: "tensorrt" } } }',
            "model.onnx",
            "onnx+tensorrt-ep",
            "fp32",
        ),
    ],
)
def test_the_backend_is_that_of_the_configuration(
    workdir: Path, config: str, file: str, backend: str, precision: str
) -> None:
    repository = repository_of(workdir / "models", [net()])
    folder = repository.root / "net"
    (folder / "1/model.onnx").rename(folder / "1" / file)
    (folder / "config.pbtxt").write_text(config)
    (made,) = rebuilt(repository, ["net"])
    assert (made.backend, made.provenance.optimization.precision) == (backend, precision)
    assert made.files.keys() == {f"1/{file}"}


@pytest.mark.parametrize(("dtype", "precision"), [("float32", "fp32"), ("float16", "fp16")])
def test_the_precision_is_that_of_most_weights(workdir: Path, dtype: str, precision: str) -> None:
    model = net()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    (made,) = rebuilt(repository_of(workdir / "models", [model]), ["net"])
    assert made.provenance.optimization.precision == precision


def test_folders_of_others_stay_theirs(repository: Repository) -> None:
    (repository.root / "theirs/1").mkdir(parents=True)
    (repository.root / "theirs/1/model.py").write_text("")
    (repository.root / "theirs/config.pbtxt").write_text(FOREIGN)
    lose_records(repository)
    assert {each.name for each in rebuilt(repository)} == {"linear"}
    with pytest.raises(RepositoryError, match="makes no models for python"):
        rebuilt(repository, ["theirs"])


def test_one_that_cannot_be_rebuilt_leaves_the_others(repository: Repository) -> None:
    shutil.copytree(repository.root / "linear", repository.root / "broken")
    config = (repository.root / "broken/config.pbtxt").read_text()
    (repository.root / "broken/config.pbtxt").write_text(config.replace("max_batch_size: 16", "max_batch_size: many"))
    lose_records(repository)
    with pytest.raises(RepositoryError, match=r"can't rebuild the records of broken.* 2 versions of other models"):
        rebuilt(repository)
    assert len(repository.manifests("linear")) == 2


@pytest.mark.parametrize("what", ["config", "files"])
def test_without_a_configuration_or_files_nothing_is_rebuilt(repository: Repository, what: str) -> None:
    folder = repository.root / "linear"
    ((folder / "config.pbtxt") if what == "config" else (folder / "1/model.onnx")).unlink()
    lose_records(repository)
    with pytest.raises(RepositoryError, match="can't rebuild the records of linear"):
        rebuilt(repository, ["linear"])
    assert not repository.state.exists()


def test_the_time_of_a_version_is_that_of_its_files(repository: Repository) -> None:
    os.utime(repository.root / "linear/1/model.onnx", (0, 10**9))
    lose_records(repository)
    assert rebuilt(repository)[0].created == "2001-09-09T01:46:40+00:00"


def test_rebuilt_models_are_not_taken_for_variants_of_one(repository: Repository) -> None:
    shutil.copytree(repository.root / "linear", repository.root / "copy")
    lose_records(repository)
    rebuilt(repository)
    with pytest.raises(Exception, match="is the only model made from"):
        lineage.found(["linear"], repository.root, None, Progress())


def test_a_repository_without_its_records_is_told_that_they_travel_together(
    repository: Repository, generate: Generate
) -> None:
    lose_records(repository)
    outcome = generate(*LINEAR)
    assert_refused(outcome, 6, "a repository and its state folder travel together")
    assert f"modelrepo versions --rebuild linear --repository {repository.root}" in outcome.err


def test_a_repository_that_was_renamed_is_told_to_rename_its_records(
    repository: Repository, generate: Generate
) -> None:
    renamed = repository.root.with_name("models")
    repository.root.rename(renamed)
    outcome = generate(*LINEAR, "--repository", str(renamed))
    assert_refused(outcome, 6, "the repository has been renamed")
    assert f"mv {repository.state} {repository.state.with_name('models')}" in outcome.err
    repository.state.rename(repository.state.with_name("models"))
    assert generate(*LINEAR, "--seed", "1", "--repository", str(renamed)).result["status"] == "unchanged"


def test_a_copy_beside_the_original_is_not_taken_for_a_renamed_one(repository: Repository, generate: Generate) -> None:
    copy = repository.root.with_name("copy")
    shutil.copytree(repository.root, copy)
    assert_refused(generate(*LINEAR, "--repository", str(copy)), 6, "travel together")


def test_a_manifest_from_another_release_is_named(repository: Repository, generate: Generate) -> None:
    record = repository.state / "manifests/linear/2.json"
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, "schema": 2}))
    before = snapshot(repository.root.parent)
    assert_refused(generate(*LINEAR), 6, "was written by another release of modelrepo (schema 2, this one reads 1)")
    assert snapshot(repository.root.parent) == before


def test_an_earlier_release_can_read_a_rebuilt_record(repository: Repository) -> None:
    record = repository.state / "manifests/linear/1.json"
    published = json.loads(record.read_text())
    lose_records(repository)
    rebuilt(repository)
    made = json.loads(record.read_text())
    assert made.keys() == published.keys()
    for part in ("provenance", "files"):
        assert made[part].keys() == published[part].keys()
    for part in ("source", "verification", "optimization"):
        assert made["provenance"][part].keys() == published["provenance"][part].keys()
    assert made["provenance"]["source"]["weights"].keys() == published["provenance"]["source"]["weights"].keys()


def test_files_that_cannot_be_read_are_named(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder / "model.onnx"))

    lose_records(repository)
    monkeypatch.setattr("modelrepo.generator.repository.lifecycle.rebuilt.record_files", unreadable)
    with pytest.raises(RepositoryError, match=r"can't rebuild the records of linear: .*Permission denied"):
        rebuilt(repository)
