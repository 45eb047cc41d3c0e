"""`rollback` and `promote`: only config.pbtxt changes, and `generate` respects the choice."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelrepo.cli.commands.promote import promote
from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.commands.versions import versions
from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.repository.lifecycle.serving import applied, rolled_back
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.system.digests import FileRecord
from tests.conftest import Generate, ModelRepo, Outcome, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "--json", "-q")
Run = Callable[..., Outcome]


@pytest.fixture
def three(generate: Generate, workdir: Path) -> Path:
    """Return the configuration of a model with three versions."""
    for seed in "123":
        assert generate(*LINEAR, "--seed", seed).code == 0
    return workdir / "model_repository/linear/config.pbtxt"


def served(workdir: Path) -> tuple[int, ...]:
    return standing(Repository(workdir / "model_repository"), "linear").served


def test_a_rollback_changes_the_configuration_and_nothing_else(
    three: Path, workdir: Path, modelrepo: ModelRepo
) -> None:
    before = snapshot(workdir)
    outcome = modelrepo(rollback, "linear")
    assert (outcome.code, outcome.out) == (0, "linear: version 2 is served in place of version 3\n")
    after = snapshot(workdir)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert changed == {"model_repository/linear/config.pbtxt"}
    assert served(workdir) == (2,)
    assert modelrepo(rollback, "linear").code == 0
    assert served(workdir) == (1,)
    last = modelrepo(rollback, "linear")
    assert last.code == 6
    assert "linear has no version before 1 to roll back to. It has 1, 2, 3: --to N serves another" in last.err


def test_a_promotion_of_what_is_served_says_that_the_configuration_was_another(
    three: Path, modelrepo: ModelRepo
) -> None:
    three.write_text(three.read_text().replace("max_batch_size: 16", "max_batch_size: 8"))
    outcome = modelrepo(promote, "linear", "3")
    assert outcome.out == "linear: version 3 is served, as published: its configuration was another\n"


def test_labels_that_were_edited_are_not_said_to_be_replaced(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    repository = Repository(workdir / "model_repository")
    labels = three.parent / "labels.txt"
    labels.write_text("edited")
    for record in repository.manifests("linear"):
        repository.record(replace(record, files={**record.files, labels.name: FileRecord("0" * 64, 1, 0)}))
    outcome = modelrepo(rollback, "linear")
    assert (outcome.code, outcome.err) == (0, "")
    assert labels.read_text() == "edited"
    assert not (repository.state / "replaced").exists()


def test_a_rollback_says_what_is_wrong_with_the_version_before(
    three: Path, workdir: Path, modelrepo: ModelRepo
) -> None:
    for version in "12":
        shutil.rmtree(three.parent / version)
    refused = modelrepo(rollback, "linear")
    assert refused.code == 6
    assert "before 3 to roll back to. Version 2 can't be served: its folder is missing" in refused.err
    assert served(workdir) == (3,)


def test_an_older_version_comes_with_its_own_configuration(
    generate: Generate, workdir: Path, modelrepo: ModelRepo
) -> None:
    generate(*LINEAR, "--queue-delay-us", "7")
    generate(*LINEAR, "--seed", "1")
    config = workdir / "model_repository/linear/config.pbtxt"
    assert "microseconds: 7" not in config.read_text()
    modelrepo(rollback, "linear")
    assert "microseconds: 7" in config.read_text()


def test_promote_serves_several_and_takes_a_rollback_back(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    published = three.read_bytes()
    outcome = modelrepo(promote, "linear", "1, 3", "--json")
    assert json.loads(outcome.out)["served"] == [1, 3]
    assert served(workdir) == (1, 3)
    assert modelrepo(promote, "linear", "3,1").out == "linear: versions 1, 3 are served already\n"
    modelrepo(promote, "linear", "3")
    assert three.read_bytes() == published


def test_a_dry_run_changes_nothing(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    before = snapshot(workdir)
    assert modelrepo(rollback, "linear", "--dry-run").out == (
        "linear: version 2 would be served in place of version 3\n"
    )
    assert snapshot(workdir) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("linear", "--to", "7"), "linear has no version 7. It has 1, 2, 3"),
        (("linaer",), "has no model 'linaer'. Did you mean linear?"),
        (("linear", "--repository", "none"), "can't find the repository none"),
    ],
)
def test_what_is_not_there_is_named(
    arguments: tuple[str, ...], said: str, three: Path, workdir: Path, modelrepo: ModelRepo
) -> None:
    before = snapshot(workdir)
    outcome = modelrepo(rollback, *arguments)
    assert outcome.code == 6
    assert said in outcome.err
    assert snapshot(workdir) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.onnx").write_bytes(b"other"),
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: ((folder / "model.onnx").unlink(), folder.rmdir()),
    ],
)
def test_a_version_that_is_not_intact_is_not_served(
    damage: Callable[[Path], object], three: Path, workdir: Path, modelrepo: ModelRepo
) -> None:
    damage(three.parent / "2")
    before = three.read_bytes()
    outcome = modelrepo(rollback, "linear", "--to", "2")
    assert outcome.code == 6
    assert "version 2 of linear can't be served: " in outcome.err
    assert "These can: 1, 3" in outcome.err
    assert three.read_bytes() == before
    assert modelrepo(rollback, "linear").out == "linear: version 1 is served in place of version 3\n"


def test_what_triton_would_refuse_is_not_put_in_force(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    """A model of other inputs beside the new one: its version can't be loaded with this configuration."""
    manifest = workdir / ".modelrepo/model_repository/manifests/linear/2.json"
    document = json.loads(manifest.read_text())
    document["config"] = document["config"].replace("dims: [ 4 ]", "dims: [ 5 ]")
    manifest.write_text(json.dumps(document))
    before = three.read_bytes()
    outcome = modelrepo(rollback, "linear")
    assert outcome.code == 6
    assert "ORT-DIM: Triton refuses the model" in outcome.err
    assert three.read_bytes() == before


def test_an_edited_configuration_is_kept_when_it_is_replaced(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    three.write_text(three.read_text() + "# mine\n")
    outcome = modelrepo(rollback, "linear")
    assert "config.pbtxt was edited by hand; the edited file is kept as " in outcome.err
    (kept,) = workdir.glob(".modelrepo/model_repository/replaced/linear/*/config.pbtxt")
    assert kept.read_text().endswith("# mine\n")


def test_a_choice_is_no_edit_and_generate_leaves_it_alone(
    three: Path, workdir: Path, modelrepo: ModelRepo, generate: Generate
) -> None:
    modelrepo(rollback, "linear")
    before = three.read_bytes()
    same = generate(*LINEAR, "--seed", "3")
    assert (same.code, same.result["status"], same.result["version"]) == (0, "unchanged", 3)
    assert "version 3 is not served, since 2 is served in place of 3, rolled back" in same.err
    assert "`modelrepo promote linear 3` serves it" in same.err
    assert "edited by hand" not in same.err
    assert three.read_bytes() == before
    proven_again = generate(*LINEAR, "--seed", "3", "--tolerance", "0.01")
    assert (proven_again.result["status"], served(workdir)) == ("unchanged", (2,))
    assert "version 3 is not served" in proven_again.err
    other = generate(*LINEAR, "--seed", "4")
    assert other.result["version"] == 4
    assert "version 4 is served now; before, 2 is served in place of 3" in other.err
    assert served(workdir) == (4,)


def test_two_rollbacks_at_once_are_done_one_after_the_other(three: Path, workdir: Path) -> None:
    """A plan is made again once the lock is held: what it says of the versions before would be old."""
    repository = Repository(workdir / "model_repository")
    with repository.locked():
        applied(repository, rolled_back(standing(repository, "linear")))
        second = applied(repository, rolled_back(standing(repository, "linear")))
    assert (second.before, second.after) == ((2,), (1,))


def test_the_table_tells_what_is_served_and_why(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    modelrepo(rollback, "linear")
    rows = json.loads(modelrepo(versions, "linear", "--json").out)["versions"]
    assert [row["served"] for row in rows] == [False, True, False]
    assert rows[1]["note"].startswith("2 is served in place of 3, rolled back 20")
    assert {row["verification"] for row in rows} == {"passed, 2600 cases"}


def test_files_are_read_again_on_request(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    assert modelrepo(versions, "--verify").code == 0
    file = three.parent / "1" / "model.onnx"
    stat = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    import os

    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert modelrepo(versions).code == 0
    outcome = modelrepo(versions, "--verify")
    assert outcome.code == 6
    assert "1/model.onnx changed since it was published" in outcome.out


def test_a_configuration_that_cannot_be_parsed_is_told(three: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    three.write_text("max_batch_size: sixteen")
    outcome = modelrepo(versions, "linear")
    assert outcome.code == 0
    assert "config.pbtxt is not a ModelConfig" in outcome.out
    with pytest.raises(RepositoryError):
        standing(Repository(workdir / "model_repository"), "nothing")
    assert modelrepo(rollback, "linear", "--to", "3").code == 0
    assert served(workdir) == (3,)


@pytest.mark.parametrize(
    ("other", "said"),
    [(2, "linear: version 2 is served already"), (1, "another process has changed linear meanwhile: version 1 is")],
)
def test_of_two_who_roll_back_at_a_time_none_goes_back_too_far(
    three: Path, workdir: Path, modelrepo: ModelRepo, monkeypatch: pytest.MonkeyPatch, other: int, said: str
) -> None:
    locked = Repository.locked

    def overtaken(repository: Repository, **more: bool) -> object:
        monkeypatch.setattr(Repository, "locked", locked)
        with repository.locked():
            applied(repository, rolled_back(standing(repository, "linear"), other))
        return locked(repository, **more)

    monkeypatch.setattr(Repository, "locked", overtaken)
    outcome = modelrepo(rollback, "linear")
    assert said in outcome.out + outcome.err
    assert outcome.code == (0 if other == 2 else 6)
    assert served(workdir) == (other,)


def test_a_folder_in_the_place_of_the_configuration_is_told(three: Path, modelrepo: ModelRepo) -> None:
    three.unlink()
    three.mkdir()
    for command in (versions, rollback):
        outcome = modelrepo(command, "linear")
        assert outcome.code == 6
        assert "can't read " in outcome.err
        assert "config.pbtxt: Is a directory" in outcome.err
