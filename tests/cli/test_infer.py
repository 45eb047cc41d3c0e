"""`modelrepo infer`: what it prints, what it refuses, and with which exit code."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from modelrepo.cli.commands import infer as infer_command
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.server import Server, running_server
from tests.conftest import PROJECT, Generate, ModelRepo, Outcome
from tests.served_models import LATE, write_repository

Infer = Callable[..., Outcome]
Golden = Callable[[str, str], None]
PREPROCESS = {
    "kind": "image", "resize": 2, "crop": [2, 2], "interpolation": "bilinear", "scale": [0.0, 1.0],
    "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "layout": "NCHW",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_repository(tmp_path_factory.mktemp("repository"))) as running:
        yield running


@pytest.fixture
def infer(modelrepo: ModelRepo) -> Infer:
    """Run `modelrepo infer` in this process, in an empty folder."""
    return partial(modelrepo, infer_command.infer)


def write_preprocess(repository: Path, name: str, preprocess: dict[str, object] | None = PREPROCESS) -> None:
    """Write a manifest such as `generate` leaves beside the repository."""
    source = SourceRecord("numpy:m", Weights("random", "seed 0", True), preprocess, "numpy", 17, 8, ())
    provenance = Provenance("key", source, {}, {}, Verification())
    manifest = Manifest(name, 1, "onnxruntime", "2026-11-20", 0, "", {}, provenance)
    path = Repository(repository).state / "manifests" / name / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(manifest.to_json())


def test_the_answer_is_shown_as_arrays(infer: Infer, server: Server) -> None:
    outcome = infer("linear", "--url", server.grpc_url, "--input", "[[1, 1, 1, 1]]")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "output  float32 [1, 3]\n[[4.5 5.5 6.5]]\n"
    assert f"asking linear at {server.grpc_url}" in outcome.err


def test_the_best_classes_are_shown_as_a_table(infer: Infer, server: Server) -> None:
    outcome = infer("linear", "--url", server.http_url, "--input", "input=[[1,1,1,1]]", "--top", "2", "-q")
    assert outcome.out == "rank  label    index  score\n1     a: fish  2      6.5\n2     dog      1      5.5\n"
    assert outcome.err == ""
    many = infer("linear", "--url", server.http_url, "--input", "[[1,1,1,1],[0,0,0,1]]", "--top", "1", "--json")
    (first, second) = many.report["classes"]
    assert first == [{"label": "a: fish", "index": 2, "score": 6.5}]
    assert second[0]["index"] == 2


def test_values_come_by_name_by_position_and_from_files(infer: Infer, server: Server, workdir: Path) -> None:
    left, right = np.ones((1, 2), "float32"), np.full((1, 2), 2.0)
    np.save("left.npy", left)
    np.savez("both.npz", left=left, right=right)
    for inputs in (
        ("left=@left.npy", "right=[[2, 2]]"),
        ("@left.npy", "[[2, 2]]"),
        ("@both.npz",),
        ('{"left": [[1, 1]], "right": [[2, 2]]}',),
    ):
        arguments = [part for text in inputs for part in ("--input", text)]
        outcome = infer("join", "--url", server.grpc_url, *arguments, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.report["outputs"]["sum"] == {"dtype": "float32", "shape": [1, 2], "data": [[3.0, 3.0]]}
        assert outcome.report["outputs"]["difference"]["data"] == [[-1.0, -1.0]]


def test_strings_and_what_json_cannot_write(infer: Infer, server: Server) -> None:
    empty = dict.fromkeys(("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"), "[]")
    values = {**empty, "float16": "[]", "float32": "[NaN, Infinity]", "float64": "[]", "object": '["ü", "b"]'}
    arguments = [part for name, value in values.items() for part in ("--input", f"{name}={value}")]
    outcome = infer("echo", "--url", server.http_url, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    outputs = json.loads(outcome.out, parse_constant=pytest.fail)["outputs"]
    assert outputs["float32_out"]["data"] == ["NaN", "Infinity"]
    assert outputs["object_out"] == {"dtype": "string", "shape": [2], "data": ["ü", "b"]}
    outcome = infer("echo", "--url", server.http_url, *arguments, "--output-file", "answer.npz")
    assert "object_out  string [2]\n['ü' 'b']" in outcome.out
    with np.load("answer.npz", allow_pickle=False) as saved:
        assert saved["object_out"].tolist() == ["ü".encode(), b"b"]
        assert saved["float32_out"].dtype == np.float32


def test_without_a_url_a_server_is_started_for_the_one_call(infer: Infer, workdir: Path) -> None:
    write_repository(workdir / "model_repository")
    outcome = infer("linear", "--input", "[[0, 0, 0, 4]]")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "output  float32 [1, 3]\n[[ 9. 10. 11.]]\n"
    assert "starting local Triton" in outcome.err


def test_an_image_is_prepared_as_the_manifest_says(infer: Infer, server: Server, workdir: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 2), (255, 0, 0)).save("red.png")
    write_preprocess(workdir / "model_repository", "linear")
    outcome = infer("linear", "--url", server.grpc_url, "--image", "red.png")
    assert outcome.code == 2
    assert "input FP32[-1, 4] was given shape [1, 3, 2, 2]" in outcome.err  # the image, as PREPROCESS makes it


def test_a_generated_model_is_asked_by_its_published_name(
    generate: Generate, infer: Infer, numpy_models: None, workdir: Path
) -> None:
    assert generate("--model", "numpy:linear", "--quiet").code == 0
    outcome = infer("linear", "--input", "[[1, 0, 0, 0]]", "--top", "3", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert {each["label"] for each in outcome.report["classes"][0]} == {"cat", "dog", 'a "quoted" fish'}


def test_a_generated_client_is_imported_from_the_folder_it_was_written_to(
    generate: Generate, numpy_models: None, workdir: Path
) -> None:
    """As docs/reference/clients.md has it, in a folder of the user's where nothing of this project lies."""
    assert generate("--model", "numpy:linear", "--quiet").code == 0
    script = (
        "import sys\nimport numpy as np\nfrom modelrepo.clients import connect\n"
        "sys.path.insert(0, 'clients/generated')\nimport linear\n"
        "with connect(sys.argv[1]) as client:\n"
        "    print(linear.infer(client, np.ones((1, 4), 'float32')).output.shape)\n"
    )
    with running_server(workdir / "model_repository") as server:
        run = subprocess.run(
            [sys.executable, "-c", script, server.grpc_url], cwd=workdir, capture_output=True, text=True
        )
    assert run.stdout == "(1, 3)\n", run.stderr


# case: the arguments after MODEL, the exit code. "URL" is a running server's, "NOWHERE" a port where nothing listens.
CASES: dict[str, tuple[str, int]] = {
    "nothing given": ("linear --url URL", 2),
    "image and input": ("linear --url URL --image a.png --input 1", 2),
    "named and unnamed": ("linear --url URL --input input=1 --input 1", 2),
    "no JSON": ("linear --url URL --input input=hello", 2),
    "several for one name": ('linear --url URL --input input={"a":1}', 2),
    "file missing": ("linear --url URL --input input=@nowhere.npy", 2),
    "file garbage": ("linear --url URL --input input=@garbage.npy", 2),
    "no preprocess": ("linear --url URL --image red.png", 2),
    "header": ("linear --url URL --input 1 --header token", 2),
    "top and file": ("linear --url URL --input 1 --top 2 --output-file a.npz", 2),
    "file suffix": ("linear --url URL --input 1 --output-file a.npy", 2),
    "file unwritable": ("linear --url URL --input [[1,1,1,1]] --output-file nowhere/a.npz", 2),
    "wrong name": ("linear --url URL --input imput=[[1,1,1,1]]", 2),
    "wrong shape": ("linear --url URL --input [[1,1,1]]", 2),
    "wrong dtype": ('linear --url URL --input [["1","1","1","1"]]', 2),
    "wrong value": ("fill --url URL --input [1.5]", 2),
    "version word": ("linear --url URL --version latest --input 1", 2),
    "deadline": ("linear --url URL --deadline 0 --input 1", 2),
    "url": ("linear --url localhost:8001 --input 1", 2),
    "no such model here": ("linaer --repository repository --input 1", 2),
    "no repository": ("linear --input 1", 6),
    "unknown model": ("linaer --url URL --input 1", 7),
    "unknown version": ("linear --url URL --version 9 --input 1", 7),
    "nothing there": ("linear --url NOWHERE --deadline 0.2 --input 1", 7),
    "late": (f"slow --url URL --deadline 0.1 --input [{LATE}]", 7),
}


def test_bad_input_gets_one_line_and_its_exit_code(
    infer: Infer, server: Server, workdir: Path, golden: Golden, unused: int
) -> None:
    (workdir / "repository/linear").mkdir(parents=True)
    (workdir / "repository/linear/config.pbtxt").touch()
    (workdir / "garbage.npy").write_text("garbage")
    told = []
    for case, (arguments, code) in CASES.items():
        url = {"URL": server.grpc_url, "NOWHERE": f"http://127.0.0.1:{unused}"}
        outcome = infer(*(url.get(argument, argument) for argument in arguments.split()), "--quiet")
        assert outcome.err.count("\n") == 1, outcome.err
        assert (outcome.code, outcome.out) == (code, ""), f"{case}: {outcome.err}"
        message = outcome.err.replace(server.grpc_url, "URL").replace(str(unused), "PORT")
        told.append(f"{case}: {message}")
    golden("infer-messages.txt", "".join(told))


def test_what_the_server_says_no_to_is_quoted_in_one_line(infer: Infer, server: Server) -> None:
    outcome = infer("fill", "--url", server.http_url, "--input", "[-1]", "--quiet")
    assert outcome.code == 7
    assert outcome.err.count("\n") == 1
    assert f"{server.http_url} refused: " in outcome.err
    assert "ConstantOfShape" in outcome.err


@pytest.fixture
def unused() -> Iterator[int]:
    """Return a port where nothing listens, and nothing else will."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_help_imports_nothing_heavy_and_shows_examples() -> None:
    script = (
        "import sys; from modelrepo.cli.commands import infer; from modelrepo.cli.terminal import errors\n"
        "sys.argv = ['modelrepo', '--help']\n"
        "assert errors.run(infer.infer, 'modelrepo infer') == 0\n"
        "ours = {'modelrepo.clients', 'modelrepo.server'}\n"
        "heavy = {'numpy', 'rich', *ours, 'tritonclient', 'grpc', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stderr
    assert "modelrepo infer resnet50 --image dog.jpg --top 5" in run.stdout
