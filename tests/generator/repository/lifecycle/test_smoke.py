"""`smoke`: a real server that serves what was published passes, and whatever is another is named."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnx import helper

from modelrepo.cli.commands import generate as generate_command
from modelrepo.cli.terminal import errors
from modelrepo.clients import Client, connect
from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.lifecycle.smoke import Smoked, smoke
from modelrepo.generator.repository.repository import Repository
from modelrepo.server import Server, running_server
from tests import onnx_files
from tests.generator.repository.lifecycle.published_models import LABELLED, NAMES, write_all

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for arguments in write_all(folder).values():
            more = ("--live-check", "off", "--client-dir", "none", "--verify-effort", "quick", "--quiet")
            patch.setattr(sys, "argv", ["generate", *arguments, *more])
            assert errors.run(generate_command.generate, "generate") == 0
    return folder / "model_repository"


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    copy = tmp_path_factory.mktemp("server") / "models"
    shutil.copytree(root, copy)
    with running_server(copy, control="explicit") as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    with connect(server.grpc_url if request.param == "grpc" else server.http_url) as connected:
        yield connected


@pytest.fixture
def grpc(server: Server) -> Iterator[Client]:
    with connect(server.grpc_url) as connected:
        yield connected


def served(server: Server, client: Client, root: Path, name: str, change: Change) -> Smoked:
    """Load a model whose files were changed on the server's side, and smoke it."""
    change(server.repository / name)
    server.load(name)
    return smoke(client, Repository(root), name)


def test_what_was_published_passes_whatever_it_takes(root: Path, server: Server, client: Client) -> None:
    for name in NAMES:
        server.load(name)
        row = smoke(client, Repository(root), name)
        assert (row.status, row.failure, row.version, row.ready) == ("passed", "", "1", True), name
        assert row.cases >= 3, name
        assert row.latency, name
        assert row.config_differs == (), name
        assert row.worst is not None
        assert row.limit is not None
        assert row.worst <= row.limit
    assert row.labels is True


def replace_model(**parts: object) -> Change:
    def change(folder: Path) -> None:
        onnx.save(onnx_files.model(**parts), folder / "1/model.onnx")  # type: ignore[arg-type]

    return change


def replace_in(file: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    return change


def another_version(folder: Path) -> None:
    (folder / "1").rename(folder / "2")
    replace_in("config.pbtxt", "versions: [ 1 ]", "versions: [ 2 ]")(folder)


NEGATED = (helper.make_node("Neg", ["x"], ["y"]),)
NAN = (
    helper.make_node("Abs", ["x"], ["a"]),
    helper.make_node("Neg", ["a"], ["n"]),
    helper.make_node("Sqrt", ["n"], ["y"]),
)
LONGER = {
    "nodes": (helper.make_node("Not", ["x"], ["y"]),),
    "inputs": [("x", onnx_files.BOOL, ["n", 3])],
    "outputs": [("y", onnx_files.BOOL, ["n", 3])],
}
LONGER_CONFIG = """
backend: "onnxruntime" max_batch_size: 16
input { name: "x" data_type: TYPE_BOOL dims: [ 3 ] }
output { name: "y" data_type: TYPE_BOOL dims: [ 3 ] }
"""
FAULTS: dict[str, tuple[str, Change, str]] = {
    "other weights": ("huge", replace_model(nodes=NEGATED), "an answer differs by "),
    "NaN": ("nan", replace_model(nodes=NAN), "an answer differs by inf"),
    "another version": ("whole", another_version, "version 2 answers, and version 1 is the published one"),
    "another configuration": (
        "mates",
        replace_in("config.pbtxt", "max_batch_size: 0", "max_batch_size: 0\nresponse_cache { enable: true }"),
        "",
    ),
    "fewer in a batch": (
        "half",
        replace_in("config.pbtxt", "max_batch_size: 16", "max_batch_size: 8"),
        "the server's configuration differs: max_batch_size is 8, and 16 was published",
    ),
    "other labels": (
        "classes",
        replace_in("labels.txt", LABELLED[0], "wolf"),
        f"of output 'y' is 'wolf', and '{LABELLED[0]}' in the published labels",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_another_on_the_server_is_named(fault: str, root: Path, server: Server, grpc: Client) -> None:
    name, change, told = FAULTS[fault]
    row = served(server, grpc, root, name, change)
    assert told in row.failure
    assert bool(row.failure) == bool(told)
    assert row.exit_code == (5 if told else 0)
    if "differs by" in told:
        assert "output 'y' on input '" in row.at
        assert row.worst
        assert row.limit
        assert row.worst > row.limit


def test_a_model_of_another_shape_is_a_failure_of_its_own(root: Path, server: Server, grpc: Client) -> None:
    folder = server.repository / "truth"
    replace_model(**LONGER)(folder)
    (folder / "config.pbtxt").write_text(LONGER_CONFIG)
    server.load("truth")
    row = smoke(grpc, Repository(root), "truth")
    assert (row.exit_code, row.status) == (5, "failed")
    assert "the input x BOOL[-1, 3] was given shape [1, 1]" in row.failure
    assert "output[0].dims[0] is 3, and 1 was published" in row.config_differs


def test_a_model_that_is_not_loaded_is_not_ready(root: Path, server: Server, client: Client) -> None:
    server.unload("texts")
    row = smoke(client, Repository(root), "texts")
    assert (row.status, row.ready, row.exit_code) == ("unreachable", False, 7)
    assert "texts is not ready" in row.failure


def test_a_server_that_is_down_is_told_at_once(root: Path) -> None:
    with connect("grpc://127.0.0.1:9") as client:
        row = smoke(client, Repository(root), "huge")
    assert (row.status, row.exit_code) == ("unreachable", 7)
    assert "127.0.0.1:9 is unavailable" in row.failure


def test_what_is_not_in_the_repository_is_an_error(root: Path, grpc: Client) -> None:
    with pytest.raises(RepositoryError, match="has no model 'hug'"):
        smoke(grpc, Repository(root), "hug")
    with pytest.raises(RepositoryError, match="huge has no published version 3"):
        smoke(grpc, Repository(root), "huge", 3)


def test_the_files_of_every_kind_are_small_and_the_same_again(root: Path) -> None:
    repository = Repository(root)
    for name in NAMES:
        folder = repository.golden_folder(name)
        assert sum(file.stat().st_size for file in folder.iterdir()) < 20_000
        kept = golden.read(repository, name, 1)
        assert kept
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        golden.keep(repository, name, 1, kept)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
