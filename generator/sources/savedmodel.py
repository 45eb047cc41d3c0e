"""TensorFlow SavedModels: `--model savedmodel:FOLDER`, one of their signatures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.sources.tensorflow import IN_CODE, cause, optimizers, tensorflow
from modelrepo.generator.sources.tensorflow.declared import declared_from
from modelrepo.generator.sources.tensorflow.function import function_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TENSORFLOW, require
from modelrepo.generator.system.quiet import quiet

DEFAULT = "serving_default"
# The names of signatures that TensorFlow adds to every SavedModel.
INTERNAL = "__saved_model_"


def default_name(name: str) -> str:
    """Return the folder's name; if that is a version number, the name of its parent."""
    path = Path(name)
    return path.parent.name if path.name.isdigit() and path.parent.name else path.name


def files(name: str) -> tuple[Path, ...]:
    """Return the graph, the variables and the assets; SourceError for a folder without a SavedModel in it."""
    folder = path_of(name)
    formats.expect(folder, "savedmodel")
    graphs = [path for path in sorted(folder.glob("saved_model.pb*")) if path.is_file()]
    parts = [path for part in ("variables", "assets") for path in sorted((folder / part).rglob("*")) if path.is_file()]
    if not graphs:
        raise SourceError(f"{folder / 'saved_model.pb'} is not a file", "Save or download it again")
    if not graphs[0].stat().st_size:
        raise SourceError(f"{graphs[0]} is empty", "Save or download it again")
    return (*graphs, *parts)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is a SavedModel and the packages that read it are installed."""
    files(name)
    require(TENSORFLOW)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the signature that ``options.signature`` names, else ``serving_default``, else the only one there is.

    Inputs are named for the signature's arguments, outputs for the keys of its answer. Raises SourceError for a folder
    that TensorFlow can't read, and for a signature that it does not have.
    """
    check(name, options)
    folder = path_of(name)
    reference = f"savedmodel:{folder.resolve().name}"
    content = files(name)
    memory.check(sum(path.stat().st_size for path in content), reference)
    variables = next((path for path in content if ".data-" in path.name), content[0])
    loaded = _loaded(folder)
    chosen = _chosen(reference, loaded.signatures, options.signature)
    function = loaded.signatures[chosen]
    specs: Mapping[str, Any] = function.structured_input_signature[1]

    def call(tensors: Sequence[Any]) -> Any:
        return function(**dict(zip(specs, tensors, strict=True)))

    return function_source(
        reference,
        call,
        declared_from(specs),
        options,
        Weights("file", f"{folder.resolve().name}, signature {chosen}", untrained=False, sha256=sha256_of(variables)),
        owner=_needed(function, loaded),
    )


def _needed(function: Any, loaded: Any) -> Any:
    """Return the objects that a signature needs kept alive: its variables, or the whole SavedModel if it needs more.

    Keras saves each variable twice, once for the signatures and once for further training.
    """
    variables = tuple(function.variables)
    handles = {id(each.handle) for each in variables}
    return variables if all(id(captured) in handles for captured in function.captured_inputs) else loaded


def _loaded(folder: Path) -> Any:
    library = tensorflow()
    try:
        with quiet(), optimizers.forgotten():
            return library.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises OSError, ValueError, NotFoundError, … for folders that it can't read
        raise SourceError(f"can't load {folder}: {cause(error)}", IN_CODE) from error


def _chosen(reference: str, signatures: Mapping[str, Any], wanted: str) -> str:
    names = [name for name in signatures if not name.startswith(INTERNAL)]
    if not names:
        raise SourceError(
            f"{reference} has no signature",
            "Save it with one: tf.saved_model.save(model, folder, signatures=…), or model.export(folder) of Keras",
        )
    if wanted and wanted not in names:
        raise SourceError(f"{reference} has no signature {wanted!r}", nearest(wanted, names))
    if not wanted and DEFAULT not in names and len(names) > 1:
        raise SourceError(
            f"{reference} has {len(names)} signatures and no {DEFAULT}",
            f"Choose one with --signature: {', '.join(sorted(names))}",
        )
    return wanted or (DEFAULT if DEFAULT in names else names[0])


SOURCE = file_source(
    form="savedmodel:FOLDER",
    summary="TensorFlow SavedModels",
    frameworks=("tensorflow",),
    load=load,
    check=check,
    files=files,
    default_name=default_name,
    options=("input_shape", "dynamic", "opset", "signature"),
    extras=(TENSORFLOW,),
)
