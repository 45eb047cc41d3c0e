"""What a model is called, and what serves it: its name, its backend, its platform and its batches."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.completed import AOTI_PLATFORM, AOTI_SINCE, ENSEMBLE, PAIRS, Completed, completed
from modelrepo.generator.lint.data import holds
from modelrepo.generator.lint.declared import COMPLETES, begun
from modelrepo.generator.lint.finding import Edit, Place, Problem
from modelrepo.generator.lint.parser import Node
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.regular import exists, opened
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import quoted

CORE = "core: src/model_config_utils.cc"
PYTHON_RUNTIME = "model.py"
ELF = b"\x7fELF"  # the first bytes of a shared library for Linux
ENTRY = b"TRITONBACKEND_ModelInstanceExecute"  # the function that each backend has
# Until then the folder of another model passes for this one's, if its name begins like it (core #497).
SEPARATES = "26.06"
# Backends of NVIDIA's images that fill nothing into a configuration.
WITH_CONFIG = ("identity", "repeat", "square")
# The backends that may have a model.py of their own, which `runtime: "model.py"` asks for.
WITH_MODEL_PY = ("pytorch", "vllm", "tensorrtllm", "onnxruntime")
# The backends of NVIDIA's images: those of Triton, also for vLLM and TensorRT-LLM, and those of Merlin.
BACKENDS = (
    *("onnxruntime", "tensorrt", "pytorch", "openvino", "python", "tensorflow"),
    *("dali", "fil", "identity", "repeat", "square", "vllm", "tensorrtllm", "nvtabular", "hugectr"),
)
# What is mistaken for the name of a backend.
MEANT = {
    **{platform: backend for backend, platforms in PAIRS.items() for platform in platforms},
    **dict.fromkeys(("onnx", "ort", "onnx_runtime", "onnxruntime_gpu"), "onnxruntime"),
    **dict.fromkeys(("trt", "plan", "tensor_rt"), "tensorrt"),
    **dict.fromkeys(("torch", "libtorch", "torchscript", "torch_aoti"), "pytorch"),
    **dict.fromkeys(("tf", "savedmodel", "saved_model", "graphdef"), "tensorflow"),
}


def name(case: Case) -> Iterator[Problem]:
    """Find a name that is not that of the folder."""
    written = case.config.message.name
    if written and written != case.model.name:
        words = (
            f"unexpected directory name '{case.model.name}' for model '{written}', directory name must equal model name"
        )
        edits = _rewritten(case, "name", quoted(case.model.name))
        write = f"Write name: {quoted(case.model.name)}, or rename the folder"
        yield refused(case.config.place("name"), words, write, edits)


def no_name(case: Case) -> Iterator[Problem]:
    """Find an empty name."""
    if not case.config.message.name:
        says = f"Triton takes the name of the folder, {case.model.name}"
        line = f"name: {quoted(case.model.name)}"
        edits = _rewritten(case, "name", quoted(case.model.name)) or (
            Edit(case.config.path, (1, 1), (1, 1), f"{line}\n"),
        )
        yield Problem(case.config.place("name"), says, f"Write {line}, or leave it so", edits)


def negative_batch(case: Case) -> Iterator[Problem]:
    """Find a negative max_batch_size."""
    if case.config.message.max_batch_size < 0:
        words = f"'max_batch_size' must be non-negative value for {case.model.name}"
        yield refused(case.config.place("max_batch_size"), words, NEGATIVE.write)


def pair(case: Case) -> Iterator[Problem]:
    """Find a platform that no backend has, and a backend with the platform of another."""
    if _of_an_ensemble(case.config.message):
        return
    made, config = _completed(case), case.config
    if made.lost:
        return
    if not made.backend and not made.undetermined:
        words = f"unexpected platform type '{made.platform}' for {case.model.name}"
        field = "platform" if made.platform else "default_model_filename"
        yield refused(config.place(field), words, "Write backend with the name of the backend that serves the model")
    elif made.platform not in _platforms(case, made):
        words = f"unexpected 'platform' and 'backend' pair, got:{made.platform}, {made.backend}"
        place = config.place("platform") if config.message.platform else config.place("backend")
        first = (
            f"Serve it with release {AOTI_SINCE} or newer" if made.platform == AOTI_PLATFORM else "Leave platform out"
        )
        write = f"{first}, or write {' or '.join(quoted(each) for each in PAIRS[made.backend])}"
        yield refused(place, words, write, _rewritten(case, "platform", quoted(PAIRS[made.backend][0])))


def undetermined(case: Case) -> Iterator[Problem]:
    """Find a model of which neither the configuration nor the files name a backend."""
    made = _completed(case)
    if not case.config.message.HasField("ensemble_scheduling") and made.undetermined and not made.lost:
        words = (
            f"Invalid model name: Could not determine backend for model '{case.model.name}' with no backend in model "
            "configuration. Expected model name of the form 'model.<backend_name>'."
        )
        yield refused(case.config.place("backend"), words, UNDETERMINED.write)


def guessed(case: Case) -> Iterator[Problem]:
    """Find a backend that is left to Triton to guess from files; the end of the model's name tells it, too."""
    made, config = _completed(case), case.config.message
    by_name = made.file == f"model.{made.backend}"
    if made.guessed and not by_name and not config.backend and not _of_an_ensemble(config):
        says = f"Triton takes the backend {made.backend}, guessed from the files of the first folder in the model's"
        line = f"backend: {quoted(made.backend)}"
        edits = _rewritten(case, "backend", quoted(made.backend)) or (
            Edit(case.config.path, (1, 1), (1, 1), f"{line}\n"),
        )
        yield Problem(case.config.place("backend"), says, f"Write {line}", edits)


def library(case: Case) -> Iterator[Problem]:
    """Find a backend whose library is neither in NVIDIA's images nor with the model, or can't be loaded."""
    config = begun(case.model)
    made = None if config is None else _completed(case)
    if made is None or made.lost or not made.backend or _of_an_ensemble(config):
        return
    for version in selected(case.model, config):
        if problem := _library_problem(case, made, version):
            yield problem
            return


def _library_problem(case: Case, made: Completed, version: int) -> Problem | None:
    """Return what is wrong with the library of one version, which may lie with the model."""
    model, runtime = case.model, begun(case.model).runtime
    place = Place(model.folder)
    if model.config is not None:
        place = case.config.place("runtime" if runtime else "backend")
    usual = f"libtriton_{made.backend}.so"
    if runtime == PYTHON_RUNTIME:
        return None if made.backend in WITH_MODEL_PY else _no_library(case, made, place)
    folders = (model.versions.get(version, model.folder / str(version)), model.folder)
    wanted = (runtime or usual).lstrip("/")
    found = next((folder for folder in folders if exists(folder / wanted)), None)
    if found is None:
        return None if made.backend in BACKENDS and wanted == usual else _no_library(case, made, place)
    path = found / wanted
    if escapes(path, found, case.host.release.container):
        words = (
            f"backend library name '{runtime or usual}' escapes backend directory '{found}', for model '{model.name}'"
        )
        return refused(place, words, "Put the library into the folder of the model or the version")
    write = "Name the library of a backend in runtime, or leave it out"
    if not _is_library(path):
        return refused(place, f"unable to load shared library: {path}", write)
    if not any(holds(path, ENTRY)):
        words = f"unable to find required entrypoint '{ENTRY.decode()}' in shared library: {path}"
        return refused(place, words, write)
    return None


def escapes(path: Path, folder: Path, release: str) -> bool:
    """Whether a path leads out of a folder, as a release sees it, which follows the links that it may follow."""
    try:
        inside, around = os.path.realpath(path), os.path.realpath(folder)
    except OSError:  # another rule's
        return False
    if release < SEPARATES:
        return not inside.startswith(around)
    return inside != around and not inside.startswith(around.rstrip("/") + "/")


def no_config(case: Case) -> Iterator[Problem]:
    """Find a model without a configuration whose backend fills in none."""
    model = case.model
    if model.config is not None or model.config_trouble:
        return
    made = _completed(case)
    backend = "" if made.lost else made.backend
    libraries = [folder / f"libtriton_{backend}.so" for folder in (*model.versions.values(), model.folder)]
    found = next((path for path in libraries if path.is_file()), None)
    completes = backend not in WITH_CONFIG if found is None else any(holds(found, COMPLETES))
    if backend and model.versions and not completes:
        words = f"model configuration is not provided for model '{model.name}'"
        yield refused(Place(model.folder), words, NO_CONFIG.write)


def _is_library(path: Path) -> bool:
    try:
        with opened(path) as file:
            return file.read(len(ELF)) == ELF
    except OSError:
        return False


def _no_library(case: Case, made: Completed, place: Place) -> Problem:
    runtime = begun(case.model).runtime
    if runtime == PYTHON_RUNTIME:
        words = f"unable to find Python backend based backend library '{runtime}' for model '{case.model.name}'"
    elif runtime:
        words = f"unable to find backend library '{runtime}' for model '{case.model.name}'"
    else:
        words = (
            f"unable to find backend library for backend '{made.backend}', try specifying runtime on the model "
            "configuration."
        )
    lower = made.backend.lower()
    meant = MEANT.get(lower, lower if lower in BACKENDS and lower != made.backend else "")
    if meant:
        return refused(place, words, f"Write backend: {quoted(meant)}", _rewritten(case, "backend", quoted(meant)))
    if made.backend in BACKENDS:
        return refused(place, words, "Leave runtime out, or put that file into the folder of the model")
    near = difflib.get_close_matches(lower, BACKENDS, n=1)
    return refused(place, words, f"Write backend: {quoted(near[0])}" if near and not runtime else LIBRARY.write)


def _completed(case: Case) -> Completed:
    return completed(case.model, begun(case.model), case.host.release.container)


def _of_an_ensemble(config: Any) -> bool:
    """Whether the rules of ensembles say what is wrong."""
    return bool(config.HasField("ensemble_scheduling") or config.platform == ENSEMBLE)


def _platforms(case: Case, made: Completed) -> tuple[str, ...]:
    """Return the platforms that the backend may have: that of others too, if the core does not know the backend."""
    if made.backend not in PAIRS:
        return (made.platform,)
    newer = made.backend == "pytorch" and case.host.release.container >= AOTI_SINCE
    return (*PAIRS[made.backend], AOTI_PLATFORM) if newer else PAIRS[made.backend]


def _rewritten(case: Case, field: str, value: str) -> tuple[Edit, ...]:
    """Return the change of the value of a field; none if it is not written."""
    nodes: list[Node] = case.config.tree.fields.get(field, [])
    return tuple(Edit(case.config.path, node.begins, node.ends, value) for node in nodes[-1:])


NAME = Rule(
    code="NAME",
    severity="error",
    title="the name is not that of the folder",
    triton='Triton refuses the model: "unexpected directory name … directory name must equal model name".',
    write="Write the name of the folder, or leave name out",
    check=name,
    seen="2.51",
    fixable=True,
)
NO_NAME = Rule(
    code="NAME-EMPTY",
    severity="information",
    title="the name is left out",
    triton="Triton takes the name of the folder.",
    write="Write the name of the folder, or leave it so",
    check=no_name,
    seen="2.51",
    fixable=True,
)
NEGATIVE = Rule(
    code="MBS-NEG",
    severity="error",
    title="max_batch_size is negative",
    triton="Triton refuses the model: \"'max_batch_size' must be non-negative value\".",
    write="Write max_batch_size: 0 for a model without a batch dimension, or the largest batch",
    check=negative_batch,
    seen="2.51",
)
PAIR = Rule(
    code="PLAT",
    severity="error",
    title="the platform is unknown, or that of another backend",
    triton='Triton refuses the model: "unexpected platform type" if it finds no backend by the platform and the file '
    "name, and \"unexpected 'platform' and 'backend' pair\" if a backend that it knows is paired with another's "
    "platform. A backend that it does not know may have any platform.",
    write="Write backend, and leave platform out",
    check=pair,
    seen="2.51",
    fixable=True,
)
UNDETERMINED = Rule(
    code="AUTOFILL",
    severity="error",
    title="nothing says which backend serves the model",
    triton='Triton refuses the model: "Could not determine backend". It looks for a known file, such as model.onnx, in '
    "the first folder of the model by name, a hidden one included.",
    write="Write backend with the name of the backend",
    check=undetermined,
    seen="2.51",
)
GUESSED = Rule(
    code="AUTOFILL-GUESS",
    severity="warning",
    title="the backend is left to Triton to guess",
    triton="Triton guesses it from the files in the first folder of the model by name, a hidden one included.",
    write="Write backend with the name of the backend",
    check=guessed,
    seen="2.51",
    fixable=True,
)
LIBRARY = Rule(
    code="BACKEND",
    severity="error",
    title="the library of the backend is not there",
    triton='Triton refuses the model: "unable to find backend library". It looks in the folder of the version, in that '
    "of the model, and in its own folder of backends.",
    write="Write a backend of NVIDIA's images, or ignore this rule if your server has this one",
    check=library,
    seen="2.51",
    needs_config=False,
    fixable=True,
)
NO_CONFIG = Rule(
    code="CONFIG-NONE",
    severity="error",
    title="there is no config.pbtxt, and the backend makes none",
    triton='Triton refuses the model: "model configuration is not provided". Some backends make a configuration from '
    "the model's file; others make none.",
    write="Write config.pbtxt",
    check=no_config,
    seen="2.51",
    needs_config=False,
)
RULES = (NAME, NO_NAME, NEGATIVE, PAIR, UNDETERMINED, GUESSED, LIBRARY, NO_CONFIG)
