"""What a server would load of a model: its backend, its versions, and the file of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.completed import AOTI_FILE, AOTI_PLATFORM, completed
from modelrepo.generator.lint.declared import begun, is_ensemble
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file, trouble
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.subject import Case, Model, is_folder

# The file that each backend serves if a configuration names none.
FILES = {
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "openvino": "model.xml",
    "pytorch": "model.pt",
    "python": "model.py",
}


@dataclass(frozen=True)
class Served:
    """A model as a server loads it."""

    backend: str  # as it is written or guessed
    config: Any  # a ModelConfig
    file: str  # the name of the file in each version
    files: Mapping[int, Path]  # by version, whether they exist or not


def served(case: Case, backend: str) -> Served | None:
    """Return what is loaded by one backend; None if the model is another's, or its configuration can't be parsed."""
    found = loaded(case)
    return found if found is not None and found.backend == backend else None


def loaded(case: Case) -> Served | None:
    """Return what is loaded by the backend that the core finds; None for ensembles, and for backends of their own."""
    release = case.host.release.container
    return case.model.once((_of, release), lambda: _of(case.model, release))


def _of(model: Model, release: str) -> Served | None:
    config = begun(model)
    if config is None or is_ensemble(config):
        return None
    made = completed(model, config, release)
    if _is_another(made.backend, config, model):
        return None
    usual = AOTI_FILE if config.platform == AOTI_PLATFORM else made.file or FILES.get(made.backend, "")
    name = config.default_model_filename or usual
    # As Triton joins them: an absolute name stays within the folder.
    files = {number: Path(f"{model.folder}/{number % 2**64}/{name}") for number in selected(model, config)}
    return Served(made.backend, config, name, files)


def _is_another(backend: str, config: Any, model: Model) -> bool:
    """Whether a model brings a backend of its own under a known name, or has a Python-based one."""
    if config.runtime == FILES["python"] and backend != "python":
        return True
    library = f"libtriton_{backend}.so"
    return any(is_file(folder / library) for folder in (model.folder, *model.versions.values()))


def parameter(config: Any, name: str) -> str | None:
    """Return one of a configuration's ``parameters``; None if it is not written."""
    return str(config.parameters[name].string_value) if name in config.parameters else None


def dies_of_number(place: Place, text: str) -> Problem:
    """Return the problem of a number that C++'s int does not hold."""
    says = "The server dies: \"terminate called after throwing an instance of 'std::out_of_range' what(): stoi\", of "
    return Problem(place, f"{says}'{text}'", f"Write a number up to {2**31 - 1}")


def type_of(tensor: Any) -> str:
    """Return the data type of an input or output, such as FP32; empty if it is not written."""
    values = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    name = values[tensor.data_type].name.removeprefix("TYPE_") if tensor.data_type in values else ""
    return "" if name == "INVALID" else str(name)


def place_of(case: Case, *path: Any) -> Place:
    """Return the place of a field in the configuration; of the model's folder if it has none."""
    config = case.model.config
    return config.place(*path) if config is not None else Place(case.model.folder)


def kinds(config: Any, gpus: int | None) -> Iterator[tuple[int | None, str, int]]:
    """Yield the number, kind and count of each instance group, as the core resolves them (``NormalizeInstanceGroup``).

    The number is None if no group is written: the backend then prefers a kind, "default" here. A kind that depends on
    the host is "" if ``gpus`` is not known. The count is 0 if it is not written.
    """
    if not config.instance_group:
        yield None, "default", 0
    for number, group in enumerate(config.instance_group):
        kind = type(group).Kind.Name(group.kind)
        if kind == "KIND_AUTO":
            absent = gpus is not None and (not gpus or any(each >= gpus for each in group.gpus))
            kind = "" if gpus is None else "KIND_CPU" if absent else "KIND_GPU"
        yield number, kind, max(0, group.count)


def absent(case: Case, backend: str) -> Iterator[tuple[int, Path]]:
    """Yield the versions whose file is not there, and the file. It may be a folder for ONNX Runtime and OpenVINO."""
    found = served(case, backend)
    for number, path in found.files.items() if found else ():
        in_folder = backend == "onnxruntime" or (backend == "openvino" and path.suffix != ".xml")
        if not (is_file(path) or (in_folder and is_folder(path))):
            yield number, path


def present(case: Case, backend: str) -> tuple[Path, ...]:
    """Return the files of the versions that are there; of a folder, the model.onnx in it for ONNX Runtime."""
    return case.model.once((_present, backend, case.host.release.container), lambda: tuple(_present(case, backend)))


def _present(case: Case, backend: str) -> Iterator[Path]:
    found = served(case, backend)
    for path in found.files.values() if found else ():
        file = path / FILES["onnxruntime"] if backend == "onnxruntime" and is_folder(path) else path
        if is_file(file) and not trouble(file):
            yield file


def advised(other: str, otherwise: str) -> str:
    """Return what to do about a file of another format, as ``told``, or ``otherwise``."""
    return "Fetch the file itself: git lfs pull" if other == "It is a Git LFS pointer" else otherwise


def told(path: Path) -> str:
    """Return what a file is, as a sentence such as "It is a TorchScript file"."""
    from modelrepo.generator.errors import SourceError
    from modelrepo.generator.sources.formats import hint, kind_of

    try:
        kind = kind_of(path)
        return "" if kind == "unknown" else hint(kind, path).partition(":")[0].partition(", perhaps")[0]
    except SourceError as error:
        return f"It {error.message.removeprefix(f'{path} ')}"
