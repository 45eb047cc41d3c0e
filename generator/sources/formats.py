"""The formats that sources read and what else users point at: each in words, with the next step."""

import shlex
from pathlib import Path

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import python_file, weights_file
from modelrepo.generator.sources.content import is_transformers
from modelrepo.generator.sources.content import kind_of as kind_of

# The formats that a source reads: the name of each, and the scheme of the source.
READ = {
    "onnx": ("an ONNX file", "onnx"),
    "pt2": ("a torch.export program", "torch"),
    "torchscript": ("a TorchScript file", "torchscript"),
    "keras": ("a Keras file", "keras"),
    "hdf5": ("an HDF5 file", "keras"),
    "tflite": ("a TensorFlow Lite file", "tflite"),
    "savedmodel": ("a SavedModel", "savedmodel"),
    "skops": ("a skops file", "sklearn"),
    "xgboost": ("an XGBoost file", "sklearn"),
    "lightgbm": ("a LightGBM file", "sklearn"),
    "pickle": ("a pickle", "sklearn"),
}
TRUSTED = ("pickle",)
WEIGHTS = {
    "state dict": "a file of PyTorch weights",
    "safetensors": "a safetensors file",
}
WORDS = {**{name: each[0] for name, each in READ.items()}, **WEIGHTS}
# Other things that users point at, with the next step for each.
OTHERS = {
    "hf": "It is a Hugging Face folder: --model {hf}",
    "saved_model.pb": "It belongs to a SavedModel: --model {savedmodel}",
    "graph": "It is a frozen TensorFlow graph: save the model as a SavedModel instead",
    "checkpoint": "It is part of a TensorFlow checkpoint, which holds weights only: load them into the model in code, "
    "and save that with model.save('net.keras')",
    "arrays": "It holds arrays, not a model: --samples {path} verifies a model with them",
    "picture": "It is a picture, not a model: --samples {path} verifies a model with it",
    "table": "It is a table of values, not a model: --samples {path} verifies a model with it",
    "plan": "It is a TensorRT engine: --backends tensorrt builds one from the original model",
    "gguf": "It is a GGUF file, which llama.cpp and similar programs read",
    "catboost": "It is a CatBoost file: save it with model.save_model('net.onnx', format='onnx')",
    "binf": "It is an XGBoost file of an old format: save it as .json with the XGBoost that wrote it",
    "openvino": "It is an OpenVINO file: give the model that it was converted from",
    "archive": "It is an archive: unpack it, and name the model in it",
    "notebook": "It is a notebook: put a function that returns the model into a file such as nets.py, then --model "
    "python:nets:FUNCTION",
    "options": "It is a file of options: --config {path}",
    "page": "It is a web page, perhaps left by a failed download",
    "xml": "It is an XML file",
    "pointer": "It is a Git LFS pointer: git lfs pull fetches the file itself",
    "text": "It is a text file",
    "unknown": "Its format is unknown",
}


def expect(path: Path, *wanted: str) -> str:
    """Return the format of ``path`` if it is one of those wanted: names of ``READ`` or ``WEIGHTS``, or "torch module".

    Raises SourceError for a file that is missing, empty, truncated or unreadable, for an archive with members outside
    of it, and for another format; the hint then names the scheme that reads it. Reads little, even of a large file.
    """
    kind = kind_of(path)
    if kind in wanted:
        return kind
    if path.is_dir() and "savedmodel" not in wanted:
        raise SourceError(f"{path} is a folder", hint(kind, path) if kind != "folder" else _within(path, wanted))
    names = [WORDS[name] for name in wanted if name in WORDS]
    raise SourceError(f"{path} is not {' or '.join(names)}", hint(kind, path))


def flags(kind: str, path: Path) -> str:
    """Return the flags that a file of a format in ``READ`` is passed with, as a shell reads them."""
    return f"--model {reference(READ[kind][1], path)}{' --trust-source' if kind in TRUSTED else ''}"


def reference(scheme: str, path: Path) -> str:
    """Return the reference of a path with its scheme, as a shell reads it."""
    return shlex.quote(f"{scheme}:{path}")


def hint(kind: str, path: Path) -> str:
    """Return the hint with the format of a file, and the flags that it is passed with."""
    if kind in READ:
        return f"It is {READ[kind][0]}: {flags(kind, path)}"
    if kind in WEIGHTS:
        return weights_file.hint(path, safe=kind == "safetensors")
    if kind == "torch module":
        return weights_file.pickled_hint(path)
    if kind == "folder":
        return "It is a folder without a saved_model.pb"
    if kind == "python":
        return python_file.hint(path)
    whole = _whole(kind, path)
    if whole:
        return f"It belongs to {whole}"
    belongs = {"hf": reference("hf", path), "savedmodel": reference("savedmodel", path.parent)}
    return OTHERS[kind].format(path=shlex.quote(str(path)), **belongs)


def _whole(kind: str, path: Path) -> str:
    """Return the model that a file is a part of, and its flags: a folder, or an ONNX file; empty if there is none."""
    folder, beside = path.parent, path.with_suffix("")
    if kind == "checkpoint" and (folder.parent / "saved_model.pb").is_file():
        return f"a SavedModel: {flags('savedmodel', folder.parent)}"
    if kind == "text" and path.suffix == ".json" and is_transformers(folder):
        return f"a Hugging Face folder: --model {reference('hf', folder)}"
    if kind == "unknown" and beside.suffix == ".onnx" and beside.is_file():
        return f"an ONNX file: {flags('onnx', beside)}"
    return ""


def _within(folder: Path, wanted: tuple[str, ...]) -> str:
    """Return the hint that names a file of a folder in a wanted format, if there is one."""
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        try:
            if kind_of(path) in wanted:
                return f"Name the file in it, such as {path}"
        except SourceError:
            continue  # an unusable file is not a suggestion
    return "Name a file"
