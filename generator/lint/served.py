"""What a server would load of a model: its backend, its versions, and the file of each."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.finding import Place
from modelrepo.generator.lint.subject import Case, Model

# The backends of platforms, and the file that each serves if a configuration names none
# (``AutoCompleteBackendFields`` of core/src/model_config_utils.cc).
PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime",
    "tensorrt_plan": "tensorrt",
    "pytorch_libtorch": "pytorch",
    "libtorch": "pytorch",
    "torch_aoti": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
}
FILES = {
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "openvino": "model.xml",
    "pytorch": "model.pt",
    "python": "model.py",
}
AOTI, AOTI_FILE = "torch_aoti", "model.pt2"
# In the order in which the core looks for them.
GUESSES = {
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    **{FILES[backend]: backend for backend in ("tensorrt", "onnxruntime", "openvino", "pytorch")},
    AOTI_FILE: "pytorch",
    FILES["python"]: "python",
}


@dataclass(frozen=True)
class Served:
    """A model as a server loads it."""

    backend: str  # as it is written or guessed
    config: Any  # a ModelConfig
    files: Mapping[int, Path]  # by version, whether they exist or not

    @property
    def file(self) -> str:
        """The name of the file in each version."""
        return file_of(self.backend, self.config)


def served(case: Case, backend: str) -> Served | None:
    """Return what is loaded by one backend; None if the model is another's, or its configuration can't be parsed."""
    found = case.model.once(_of, lambda: _of(case.model))
    return found if found is not None and found.backend == backend else None


def _of(model: Model) -> Served | None:
    written = model.config
    if written is not None and written.message is None:
        return None
    config = _empty() if written is None else written.message
    if config.HasField("ensemble_scheduling"):
        return None
    backend = backend_of(config, model)
    if _is_another(backend, config, model):
        return None
    name = file_of(backend, config)
    # As Triton joins them: an absolute name stays within the folder.
    files = {number: Path(f"{folder}/{name}") for number, folder in _chosen(config, model).items()}
    return Served(backend, config, files)


def _is_another(backend: str, config: Any, model: Model) -> bool:
    """Whether a model brings a backend of its own under a known name, or has a Python-based one."""
    if config.runtime == FILES["python"] and backend != "python":
        return True
    library = f"libtriton_{backend}.so"
    return any(is_file(folder / library) for folder in (model.folder, *model.versions.values()))


def backend_of(config: Any, model: Model) -> str:
    """Return the backend that the core finds for a model; empty if it finds none."""
    if config.backend or config.platform:
        return str(config.backend or PLATFORMS.get(config.platform, ""))
    if config.default_model_filename:
        return GUESSES.get(config.default_model_filename, "")
    folders = sorted(Path(entry.path) for entry in model.entries if entry.is_dir())
    there = {entry.name for entry in folders[0].iterdir()} if folders else set()
    return next((backend for name, backend in GUESSES.items() if name in there), "")


def file_of(backend: str, config: Any) -> str:
    """Return the name of a model's file in each version; empty for a backend that has no default."""
    if config.default_model_filename:
        return str(config.default_model_filename)
    return AOTI_FILE if backend == "pytorch" and config.platform == AOTI else FILES.get(backend, "")


def parameter(config: Any, name: str) -> str | None:
    """Return one of a configuration's ``parameters``; None if it is not written."""
    return str(config.parameters[name].string_value) if name in config.parameters else None


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


def _chosen(config: Any, model: Model) -> Mapping[int, Path]:
    """Return the versions that the policy chooses, of those that are there."""
    there = model.versions
    policy = config.version_policy
    if policy.HasField("specific"):
        return {number: there[number] for number in policy.specific.versions if number in there}
    if config.HasField("version_policy") and not policy.HasField("latest"):
        return there
    most = policy.latest.num_versions if config.HasField("version_policy") else 1
    return {number: there[number] for number in sorted(there, reverse=True)[:most]}


def _empty() -> Any:
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.ModelConfig()


def absent(case: Case, backend: str) -> Iterator[tuple[int, Path]]:
    """Yield the versions whose file is not there, and the file. For ONNX Runtime it may be a folder."""
    found = served(case, backend)
    for number, path in found.files.items() if found else ():
        if not (is_file(path) or (backend == "onnxruntime" and is_folder(path))):
            yield number, path


def present(case: Case, backend: str) -> tuple[Path, ...]:
    """Return the files of the versions that are there; of a folder, the model.onnx in it for ONNX Runtime."""
    return case.model.once((_present, backend), lambda: tuple(_present(case, backend)))


def _present(case: Case, backend: str) -> Iterator[Path]:
    found = served(case, backend)
    for path in found.files.values() if found else ():
        file = path / FILES["onnxruntime"] if backend == "onnxruntime" and is_folder(path) else path
        if is_file(file) and os.access(file, os.R_OK):  # what this user can't read, the server's may
            yield file


def is_file(path: Path) -> bool:
    """Whether a path is a file; a path that no file can have, or that can't be looked at, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, as ``is_file``."""
    try:
        return path.is_dir()
    except OSError:
        return False


def told(path: Path) -> str:
    """Return what a file is, as a sentence such as "It is a TorchScript file"."""
    from modelrepo.generator.errors import SourceError
    from modelrepo.generator.sources.formats import hint, kind_of

    try:
        kind = kind_of(path)
        return "" if kind == "unknown" else hint(kind, path).partition(":")[0].partition(", perhaps")[0]
    except SourceError as error:
        return f"It {error.message.removeprefix(f'{path} ')}"
