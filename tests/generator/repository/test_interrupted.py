"""What a killed run has left: the next writer finishes it, or undoes it."""

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.commands.versions import versions
from modelrepo.generator.repository import interrupted
from modelrepo.generator.repository import repository as repositories
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.system.locks import lock_of, locked_in_its_folder
from tests.conftest import Generate, ModelRepo, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "-q")


@pytest.fixture
def state(generate: Generate, workdir: Path) -> Path:
    """Return the state folder of a repository with a model of two versions."""
    for seed in "12":
        assert generate(*LINEAR, "--seed", seed).code == 0
    return workdir / ".modelrepo/model_repository"


def test_a_version_that_never_came_loses_its_record(state: Path, generate: Generate, workdir: Path) -> None:
    (state / "publishing/3.linear/3").mkdir(parents=True)
    (state / "manifests/linear/3.json").write_text((state / "manifests/linear/2.json").read_text())
    assert generate(*LINEAR, "--seed", "3").code == 0
    assert sorted(path.name for path in (workdir / "model_repository/linear").iterdir()) == [
        *"123",
        "config.pbtxt",
        "labels.txt",
    ]
    assert not (state / "publishing").exists()


def test_a_version_that_came_gets_its_configuration(state: Path, modelrepo: ModelRepo, workdir: Path) -> None:
    model, coming = workdir / "model_repository/linear", state / "publishing/2.linear"
    coming.mkdir(parents=True)
    wanted = (model / "config.pbtxt").read_text()
    (coming / "config.pbtxt").write_text(wanted)
    (coming / "labels.txt").write_text("new\n")
    (coming / "labels.txt.replaced").write_text("old\n")
    (model / "config.pbtxt").write_text("# of version 1\n")
    Repository(workdir / "model_repository").recover()
    assert (model / "config.pbtxt").read_text() == wanted
    assert (model / "labels.txt").read_text() == "new\n"
    assert {path.name for path in state.iterdir()} == {"golden", "lock", "manifests"}


def test_leftovers_of_every_kind_go(state: Path, generate: Generate, workdir: Path) -> None:
    before = snapshot(workdir)
    (state / f".2.json.{'0' * 32}").write_text("half")
    (state / "staging/one/linear").mkdir(parents=True)
    (state / "staging/one.lock").touch()
    (state / "staging/two").mkdir()
    (state / "removing").mkdir()
    assert generate(*LINEAR, "--seed", "2", "--json").result["status"] == "unchanged"
    assert snapshot(workdir) == before


def test_a_run_that_is_still_staging_keeps_its_folder(state: Path, workdir: Path, modelrepo: ModelRepo) -> None:
    repository = Repository(workdir / "model_repository")
    with repository.staging() as folder:
        (folder / "file").touch()
        assert modelrepo(rollback, "linear").code == 0
        with repository.locked():
            assert (folder / "file").exists()
    assert not (state / "staging").exists()


def test_a_policy_that_was_killed_before_its_record_is_no_edit_by_hand(state: Path, generate: Generate) -> None:
    policy = (*LINEAR, "--seed", "2", "--version-policy", "latest:2")
    record = (state / "manifests/linear/2.json").read_text()
    assert "by hand" not in generate(*policy).err
    (state / "manifests/linear/2.json").write_text(record)
    assert "by hand" not in generate(*policy).err
    assert not (state / "replaced").exists()


def test_a_record_whose_configuration_is_in_force_is_put_in_place(
    state: Path, generate: Generate, workdir: Path
) -> None:
    record = state / "manifests/linear/2.json"
    before = record.read_bytes()
    generate(*LINEAR, "--seed", "2", "--version-policy", "latest:2")
    after = record.read_bytes()
    record.write_bytes(before)
    (state / f".2.json.{'0' * 32}").write_bytes(after)
    Repository(workdir / "model_repository").recover()
    assert record.read_bytes() == after
    assert "by hand" not in generate(*LINEAR, "--seed", "3").err


def test_an_error_of_the_file_system_is_one_line_and_undone(
    state: Path, modelrepo: ModelRepo, generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise OSError(5, "Input/output error", str(folder))

    before = snapshot(workdir / "model_repository")
    with monkeypatch.context() as patch:
        patch.setattr(repositories, "sync_folder", broken)
        for outcome in (
            generate(*LINEAR, "--seed", "3"),
            generate("--model", "numpy:linear", "-q", "--name-template", "x"),
        ):
            assert (outcome.code, outcome.err.count("\n")) == (6, 1)
            assert "Input/output error" in outcome.err
        outcome = modelrepo(rollback, "linear")
        assert (outcome.code, outcome.err.count("\n")) == (6, 1)
    assert snapshot(workdir / "model_repository") == before
    assert modelrepo(versions).code == 0
    assert not interrupted.is_left(state)


def test_a_lock_that_a_sweeping_process_holds_for_a_moment_is_waited_for(
    state: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def sweeping(base: Path) -> None:
        held = lock_of(base / f"{'0' * 32}.lock", timeout=0)
        base.mkdir(exist_ok=True)
        held.acquire()

        def release() -> None:
            released.set()
            held.release()

        threading.Timer(0.2, release).start()

    monkeypatch.setattr(interrupted, "sweep", sweeping)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
    with Repository(workdir / "model_repository").staging() as folder:
        assert released.is_set()
        assert folder.is_dir()


def test_a_folder_that_another_process_removes_before_the_lock_is_in_it_is_made_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir
    removed: list[Path] = []

    def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        if self.name == "empty" and not removed:
            removed.append(self)
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with locked_in_its_folder(workdir / "empty/lock", timeout=1):
        assert (workdir / "empty/lock").exists()
    assert removed
