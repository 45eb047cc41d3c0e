"""What clients have, as input data: photographs, files that decode, and texts of realistic lengths."""

import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array
from modelrepo.perf.measuring import had, input_data


def taking(*tensors: Tensor, batch: int = 4) -> Model:
    return Model("m", ("1",), "", batch, tensors, ())


PIXELS = taking(Tensor("image", "UINT8", (-1, -1, -1, 3), kind="pixels"))
FILE = taking(Tensor("image", "BYTES", (-1, 1), kind="encoded image"))
TEXT = taking(Tensor("text", "BYTES", (-1, 1), kind="text"))


def rows(model: Model, **shapes: tuple[int, ...]) -> list[dict[str, Array]]:
    return input_data.likely_rows(model, None, 128, shapes, seed=0)


def test_pixels_are_photographs_of_usual_size() -> None:
    found = rows(PIXELS)
    assert len(found) == input_data.ROWS
    picture = found[0]["image"]
    assert (picture.dtype.name, picture.shape) == ("uint8", (375, 500, 3))
    beside = [np.abs(np.diff(row["image"].astype(int), axis=1)).mean() / row["image"].std() for row in found]
    assert np.mean(beside) < 0.5  # neighbours are alike, as they are not in noise: 1.1 there
    assert all(np.array_equal(one["image"], other["image"]) for one, other in zip(found, rows(PIXELS), strict=True))


def test_a_shape_is_that_of_the_picture() -> None:
    assert rows(PIXELS, image=(1080, 1920, 3))[0]["image"].shape == (1080, 1920, 3)
    fixed = taking(Tensor("image", "UINT8", (64, 80, 3), kind="pixels"), batch=0)
    assert rows(fixed)[0]["image"].shape == (64, 80, 3)
    for model, shape in ((PIXELS, (5, 5)), (PIXELS, (5, 5, 4)), (fixed, (5, 80, 3))):
        with pytest.raises(OptionError, match="does not fit"):
            rows(model, image=shape)


def test_encoded_images_are_files_that_decode() -> None:
    for row in rows(FILE):
        assert row["image"].shape == (1,)
        with Image.open(BytesIO(row["image"][0])) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("JPEG", (500, 375))


def test_texts_have_realistic_lengths() -> None:
    texts = [row["text"][0].decode() for row in rows(TEXT)]
    assert [len(text.split()) for text in texts] == list(had.LENGTHS)
    assert len(set(texts)) == len(texts)


def test_other_inputs_of_the_same_model_get_random_values() -> None:
    both = taking(Tensor("image", "UINT8", (-1, -1, -1, 3), kind="pixels"), Tensor("bias", "FP32", (-1, 2)))
    assert {name: array.shape for name, array in rows(both)[0].items()} == {"image": (375, 500, 3), "bias": (2,)}
    with pytest.raises(OptionError, match="--shape names the input 'nothing'"):
        rows(both, nothing=(1,))


def test_strings_travel_after_their_lengths(tmp_path: Path) -> None:
    input_data.write(rows(TEXT), tmp_path / "data.json")
    cell = json.loads((tmp_path / "data.json").read_text())["data"][0]["text"]
    raw = base64.b64decode(cell["content"]["b64"])
    assert cell["shape"] == [1]
    assert int.from_bytes(raw[:4], "little") == len(raw) - 4
    assert had.size_of_request(rows(TEXT)[0]) == len(raw)
    assert had.size_of_request(rows(PIXELS)[0]) == 375 * 500 * 3


def test_the_users_own_files_become_rows(tmp_path: Path) -> None:
    (tmp_path / "pictures/one").mkdir(parents=True)
    Image.new("RGB", (8, 9)).save(tmp_path / "pictures/one/a.png")
    Image.new("RGB", (5, 4)).save(tmp_path / "pictures/b.jpg")
    found = input_data.had_rows(tmp_path / "pictures", PIXELS)
    assert sorted(row["image"].shape for row in found) == [(4, 5, 3), (9, 8, 3)]
    (row,) = input_data.had_rows(tmp_path / "pictures/b.jpg", FILE)
    assert row["image"].tolist() == [(tmp_path / "pictures/b.jpg").read_bytes()]
    (tmp_path / "texts.txt").write_bytes(b"one\r\n\ntw\xff\x00o\n")
    texts = [row["text"].tolist() for row in input_data.had_rows(tmp_path / "texts.txt", TEXT)]
    assert texts == [[b"one"], [b""], [b"tw\xff\x00o"]]
    for path, model in ((tmp_path / "texts.txt", PIXELS), (tmp_path / "pictures", TEXT)):
        with pytest.raises(OptionError, match=r"can't measure m with .*: it takes"):
            input_data.had_rows(path, model)
