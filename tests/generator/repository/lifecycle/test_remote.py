"""`--url`: a real Triton follows a change in each of its modes; what it does not follow is put back."""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from filelock import FileLock, Timeout

from modelrepo.cli.commands import generate as generate_command
from modelrepo.cli.commands.promote import promote
from modelrepo.cli.commands.prune import prune
from modelrepo.cli.commands.remove import remove
from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.terminal import errors
from modelrepo.clients import Client, connect
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.repository.lifecycle import remote, serving
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.artifacts import ONNX
from modelrepo.server import Server, running_server
from tests import numpy_framework
from tests.conftest import ModelRepo, Outcome, snapshot

NAMES = ("linear", "mixes_samples")
Run = Callable[..., Outcome]


def published(folder: Path) -> Path:
    """Publish three versions of `linear`, and one of another model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(SOURCES, "numpy", numpy_framework.SOURCE)
        patch.setitem(EXPORTERS, ("numpy", ONNX), numpy_framework.TO_ONNX)
        for name, seed in (("linear", "1"), ("linear", "2"), ("linear", "3"), ("mixes_samples", "1")):
            arguments = ("--model", f"numpy:{name}", "--seed", seed, "--live-check", "off", "-q")
            patch.setattr(sys, "argv", ["generate", *arguments])
            assert errors.run(generate_command.generate, "generate") == 0
    return folder / "model_repository"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve three versions in explicit mode, for all tests of this module."""
    with running_server(published(tmp_path_factory.mktemp("explicit")), control="explicit", models=NAMES) as server:
        yield server


@pytest.fixture
def server(served: Server, modelrepo: ModelRepo) -> Server:
    """Bring the server back to version 3."""
    outcome = modelrepo(promote, "linear", "3", "--url", served.grpc_url, "--repository", str(served.repository))
    assert outcome.code == 0, outcome.err
    return served


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with connect(server.grpc_url) as connected:
        yield connected


@pytest.fixture
def run(modelrepo: ModelRepo, server: Server) -> Run:
    """Run a command on the server's repository, and apply it to the server."""

    def called(command: click.Command, *arguments: str, url: str = server.grpc_url) -> Outcome:
        return modelrepo(command, *arguments, "--url", url, "--repository", str(server.repository))

    return called


def ready(client: Client) -> tuple[int, ...]:
    return remote.Health(True, client.index()).versions("linear")


def config(server: Server) -> Path:
    return server.repository / "linear/config.pbtxt"


# --- explicit mode


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_follows_a_rollback(run: Run, server: Server, client: Client, protocol: str) -> None:
    url = server.grpc_url if protocol == "grpc" else server.http_url
    outcome = run(rollback, "linear", url=url)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"linear: version 2 is served in place of version 3, by {url} too (ready")
    assert ready(client) == (2,)
    assert client.is_ready()
    again = run(promote, "linear", "2", url=url)
    assert again.out.startswith(f"linear: version 2 is served already, by {url} too (ready")


def test_the_health_before_and_after_is_in_the_document(run: Run, client: Client) -> None:
    outcome = run(promote, "linear", "2,3", "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.report
    assert (document["status"], document["served"]) == ("changed", [2, 3])
    assert document["server"]["before"] == {"ready": True, "versions": [3]}
    assert document["server"]["after"] == {"ready": True, "versions": [2, 3]}
    assert ready(client) == (2, 3)


def test_a_dry_run_asks_the_server_and_changes_nothing(run: Run, server: Server, client: Client) -> None:
    before = snapshot(server.repository)
    outcome = run(rollback, "linear", "--dry-run")
    assert outcome.out == (
        f"linear: version 2 would be served in place of version 3 ({server.grpc_url} serves version 3, ready)\n"
    )
    assert snapshot(server.repository) == before
    assert ready(client) == (3,)


def test_no_request_fails_while_a_server_follows(run: Run, server: Server) -> None:
    wrong: list[Any] = []
    versions: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        rows = np.ones((2, 4), "float32")
        right = {
            str(seed): rows @ np.random.default_rng(seed).standard_normal((4, 3)).astype("float32") for seed in (2, 3)
        }
        with connect(server.grpc_url) as mine:
            while not stop.is_set():
                try:
                    answer = mine.infer("linear", rows)
                    versions.add(answer.version)
                    np.testing.assert_allclose(answer["output"], right[answer.version], rtol=1e-4)
                except Exception as error:
                    wrong.append(error)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    codes = [run(rollback, "linear").code, run(promote, "linear", "3").code]
    stop.set()
    for thread in asking:
        thread.join()
    assert codes == [0, 0]
    assert wrong == []
    assert versions == {"2", "3"}


def test_a_configuration_of_an_earlier_load_is_replaced(run: Run, client: Client) -> None:
    override = {**client.config("linear"), "version_policy": {"specific": {"versions": [1]}}}
    client.load("linear", override)
    assert ready(client) == (1,)
    client.load("linear")
    assert ready(client) == (1,)  # Triton keeps it, and answers that all is well
    outcome = run(promote, "linear", "3")
    assert outcome.code == 0, outcome.err
    assert "kept a configuration that somebody had loaded it with" in outcome.err
    assert ready(client) == (3,)


def test_a_file_from_a_clock_ahead_hides_no_change(run: Run, server: Server, client: Client) -> None:
    ahead = time.time() + 3600
    file = server.repository / "linear/1/model.onnx"
    os.utime(file, (ahead, ahead))
    for number in (2, 1, 2):
        outcome = run(promote, "linear", str(number))
        assert (outcome.code, "kept a configuration" in outcome.err) == (0, False), outcome.err
        assert ready(client) == (number,)
    client.unload("linear")
    while remote.Health(True, client.index()).loaded("linear"):
        time.sleep(0.01)
    for path in (file, config(server)):
        os.utime(path)
    client.load("linear")


def test_a_rollback_that_a_server_has_not_followed_is_finished(run: Run, server: Server, client: Client) -> None:
    repository = Repository(server.repository)
    with repository.locked():  # as a command leaves it that is killed after its commit
        serving.applied(repository, serving.rolled_back(standing(repository, "linear")))
    assert ready(client) == (3,)
    assert run(rollback, "linear", "--dry-run").out == (
        f"linear: version 2 is served already ({server.grpc_url} serves version 3, ready)\n"
    )
    assert run(rollback, "linear").out.startswith("linear: version 2 is served already, by ")
    assert ready(client) == (2,)
    assert run(rollback, "linear").out.startswith("linear: version 1 is served in place of version 2")


def test_wrong_answers_put_everything_back(
    run: Run, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config(server).read_bytes() + b"# by hand: \xe4\r\n"
    config(server).write_bytes(before)
    row = SimpleNamespace(failure="an answer differs by 1.5 (limit 1e-05)", hint="", exit_code=5)
    monkeypatch.setattr(remote, "smoked", lambda *_: row)
    outcome = run(rollback, "linear")
    assert outcome.code == 5
    assert "version 2 of linear at " in outcome.err
    assert "an answer differs by 1.5 (limit 1e-05); config.pbtxt is as before, and the server serves version 3" in (
        outcome.err
    )
    assert config(server).read_bytes() == before
    assert ready(client) == (3,)
    assert client.is_ready()


def test_wrong_weights_are_found_by_golden_answers(run: Run, server: Server, client: Client) -> None:
    pytest.importorskip("modelrepo.generator.repository.lifecycle.smoke")
    import onnx
    from onnx import numpy_helper

    file, before = server.repository / "linear/2/model.onnx", config(server).read_bytes()
    kept, times = file.read_bytes(), file.stat()
    model = onnx.load(file)
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(1 + numpy_helper.to_array(model.graph.initializer[0]), model.graph.initializer[0].name)
    )
    onnx.save(model, file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == times.st_size
    outcome = run(rollback, "linear")
    assert outcome.code == 5, outcome.err
    assert "an answer differs by" in outcome.err
    assert (config(server).read_bytes(), ready(client)) == (before, (3,))
    file.write_bytes(kept)
    right = run(rollback, "linear", "--json").report
    assert right["server"]["smoke"][0]["cases"] > 0


def test_an_interrupt_puts_everything_back(
    run: Run, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config(server).read_bytes()
    monkeypatch.setattr(remote, "smoked", interrupted)
    outcome = run(rollback, "linear")
    assert (outcome.code, outcome.err.strip()) == (130, "error: interrupted")
    assert (config(server).read_bytes(), ready(client)) == (before, (3,))


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_lock_is_held_until_the_server_has_followed(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def asked(*_: Any) -> str:
        with pytest.raises(Timeout), FileLock(Repository(server.repository).state / "lock", timeout=0):
            pass
        held.append(True)
        return "the lock is asked for instead"

    monkeypatch.setattr(remote, "smoked", asked)
    assert run(rollback, "linear").code == 0
    assert held == [True]


def test_a_version_that_the_server_refuses_is_put_back(
    run: Run, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, before = server.repository / "linear/1/model.onnx", config(server).read_bytes()
    kept = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(serving, "judge", lambda *_: ())
        patch.setattr(Manifest, "is_intact", lambda *_: True)
        file.write_bytes(b"nonsense")
        outcome = run(promote, "linear", "1")
    assert outcome.code == 7
    assert "Protobuf parsing failed" in outcome.err
    assert "config.pbtxt is as before, and the server serves version 3, but calls itself not ready" in outcome.err
    assert (config(server).read_bytes(), ready(client)) == (before, (3,))
    file.write_bytes(kept)
    assert run(promote, "linear", "1").code == 0
    assert client.is_ready()


def test_a_version_that_has_changed_is_not_loaded(run: Run, server: Server) -> None:
    file, before = server.repository / "linear/1/model.onnx", config(server).read_bytes()
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b"numpy", b"other"))
    outcome = run(promote, "linear", "1")
    file.write_bytes(kept)
    assert outcome.code == 6
    assert config(server).read_bytes() == before


def test_a_server_with_other_files_is_told(server: Server, modelrepo: ModelRepo, workdir: Path, client: Client) -> None:
    shutil.copytree(server.repository.parent, workdir / "copy")
    root = workdir / "copy/model_repository"
    mine = ("--repository", str(root), "--url", server.grpc_url)
    before = (root / "linear/config.pbtxt").read_bytes()
    outcome = modelrepo(rollback, "linear", *mine)
    assert outcome.code == 7
    assert f"{server.grpc_url} has loaded linear, but it serves version 3; config.pbtxt is as before" in outcome.err
    assert "Its repository may be another folder" in outcome.err
    assert (root / "linear/config.pbtxt").read_bytes() == before
    shutil.rmtree(root / "linear/3")
    for command in (rollback, remove):
        outcome = modelrepo(command, "linear", *mine)
        assert outcome.code == 7
        assert "serves version 3 of linear, which" in outcome.err
    assert ready(client) == (3,)


def test_an_absent_server_changes_nothing(run: Run, server: Server) -> None:
    before = snapshot(server.repository)
    for command, arguments in ((rollback, ()), (remove, ()), (prune, ("--keep", "1"))):
        outcome = run(command, "linear", *arguments, url="http://127.0.0.1:9")
        assert outcome.code == 7
        assert "127.0.0.1:9 is unavailable" in outcome.err
    assert snapshot(server.repository) == before


def test_options_of_a_server_need_one(modelrepo: ModelRepo, workdir: Path) -> None:
    for option in (("--header", "a: b"), ("--ca", "ca.pem"), ("--wait", "5")):
        outcome = modelrepo(rollback, "linear", *option)
        assert (outcome.code, f"{option[0]} was given without --url" in outcome.err) == (2, True)


def test_what_a_server_has_loaded_is_not_pruned(run: Run, server: Server, client: Client, workdir: Path) -> None:
    client.load("linear", {**client.config("linear"), "version_policy": {"specific": {"versions": [1, 3]}}})
    outcome = run(prune, "linear", "--keep", "1", "--dry-run", "--json")
    (model,) = outcome.report["models"]
    assert model["versions"] == [2]
    assert model["notes"] == [f"version 1 stays: loaded by {server.grpc_url}"]


def test_an_interrupted_removal_leaves_the_model_served(
    run: Run, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_gone", interrupted)
        assert run(remove, "mixes_samples").code == 130
    assert client.is_ready("mixes_samples")
    assert (server.repository / "mixes_samples/config.pbtxt").is_file()
    assert run(remove, "mixes_samples", "--wait", "0.0001").code == 7
    assert client.is_ready("mixes_samples")


def test_a_model_is_unloaded_before_it_is_removed(run: Run, server: Server, client: Client) -> None:
    assert client.is_ready("mixes_samples")
    outcome = run(remove, "mixes_samples", "--json")
    assert outcome.code == 0, outcome.err
    health = outcome.report["models"][0]["server"]
    assert (health["before"]["versions"], health["after"]["versions"]) == ([1], [])
    assert not (server.repository / "mixes_samples").exists()
    assert {entry.name for entry in client.index() if entry.state == "READY"} == {"linear"}
    assert client.is_ready()


# --- the other modes


@pytest.mark.parametrize("mode", ["poll", "none"])
def test_a_polling_server_is_waited_for_and_one_that_never_looks_is_told(
    mode: str, tmp_path: Path, modelrepo: ModelRepo
) -> None:
    root = published(tmp_path)
    before = (root / "linear/config.pbtxt").read_bytes()
    with (
        running_server(root, control="poll" if mode == "poll" else "none", poll_seconds=1) as server,
        connect(server.grpc_url) as client,
    ):
        mine = ("--url", server.grpc_url, "--repository", str(root))
        wait = "60" if mode == "poll" else "0.5"
        outcome = modelrepo(rollback, "linear", *mine, "--wait", wait)
        removed = modelrepo(remove, "linear", *mine)
        assert (removed.code, "unloads no model on request, so nothing was removed" in removed.err) == (7, True)
        if mode == "poll":
            assert outcome.code == 0, outcome.err
            assert (ready(client), client.is_ready()) == ((2,), True)
            return
        assert outcome.code == 7
        assert "loads no model on request, and did not follow in 0 s: it serves version 3" in outcome.err
        assert "run the command without --url, and start the server again" in outcome.err
        assert (root / "linear/config.pbtxt").read_bytes() == before
        assert ready(client) == (3,)


def test_the_document_of_a_removal_is_json(run: Run) -> None:
    assert json.loads(run(prune, "linear", "--keep", "9", "--json").out)["models"][0]["status"] == "unchanged"


def test_a_version_that_stays_loaded_with_its_own_policy_is_as_published(
    run: Run, server: Server, client: Client
) -> None:
    from modelrepo.generator.repository.lifecycle.smoke import smoke

    assert run(promote, "linear", "2,3").code == 0
    assert client.config("linear", "3")["version_policy"] == {"specific": {"versions": ["3"]}}
    for version in (None, 2, 3):
        assert smoke(client, Repository(server.repository), "linear", version).failure == ""
