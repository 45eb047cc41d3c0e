"""What clients have for an input: pictures, files and texts as they are."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelrepo.clients import AsyncGrpcClient, Client, connect, load_pixels
from modelrepo.clients.batches import split
from modelrepo.clients.errors import InputError
from modelrepo.clients.images import load_image, size_of
from modelrepo.clients.inputs import check_inputs
from modelrepo.clients.models import Model, Tensor, read_kinds
from modelrepo.server import Server, running_server
from tests.served_models import write_for_kinds

TEXTS = ["", "a\0", "\0", "ünï ✓", "two\nlines", "x" * 100_000]


def taking(*tensors: Tensor) -> Model:
    return Model("m", ("1",), "", 8, tensors, ())


PIXELS = taking(Tensor("image", "UINT8", (-1, -1, -1, 3), kind="pixels"))
TEXT = taking(Tensor("text", "BYTES", (-1, 1), kind="text"))
FILE = taking(Tensor("image", "BYTES", (-1, 1), kind="encoded image"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_for_kinds(tmp_path_factory.mktemp("repository"))) as running:
        yield running


@pytest.fixture(params=["grpc_url", "http_url"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    with connect(getattr(server, request.param)) as connected:
        yield connected


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_picture_is_asked_about_by_its_path(client: Client, picture: Path, server: Server) -> None:
    wanted = load_pixels(picture).reshape(-1, 3).mean(axis=0)
    answer = client.infer("means", picture)
    np.testing.assert_allclose(answer["means"][0], wanted, rtol=1e-6)
    values: list[Any] = [picture.read_bytes(), Image.open(picture), {"image": [picture]}, load_pixels(picture)]
    for value in values:
        assert np.array_equal(client.infer("means", value)["means"], answer["means"])
    assert client.classify("means", picture, top=1)[0][0].label in ("red", "green", "blue")
    assert client.infer_all("means", {"image": [picture] * 6})["means"].shape == (6, 3)


def test_the_asynchronous_client_does_the_same(server: Server, picture: Path) -> None:
    async def asked() -> Any:
        async with AsyncGrpcClient(server.grpc_url) as client:
            return (await client.infer("means", picture))["means"]

    assert asyncio.run(asked()).shape == (1, 3)


def test_texts_arrive_whole(client: Client) -> None:
    assert client.infer("words", "a text\0")["echoed"].tolist() == [[b"a text\0"]]
    answer = client.infer_all("words", {"text": TEXTS})
    assert answer["echoed"].ravel().tolist() == [text.encode() for text in TEXTS]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "CMYK"])
def test_pixels_are_rgb_of_any_picture(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    assert load_pixels(path).shape == (4, 5, 3)
    assert load_pixels(path.read_bytes()).min() >= 250


def test_pixels_lie_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert load_pixels(tmp_path / "a.jpg").shape == (20, 10, 3)
    assert size_of(tmp_path / "a.jpg") == (20, 10)


def test_of_16_bits_the_upper_8_are_kept(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert load_pixels(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 255]
    prepared = {"resize": 1, "crop": [1, 4], "interpolation": "nearest", "mean": [0, 0, 0], "std": [1, 1, 1]}
    np.testing.assert_allclose(load_image(tmp_path / "a.png", prepared)[0, 0, 0] * 255, [0, 0, 1, 255], atol=1e-4)


def test_pillow_still_whitens_grey_pictures_of_16_bits(tmp_path: Path) -> None:
    """The reason for ``images._eight_bits``; no issue known."""
    Image.fromarray(np.array([[256]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).max() == 255


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<html>", "Pillow does not know its format"), (b"", "Pillow does not know its format"), (None, "truncated")],
)
def test_a_broken_picture_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.jpg"
    if content is None:
        Image.effect_noise((64, 64), 50).save(path)
        content = path.read_bytes()[:800]
    path.write_bytes(content)
    for asked in (path, content):
        with pytest.raises(InputError, match=rf"can't read the image .*{reason}"):
            check_inputs(PIXELS, asked)


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(InputError, match="400000000 pixels"):
        load_pixels(tmp_path / "huge.png")


def test_pictures_of_a_request_have_one_size(tmp_path: Path, picture: Path) -> None:
    Image.new("RGB", (8, 9)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"20x30|30x20 and 8x9|8x9 and 30x20"):
        check_inputs(PIXELS, {"image": [picture, tmp_path / "b.png"]})
    one_by_one = split(PIXELS, {"image": [picture, tmp_path / "b.png"]}, 1, 1)
    assert [check_inputs(PIXELS, each)["image"].shape for each in one_by_one] == [(1, 20, 30, 3), (1, 9, 8, 3)]


def test_files_are_sent_as_their_bytes(picture: Path) -> None:
    assert check_inputs(FILE, picture)["image"].tolist() == [[picture.read_bytes()]]
    assert check_inputs(FILE, b"\xff\0")["image"].tolist() == [[b"\xff\0"]]
    assert check_inputs(FILE, {"image": np.array([picture, b""], object)})["image"].tolist() == [
        [picture.read_bytes()],
        [b""],
    ]


@pytest.mark.parametrize("dims", [(-1,), (-1, 1), (-1, -1)])
def test_texts_get_the_axes_of_the_input(dims: tuple[int, ...]) -> None:
    model = taking(Tensor("text", "BYTES", dims, kind="text"))
    for value in ({"text": ["a", "b\0"]}, {"text": np.array(["a", "b\0"], object)}):
        found = check_inputs(model, value)["text"]
        assert found.shape == (2, *[1] * (len(dims) - 1))
        assert found.ravel().tolist() == [b"a", b"b\0"]


def test_texts_keep_their_last_nul_for_inputs_without_a_kind() -> None:
    plain = taking(Tensor("text", "BYTES", (-1, 1)))
    assert check_inputs(plain, "a\0")["text"].tolist() == [[b"a\0"]]
    (request,) = split(plain, {"text": [["a\0"]]}, None, 1)
    assert check_inputs(plain, request)["text"].tolist() == [[b"a\0"]]


def test_a_path_for_an_input_of_numbers_is_refused(picture: Path) -> None:
    with pytest.raises(InputError, match="takes numbers or texts as x, not a file"):
        check_inputs(taking(Tensor("x", "FP32", (-1, 4))), picture)
    with pytest.raises(InputError, match=r"Write Path"):
        check_inputs(PIXELS, str(picture))


def test_kinds_are_read_from_the_configuration() -> None:
    def read(text: str) -> dict[str, str]:
        return read_kinds({"parameters": {"input_kinds": {"string_value": text}}})

    assert read("image=pixels") == {"image": "pixels"}
    assert read("a=b=pixels,the text=text,x,y=encoded image") == {
        "a=b": "pixels",
        "the text": "text",
        "x,y": "encoded image",
    }
    assert read("image=waves") == read("") == read_kinds({}) == {}
