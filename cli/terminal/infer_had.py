"""What users have, as samples of `modelrepo infer`: pictures, folders of them, and texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.cli.terminal.infer_data import Part, Samples, of_values
from modelrepo.clients.images import load_image, size_of
from modelrepo.clients.inputs import describe
from modelrepo.clients.models import ENCODED, PIXELS, TEXT, Model, Tensor
from modelrepo.generator.errors import OptionError

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
OPTIONS = {PIXELS: "--image FILE", ENCODED: "--image FILE", TEXT: "--text 'A text'"}
# A text in the table of answers.
LONGEST_NAME = 30


def is_image(path: Path) -> bool:
    """Whether a path is an image by its suffix, or a folder."""
    return path.suffix.lower() in IMAGES or path.is_dir()


def picture_input(model: Model) -> Tensor | None:
    """Return the input that takes pictures as clients have them, None if the model has none."""
    return next((tensor for tensor in model.inputs if tensor.kind in (PIXELS, ENCODED)), None)


def refuse_pictures(model: Model) -> None:
    """Raise OptionError for a model that says that it takes something else."""
    if any(tensor.kind for tensor in model.inputs):
        raise OptionError(f"{model.name} takes no pictures: it takes {_taken(model)}", _hint(model))


def _taken(model: Model) -> str:
    return ", ".join(f"{describe(each)}{f' ({each.kind})' if each.kind else ''}" for each in model.inputs)


def _hint(model: Model) -> str:
    kind = next((tensor.kind for tensor in model.inputs if tensor.kind), "")
    return f"Give it {OPTIONS[kind]}" if kind else "`modelrepo infer MODEL` alone lists how to ask it"


def of_images(given: Sequence[Path], model: Model, preprocess: Mapping[str, Any] | None) -> tuple[Samples, list[str]]:
    """Return the pictures in files and folders as samples, and their labels.

    A model with an input of a kind gets them as they are: for pixels, a request has pictures of one size; of encoded
    images, it has one. For others they are prepared as ``preprocess`` says. The labels are the names of the folders
    that hold the pictures, if all are in folders of one folder; else none. Raises InputError and DependencyError for a
    picture that can't be read.
    """
    files = [file for path in given for file in (_pictures(path) if path.is_dir() else [path])]
    tensor, most = picture_input(model), max(1, model.max_batch_size)
    requests = _requests(files, tensor, most)
    single = len(files) == 1 and not given[0].is_dir()

    def parts() -> Iterator[Part]:
        for own in requests:
            place = "" if single else str(own[0]) if len(own) == 1 else f"{own[0]} and {len(own) - 1} more"
            if tensor is not None:
                asked: Any = own if model.max_batch_size else own[0]
                yield Part({tensor.name: asked}, len(own), place)
                continue
            images = [load_image(file, preprocess or {}) for file in own]
            yield Part([np.concatenate(images) if model.max_batch_size else images[0]], len(own), place)

    labels = _folders(given[0], files) if len(given) == 1 and given[0].is_dir() else []
    names = () if single else tuple(_name(file, given) for file in files)
    apart = not model.max_batch_size and not single
    notes = _split(requests, len(files), most) if tensor is not None and tensor.kind == PIXELS else ()
    return Samples(len(files), parts, apart, labelled=bool(labels), names=names, notes=notes), labels


def _requests(files: Sequence[Path], tensor: Tensor | None, most: int) -> list[list[Path]]:
    """Return the pictures of each request, in order."""
    if tensor is not None and tensor.kind == ENCODED:
        return [[file] for file in files]
    alike = groupby(files, key=size_of if tensor is not None else lambda _: None)
    groups = [list(group) for _, group in alike]
    return [group[start : start + most] for group in groups for start in range(0, len(group), most)]


def _split(requests: Sequence[Sequence[Path]], count: int, most: int) -> tuple[str, ...]:
    if most == 1 or len(requests) <= -(-count // most):
        return ()
    return (f"{count} pictures of different sizes are {len(requests)} requests: the pictures of one have one size",)


def _folders(folder: Path, files: Sequence[Path]) -> list[str]:
    labels = [file.parent.name for file in files if file.parent != folder]
    if labels and len(labels) < len(files):
        loose = next(file for file in files if file.parent == folder)
        raise OptionError(f"{loose} is not in a class folder, but other images of {folder} are")
    return labels


def _name(file: Path, given: Sequence[Path]) -> str:
    folder = next((path for path in given if path.is_dir() and path in file.parents), None)
    return str(file.relative_to(folder) if folder else file)


def _pictures(folder: Path) -> list[Path]:
    """Return the images in a folder, and in its folders."""
    entries = (sorted(entry.iterdir()) if entry.is_dir() else [entry] for entry in sorted(folder.iterdir()))
    found = [file for files in entries for file in files if file.suffix.lower() in IMAGES]
    if not found:
        raise OptionError(f"{folder} holds no images", f"Images end in {', '.join(IMAGES)}")
    return found


def of_texts(texts: Sequence[str | bytes], model: Model) -> Samples:
    """Return texts as samples of the model's input for texts, or of its only input of strings; OptionError without."""
    own = [tensor for tensor in model.inputs if tensor.kind == TEXT]
    plain = [tensor for tensor in model.inputs if tensor.datatype == "BYTES" and not tensor.kind]
    found = own or [tensor for tensor in plain if not tensor.optional]
    if len(found) != 1:
        why = "no text" if not found else f"{len(found)} texts a request"
        raise OptionError(f"{model.name} takes {why}: it takes {_taken(model)}", _hint(model))
    (tensor,) = found
    batch = 1 if model.max_batch_size or len(texts) > 1 else 0
    array = np.empty((len(texts), *[1] * (len(tensor.dims) - bool(model.max_batch_size))), object)
    array.flat[:] = list(texts)
    samples = of_values(model, {tensor.name: array if batch else array[0]})
    names = tuple(map(_shortened, texts)) if len(texts) > 1 else ()
    return replace(samples, names=names)


def _shortened(text: str | bytes) -> str:
    shown = " ".join((text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text).split())
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"


def read_texts(texts: Sequence[str], file: Path | None) -> tuple[str | bytes, ...]:
    """Return the texts of the command line, or the lines of a file, without the ends of lines; OptionError."""
    if file is None:
        return tuple(texts)
    try:
        lines = tuple(file.read_bytes().split(b"\n"))
    except OSError as error:
        raise OptionError(f"can't read {file}: {error.strerror or error}") from error
    lines = tuple(line.removesuffix(b"\r") for line in (lines[:-1] if lines[-1] == b"" else lines))
    if not lines:
        raise OptionError(f"{file} has no lines", "Write one text a line")
    return lines
