"""What Triton's core fills into a configuration that leaves its backend open: AutoCompleteBackendFields."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.subject import Model, is_folder

ENSEMBLE = "ensemble"
# The release from which on the core knows AOTInductor, and the one from which on it completes models of it.
AOTI_SINCE, AOTI_PLATFORM, AOTI_FILE = "26.03", "torch_aoti", "model.pt2"
AOTI_COMPLETED = "26.04"


@dataclass(frozen=True)
class Known:
    """A backend that the core knows."""

    backend: str
    file: str  # what it looks for, and fills in
    platform: str = ""  # what it fills in; empty: it fills in none
    platforms: tuple[str, ...] = ()  # those by which the backend is found
    folder: bool | None = False  # whether the file is a folder; None: it may be either


# In the order in which the core asks for them. Of TensorFlow there are two.
SAVED_MODEL = Known("tensorflow", "model.savedmodel", "tensorflow_savedmodel", ("tensorflow_savedmodel",), folder=True)
GRAPH_DEF = Known("tensorflow", "model.graphdef", "tensorflow_graphdef", ("tensorflow_graphdef",))
KNOWN = (
    Known("tensorrt", "model.plan", "tensorrt_plan", ("tensorrt_plan",)),
    Known("onnxruntime", "model.onnx", "onnxruntime_onnx", ("onnxruntime_onnx",), folder=None),
    Known("openvino", "model.xml", folder=None),
    Known("pytorch", "model.pt", "pytorch_libtorch", ("pytorch_libtorch",)),
    Known("python", "model.py", folder=None),
)
# What a known backend may be paired with: its platforms.
PAIRS = {
    "tensorflow": (SAVED_MODEL.platform, GRAPH_DEF.platform),
    **{each.backend: (each.platform,) for each in KNOWN if each.platform},
}


@dataclass(frozen=True)
class Completed:
    """The fields by which a model finds its backend, as the core completes them; ``guessed`` from the model's files."""

    platform: str
    backend: str
    file: str  # default_model_filename
    guessed: bool = False
    undetermined: bool = False  # whether neither the fields nor the files name a backend
    lost: Path | None = None  # a link to nothing that the core follows when it guesses


def completed(model: Model, config: Any, release: str) -> Completed:
    """Return the fields of a configuration as the core of a release completes them."""
    content = _Content(model)
    return replace(_completed(model, config, release, content), lost=next(iter(content.lost), None))


def _completed(model: Model, config: Any, release: str, content: "_Content") -> Completed:
    written = Completed(config.platform, config.backend, config.default_model_filename)
    made = _tensorflow(written, content)
    if made.platform in PAIRS["tensorflow"]:
        kind = SAVED_MODEL if made.platform == SAVED_MODEL.platform else GRAPH_DEF
        return replace(made, backend=made.backend or kind.backend, file=made.file or kind.file)
    for known in KNOWN:
        made = _with_backend(made, known, content, release)
        if made.backend == known.backend:
            return _filled(made, known, config, release)
    if made.backend or made.platform or made.file:
        return made
    _, dot, tail = model.name.partition(".")
    return Completed("", tail, f"model.{tail}", guessed=True) if dot else replace(made, undetermined=True)


def _tensorflow(made: Completed, content: "_Content") -> Completed:
    if made.platform or made.backend not in ("", "tensorflow"):
        return made
    for kind in (SAVED_MODEL, GRAPH_DEF):
        if made.file == kind.file:
            return replace(made, platform=kind.platform)
    # The graph is looked for last, and wins.
    found = [kind for kind in (SAVED_MODEL, GRAPH_DEF) if not made.file and content.has(kind.file, kind.folder)]
    return replace(made, platform=found[-1].platform, guessed=True) if found else made


def _with_backend(made: Completed, known: Known, content: "_Content", release: str) -> Completed:
    """Return the fields with a backend, if they lack one and it is this."""
    if made.backend:
        return made
    platforms: tuple[str, ...] = known.platforms
    files: tuple[str, ...] = (known.file,)
    if known.backend == "pytorch" and release >= AOTI_SINCE:
        platforms, files = (*platforms, AOTI_PLATFORM), (known.file, AOTI_FILE)
    if known.backend == "pytorch" and release >= AOTI_COMPLETED:
        platforms = (*platforms, "libtorch")
    if made.platform in platforms or made.file in files:
        return replace(made, backend=known.backend)
    if made.platform or made.file:
        return made
    for file in files:
        if content.has(file, known.folder):
            platform = AOTI_PLATFORM if file == AOTI_FILE and release >= AOTI_COMPLETED else ""
            return replace(made, backend=known.backend, platform=platform, guessed=True)
        if content.has(file):  # the core looks no further
            return made
    return made


def _filled(made: Completed, known: Known, config: Any, release: str) -> Completed:
    if known.backend == "pytorch" and release >= AOTI_COMPLETED:
        if not made.platform:
            return replace(made, platform=known.platform, file=made.file or known.file)
        return replace(made, file=made.file or AOTI_FILE) if made.platform == AOTI_PLATFORM else made
    file = made.file or known.file
    if known.backend == "pytorch" and config.runtime == "model.py":
        file = made.file
    return replace(made, platform=made.platform or known.platform, file=file)


class _Content:
    """What lies in the one folder in which the core looks: the first of the model's folders by name."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.lost: list[Path] = []  # links to nothing, of which it was asked whether they are folders

    def has(self, name: str, folder: bool | None = None) -> bool:
        """Whether a name is there, as a folder or a file, or either."""
        first = next(self._folders(), None)
        if first is None or not os.path.lexists(first / name):
            return False
        if folder is None:
            return True
        if not (first / name).exists():
            self.lost.append(first / name)
            return False
        return (first / name).is_dir() == folder

    def _folders(self) -> Iterator[Path]:
        by_name = sorted(self._model.entries, key=lambda entry: os.fsencode(entry.name))
        return (Path(entry.path) for entry in by_name if is_folder(entry))
