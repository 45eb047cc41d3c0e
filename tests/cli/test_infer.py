"""`modelrepo infer`: what it prints, what it refuses, and with which exit code."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.cli.commands import infer as infer_command
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.server import Server, running_server
from tests.conftest import PROJECT, Generate, ModelRepo, Outcome
from tests.served_models import LATE, WEIGHTS, write_for_tables, write_repository

Infer = Callable[..., Outcome]
Golden = Callable[[str, str], None]
PREPROCESS = {
    "kind": "image", "resize": 2, "crop": [2, 2], "interpolation": "bilinear", "scale": [0.0, 1.0],
    "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "layout": "NCHW",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_for_tables(write_repository(tmp_path_factory.mktemp("repository")))) as running:
        yield running


@pytest.fixture
def infer(modelrepo: ModelRepo) -> Infer:
    """Run `modelrepo infer` in this process, in an empty folder."""
    return partial(modelrepo, infer_command.infer)


def write_preprocess(
    repository: Path, name: str, preprocess: dict[str, object] | None = PREPROCESS, number: int = 1
) -> None:
    """Write a manifest such as `generate` leaves beside the repository."""
    source = SourceRecord("numpy:m", Weights("random", "seed 0", True), preprocess, "numpy", 17, 8, ())
    provenance = Provenance("key", source, {}, {}, Verification())
    manifest = Manifest(name, number, "onnxruntime", "2026-11-20", 0, "", {}, provenance)
    path = Repository(repository).state / "manifests" / name / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manifest.to_json())


def test_the_answer_is_shown_as_arrays(infer: Infer, server: Server) -> None:
    outcome = infer("linear", "--url", server.grpc_url, "--input", "[[1, 1, 1, 1]]")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "output  float32 [1, 3]\n[[4.5 5.5 6.5]]\nlinear, version 1\n"
    assert f"asking linear at {server.grpc_url}" in outcome.err


def test_the_best_classes_are_shown_as_a_table(infer: Infer, server: Server) -> None:
    outcome = infer("linear", "--url", server.http_url, "--input", "input=[[1,1,1,1]]", "--top", "2", "-q")
    table = "rank  label    index  score\n1     a: fish  2      6.5\n2     dog      1      5.5\n"
    assert outcome.out == f"{table}linear, version 1\n"
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
    assert outcome.out == "output  float32 [1, 3]\n[[ 9. 10. 11.]]\nlinear, version 1\n"
    assert "starting local Triton" in outcome.err


def test_a_version_that_the_configuration_leaves_out_gets_the_way_to_serve_it(infer: Infer, workdir: Path) -> None:
    write_repository(workdir / "model_repository")
    shutil.copytree("model_repository/linear/1", "model_repository/linear/2")
    outcome = infer("linear", "--input", "[[0, 0, 0, 4]]", "--version", "1")
    assert outcome.code == 2
    assert "version 1 is in model_repository/linear, but its config.pbtxt leaves it out: there is 2" in outcome.err
    assert "Name it in the version_policy of config.pbtxt" in outcome.err
    for number in (1, 2):
        write_preprocess(workdir / "model_repository", "linear", number=number)
    hint = infer("linear", "--input", "[[0, 0, 0, 4]]", "--version", "1").err
    assert "Serve it with `modelrepo promote linear 1`" in hint


def test_a_table_of_any_length_is_asked_in_batches_in_order(infer: Infer, server: Server, workdir: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1001, 4)).astype("float32")
    lines = "".join(f"{number},{','.join(map(str, row))}\n" for number, row in enumerate(rows.tolist()))
    Path("rows.csv").write_text(f",a,b,c,d\n{lines}")  # with an index, as pandas writes it
    np.save("rows.npy", rows)
    np.savez("rows.npz", input=rows, labels=np.zeros(1001, int))
    pyarrow = pytest.importorskip("pyarrow.parquet")
    columns = {name: rows[:, place] for place, name in enumerate("abcd")}
    pyarrow.write_table(pytest.importorskip("pyarrow").table(columns), "rows.parquet")
    for number, file in enumerate(("rows.csv", "rows.npy", "rows.npz", "rows.parquet")):
        url = server.http_url if number % 2 else server.grpc_url
        outcome = infer("linear", file, "--url", url, "--output", f"{file}.npz")
        assert outcome.code == 0, outcome.err
        assert "output  float32 [1001, 3]\n" in outcome.out
        assert "1,001 rows" in outcome.err
        with np.load(f"{file}.npz") as saved:
            np.testing.assert_allclose(saved["output"], rows @ WEIGHTS, rtol=1e-5, atol=1e-5)
    outcome = infer("linear", "--url", server.grpc_url, "--input", "@rows.npy", "--json", "-q")
    assert outcome.report["version"] == "1"
    np.testing.assert_allclose(outcome.report["outputs"]["output"]["data"], rows @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_columns_are_inputs_by_name_in_any_order(infer: Infer, server: Server, workdir: Path) -> None:
    Path("rows.csv").write_text('id;the word;size;count\n7;"two\nlines";;3\n8;x;TRUE;4.0\n')
    outcome = infer("single", "rows.csv", "--url", server.grpc_url, "--json")
    assert outcome.code == 0, outcome.err
    assert "columns are separated by ';'" in outcome.err
    assert "rows.csv: id is not asked for by single" in outcome.err
    outputs = outcome.report["outputs"]
    assert outputs["count_out"] == {"dtype": "int8", "shape": [2, 1], "data": [[3], [4]]}
    assert outputs["size_out"]["data"] == [["NaN"], [1.0]]
    assert outputs["word_out"]["data"] == [["two\nlines"], ["x"]]


def test_empty_text_is_said_and_sent(infer: Infer, server: Server, workdir: Path) -> None:
    Path("rows.csv").write_text("the word,size,count\n,1,3\nx,1,4\n")
    outcome = infer("single", "rows.csv", "--url", server.grpc_url, "--json")
    assert outcome.report["outputs"]["word_out"]["data"] == [[""], ["x"]]
    assert "the_word has 1 empty cell: sent as empty text, not as a missing value" in outcome.err


def test_a_table_without_a_header_is_said_to_have_none(infer: Infer, server: Server, workdir: Path) -> None:
    Path("rows.csv").write_text("1.0,1,1,1,dog\n0.0,0,0,4,a: fish\n")
    outcome = infer("linear", "rows.csv", "--url", server.grpc_url, "--labels", "4", "--json")
    assert outcome.code == 0, outcome.err
    assert "rows.csv has no header" in outcome.err
    assert outcome.report["accuracy"]["top1"] == 0.5


@pytest.mark.parametrize("kind", ["column", "names", "numbers", "npy", "npz"])
def test_labels_give_the_accuracy(infer: Infer, server: Server, workdir: Path, kind: str) -> None:
    rows = np.eye(4, dtype="float32")[[3, 3, 3, 0]] * [[1], [1], [1], [-1]]  # answers: fish three times, then cat
    labels = ["a: fish", "Dog", "cat", "cat"]
    numbers = [2, 1, 0, 0]
    np.savez("rows.npz", input=rows, own=numbers)
    np.save("numbers.npy", numbers)
    Path("names.txt").write_text("\n".join(labels))
    Path("numbers.txt").write_text("\n".join(map(str, numbers)))
    lines = [",".join([*map(str, row), label]) for row, label in zip(rows.tolist(), labels, strict=True)]
    Path("rows.csv").write_text("\n".join(["a,b,c,d,kind", *lines]))
    file, given = {
        "column": ("rows.csv", "kind"), "names": ("rows.npz", "names.txt"), "numbers": ("rows.npz", "numbers.txt"),
        "npy": ("rows.npz", "numbers.npy"), "npz": ("rows.npz", "own"),
    }[kind]  # fmt: skip
    if kind in ("names", "numbers", "npy"):
        np.savez("rows.npz", input=rows)
    outcome = infer("linear", file, "--url", server.grpc_url, "--labels", given, "--top", "2")
    assert outcome.out == "accuracy 50.0%, top-2 75.0% of 4 rows\nlinear, version 1\n", outcome.err
    report = infer("linear", file, "--url", server.grpc_url, "--labels", given, "--json").report
    assert report["accuracy"]["classes"] == [
        {"label": "cat", "count": 2, "right": 1},
        {"label": "dog", "count": 1, "right": 0},
        {"label": "a: fish", "count": 1, "right": 1},
    ]
    assert report["outputs"]["output"] == {"dtype": "float32", "shape": [4, 3]}


def test_the_usual_names_of_labels_are_no_inputs(infer: Infer, server: Server, workdir: Path) -> None:
    np.savez("rows.npz", x=np.eye(4, dtype="float32"), y=[0, 1, 2, 0])
    outcome = infer("linear", "rows.npz", "--url", server.grpc_url)
    assert outcome.code == 0, outcome.err
    assert "the array y of rows.npz is not used: measure with --labels y" in outcome.err


def test_python_objects_are_told_from_other_files(infer: Infer, server: Server, workdir: Path) -> None:
    np.save("rows.npy", np.array([["a"]], object))
    outcome = infer("linear", "rows.npy", "--url", server.grpc_url)
    assert outcome.code == 2
    assert "it holds Python objects. Save texts with .astype(str)" in outcome.err


def test_labels_of_a_model_of_numbers_give_its_errors(infer: Infer, server: Server, workdir: Path) -> None:
    Path("rows.csv").write_text("x,y\n1,1\n2,4\n3,2\n4,5\n")
    outcome = infer("number", "rows.csv", "--url", server.grpc_url, "--labels", "y", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.report["regression"]["mean_absolute_error"] == 1.0
    assert outcome.report["regression"]["r2"] == pytest.approx(0.4)  # 1 - 6 / 10
    shown = infer("number", "rows.csv", "--url", server.grpc_url, "--labels", "y").out
    assert shown.startswith("mean absolute error 1, R² 0.4000 of 4 rows")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".json", ".npy", ".npz"])
def test_the_answers_are_kept_in_a_file(infer: Infer, server: Server, workdir: Path, suffix: str) -> None:
    rows = np.arange(40, dtype="float32").reshape(10, 4)
    np.save("rows.npy", rows)
    path = Path(f"answers{suffix}")
    outcome = infer("linear", "rows.npy", "--url", server.grpc_url, "--output", str(path), "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.report["output_file"] == str(path)
    assert [each.name for each in workdir.iterdir() if each.name != "rows.npy"] == [path.name]
    np.testing.assert_allclose(read_answers(path), rows @ WEIGHTS)


def read_answers(path: Path) -> Any:
    match path.suffix:
        case ".csv":
            return np.loadtxt(path, delimiter=",", skiprows=1)
        case ".parquet":
            table = pytest.importorskip("pyarrow.parquet").read_table(path)
            assert table.column_names == ["output_0", "output_1", "output_2"]
            return np.column_stack([column.to_numpy() for column in table.columns])
        case ".jsonl":
            return [json.loads(line)["output"] for line in path.read_text().splitlines()]
        case ".json":
            return json.loads(path.read_text())["outputs"]["output"]["data"]
        case ".npz":
            return np.load(path)["output"]
        case _:
            return np.load(path)


def test_an_error_half_way_leaves_the_old_file_and_names_the_rows(infer: Infer, server: Server, workdir: Path) -> None:
    Path("counts.csv").write_text("count\n1\n2\n-1\n")
    Path("answers.jsonl").write_text("old")
    outcome = infer("fill", "counts.csv", "--url", server.grpc_url, "--output", "answers.jsonl", "-q")
    assert outcome.code == 7
    assert "error: counts.csv, line 4: " in outcome.err
    assert sorted(each.name for each in workdir.iterdir()) == ["answers.jsonl", "counts.csv"]
    assert Path("answers.jsonl").read_text() == "old"


def test_a_model_that_does_not_batch_is_asked_row_by_row(infer: Infer, server: Server, workdir: Path) -> None:
    Path("counts.csv").write_text("count\n1\n3\n")
    outcome = infer("fill", "counts.csv", "--url", server.grpc_url, "--json")
    assert outcome.report["outputs"]["filled"] == {
        "dtype": "float32", "shape": [2, None], "data": [[1.0], [1.0, 1.0, 1.0]]
    }  # fmt: skip


@pytest.mark.parametrize("protocol", ["grpc_url", "http_url"])
def test_without_an_input_the_inputs_are_listed(infer: Infer, server: Server, protocol: str) -> None:
    url = getattr(server, protocol)
    outcome = infer("linear", "--url", url)
    assert outcome.code == 0, outcome.err
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[0] == ["linear,", "version", "1,", "takes", "1", "to", "8", "rows", "a", "request"]
    assert ["input", "input", "FP32", "[-1,", "4]"] in lines
    assert ["output", "output", "FP32", "[-1,", "3]", "with", "class", "names"] in lines
    report = infer("linear", "--url", url, "--json").report
    assert report["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4], "optional": False}]
    command = report["examples"][-1]
    assert command == f"modelrepo infer linear --url {url} --input '[[0, 0, 0, 0]]'"
    assert infer(*shlex.split(command)[2:]).code == 0


def test_a_folder_of_images_in_class_folders_has_its_labels(infer: Infer, server: Server, workdir: Path) -> None:
    from PIL import Image

    write_preprocess(workdir / "model_repository", "pixels")
    for folder, colour in (("cat", (255, 0, 0)), ("dog", (0, 255, 0)), ("bird", (0, 255, 0))):
        Path("pictures", folder).mkdir(parents=True)
        Image.new("RGB", (4, 4), colour).save(Path("pictures", folder, "a.png"))
    outcome = infer("pixels", "pictures", "--url", server.grpc_url, "-q")
    assert outcome.out == "accuracy 66.7% of 3 rows\npixels, version 1\n", outcome.err
    outcome = infer("pixels", "pictures/dog/a.png", "--url", server.grpc_url, "-q", "--top", "1")
    assert "1     dog    1      4\n" in outcome.out, outcome.err


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


FILES: dict[str, str | bytes] = {
    "garbage.npy": "garbage", "garbage.parquet": "garbage", "empty.csv": "", "header.csv": "a,b,c,d\n",
    "rows.csv": "a,b,c,d\n1,1,1,1\n0,0,0,4\n1,0,0,0\n", "wide.csv": "a,b,c,d,e\n1,1,1,1,1\n",
    "picture.csv": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin.csv": "a,b,c,d\n1,1,1,\u00fc\n".encode("latin1"),
    "text.csv": 'a,b,c,d\n1,1,1,"1\n"\n1,1,abc,1\n', "comma.csv": "a;b;c;d\n1,5;1;1;1\n",
    "open.csv": 'a,b,c,d\n1,1,1,1\n1,"1,1,1\n1,1,1,1\n',
    "short.csv": "a,b,c,d\n1,1,1,1\n\n1,1,1\n", "one.csv": "name\nx\n",
    "fraction.csv": "count,size,the word\n1.5,1,x\n",
    "missing.csv": "count,size,the word\n1,1,x\n,1,x\n", "range.csv": "count,size,the word\n1,1,x\n300,1,x\n",
    "two.txt": "cat\ndog\n", "range.txt": "0\n1\n3\n", "names.txt": "cat\ndgo\ndog\n", "three.txt": "0\n1\n2\n",
    "lacking.csv": "a,b,c,d,own\n1,1,1,1,cat\n0,0,0,4,\n",
}  # fmt: skip
# case: the arguments after MODEL, the exit code. "URL" is a running server's, "NOWHERE" a port where nothing listens.
CASES: dict[str, tuple[str, int]] = {
    "nothing to measure": ("linear --url URL --labels a.txt", 2),
    "image and file": ("linear rows.csv --url URL --image a.png", 2),
    "table missing": ("linear nowhere.csv --url URL", 2),
    "table empty": ("linear empty.csv --url URL", 2),
    "table without rows": ("linear header.csv --url URL", 2),
    "table of another kind": ("linear picture.csv --url URL", 2),
    "table not UTF-8": ("linear latin.csv --url URL", 2),
    "Parquet garbage": ("linear garbage.parquet --url URL", 2),
    "too many columns": ("linear wide.csv --url URL", 2),
    "too few columns": ("linear rows.csv --labels d --url URL", 2),
    "columns missing": ("single one.csv --url URL", 2),
    "no such column": ("linear rows.csv --columns a,b,c,e --url URL", 2),
    "columns of an array": ("linear four.npy --columns a --url URL", 2),
    "text for a number": ("linear text.csv --url URL", 2),
    "a decimal comma": ("linear comma.csv --url URL", 2),
    "an open quote": ("linear open.csv --url URL", 2),
    "a short row": ("linear short.csv --url URL", 2),
    "a fraction for an integer": ("single fraction.csv --url URL", 2),
    "a missing integer": ("single missing.csv --url URL", 2),
    "an integer out of range": ("single range.csv --url URL", 2),
    "labels nowhere": ("linear rows.csv --labels z --url URL", 2),
    "labels of another number": ("linear rows.csv --labels two.txt --url URL", 2),
    "labels out of range": ("linear rows.csv --labels range.txt --url URL", 2),
    "labels with an unknown name": ("linear rows.csv --labels names.txt --url URL", 2),
    "a label missing": ("linear lacking.csv --labels own --url URL", 2),
    "labels for no classes": ("join both.npz --labels three.txt --url URL", 2),
    "output suffix": ("linear rows.csv --output a.xlsx --url URL", 2),
    "several outputs in one array": ("join both.npz --output a.npy --url URL", 2),
    "image and input": ("linear --url URL --image a.png --input 1", 2),
    "named and unnamed": ("linear --url URL --input input=1 --input 1", 2),
    "no JSON": ("linear --url URL --input input=hello", 2),
    "several for one name": ('linear --url URL --input input={"a":1}', 2),
    "file missing": ("linear --url URL --input input=@nowhere.npy", 2),
    "file garbage": ("linear --url URL --input input=@garbage.npy", 2),
    "no preprocess": ("linear --url URL --image red.png", 2),
    "header": ("linear --url URL --input 1 --header token", 2),
    "top and file": ("linear --url URL --input 1 --top 2 --output-file a.npz", 2),
    "file suffix": ("linear --url URL --input 1 --output-file a.doc", 2),
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
    for name, content in FILES.items():
        (workdir / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("red.png").touch()
    np.save("four.npy", np.ones((2, 4), "float32"))
    np.savez("both.npz", left=np.ones((3, 2), "float32"), right=np.ones((3, 2), "float32"))
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
    assert "modelrepo infer resnet50 dog.jpg --top 5" in run.stdout
