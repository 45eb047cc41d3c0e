"""`modelrepo infer` of models that take what clients have: pictures, files and texts as they are."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from modelrepo.cli.commands import infer as infer_command
from modelrepo.cli.commands import show as show_command
from modelrepo.cli.terminal.infer_had import of_images
from modelrepo.clients.inputs import check_inputs
from modelrepo.clients.models import Model, Tensor
from modelrepo.server import Server, running_server
from tests.conftest import ModelRepo, Outcome
from tests.served_models import write_for_kinds, write_repository

Infer = Callable[..., Outcome]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_for_kinds(write_repository(tmp_path_factory.mktemp("repository")))) as running:
        yield running


@pytest.fixture
def infer(modelrepo: ModelRepo, server: Server) -> Infer:
    """Run `modelrepo infer MODEL --url URL` in this process, in an empty folder with pictures."""
    for name, colour, size in (
        ("red", (200, 10, 20), (30, 20)),
        ("green", (5, 99, 1), (30, 20)),
        ("blue", (0, 0, 9), (8, 9)),
    ):
        Image.new("RGB", size, colour).save(f"{name}.png")
    return lambda model, *more: partial(modelrepo, infer_command.infer)(model, "--url", server.grpc_url, "-q", *more)


pytestmark = pytest.mark.usefixtures("workdir")


def test_a_picture_is_sent_as_its_pixels_without_a_manifest(infer: Infer) -> None:
    outcome = infer("means", "red.png")
    assert outcome.out.splitlines()[:2] == ["rank  label  index  score", "1     red    0      200"], outcome.err
    assert infer("means", "--image", "red.png").out == outcome.out


def test_a_picture_lies_as_its_camera_says(infer: Infer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new("RGB", (20, 10), (200, 0, 0))
    half.save("turned.jpg", exif=exif)
    Path("turned").mkdir()
    half.rotate(270, expand=True).save("turned/a.png")
    assert (
        infer("means", "--image", "turned.jpg", "--image", "turned/a.png", "--json").report["classes"][0][0]["label"]
        == "red"
    )


def test_the_best_classes_that_a_model_answers_are_a_table(infer: Infer) -> None:
    outcome = infer("ranked", "green.png")
    table = "rank  label  index  score\n1     green  1      99\n2     red    0      5\nranked, version 1\n"
    assert outcome.out == table, outcome.err
    assert infer("ranked", "green.png", "--top", "1").out == table.replace("2     red    0      5\n", "")
    report = infer("ranked", "green.png", "--json").report
    assert report["classes"] == [
        [{"label": "green", "index": 1, "score": 99.0}, {"label": "red", "index": 0, "score": 5.0}]
    ]
    assert report["outputs"]["labels"]["data"] == [["green", "red"]]


def test_boxes_are_rows_and_those_that_do_not_count_are_left_out(infer: Infer) -> None:
    outcome = infer("boxed", "green.png")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[:2] == [
        ["rank", "label", "index", "score", "left", "top", "right", "bottom"],
        ["1", "-", "1", "99", "0", "99", "198", "297"],
    ], outcome.err
    assert len(lines) == 3
    (found,) = infer("boxed", "green.png", "--json").report["boxes"]
    assert found == [
        {"label": "", "index": 1, "score": 99.0, "box": {"left": 0, "top": 99, "right": 198, "bottom": 297}}
    ]


def test_pictures_of_different_sizes_are_requests_of_their_own(
    infer: Infer, modelrepo: ModelRepo, server: Server
) -> None:
    arguments = (
        "ranked",
        "--url",
        server.grpc_url,
        "--image",
        "red.png",
        "--image",
        "green.png",
        "--image",
        "blue.png",
    )
    outcome = modelrepo(infer_command.infer, *arguments, "--top", "1")
    assert [line.split()[:3] for line in outcome.out.splitlines()[1:4]] == [
        ["red.png", "1", "red"],
        ["green.png", "1", "green"],
        ["blue.png", "1", "blue"],
    ], outcome.err
    assert "3 pictures of different sizes are 2 requests" in outcome.err


def test_class_folders_are_compared_with_the_best_class(infer: Infer) -> None:
    for folder, picture in (("red", "red"), ("green", "green"), ("blue", "green")):
        Path("pictures", folder).mkdir(parents=True)
        shutil.copy(f"{picture}.png", f"pictures/{folder}/a.png")
    assert infer("ranked", "pictures").out.startswith("accuracy 66.7% of 3 rows")
    assert infer("ranked", "pictures", "--top", "2").out.startswith("accuracy 66.7%, top-2 66.7% of 3 rows")
    assert infer("means", "pictures").out.startswith("accuracy 66.7% of 3 rows")
    assert "answers boxes" in infer("boxed", "pictures").err


def test_texts_are_sent_as_they_are(infer: Infer) -> None:
    report = infer("words", "--text", "ünï", "--text", "", "--text", "two\nlines", "--json").report
    assert report["outputs"]["echoed"]["data"] == [["ünï"], [""], ["two\nlines"]]
    Path("texts.txt").write_bytes(b"one\r\n\nthr\x00ee")
    report = infer("words", "--text-file", "texts.txt", "--json").report
    assert report["outputs"]["echoed"]["data"] == [["one"], [""], ["thr\x00ee"]]


def test_the_bytes_of_a_file_are_sent_one_a_request() -> None:
    """In this process: the local server's ONNX backend takes no strings that are not UTF-8."""
    files = [Path("a.png"), Path("b.webp")]
    for file in files:
        Image.new("RGB", (8, 9)).save(file)
    model = Model("file", ("1",), "", 4, (Tensor("image", "BYTES", (-1, 1), kind="encoded image"),), ())
    samples, _ = of_images(files, model, None)
    sent = [check_inputs(model, part.inputs)["image"].tolist() for part in samples.parts()]
    assert sent == [[[file.read_bytes()]] for file in files]
    assert not any("requests" in note for note in samples.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("words", "red.png"), "words takes no pictures: it takes text BYTES[-1, 1] (text). Give it --text 'A text'"),
        (
            ("means", "--text", "red"),
            "means takes no text: it takes image UINT8[-1, -1, -1, 3] (pixels). Give it --image FILE",
        ),
        (("linear", "red.png"), "no image preparation for linear"),
        (("means", "--text", "a", "--image", "red.png"), "--image and --text were both given"),
        (("means", "broken.jpg"), "can't read the image broken.jpg: Pillow does not know its format"),
        (("words", "--text-file", "nowhere.txt"), "can't read nowhere.txt: No such file"),
    ],
)
def test_a_refusal_says_what_the_model_takes(infer: Infer, arguments: tuple[str, ...], message: str) -> None:
    Path("broken.jpg").write_text("<html>")
    outcome = infer(*arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_the_list_of_inputs_says_what_clients_have(infer: Infer) -> None:
    assert "a picture's pixels" in infer("means").out
    assert "/means" not in infer("means").out
    report = infer("words", "--json").report
    assert report["inputs"][0]["kind"] == "text"
    assert report["examples"][0].endswith("--text 'A text'")


def test_show_says_what_clients_have_and_how_to_send_it(modelrepo: ModelRepo, tmp_path: Path) -> None:
    repository = write_for_kinds(tmp_path / "models")
    shown = modelrepo(show_command.show, "means", "--repository", repository).out
    assert "a picture's pixels" in shown
    assert 'client.classify("means", {"image": Path("picture.jpg")}, top=3)' in shown
    assert "curl" not in shown  # JSON of a picture's pixels is of no use
    shown = modelrepo(show_command.show, "words", "--repository", repository).out
    assert 'client.infer("words", {"text": "A text"})' in shown
    assert "numpy" not in shown
    assert "modelrepo infer words --repository" in shown
