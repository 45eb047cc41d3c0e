"""What killed servers leave behind does not hinder the next one."""

from pathlib import Path

from modelrepo.server.running.guardian import NOTE, EnvironmentFolders
from modelrepo.server.running.start import ALIVE, _sweep


def test_a_killed_server_that_was_unpacking_an_environment_is_cleaned_up(tmp_path: Path) -> None:
    environment = tmp_path / "python_env_abcdef"
    (environment / "0").mkdir(parents=True)
    run = tmp_path / "runs/1"
    run.mkdir(parents=True)
    (run / ALIVE).touch()
    (run / NOTE).write_text(str(environment))
    _sweep(tmp_path / "runs")
    assert not environment.exists()
    assert not run.exists()


def test_a_guardian_removes_an_environment_that_was_being_unpacked(tmp_path: Path) -> None:
    environment = tmp_path / "python_env_abcdef"
    (environment / "0").mkdir(parents=True)
    folders = EnvironmentFolders(0, tmp_path / NOTE)
    folders.own = {str(environment)}
    folders.remove()
    assert not environment.exists()
