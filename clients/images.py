"""An image file as a model's input: as pixels, or prepared as for torchvision's weights (resize, crop, normalise)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelrepo.clients.errors import DependencyError, InputError

# EXIF's number of the tag, and its values for pictures that lie on their side.
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)


def load_image(path: str | Path, preprocess: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return an image as float32 (1, 3, height, width), RGB, scaled to 0..1, then (value - mean) / std by channel.

    With the ``layout`` CHW in ``preprocess`` it is (3, height, width): the model takes one image, and no batch.
    ``preprocess`` comes from a manifest: ``resize`` is the length of the shorter side in pixels, ``crop`` height and
    width of the centre (padded with black if the image is smaller), ``interpolation`` Pillow's name of a filter,
    ``mean`` and ``std`` three numbers. Raises InputError for a file or a preprocess that can't be used, DependencyError
    without Pillow.
    """
    layout = preprocess.get("layout", "NCHW")
    as_expected = {"kind": "image", "layout": layout if layout == "CHW" else "NCHW", "scale": [0.0, 1.0]}
    other = [key for key, value in as_expected.items() if preprocess.get(key, value) != value]
    if other:
        raise InputError(
            f"can't use a preprocess with {other[0]} {preprocess[other[0]]!r}", f"Known: {as_expected[other[0]]!r}"
        )
    try:
        resize, interpolation = int(preprocess["resize"]), str(preprocess["interpolation"])
        height, width = (int(size) for size in preprocess["crop"])
        mean, std = (np.asarray(preprocess[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"this preprocess is not one for images: {error!r}", "It needs resize, crop, …") from error
    image = _resized(_opened(Path(path)), resize, interpolation)
    pixels = np.asarray(_cropped(image, height, width), np.uint8).transpose(2, 0, 1)
    scaled = pixels.astype(np.float32) / np.float32(255)
    normalised: NDArray[np.float32] = np.ascontiguousarray((scaled - mean) / std)
    return normalised if layout == "CHW" else normalised[np.newaxis]


def load_pixels(picture: str | Path | bytes) -> NDArray[np.uint8]:
    """Return a picture as uint8 (height, width, 3), RGB, as it is: for a model that prepares it in the server.

    ``picture`` is a file, or its bytes. It is turned upright as its EXIF data say; transparency is left out. Raises
    InputError for one that can't be read, DependencyError without Pillow.
    """
    module = _pillow()
    from PIL import ImageOps

    where = f"of {len(picture):,} bytes" if isinstance(picture, bytes) else str(picture)
    with _named(where), module.open(BytesIO(picture) if isinstance(picture, bytes) else picture) as file:
        return np.asarray(_eight_bits(ImageOps.exif_transpose(file)).convert("RGB"), np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    """Return the height and width that ``load_pixels`` gives, from the head of a file; its errors."""
    module = _pillow()
    with _named(str(path)), module.open(path) as file:
        width, height = file.size
        return (width, height) if file.getexif().get(ORIENTATION, 1) in TURNED else (height, width)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise DependencyError(
            "Pillow, which reads images, is not installed", "pip install 'modelrepo[images]'"
        ) from error
    return Image


def _opened(path: Path) -> Any:
    module = _pillow()
    with _named(str(path)), module.open(path) as file:
        return _eight_bits(file).convert("RGB")


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn what Pillow raises for a broken file into an InputError."""
    module = _pillow()
    try:
        yield
    except (OSError, ValueError, SyntaxError, module.DecompressionBombError) as error:
        unknown = isinstance(error, module.UnidentifiedImageError)
        reason = "Pillow does not know its format" if unknown else getattr(error, "strerror", None) or str(error)
        raise InputError(f"can't read the image {what}: {reason}") from error


def _eight_bits(image: Any) -> Any:
    """Return a grey image of 16 bits with the upper 8; Pillow's own conversion makes most of it white."""
    if not image.mode.startswith("I"):
        return image
    return _pillow().fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _resized(image: Any, shorter: int, interpolation: str) -> Any:
    """Return an image with its shorter side scaled to a length; the longer is rounded down, as in torchvision."""
    filters = _pillow().Resampling
    if interpolation.upper() not in filters.__members__:
        known = ", ".join(name.lower() for name in filters.__members__)
        raise InputError(f"unknown interpolation {interpolation!r}", f"Known: {known}")
    width, height = image.size
    longer = int(shorter * max(width, height) / min(width, height))
    size = (shorter, longer) if width <= height else (longer, shorter)
    return image if size == image.size else image.resize(size, filters[interpolation.upper()])


def _cropped(image: Any, height: int, width: int) -> Any:
    """Return the centre; torchvision rounds half a pixel to even, and Pillow fills the area outside with black.

    Torchvision pads a smaller image first, with the odd pixel after it.
    """
    left, upper = _start(image.width, width), _start(image.height, height)
    return image.crop((left, upper, left + width, upper + height))


def _start(size: int, crop: int) -> int:
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2.0)
