"""Pictures' files become the pixels of ``Image.open(file).convert("RGB")``, upright; others are refused in a line."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from modelrepo.generator.ensembles.decoding import Undecodable, decode

RANDOM = np.random.default_rng(0)
RGB = Image.fromarray(RANDOM.integers(0, 255, (40, 60, 3), dtype=np.uint8))
RGBA = Image.fromarray(RANDOM.integers(0, 255, (40, 60, 4), dtype=np.uint8))
DEEP = RANDOM.integers(0, 65535, (40, 60), dtype=np.uint16)
TURNED = Image.Exif()
TURNED[0x112] = 6  # the orientation: a quarter turn


def saved(image: Any, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


FILES = {
    "JPEG": saved(RGB, "JPEG"),
    "JPEG, progressive": saved(RGB, "JPEG", progressive=True),
    "JPEG, CMYK": saved(RGB.convert("CMYK"), "JPEG"),
    "JPEG, grey": saved(RGB.convert("L"), "JPEG"),
    "JPEG, turned": saved(RGB, "JPEG", exif=TURNED),
    "JPEG of a phone with two pictures": saved(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
    "PNG": saved(RGB, "PNG"),
    "PNG, alpha": saved(RGBA, "PNG"),
    "PNG, grey with alpha": saved(RGBA.convert("LA"), "PNG"),
    "PNG, palette": saved(RGB.convert("P"), "PNG"),
    "PNG, black and white": saved(RGB.convert("1"), "PNG"),
    "PNG, animated": saved(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "PNG, one pixel": saved(RGB.resize((1, 1)), "PNG"),
    "WebP": saved(RGB, "WEBP"),
    "WebP, alpha": saved(RGBA, "WEBP", lossless=True),
    "WebP, animated": saved(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)]),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_the_usual_pipeline(name: str) -> None:
    file = FILES[name]
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(file))).convert("RGB"))
    assert np.array_equal(decode(file), expected)


def test_grey_pictures_of_16_bits_keep_the_upper_8() -> None:
    found = decode(saved(Image.fromarray(DEEP), "PNG"))
    assert np.array_equal(found, np.stack([DEEP >> 8] * 3, axis=-1))


def test_pillow_itself_still_cuts_off_grey_pictures_of_16_bits() -> None:
    """Tells when the mend is no longer needed (no issue known)."""
    found = np.asarray(Image.open(BytesIO(saved(Image.fromarray(DEEP), "PNG"))).convert("RGB"))
    assert (found == 255).mean() > 0.9


BOMB = saved(Image.new("1", (20_000, 20_000)), "PNG")
REFUSED = {
    "empty": (b"", "the image is empty: it has no bytes"),
    "a page": (b"<!DOCTYPE html>\n<p>", 'the image is no JPEG, PNG or WebP: it begins with "<!DOCTYPE html>"'),
    "a GIF": (saved(RGB, "GIF"), 'the image is no JPEG, PNG or WebP: it begins with "GIF89a|GIF87a'),
    "bytes": (bytes(range(200, 250)), "the image is no JPEG, PNG or WebP: it begins with the bytes c8 c9 ca"),
    "truncated JPEG": (FILES["JPEG"][:-300], "the image can't be decoded: image file is truncated"),
    "truncated PNG": (FILES["PNG"][:200], "the image can't be decoded: image file is truncated"),
    "truncated WebP": (FILES["WebP"][:-9], "the image can't be decoded: "),
    "a bomb": (BOMB, "the image has 20000 x 20000 = 400000000 pixels, more than the limit of 100000000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_one_line(name: str) -> None:
    file, said = REFUSED[name]
    with pytest.raises(Undecodable, match=said) as refused:
        decode(file)
    assert "\n" not in str(refused.value)


def test_the_limit_of_pixels_is_an_argument() -> None:
    assert decode(FILES["PNG"], max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(Undecodable, match="more than the limit of 2399"):
        decode(FILES["PNG"], max_pixels=2399)
