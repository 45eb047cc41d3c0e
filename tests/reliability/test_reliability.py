"""A slice of what `make reliability` does: kills, failing file systems, writers at once, a server under load."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import failing, killing, load, writers
from tests.reliability.scenes import SCENES, Scene
from tests.reliability.worker import Worker

BY_NAME = {scene.name: scene for scene in SCENES}
# Of each command's calls every so many, from the last ones on: most of the first are in the staging folder.
STRIDE = 9


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.mark.parametrize("name", ["generate, another version policy", "rollback", "prune", "remove"])
def test_a_killed_run_leaves_the_old_or_the_new_and_the_next_recovers(
    name: str, worker: Worker, tmp_path: Path
) -> None:
    found = list(killing.points(BY_NAME[name], worker, tmp_path, at=slice(None, None, -STRIDE), at_random=1))
    assert not [f"{point.where}: {fault}" for point, _ in found for fault in point.faults]
    assert sum(point.killed for point, _ in found) >= 2


def test_a_version_that_was_killed_between_its_moves_is_served_by_the_real_triton_afterwards(
    worker: Worker, tmp_path: Path
) -> None:
    scene = BY_NAME["generate, another version"]
    calls = killing.reference(scene, worker, tmp_path / "calls").calls
    config = calls.index("rename model_repository/linear/config.pbtxt")
    states = killing.points(scene, worker, tmp_path / "killed", at=slice(config, config + 2))
    for point, left in states:
        assert not point.faults
        assert not killing.asked(left, killing.served(left))


@pytest.mark.parametrize("scene", [BY_NAME["generate, the first version"], BY_NAME["promote two versions"]], ids=str)
def test_a_failing_file_system_is_told_and_leaves_the_repository_as_it_was(
    scene: Scene, worker: Worker, tmp_path: Path
) -> None:
    found = list(failing.failures(scene, worker, tmp_path, every=15))
    assert not [f"{each.way} at {each.where}: {fault}" for each in found for fault in each.faults]
    assert any(each.code == failing.REPOSITORY for each in found)


def test_eight_writers_at_once_publish_every_version_once(worker: Worker, tmp_path: Path) -> None:
    found = list(writers.rounds([(worker, tmp_path)], tmp_path, seed=1, count=2))
    assert not [fault for each in found for fault in each.faults]
    assert found[0].published == writers.WRITERS


@pytest.mark.parametrize("mode", ["explicit", "poll"])
def test_a_server_under_load_answers_while_versions_come_and_go(
    mode: load.Mode, worker: Worker, tmp_path: Path
) -> None:
    found = load.under_load(worker, tmp_path, mode, versions=6)
    assert not found.faults
    assert (found.failed, found.wrong, found.published) == (0, 0, 6)
