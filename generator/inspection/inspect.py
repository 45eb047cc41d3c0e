"""The story of `inspect`: what lies at a path is told by its content, and read by the reader of its format."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.generator.errors import ModelRepoError, RepositoryError, SourceError, first_line, nearest
from modelrepo.generator.inspection.inspection import Inspection
from modelrepo.generator.inspection.parts import unreadable
from modelrepo.generator.lint.check import subject
from modelrepo.generator.lint.declared import begun, is_ensemble
from modelrepo.generator.lint.files.onnx_file import RUNTIME_FORMAT
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.served import loaded
from modelrepo.generator.lint.subject import Case, Host, Model, Repository, is_folder, version_of
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.sources import formats
from modelrepo.generator.sources.content import kind_of
from modelrepo.generator.triton.releases import NEWEST, release_named


@dataclass(frozen=True)
class Format:
    """A format that is read: its name in ``content.kind_of``, what people call it, and the module of its reader."""

    kind: str
    title: str
    module: str
    suffixes: tuple[str, ...] = ()  # of files whose content is damaged


FORMATS = (
    Format("onnx", "ONNX", "onnx_model", (".onnx", ".ort")),
    Format("plan", "TensorRT plan", "plan", (".plan", ".engine", ".trt")),
    Format("torchscript", "TorchScript", "torchscript", (".pt",)),
    Format("pt2", "PyTorch .pt2", "exported", (".pt2",)),
    Format("openvino", "OpenVINO IR", "openvino", (".xml",)),
    Format("savedmodel", "SavedModel", "saved_model"),
    Format("tflite", "TensorFlow Lite", "tflite", (".tflite",)),
)
# What is in the place of a model by accident: then its name says what it should be.
ACCIDENTS = ("unknown", "text", "page", "pointer", "xml", "archive", "table")
DEFAULT = "model_repository"
# Names that a message lists.
MOST = 6
READ = ", ".join(each.title for each in FORMATS)


def inspect(named: str | Path, *, repository: Path = Path(DEFAULT), version: int | None = None) -> Inspection:
    """Return what a model is: a file or folder, or a model of the repository by its name or its folder.

    Of a model with versions it is the newest, or ``version``. A file that is not valid is a value with ``faults``.
    Raises SourceError for what is not there, or is of a format that is not read; RepositoryError for a model of a
    repository without such a version, or without a file.
    """
    path = Path(named)
    if not str(named):
        raise SourceError("the name of the model is empty", "Name a file, a folder or a model of the repository")
    if is_file(path) and path.name == CONFIG:
        path = path.parent
    try:
        if not os.path.lexists(path):
            return _of_model(_published(str(named), repository), version)
        if is_folder(path) and _holds_versions(path):
            return _of_model(path, version)
        if version is not None:
            raise SourceError(f"{path} is not a model with versions", "Leave --version out")
        return _of_file(_within(path) if is_folder(path) else path)
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror or error}") from error


def _holds_versions(folder: Path) -> bool:
    """Whether a folder is one of a repository's models."""
    if os.path.lexists(folder / CONFIG):
        return True
    with os.scandir(folder) as entries:
        return any(version_of(entry.name) is not None for entry in entries if is_folder(entry))


def _published(name: str, repository: Path) -> Path:
    """Return the folder of a model that a repository has; SourceError if there is none of this name."""
    folder = repository / name
    if is_folder(folder) and folder.parent == repository:
        return folder
    if "/" in name:
        kind_of(Path(name))  # its error says what lies near
    known = [each.name for each in repository.iterdir() if is_folder(each)] if is_folder(repository) else []
    shown = [each for each in known if not each.startswith(".")]
    near = nearest(name, shown) if shown else f"{repository} has no models: --repository names another"
    raise SourceError(f"{name} is neither a file nor a model in {repository}", near)


def _of_model(folder: Path, version: int | None) -> Inspection:
    """Inspect the file that a server would load of a model's version."""
    repository = subject(folder)
    name = next(iter(repository.asked), folder.name)
    model = repository.models.get(name) or Model(name, folder)
    config = begun(model)
    if config is not None and is_ensemble(config):
        steps = ", ".join(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step))
        raise RepositoryError(f"{name} is an ensemble, which has no file", f"Inspect its models: {steps or 'none'}")
    if not model.versions:
        raise RepositoryError(f"the model {name} has no version", f"Its file belongs to {folder}/1")
    chosen = max(model.versions) if version is None else version
    if chosen not in model.versions:
        known = ", ".join(map(str, sorted(model.versions)))
        raise RepositoryError(f"the model {name} has no version {chosen}", f"Its versions: {known}")
    found = _of_file(_served(model, repository, model.versions[chosen]))
    return replace(found, facts=(("model", name), ("version", str(chosen)), *found.facts))


def _served(model: Model, repository: Repository, folder: Path) -> Path:
    """Return the file of a version that its backend loads; RepositoryError if there is none."""
    found = loaded(Case(model, repository, Host(release_named(NEWEST))))
    file = folder / found.file if found is not None and found.file else None
    if file is None:
        return _within(folder)
    if not os.path.lexists(file):
        raise RepositoryError(f"{folder} has no {file.name}", f"`modelrepo check {model.folder}` says more")
    return _within(file) if is_folder(file) else file


def _within(folder: Path) -> Path:
    """Return the one model file in a folder, or the folder if it is a model; SourceError if there are several."""
    if kind_of(folder) == "savedmodel":
        return folder
    files = sorted(each for each in folder.iterdir() if is_file(each))
    found = [each for each in files if _format_of(each) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(each.name for each in found[:MOST])
        raise SourceError(f"{folder} has several models: {named}", "Name one of them")
    models = sorted(each.name for each in folder.iterdir() if is_folder(each) and _holds_versions(each))
    hint = f"It is a repository: name one of its models, such as {folder / models[0]}" if models else f"It reads {READ}"
    raise SourceError(f"{folder} has no model that inspect reads", hint)


def _format_of(path: Path) -> Format | None:
    """Return the format of a file or folder by its content, or by its suffix if the content is damaged."""
    by_suffix = next((each for each in FORMATS if path.suffix.lower() in each.suffixes), None)
    if is_file(path) and _begins_as_runtimes(path):
        return FORMATS[0]
    try:
        kind = kind_of(path)
    except SourceError:
        return by_suffix if is_file(path) else None
    by_content = next((each for each in FORMATS if each.kind == kind), None)
    return by_suffix if by_content is None and kind in ACCIDENTS else by_content


def _begins_as_runtimes(path: Path) -> bool:
    """Whether a file is in ONNX Runtime's own format."""
    with path.open("rb") as file:
        return file.read(8)[4:] == RUNTIME_FORMAT


def _of_file(path: Path) -> Inspection:
    """Inspect a file or folder by the reader of its format; SourceError for another format."""
    if path.name == "saved_model.pb" and kind_of(path) == "saved_model.pb":
        path = path.parent
    form = _format_of(path)
    if form is None:
        kind = kind_of(path)
        hint = formats.hint(kind, path).replace(": --model", ": modelrepo generate --model")
        raise SourceError(f"can't inspect {path}: inspect reads {READ}", hint)
    try:
        return _with_hint(_reader(form)(path), form)
    except OSError as error:
        return unreadable(path, form.title, f"it can't be read: {error.strerror or error}")
    except ModelRepoError as error:
        return unreadable(path, form.title, str(error))
    except Exception as error:  # a file that no reader has foreseen: never a traceback
        return unreadable(path, form.title, f"it can't be read: {first_line(error)}")


def _with_hint(found: Inspection, form: Format) -> Inspection:
    """Return an inspection; of a file that is none of its suffix's format, with what it is instead."""
    if found.valid or not is_file(found.path):
        return found
    try:
        kind = kind_of(found.path)
    except SourceError:
        return found
    if kind in (form.kind, "unknown"):
        return found
    return replace(found, remarks=(formats.hint(kind, found.path).partition(": --model")[0], *found.remarks))


def _reader(form: Format) -> Callable[[Path], Inspection]:
    name = f"{__package__}.{form.module}"
    try:
        reader: Callable[[Path], Inspection] = importlib.import_module(name).inspect
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise SourceError(f"{form.title} is not inspected yet") from error
    return reader
