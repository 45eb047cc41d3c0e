"""The names of classes: a user's file, an ONNX file's metadata, and files beside it that are not read."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.graphs.metadata import class_names
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.pipeline import labels
from modelrepo.generator.sources import tflite
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from tests import onnx_files
from tests.conftest import Generate, assert_refused
from tests.generator.sources.test_onnx_source import config_of

NAMES = ("cat", "dog", "guinea pig", "owl")
QUICK = ("--live-check", "off", "--verify-effort", "quick", "-q", "--json")


def published() -> list[str]:
    return Path("model_repository/net/labels.txt").read_text().splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\n guinea  pig\r\nowl\n\n",
        "\ufeff0 cat\n1 dog\n2 guinea pig\n3 owl",
        json.dumps(NAMES),
        json.dumps(dict(reversed([*enumerate(NAMES)]))),
        json.dumps({"model_type": "bert", "id2label": dict(enumerate(NAMES))}),
        json.dumps({number: [f"n{number}", name] for number, name in enumerate(NAMES)}),
        json.dumps({name: number for number, name in reversed([*enumerate(NAMES)])}),
        json.dumps({"label2id": {name: number for number, name in enumerate(NAMES)}}),
        json.dumps({"classes": NAMES}),
        "0,cat\n1,dog\n2,guinea pig\n3,owl\n",
        "id,name\n1,dog\n0,cat\n3,owl\n2,guinea pig\n",
        'name,index\n"cat",0\n"dog",1\n"guinea pig",2\n"owl",3\n',
    ],
    ids=[
        *("lines", "numbered lines", "list", "by number", "a configuration", "with codes"),
        *("by name", "label2id", "classes", "columns", "a table", "a table by name"),
    ],
)
def test_a_file_of_names_is_read_in_each_usual_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_text(text, "utf-8")
    assert labels.read(path) == NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"cat\n\ndog\n", "line 2 of labels.txt is blank"),
        (b"caf\xe9\n", "is not text in UTF-8"),
        (b"a\0b\n" * 3, "is not text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>\n</html>\n", "web page"),
        (b'["cat", 3]', "does not name every class"),
        (b'{"0": "cat", "2": "dog"}', "does not name every class"),
        (b'["cat", ', "is not valid JSON"),
    ],
)
def test_a_file_that_names_no_classes_gets_one_line(generate: Generate, content: bytes, message: str) -> None:
    onnx_files.write("net.onnx")
    Path("labels.txt").write_bytes(content)
    assert_refused(generate("--model", "onnx:net.onnx", "--labels", "labels.txt", *QUICK[:-1]), 2, message)


def test_an_array_of_names_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "classes.npy", np.array(NAMES))
    assert labels.read(tmp_path / "classes.npy") == NAMES
    np.save(tmp_path / "objects.npy", np.array(NAMES, object))
    with pytest.raises(OptionError, match=r"Save the names as text: numpy.save\(path, classes.astype\(str\)\)"):
        labels.read(tmp_path / "objects.npy")
    np.save(tmp_path / "scores.npy", np.zeros((2, 3)))
    with pytest.raises(OptionError, match=r"scores.npy is float64\[2, 3\], and not a list of names"):
        labels.read(tmp_path / "scores.npy")


def test_names_with_commas_are_not_columns(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("tench, Tinca tinca\ngoldfish, Carassius\n")
    assert labels.read(tmp_path / "l.txt") == ("tench, Tinca tinca", "goldfish, Carassius")


def renamed(names: str, *outputs: TensorSpec, own: tuple[str, ...] = (), framework: str = "sklearn") -> SourceModel:
    Path("names.txt").write_text(names)
    weights = Weights("file", "", untrained=False)
    source = SourceModel("sklearn:m", framework, None, (X,), (), lambda arrays: {}, weights, own)
    _, options = resolve({"labels": Path("names.txt")}, ConfigFile(), "sklearn:m.skops")
    return labels.named(source, Signature((X,), outputs), options)


X = TensorSpec("x", "float32", ("batch", 4))
SCORES = TensorSpec("probabilities", "float32", ("batch", 3))


@pytest.mark.usefixtures("workdir")
def test_the_users_names_stand_beside_what_the_model_itself_calls_its_classes() -> None:
    source = renamed("a\nb\nc", SCORES, own=("3", "7", "9"))
    assert (source.labels, source.own_labels) == (("a", "b", "c"), ("3", "7", "9"))
    assert source.notes == ("the names in names.txt are those of the classes 3, 7, 9, in this order",)
    assert renamed("a\nb\nc", SCORES, own=("0", "1", "2")).notes == ()


@pytest.mark.usefixtures("workdir")
def test_the_models_own_names_in_another_order_are_refused() -> None:
    with pytest.raises(OptionError, match=r"names the classes in another order than the model, whose .* cat, dog, owl"):
        renamed("dog\ncat\nowl", SCORES, own=("cat", "dog", "owl"))


@pytest.mark.usefixtures("workdir")
def test_two_names_for_one_score_are_not_published_and_a_note_says_so() -> None:
    source = renamed("no\nyes", TensorSpec("y", "float32", ("batch", 1)))
    assert source.labels == ("no", "yes")
    assert source.notes == (
        "the names in names.txt are not published: Triton names scores, and y[batch, 1] has one for both classes",
    )


@pytest.mark.usefixtures("workdir")
def test_names_that_fit_several_outputs_are_those_of_each_and_a_note_says_so() -> None:
    source = renamed("a\nb\nc", SCORES, replace(SCORES, name="logits"))
    assert source.notes == ("the names in names.txt are those of probabilities and of logits",)


def test_the_users_names_are_published_for_triton(generate: Generate) -> None:
    onnx_files.write("net.onnx")
    Path("names.txt").write_text("\n".join(NAMES))
    outcome = generate("--model", "onnx:net.onnx", "--labels", "names.txt", *QUICK)
    assert outcome.code == 0, outcome.err
    assert config_of("net").output[0].label_filename == "labels.txt"
    assert published() == list(NAMES)
    again = generate("--model", "onnx:net.onnx", "--labels", "names.txt", *QUICK)
    assert again.result["status"] == "unchanged"
    Path("names.txt").write_text("a\nb\nc\nd\n")
    assert generate("--model", "onnx:net.onnx", "--labels", "names.txt", *QUICK).result["version"] == 2


def test_another_number_of_names_than_scores_is_refused(generate: Generate) -> None:
    onnx_files.write("net.onnx")
    Path("names.txt").write_text("cat\ndog\nowl\n")
    message = "names.txt names 3 classes, and no output has 3 scores a sample: y[batch, 4]"
    assert_refused(generate("--model", "onnx:net.onnx", "--labels", "names.txt", *QUICK[:-1]), 2, message)


def save(**metadata: str) -> None:
    model = onnx_files.model()
    onnx.helper.set_model_props(model, metadata)
    Path("net.onnx").write_bytes(model.SerializeToString())


def test_names_in_the_metadata_are_published_with_a_note(generate: Generate) -> None:
    save(names=str(dict(enumerate(NAMES))), task="classify")
    outcome = generate("--model", "onnx:net.onnx", *QUICK)
    assert (
        "the names of its classes are those of its metadata (names); --labels gives others" in outcome.result["notes"]
    )
    assert published() == list(NAMES)


def test_names_in_the_metadata_that_fit_no_output_are_not_published_and_a_note_says_so(generate: Generate) -> None:
    save(id2label=json.dumps({0: "cat", 1: "dog"}))
    outcome = generate("--model", "onnx:net.onnx", *QUICK)
    wanted = "the names of its 2 classes are not published: no output has a score for each (y[batch, 4])"
    assert wanted in outcome.result["notes"]
    assert not Path("model_repository/net/labels.txt").exists()


def test_the_users_names_replace_those_of_the_metadata(generate: Generate) -> None:
    save(names=str(dict(enumerate("abcd"))))
    Path("names.txt").write_text("\n".join(NAMES))
    assert generate("--model", "onnx:net.onnx", "--labels", "names.txt", *QUICK).code == 0
    assert published() == list(NAMES)


@pytest.mark.parametrize("text", ["{0: 'a', 2: 'b'}", "__import__('os')", "a, b", "[" * 10_000, "3"])
def test_metadata_that_names_no_classes_is_left_alone(text: str) -> None:
    model = onnx_files.model()
    onnx.helper.set_model_props(model, {"names": text})
    assert class_names(model) == ("", ())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("labels.txt", "cat", True),
        ("config.json", '{"id2label": {}}', True),
        ("config.json", "{}", False),
        ("modules.json", "[]", True),
    ],
)
def test_a_file_beside_the_model_that_is_not_read_gets_a_note(
    generate: Generate, name: str, content: str, told: bool
) -> None:
    onnx_files.write("net.onnx")
    Path(name).write_text(content)
    notes = generate("--model", "onnx:net.onnx", *QUICK).result["notes"]
    assert any(note.startswith(name) for note in notes) == told


def test_a_file_beside_a_version_of_tritons_gets_a_note(generate: Generate) -> None:
    Path("served/1").mkdir(parents=True)
    onnx_files.write("served/1/net.onnx")
    Path("served/labels.txt").write_text("cat")
    notes = generate("--model", "onnx:served/1/net.onnx", *QUICK).result["notes"]
    wanted = "served/labels.txt is not read: if it names the classes, --labels served/labels.txt publishes them"
    assert wanted in notes


def test_names_that_are_packed_behind_a_model_of_tensorflow_lite_get_a_note(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"model" * 100)
    assert not [*tflite.packed_notes(path)]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat")
    wanted = "labels.txt in net.tflite is not read: if it names classes, unzip it and give it as --labels"
    assert [*tflite.packed_notes(path)] == [wanted]


def test_scores_may_have_axes_of_one_around_them() -> None:
    assert TensorSpec("y", "float32", ("batch", 4, 1, 1)).scores(4)
    assert not TensorSpec("y", "float32", ("batch", 4, 7, 7)).scores(4)
    assert not TensorSpec("y", "float32", (4, 1)).scores(4)


def test_a_missing_file_is_an_error_of_the_option(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="can't read"):
        labels.read(tmp_path / "missing.txt")


def test_only_a_model_whose_classes_have_names_is_said_to_agree_on_them(generate: Generate, workdir: Path) -> None:
    onnx_files.write("net.onnx")
    Path("labels.txt").write_text("\n".join(NAMES))
    quick = ("--model", "onnx:net.onnx", "--live-check", "off", "--verify-effort", "quick", "--json")
    unnamed, named = generate(*quick), generate(*quick, "--labels", "labels.txt")
    assert "top-1 agreement" not in unnamed.err
    assert ", top-1 agreement 100%" in named.err
    assert unnamed.result["verification"]["top1"] == named.result["verification"]["top1"] == 1.0
