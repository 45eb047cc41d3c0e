"""`modelrepo show` and `modelrepo diff`: what they print, for people and for programs, and how they end."""

import ast
import json
import re
from pathlib import Path

import click
import pytest

from modelrepo.cli.commands.diff import diff
from modelrepo.cli.commands.show import show
from modelrepo.generator.repository.lifecycle.shown import in_words
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Domain
from tests import prepared_plans
from tests.conftest import Generate, ModelRepo, assert_refused, snapshot
from tests.generator.repository.lifecycle.onnx_models import net, repository_of
from tests.generator.repository.lifecycle.published import LINEAR, two_versions

FOREIGN = """backend: "python" max_batch_size: 4
input { name: "it's text", data_type: TYPE_STRING, dims: [ 1 ] }
input { name: "half", data_type: TYPE_FP16, dims: [ 2, -1 ] }
output { name: "o" data_type: TYPE_BOOL dims: [ 1 ] }
"""


@pytest.fixture
def repository(
    generate: Generate, numpy_models: None, workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Repository:
    return two_versions(generate, workdir, tmp_path_factory)


def test_show_says_what_a_model_is(modelrepo: ModelRepo, repository: Repository) -> None:
    before = snapshot(repository.root.parent)
    outcome = modelrepo(show, "linear")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "linear, version 2, served"
    for said in (
        "  source       numpy:linear",
        "  weights      random: seed 1",
        "  requests     1 to 16 rows each, Triton merges requests",
        "input   input   FP32  [-1, 4]  any",
        'output  output  FP32  [-1, 3]  3 classes: cat, dog, a "quoted" fish',
        "  modelrepo infer linear --input '[[0, 0, 0, 0]]'",
        "    modelrepo serve --model linear --http-port 8000 --grpc-port 8001",
        "    curl -s http://127.0.0.1:8000/v2/models/linear/infer -d '",
    ):
        assert said in lines
    assert re.search(r"compared with the source in [\d,]+ cases", outcome.out)
    assert snapshot(repository.root.parent) == before


def test_show_of_a_version_that_is_not_served_says_how_it_becomes_so(
    modelrepo: ModelRepo, repository: Repository
) -> None:
    outcome = modelrepo(show, "linear", "--version", "1", "--repository", "model_repository")
    assert outcome.out.startswith("linear, version 1, not served\n")
    assert "  modelrepo promote linear 1 --repository model_repository\n" in outcome.out
    assert "modelrepo infer linear --repository model_repository rows.csv" in outcome.out
    assert "random: seed 0" in outcome.out


def test_show_for_a_program_has_everything(modelrepo: ModelRepo, repository: Repository) -> None:
    found = modelrepo(show, "linear", "--json").report
    assert (found["version"], found["served"], found["made_by_modelrepo"], found["rebuilt"]) == (2, True, True, False)
    assert found["inputs"][0] == {
        "name": "input",
        "datatype": "FP32",
        "shape": [-1, 4],
        "optional": False,
        "domain": found["source"]["inputs"][0]["domain"],
        "sizes": {},
    }
    assert found["outputs"][0]["labels"] == ["cat", "dog", 'a "quoted" fish']
    assert found["verification"]["passed"]
    assert [each["version"] for each in found["versions"]] == [1, 2]
    assert set(found["files"]) == {"2/model.onnx", "config.pbtxt", "labels.txt"}
    ast.parse(found["ask"]["python"])
    body = re.search(r"-d '(.*)'$", found["ask"]["curl"], re.DOTALL)
    assert body
    assert json.loads(body[1])["inputs"][0]["data"] == [[0, 0, 0, 0]]


def test_show_of_a_model_of_others_is_marked_so(modelrepo: ModelRepo, workdir: Path) -> None:
    (workdir / "model_repository/py/1").mkdir(parents=True)
    (workdir / "model_repository/py/config.pbtxt").write_text(FOREIGN)
    outcome = modelrepo(show, "py")
    assert outcome.code == 0
    assert "not made by modelrepo" in outcome.out
    assert "what follows is what its configuration says" in outcome.out
    assert "FP16   [-1, 2, -1]" in outcome.out
    assert "With curl" not in outcome.out  # JSON has no FP16
    found = modelrepo(show, "py", "--json").report
    assert (found["made_by_modelrepo"], found["verification"], found["ask"]["curl"]) == (False, None, None)
    ast.parse(found["ask"]["python"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "it has no config.pbtxt"),
        ("max_batch_size: many", "config.pbtxt is not a ModelConfig"),
        ('backend: "onnxruntime"', "its config.pbtxt names no inputs"),
        ("", "its config.pbtxt is empty"),
    ],
)
def test_show_without_a_usable_configuration_says_why(
    modelrepo: ModelRepo, workdir: Path, config: str | None, said: str
) -> None:
    (workdir / "model_repository/net/1").mkdir(parents=True)
    if config is not None:
        (workdir / "model_repository/net/config.pbtxt").write_text(config)
    outcome = modelrepo(show, "net")
    assert outcome.code == 0
    assert said in outcome.out
    assert modelrepo(show, "net", "--json").report["trouble"]


def test_show_of_lost_records_says_how_they_are_made_anew(modelrepo: ModelRepo, repository: Repository) -> None:
    repository.state.rename("elsewhere")
    said = " ".join(modelrepo(show, "linear").out.split())
    assert "`modelrepo versions --rebuild` makes the missing record from the files" in said


def test_show_says_that_a_configuration_was_edited(modelrepo: ModelRepo, repository: Repository) -> None:
    config = repository.root / "linear/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 16", "max_batch_size: 4"))
    outcome = modelrepo(show, "linear")
    assert "config.pbtxt was edited by hand" in outcome.out
    assert "1 to 4 rows each" in outcome.out


def test_requests_of_sequences_are_left_to_tritonclient(modelrepo: ModelRepo, workdir: Path) -> None:
    (workdir / "model_repository/seq/1").mkdir(parents=True)
    (workdir / "model_repository/seq/config.pbtxt").write_text(f"{FOREIGN} sequence_batching {{ }}")
    outcome = modelrepo(show, "seq")
    assert "sequence_start" in outcome.out
    assert "modelrepo infer" not in outcome.out


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (Domain(), "any"),
        (Domain(known=False), ""),
        (Domain(0, 255), "0 to 255"),
        (Domain(low=1), "at least 1"),
        (Domain(high=1, missing=True), "at most 1, NaN for a missing value"),
        (Domain(choices=("a", "b")), "one of a, b"),
        (Domain(choices=tuple(map(float, range(9)))), "one of 0.0, 1.0, 2.0, 3.0, 4.0, … (9)"),
        (Domain(mask=True), "a mask: ones, then zeros"),
        (Domain(low=-1, high=1, wave=True), "-1 to 1, samples of a sound"),
    ],
)
def test_the_values_of_an_input_are_said_in_words(domain: Domain, words: str) -> None:
    assert in_words(domain) == words


@pytest.mark.parametrize("command", [show, diff], ids=lambda command: command.name)
def test_a_model_or_version_that_is_not_there_is_refused(
    modelrepo: ModelRepo, repository: Repository, command: click.Command
) -> None:
    assert_refused(modelrepo(command, "lineal"), 6, "has no model 'lineal'. Did you mean linear?")
    assert_refused(modelrepo(command, "linear", "--repository", "nowhere"), 6, "can't find the repository")
    for path in ("", ".", "..", "./linear", "../model_repository/linear"):
        assert_refused(modelrepo(command, path), 6, f"has no model {path!r}")
    version = ("--version", "9") if command is show else ("9",)
    assert_refused(modelrepo(command, "linear", *version), 6, "linear has no version 9. It has 1, 2")
    assert modelrepo(command, "lineal", "--json").report["error"]["exit_code"] == 6


@pytest.mark.parametrize("command", [show, diff], ids=lambda command: command.name)
@pytest.mark.parametrize("schema", ["2", '"x"'])
def test_a_record_of_another_release_is_named_in_one_line(
    modelrepo: ModelRepo, repository: Repository, command: click.Command, schema: str
) -> None:
    record = repository.state / "manifests/linear/1.json"
    record.write_text(record.read_text().replace('"schema": 1', f'"schema": {schema}'))
    before = snapshot(repository.root.parent)
    assert_refused(modelrepo(command, "linear"), 6, "was written by another release of modelrepo")
    record.write_text("{")
    assert_refused(modelrepo(command, "linear"), 6, "is damaged")
    record.write_text(record.read_text())
    assert snapshot(repository.root) == {
        path.removeprefix("model_repository/"): each
        for path, each in before.items()
        if path.startswith("model_repository/")
    }


def test_diff_says_what_is_different(modelrepo: ModelRepo, repository: Repository) -> None:
    outcome = modelrepo(diff, "linear")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "linear: version 1 → 2"
    for said in (
        '  -  value { string_value: "random: seed 0" }',
        "  12 of 12 parameters changed; 0 tensors the same",
        "  The same operators, inputs and outputs",
        "  To 8 golden requests",
        "  option seed  0 → 1",
    ):
        assert said in lines


def test_diff_ends_as_asked(modelrepo: ModelRepo, repository: Repository) -> None:
    assert modelrepo(diff, "linear", "1", "2", "--no-answers").code == 0
    assert modelrepo(diff, "linear", "1", "2", "--no-answers", "--exit-code").code == 1
    outcome = modelrepo(diff, "linear", "2", "2", "--exit-code")
    assert (outcome.code, outcome.out) == (0, "linear: version 2 → 2\n  This is one version\n")


def test_diff_for_a_program_is_one_object(modelrepo: ModelRepo, repository: Repository) -> None:
    found = modelrepo(diff, "linear", "1", "2", "--json").report
    assert (found["versions"], found["equal"]) == ([1, 2], False)
    assert found["weights"]["changed"][0]["name"] == "W"
    assert found["answers"]["outputs"][0]["name"] == "output"
    assert modelrepo(diff, "linear", "1", "2", "--json", "--no-answers").report["answers"] is None


def test_diff_lists_what_fits_and_says_that_there_is_more(modelrepo: ModelRepo, workdir: Path) -> None:
    repository_of(workdir / "model_repository", [net(), net(names=("p", "q"), activation="Tanh", opset=18)])
    outcome = modelrepo(diff, "net", "1", "2")
    assert "  Relu         1 → 0, gone" in outcome.out.splitlines()
    assert "w1 → p, w2 → q" in outcome.out
    assert "version 1 has no record" in outcome.out


def test_one_version_has_nothing_to_be_compared_with(
    modelrepo: ModelRepo, generate: Generate, numpy_models: None
) -> None:
    generate(*LINEAR)
    assert_refused(modelrepo(diff, "linear"), 6, "linear has no two versions to compare")


def test_names_and_configurations_of_any_bytes_are_printed(modelrepo: ModelRepo, workdir: Path) -> None:
    repository_of(workdir / "model_repository", [net(), net(names=("p\x1b[31m", "q"), activation="Tanh")])
    folder = workdir / "model_repository/n\udcff\x1b[31m"
    (workdir / "model_repository/net").rename(folder)
    (folder / "config.pbtxt").write_bytes((folder / "config.pbtxt").read_bytes() + b"# \xff \x1b[31m\n")
    (folder / "1/\udcff.txt").write_text("")
    for arguments in ((show, folder.name), (diff, folder.name, "1", "2")):
        for more in ((), ("--json",)):
            outcome = modelrepo(*arguments, *more)
            assert outcome.code == 0, outcome.err
            outcome.out.encode()
            assert "\x1b" not in outcome.out


@pytest.mark.parametrize("columns", [60, 80])
def test_what_is_shown_fits_a_terminal(
    modelrepo: ModelRepo, repository: Repository, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    told, asked = modelrepo(show, "linear").out.split("How to ask it")
    assert max(map(len, told.splitlines())) <= columns
    assert asked  # commands are in one line each, to be copied
    assert max(map(len, modelrepo(diff, "linear").out.splitlines())) <= 80


def test_a_model_whose_plan_is_to_be_built_is_told_so(modelrepo: ModelRepo, workdir: Path) -> None:
    (workdir / "model_repository").mkdir()
    prepared_plans.prepare(workdir / "model_repository")
    assert_refused(modelrepo(show, "linear"), 6, "linear has no version yet: its plan is still to be built")
