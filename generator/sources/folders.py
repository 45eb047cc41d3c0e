"""Folders that users point at: the models that each could be, or the next step if it is none."""

import os.path
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import content, formats
from modelrepo.generator.sources.content import kind_of

# So many files of a folder are looked at, and so many models of it are named.
LOOKED_AT, SHOWN = 200, 4
# So many folders in a folder are entered to find a model for the next step.
ENTERED = 30
# What transformers writes beside a model: states of training, and weights for other programs.
OF_TRANSFORMERS = ("tf_model.h5", "optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth")
HF_WEIGHTS = ("model.safetensors*", "model-*.safetensors", "pytorch_model*.bin*", "adapter_model.*")


def readings(folder: Path) -> list[tuple[str, Path]]:
    """Return the formats that a folder can be read as, each with the folder itself or its file of that format."""
    files = {} if _is_unpacked_keras(folder) else dict(_models(folder))
    found: list[tuple[str, Path]] = [("savedmodel", folder)] if kind_of(folder) == "savedmodel" else []
    if content.is_transformers(folder):
        trained = any(path.is_file() for pattern in HF_WEIGHTS for path in folder.glob(pattern))
        files = {path: kind for path, kind in files.items() if _is_own(path, kind)}
        if trained or not files:
            found.append(("hf", folder))
    return [*found, *((kind, path) for path, kind in files.items())]


def none_in(folder: Path) -> SourceError:
    """Return the error that a folder is not a model, with what it is instead."""
    return SourceError(f"{folder} is a folder without a model that modelrepo reads", _instead(folder))


def several_in(folder: Path, found: list[tuple[str, Path]]) -> SourceError:
    """Return the error that a folder could be several models, with how to name each."""
    return SourceError(f"{folder} holds more than one model", _choice(found))


def _choice(found: list[tuple[str, Path]]) -> str:
    """Return the hint that names the models found; of weights alone, what the first of them needs."""
    models = [(kind, path) for kind, path in found if kind == "hf" or kind in formats.READ]
    weights = [str(path) for kind, path in found if (kind, path) not in models]
    if not models:
        (kind, path), *_ = found
        return f"{path}: {formats.hint(kind, path)}"
    also = f"; not {', '.join(weights[:SHOWN])}, which needs its network" if weights else ""
    more = f", and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
    named = " or ".join(_named(*each) for each in models[:SHOWN])
    return f"Name {'one' if len(models) > 1 else 'it'}: {named}{more}{also}"


def _named(kind: str, path: Path) -> str:
    return f"--model {formats.reference('hf', path)}" if kind == "hf" else formats.flags(kind, path)


def _models(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files in a folder that hold models or weights, each with its format."""
    for path in _files(folder):
        if path.name == "saved_model.pb":
            continue
        kind = _kind(path)
        if kind in formats.READ or kind in formats.WEIGHTS or kind == "torch module":
            yield path, kind


def _kind(path: Path) -> str:
    """Return the format of a file; empty for one that can't be used, which is not a suggestion."""
    try:
        return kind_of(path)
    except SourceError:
        return ""


def _is_unpacked_keras(folder: Path) -> bool:
    """Whether a folder has the members of a .keras archive, whose weights alone are no model."""
    return (folder / "model.weights.h5").is_file() and (folder / "metadata.json").is_file()


def _is_own(path: Path, kind: str) -> bool:
    """Whether a file is not one that transformers puts beside a configuration."""
    return kind in formats.READ and path.name not in OF_TRANSFORMERS and kind not in formats.TRUSTED


def _instead(folder: Path) -> str:
    inside = _below(folder)
    choice = f". {_choice(inside)}" if inside else ""
    if (folder / "config.pbtxt").is_file():
        return f"It is a model of a Triton repository{choice}"
    if any((each / "config.pbtxt").is_file() for each in _folders(folder)):
        return f"It is a Triton repository{choice}"
    if (folder / "MLmodel").is_file():
        return f"It is an MLflow model{choice}"
    if (folder / "model_index.json").is_file():
        return f"It is a pipeline of diffusers, and each part of it is a model{choice}"
    if _is_unpacked_keras(folder):
        return "It is an unpacked Keras file: zip the files in it to one that ends in .keras"
    if (folder / "checkpoint").is_file() and any(folder.glob("*.index")):
        return formats.OTHERS["checkpoint"]
    if (folder.parent / "saved_model.pb").is_file():
        return f"It belongs to a SavedModel: {_named('savedmodel', folder.parent)}"
    if any(_kind(path) == "picture" for path in _files(folder)[:1]):
        return f"It holds pictures: --samples {shlex.quote(str(folder))} verifies a model with them"
    return choice.removeprefix(". ") or ("Name the file of the model" if _entries(folder, 1) else "It is empty")


def _below(folder: Path, deeper: bool = True) -> list[tuple[str, Path]]:
    """Return the models in the folders of a folder; if there are none, those in the folders of these."""
    found = [pair for inner in _folders(folder) for pair in readings(inner)]
    if not found and deeper:
        found = [pair for inner in _folders(folder) for pair in _below(inner, deeper=False)]
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in _entries(folder, LOOKED_AT) if os.path.isfile(path)]  # noqa: PTH113 - this never raises


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, the newest version of a Triton model first."""
    found = [path for path in _entries(folder, ENTERED) if os.path.isdir(path)]  # noqa: PTH112 - this never raises
    return sorted(found, key=lambda path: (-int(path.name) if path.name.isdecimal() else 0, path.name))


def _entries(folder: Path, most: int) -> list[Path]:
    """Return the entries of a folder that are not hidden, up to so many; none of one that can't be read."""
    try:
        return sorted(islice((path for path in folder.iterdir() if not path.name.startswith(".")), most))
    except OSError:
        return []
