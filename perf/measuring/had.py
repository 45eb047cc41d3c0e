"""What clients have, as rows of input data: photographs, files of photographs, and texts of realistic lengths."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from modelrepo.clients.errors import DependencyError
from modelrepo.clients.images import load_pixels
from modelrepo.clients.models import ENCODED, PIXELS, TEXT, Model, Tensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification.datasets import IMAGES
from modelrepo.generator.verification.photographs import natural_looking

# A photograph's height and width, as in ImageNet: the average there is about 400 x 350 pixels.
HEIGHT, WIDTH = 375, 500
# The quality of most cameras and of Pillow's users: such a photograph has about 100 kB.
QUALITY = 90
# Words in a text: a search, a title, sentences, and paragraphs of a review or an article.
LENGTHS = (4, 8, 15, 25, 40, 60, 90, 150)
# The most common words of English, which every tokenizer knows, and some that are cut into pieces.
WORDS = (
    "the of and to in a is that for it was on are as with they be at one have this from or had by but some what there "
    "we can out other were all your when up use word how said an each she which do their time if will way about many "
    "people water over know than first may down side been now find any new work part take get place made live after "
    "unbelievable delivery restaurant disappointing recommendation weather photographer yesterday neighbourhood price"
)
PICTURES = (PIXELS, ENCODED)


def of_kinds(model: Model) -> tuple[Tensor, ...]:
    """Return the inputs of a model that take what clients have."""
    return tuple(tensor for tensor in model.inputs if tensor.kind)


def made(tensor: Tensor, batched: bool, count: int, shape: Sequence[int] | None, seed: int) -> list[Array]:
    """Return ``count`` values for an input of a kind, each one sample: photographs, their files, or texts.

    ``shape`` is the user's: height, width and 3, for pixels. The file of a photograph is a JPEG file; OptionError
    without Pillow, and for a shape that does not fit.
    """
    random = np.random.default_rng([seed, 1])
    if tensor.kind == TEXT:
        texts = [_text(random, LENGTHS[row % len(LENGTHS)]) for row in range(count)]
        return [_shaped(text.encode(), tensor, batched) for text in texts]
    height, width = _size(tensor, batched, shape)
    pictures = [_picture(random, height, width) for _ in range(count)]
    if tensor.kind == PIXELS:
        return pictures
    return [_shaped(_file(picture), tensor, batched) for picture in pictures]


def _size(tensor: Tensor, batched: bool, shape: Sequence[int] | None) -> tuple[int, int]:
    own = tensor.dims[batched:] if tensor.kind == PIXELS else (-1, -1, 3)
    if shape is not None and (
        len(shape) != 3 or any(want not in (-1, got) for want, got in zip(own, shape, strict=True))
    ):
        raise OptionError(
            f"--shape {tensor.name}:{','.join(map(str, shape))} does not fit", f"Write {tensor.name}:HEIGHT,WIDTH,3"
        )
    height, width, _ = shape or own
    return (height if height > 0 else HEIGHT, width if width > 0 else WIDTH)


def _picture(random: np.random.Generator, height: int, width: int) -> Array:
    natural = natural_looking(random, height, width).transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(natural * 255).astype(np.uint8))


def _file(picture: Array) -> bytes:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise OptionError(
            "Pillow, which makes files of pictures, is not installed", "pip install 'modelrepo[images]'"
        ) from error
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _text(random: np.random.Generator, words: int) -> str:
    known = WORDS.split()
    chosen = [known[int(place)] for place in random.integers(0, len(known), words)]
    return f"{' '.join(chosen).capitalize()}."


def _shaped(text: bytes, tensor: Tensor, batched: bool) -> Array:
    """Return one sample of an input of strings."""
    array = np.empty([1] * (len(tensor.dims) - batched), object)
    array[...] = text
    return array


def is_had(path: Path) -> bool:
    """Whether a file has what clients have: it is a picture, a folder, or a file of texts."""
    return path.is_dir() or path.suffix.lower() in (*IMAGES, ".txt")


def of_file(path: Path, model: Model, most: Callable[[int], int]) -> list[dict[str, Array]]:
    """Return the user's pictures, or lines of texts, as rows of a model's only input.

    ``most`` returns how many rows of a size in bytes are taken. Raises OptionError for a file that does not fit.
    """
    kinds, batched = of_kinds(model), model.max_batch_size > 0
    wanted = (TEXT,) if path.suffix.lower() == ".txt" else PICTURES
    if len(kinds) != 1 or len(model.inputs) != 1 or kinds[0].kind not in wanted:
        takes = ", ".join(
            f"{each.name} {each.datatype}{f' ({each.kind})' if each.kind else ''}" for each in model.inputs
        )
        raise OptionError(f"can't measure {model.name} with {path}: it takes {takes}", "Give a .npz with --input-data")
    (tensor,) = kinds
    if tensor.kind == TEXT:
        lines = [line.removesuffix(b"\r") for line in path.read_bytes().split(b"\n")]
        values = [_shaped(line, tensor, batched) for line in (lines[:-1] if lines[-1] == b"" else lines)]
    else:
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGES) if path.is_dir() else [path]
        files = files[: most(1)]
        values = [_read(file, tensor, batched) for file in files]
    if not values:
        raise OptionError(
            f"{path} has no {'lines' if tensor.kind == TEXT else 'pictures'}", "Name another --input-data"
        )
    return [{tensor.name: value} for value in values[: most(max(map(size_of_value, values)))]]


def _read(file: Path, tensor: Tensor, batched: bool) -> Array:
    try:
        return load_pixels(file) if tensor.kind == PIXELS else _shaped(file.read_bytes(), tensor, batched)
    except DependencyError as error:
        raise OptionError(error.message, error.hint) from error
    except OSError as error:
        raise OptionError(f"can't read {file}: {error.strerror or error}") from error


def size_of_value(array: Array) -> int:
    """Return the bytes of an array in a request: those of its values; a string has 4 more, for its length."""
    if array.dtype != np.object_:
        return array.nbytes
    return sum(4 + len(item if isinstance(item, bytes) else str(item).encode()) for item in array.ravel())


def size_of_request(arrays: Mapping[str, Array]) -> int:
    """Return the bytes of a request's values, or of an answer's."""
    return sum(map(size_of_value, arrays.values()))
