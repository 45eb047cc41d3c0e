"""The step that makes pixels of the bytes of a picture's file, as `builtin:decode` puts it into a repository.

A copy of this file runs in Triton's container: it needs Pillow and numpy, and nothing of modelrepo.
"""

import re
from io import BytesIO
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 100_000_000
# What Pillow calls grey pictures of 16 bits.
DEEP = ("I;16", "I;16B", "I;16L", "I")


class Undecodable(ValueError):
    """The bytes are no picture that is decoded."""

    in_own_words = True  # the message needs no name of a class and no line before it


def decode(image: bytes, max_pixels: int = MAX_PIXELS) -> Annotated[NDArray[np.uint8], "pixels=[height, width, 3]"]:
    """Return a picture as RGB, upright as its EXIF orientation says, the first frame of an animated one.

    As ``Image.open(file).convert("RGB")`` says otherwise: transparency is dropped, CMYK and palettes are converted
    without colour profiles. Of 16 bits a channel the upper 8 are kept; Pillow would cut off a grey picture's.
    """
    if not image:
        raise Undecodable("the image is empty: it has no bytes")
    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, and no warning
    try:
        with Image.open(BytesIO(image), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise Undecodable(
                    f"the image has {width} x {height} = {width * height} pixels, more than the limit of {max_pixels}"
                )
            upright = ImageOps.exif_transpose(opened)
            if upright.mode in DEEP:
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except Undecodable:
        raise
    except UnidentifiedImageError:
        raise Undecodable(f"the image is no JPEG, PNG or WebP: it begins with {_beginning(image)}") from None
    except MemoryError:
        raise Undecodable("the image needs more memory than there is") from None
    except Exception as error:
        raise Undecodable(
            f"the image can't be decoded: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


def _beginning(data: bytes) -> str:
    """Return the first bytes as text if they are that, and else as hexadecimal digits."""
    text = re.match(rb"[ -~]{4,24}", data.lstrip())
    return f'"{text[0].decode()}"' if text else f"the bytes {data[:8].hex(' ')}"
