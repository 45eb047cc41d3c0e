"""Pictures' files as clients may send them, for the live check of steps that decode them."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.verification.photographs import natural_looking

# Height and width of each group, and its file formats with what Pillow is told to save them.
SIZES = ((48, 64), (57, 43), (224, 224))
FORMATS: tuple[tuple[str, dict[str, int]], ...] = (("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {"quality": 90}))


def drawn(count: int, seed: int) -> Sequence[Arrays]:
    """Return files of random pictures: groups of pictures of one size, as arrays "image" of bytes, shape [N, 1]."""
    random = np.random.default_rng(seed)
    groups = []
    for number, (height, width) in enumerate(SIZES):
        files = [encoded(random, height, width, kind) for kind in range(count // len(SIZES) + (number == 0))]
        array = np.empty((len(files), 1), np.object_)
        array[:, 0] = files
        if files:
            groups.append({"image": array})
    return groups


def encoded(random: np.random.Generator, height: int, width: int, kind: int) -> bytes:
    """Return a random picture's file, in one format after the other."""
    from PIL import Image

    pixels = natural_looking(random, height, width).transpose(1, 2, 0)
    name, options = FORMATS[kind % len(FORMATS)]
    file = BytesIO()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(file, name, **options)
    return file.getvalue()
