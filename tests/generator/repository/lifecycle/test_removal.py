"""`prune` and `remove`: what is served stays, records follow, and a killed run is finished by the next."""

import json
import shutil
from pathlib import Path

import pytest

from modelrepo.cli.commands.promote import promote
from modelrepo.cli.commands.prune import prune
from modelrepo.cli.commands.remove import remove
from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.commands.versions import versions
from modelrepo.generator.repository.lifecycle import removal
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate, ModelRepo, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "--json", "-q")


@pytest.fixture
def folder(generate: Generate, workdir: Path) -> Path:
    """Return the folder of a model with four versions."""
    for seed in "1234":
        assert generate(*LINEAR, "--seed", seed).code == 0
    return workdir / "model_repository/linear"


def left(folder: Path) -> tuple[list[str], list[str]]:
    """Return the versions that are left in the repository, and those with a record."""
    records = folder.parents[1] / ".modelrepo/model_repository/manifests/linear"
    return (
        sorted(path.name for path in folder.iterdir() if path.is_dir()),
        sorted(path.stem for path in records.iterdir()),
    )


def test_the_newest_and_the_served_stay(folder: Path, modelrepo: ModelRepo) -> None:
    modelrepo(promote, "linear", "1,4")
    outcome = modelrepo(prune, "linear", "--keep", "1")
    assert outcome.code == 0
    assert outcome.out.startswith("linear: versions 2, 3 removed, ")
    assert left(folder) == (["1", "4"], ["1", "4"])
    assert modelrepo(prune, "linear", "--keep", "1").out == "linear: nothing to remove\n"


def test_the_newest_stays_though_another_is_served(folder: Path, modelrepo: ModelRepo) -> None:
    modelrepo(rollback, "linear", "--to", "2")
    modelrepo(prune, "linear", "--older-than", "0m")
    assert left(folder)[0] == ["2", "4"]


def test_what_is_young_stays(folder: Path, modelrepo: ModelRepo, workdir: Path) -> None:
    record = workdir / ".modelrepo/model_repository/manifests/linear/1.json"
    record.write_text(record.read_text().replace('"created": "20', '"created": "19'))
    modelrepo(prune, "linear", "--older-than", "30d")
    assert left(folder)[0] == ["2", "3", "4"]


def test_a_dry_run_changes_nothing(folder: Path, modelrepo: ModelRepo, workdir: Path) -> None:
    before = snapshot(workdir)
    assert modelrepo(prune, "--keep", "2", "--dry-run").out.startswith("linear: versions 1, 2 would be removed, ")
    assert modelrepo(remove, "linear", "--dry-run").out.startswith(
        "linear: the model, with versions 1, 2, 3, 4 would be removed"
    )
    assert snapshot(workdir) == before


def test_the_newest_version_that_can_be_served_stays(folder: Path, modelrepo: ModelRepo) -> None:
    shutil.rmtree(folder / "4")
    assert modelrepo(prune, "linear", "--keep", "1").out.startswith("linear: versions 1, 2 removed, ")
    assert left(folder) == (["3"], ["3", "4"])
    (folder / "4").symlink_to("3")
    assert modelrepo(prune, "linear", "--older-than", "0m").out == "linear: nothing to remove\n"


def test_two_patterns_for_two_models_are_asked_for(generate: Generate, modelrepo: ModelRepo, workdir: Path) -> None:
    for name in ("linear", "mixes_samples"):
        assert generate("--model", f"numpy:{name}", "--json", "-q").code == 0
    assert modelrepo(remove, "lin*", "mix*").code == 2
    assert modelrepo(remove, "linear", "mixes_samples").code == 0
    assert modelrepo(prune, "--keep", "1").out == f"{workdir / 'model_repository'} has no models\n"


def test_a_model_without_its_records_is_not_called_foreign(folder: Path, modelrepo: ModelRepo, workdir: Path) -> None:
    shutil.rmtree(workdir / ".modelrepo")
    outcome = modelrepo(prune, "linear", "--keep", "1")
    assert "its records are missing, and it stays" in outcome.err
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["1", "2", "3", "4"]


def test_what_is_not_ours_stays(folder: Path, modelrepo: ModelRepo, workdir: Path) -> None:
    (folder / "2.tmp").mkdir()
    (folder / "9").mkdir()
    (folder.parent / "theirs/1").mkdir(parents=True)
    outcome = modelrepo(prune, "--keep", "1", "--yes")
    assert "version 9 was not made by modelrepo and stays" in outcome.err
    assert left(folder)[0] == ["2.tmp", "4", "9"]
    refused = modelrepo(remove, "theirs")
    assert refused.code == 6
    assert "was not made by modelrepo" in refused.err
    assert (folder.parent / "theirs/1").is_dir()


def test_nothing_is_pruned_if_it_cannot_be_known_what_is_served(folder: Path, modelrepo: ModelRepo) -> None:
    (folder / "config.pbtxt").write_text("max_batch_size: sixteen")
    outcome = modelrepo(prune, "linear", "--keep", "1")
    assert outcome.code == 6
    assert "can't tell which versions of linear are served" in outcome.err
    assert left(folder)[0] == ["1", "2", "3", "4"]


def test_a_removed_model_leaves_no_trace(folder: Path, generate: Generate, modelrepo: ModelRepo, workdir: Path) -> None:
    generate("--model", "numpy:linear", "--backends", "tensorrt", "-q")
    outcome = modelrepo(remove, "linear", "--json")
    assert json.loads(outcome.out)["models"][0]["versions"] == [1, 2, 3, 4]
    state = workdir / ".modelrepo/model_repository"
    assert not folder.exists()
    assert [path.name for path in state.rglob("*") if "linear" in path.name] == []
    assert generate(*LINEAR).result["version"] == 1


def test_a_pattern_for_many_is_asked_for_once(generate: Generate, modelrepo: ModelRepo, workdir: Path) -> None:
    for name in ("a", "b"):
        generate(*LINEAR, "--name-template", name)
    refused = modelrepo(remove, "*")
    assert refused.code == 2
    assert "* stands for 2 models: a, b. Add --yes if all are meant" in refused.err
    assert modelrepo(remove, "a", "b").code == 0
    assert list((workdir / "model_repository").iterdir()) == []


def test_an_ensemble_keeps_the_models_that_it_calls(folder: Path, modelrepo: ModelRepo) -> None:
    ensemble = folder.parent / "both"
    (ensemble / "1").mkdir(parents=True)
    step = 'step { model_name: "linear" model_version: -1 }'
    (ensemble / "config.pbtxt").write_text(f'platform: "ensemble" ensemble_scheduling {{ {step} }}')
    outcome = modelrepo(remove, "linear")
    assert outcome.code == 6
    assert "the ensemble both calls linear. Remove both first" in outcome.err
    assert folder.exists()


@pytest.mark.parametrize("whole", [False, True])
def test_a_removal_that_was_killed_is_finished_by_the_next_run(
    whole: bool, folder: Path, modelrepo: ModelRepo, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    repository = Repository(folder.parent)
    planned = (
        removal.removed(standing(repository, "linear"), repository)
        if whole
        else removal.pruned(standing(repository, "linear"), keep=1)
    )
    with monkeypatch.context() as patch:
        patch.setattr(removal, "finish_removal", killed)
        with pytest.raises(KeyboardInterrupt):
            removal.carried_out(repository, planned)
    assert (repository.state / "removing").is_dir()
    generate(*LINEAR, "--seed", "5", "--name-template", "other")
    assert not (repository.state / "removing").exists()
    records = repository.state / "manifests/linear"
    assert sorted(path.stem for path in records.iterdir()) == ["2", "3", "4"] if not whole else not records.exists()


def test_a_model_published_after_a_killed_removal_keeps_its_records(
    folder: Path, modelrepo: ModelRepo, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    repository = Repository(folder.parent)
    planned = removal.removed(standing(repository, "linear"), repository)
    with monkeypatch.context() as patch:
        patch.setattr(removal, "finish_removal", killed)
        with pytest.raises(KeyboardInterrupt):
            removal.carried_out(repository, planned)
    for seed in "67":
        assert generate(*LINEAR, "--seed", seed).code == 0
    assert modelrepo(rollback, "linear").code == 0
    assert left(folder) == (["1", "2"], ["1", "2"])


def test_an_empty_folder_of_records_is_no_model(folder: Path, modelrepo: ModelRepo) -> None:
    (folder.parents[1] / ".modelrepo/model_repository/manifests/gone").mkdir()
    assert modelrepo(versions).code == 0
