"""`modelrepo infer`: ask a served model, or one of a repository through a server started for the one call."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from generator.errors import OptionError, ServerError, nearest

if TYPE_CHECKING:
    from clients import Classification
    from clients.inputs import Inputs
    from clients.models import Answer, Array
    from generator.progress import Progress

TOP = 5
EXAMPLES = """
\b
Examples:
  modelrepo infer resnet50 --image dog.jpg --top 5
  modelrepo infer resnet50 --url grpc://127.0.0.1:8001 --image dog.jpg
  modelrepo infer mlp --input input=@batch.npy --output-file answer.npz
  modelrepo infer mlp --input '[[5.1, 3.5, 1.4, 0.2]]' --json
  modelrepo infer bert --input ids='[[101, 7592, 102]]' --input mask='[[1, 1, 1]]'

\b
Exit codes:
  0 done     2 usage     7 server     1 unexpected     6 repository     130 interrupted
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model")
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a server for this one call.")
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]VALUE",
              help="JSON, @FILE.npy, or @FILE.npz for several inputs at once. Without NAME: by position.")  # fmt: skip
@click.option("--image", type=click.Path(path_type=Path), help="An image, prepared as the model's own weights say.")
@click.option("--top", type=click.IntRange(min=1), help=f"The best classes only. Default with --image: {TOP}.")
@click.option("--output-file", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--version", default="", help="The version to ask. Default: the server's choice.")
@click.option("--deadline", type=float, default=60.0, show_default=True, help="Seconds until an answer must be there.")
@click.option("--repository", type=click.Path(path_type=Path),
              help="Where the model and its image preparation are. Default: that of modelrepo.toml.")  # fmt: skip
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send a header, such as a token.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only errors and the answer.")
def infer(
    model: str,
    url: str | None,
    inputs: tuple[str, ...],
    image: Path | None,
    top: int | None,
    output_file: Path | None,
    version: str,
    deadline: float,
    repository: Path | None,
    headers: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a served model, or one of a repository.

    The answer goes to stdout, as a table or truncated arrays; --json and --output-file give all of it. With --url a
    running server is asked, otherwise one is started on the repository for the one call.
    """
    from cli.report import Follower
    from clients import connect
    from generator import options
    from generator.progress import Progress

    if output_file is not None and (top is not None or output_file.suffix != ".npz"):
        what = "--top prints classes, and --output-file takes arrays" if top else f"{output_file} is no .npz file"
        raise OptionError(what, "Give one of them" if top else "Name one that ends in .npz")
    if image is not None and output_file is None:
        top = top or TOP
    progress = Progress(Follower(quiet))
    repository = repository or options.default_repository()
    with _errors(), ExitStack() as stack:
        given = _given(inputs, image, model, repository, version)
        at = url or stack.enter_context(_server(repository, model, progress))
        client = stack.enter_context(connect(at, deadline=deadline, headers=_headers(headers)))
        with progress.step("infer", f"asking {model} at {at}"):
            if top is not None:
                classes = client.classify(model, given, top, version=version)
            else:
                answer = client.infer(model, given, version=version)
    if top is not None:
        click.echo(_json(model, version, classes=_classes(classes)) if as_json else _table(classes))
        return
    if output_file is not None:
        _save(output_file, answer)
    click.echo(_json(model, version, outputs=_outputs(answer)) if as_json else _shown(answer))


@contextmanager
def _errors() -> Iterator[None]:
    """Give the clients' errors the exit codes of this program."""
    from clients.errors import ClientError, DependencyError, InputError, SettingsError

    try:
        yield
    except (InputError, SettingsError, DependencyError) as error:
        raise OptionError(error.message, error.hint) from error
    except ClientError as error:
        raise ServerError(error.message, error.hint) from error


@contextmanager
def _server(repository: Path, model: str, progress: "Progress") -> Iterator[str]:
    """Serve the one model, and yield the URL."""
    from server import running_server

    if repository.is_dir() and not (repository / model / "config.pbtxt").is_file():
        names = [folder.name for folder in repository.iterdir() if (folder / "config.pbtxt").is_file()]
        hint = nearest(model, names) if names else "Generate it first, or name another with --repository"
        raise OptionError(f"{repository} has no model {model!r}", hint)
    with running_server(repository, control="explicit", models=(model,), progress=progress) as server:
        for note in server.notes:
            progress.warn(note)
        yield server.grpc_url


def _headers(texts: Sequence[str]) -> dict[str, str]:
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise OptionError(f"--header {text!r} is no header", "Write it as 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


def _given(texts: Sequence[str], image: Path | None, model: str, repository: Path, version: str) -> "Inputs":
    """Return what the model is asked: one image, named values, or values by position."""
    if image is not None and texts:
        raise OptionError("--image and --input were both given", "Give one of them")
    if image is not None:
        from clients import load_image

        return [load_image(image, _preprocess(repository, model, version))]
    if not texts:
        raise OptionError(f"nothing to ask {model}", "Give its inputs with --input or --image")
    named: dict[str, Any] = {}
    positional: list[Any] = []
    for text in texts:
        name, value = _parse(text)
        if isinstance(value, Mapping):
            named.update(value)
        elif name:
            named[name] = value
        else:
            positional.append(value)
    if named and positional:
        raise OptionError("some inputs have a name and some have none", "Write every one as --input NAME=VALUE")
    return named or positional


def _parse(text: str) -> tuple[str, Any]:
    """Return the name of an ``--input``, if it has one, and its value: an array, or several by name."""
    name, equals, value = text.partition("=")
    if not equals or text[0] in '@[{"':
        name, value = "", text
    if value.startswith("@"):
        loaded = _load(Path(value[1:]))
    else:
        try:
            loaded = json.loads(value)
        except ValueError as error:
            hint = f"""Quote text: --input '{f"{name}=" if name else ""}["text"]', or read a file with @FILE.npy"""
            raise OptionError(f"--input {text!r} is no JSON: {error}", hint) from error
    if name and isinstance(loaded, Mapping):
        raise OptionError(f"--input {text!r} holds several inputs for one name", "Leave the name out")
    return name, loaded


def _load(path: Path) -> Any:
    """Return the array of a .npy file, or the arrays of a .npz file by name."""
    import numpy as np

    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read {path}: it is no .npy or .npz file of numbers") from error


def _preprocess(repository: Path, model: str, version: str) -> Mapping[str, Any]:
    """Return how the model's images are prepared, from the manifest of the version that is asked, or the newest."""
    from generator.repository import Repository

    manifests = Repository(repository).manifests(model)
    found = [each for each in manifests if not version or str(each.version) == version]
    preprocess = found[-1].provenance.source.preprocess if found else None
    if preprocess is None:
        raise OptionError(
            f"{repository} does not say how images are prepared for {model}",
            "Name the repository it was generated in with --repository, or give the array with --input",
        )
    return preprocess


def _save(path: Path, answer: "Answer") -> None:
    """Write a .npz file by hand: numpy.savez takes no array named ``file``."""
    import zipfile

    import numpy as np

    try:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in answer.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, _storable(array), allow_pickle=False)
    except OSError as error:
        raise OptionError(f"can't write {path}: {error.strerror}") from error


def _storable(array: "Array") -> "Array":
    """Return what a .npy file can hold: strings as numpy's own, which end at their last non-zero byte."""
    if array.dtype == object:
        return array.astype(bytes)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _table(classes: "Sequence[Sequence[Classification]]") -> str:
    """Return the best classes as aligned columns, the sample's number before them where there are several."""
    rows = [("sample", "rank", "label", "index", "score")]
    for number, sample in enumerate(classes):
        for rank, each in enumerate(sample, 1):
            rows.append((str(number), str(rank), each.label or "-", str(each.index), f"{each.score:.6g}"))
    columns = list(zip(*rows, strict=True))[0 if len(classes) > 1 else 1 :]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _shown(answer: "Answer") -> str:
    import numpy as np

    parts = []
    for name, array in answer.items():
        kind = "string" if array.dtype == object else array.dtype.name
        text = np.array2string(_decoded(array), threshold=60, edgeitems=3, max_line_width=110, precision=6)
        parts.append(f"{name}  {kind} {list(array.shape)}\n{text}")
    return "\n\n".join(parts)


def _decoded(array: "Array") -> "Array":
    """Return strings in the place of bytes; bytes that are no UTF-8 are written as escapes."""
    import numpy as np

    if array.dtype != object:
        return array
    decoded = np.empty(array.shape, object)
    decoded.flat[:] = [item.decode("utf-8", "backslashreplace") for item in array.flat]
    return decoded


def _json(model: str, version: str, **found: Any) -> str:
    return json.dumps({"model": model, "version": version or None, **found}, indent=2, ensure_ascii=False)


def _classes(classes: "Sequence[Sequence[Classification]]") -> list[list[dict[str, Any]]]:
    return [
        [{"label": each.label, "index": each.index, "score": _finite(each.score)} for each in sample]
        for sample in classes
    ]


def _outputs(answer: "Answer") -> dict[str, Any]:
    return {
        name: {
            "dtype": "string" if array.dtype == object else array.dtype.name,
            "shape": list(array.shape),
            "data": _finite(_decoded(array).tolist()),
        }
        for name, array in answer.items()
    }


def _finite(value: Any) -> Any:
    """Return nested lists with what JSON can't write as the strings NaN, Infinity and -Infinity, as Protobuf does."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
