"""`modelrepo infer`: ask a served model, or one of a repository through a server started for this call."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import Connection, connection_options
from modelrepo.cli.terminal.errors import client_errors
from modelrepo.generator.errors import ModelRepoError, OptionError, nearest
from modelrepo.generator.repository.layout import CONFIG

if TYPE_CHECKING:
    from modelrepo.clients.models import Model
    from modelrepo.generator.progress import Progress

EXAMPLES = """
\b
Examples:
  modelrepo infer iris
  modelrepo infer iris test.csv --labels species --output answers.csv
  modelrepo infer digits test.npy --labels labels.txt --top 3
  modelrepo infer resnet50 dog.jpg --top 5
  modelrepo infer reviews --text 'Good food' --text 'Cold soup'
  modelrepo infer resnet50 pictures --url grpc://127.0.0.1:8001
  modelrepo infer mlp --input '[[5.1, 3.5, 1.4, 0.2]]' --json
  modelrepo infer bert --input ids='[[101, 7592, 102]]' --input mask='[[1, 1, 1]]'

\b
Exit codes:
  0 done     2 usage     7 server     1 unexpected     6 repository     130 interrupted
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a server for this call.")
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]VALUE",
              help="JSON, @FILE.npy, or @FILE.npz for several inputs at once. Without NAME: by position.")  # fmt: skip
@click.option("--image", "images", multiple=True, type=click.Path(path_type=Path),
              help="The same as FILE, for an image or a folder of them; may be repeated.")  # fmt: skip
@click.option("--text", "texts", multiple=True, help="A text, for a model that takes texts; may be repeated.")
@click.option("--text-file", type=click.Path(path_type=Path), help="Texts, one a line.")
@click.option("--columns", metavar="NAME,…", help="The columns of a table to take, in this order. Default: all.")
@click.option("--labels", metavar="NAME|FILE",
              help="Print accuracy: a column or array of FILE with the labels, or a .npy or text file.")  # fmt: skip
@click.option("--top", type=click.IntRange(min=1),
              help="The best classes only; with --labels top-k accuracy. Default for images: 5.")  # fmt: skip
@click.option("--output", "--output-file", type=click.Path(path_type=Path),
              help="Write the outputs to this .npz, .npy, .csv, .parquet, .jsonl or .json file.")  # fmt: skip
@click.option("--version", default="", help="The version to ask. Default: the server's choice.")
@click.option("--repository", type=click.Path(path_type=Path),
              help="The model's repository, with its image preparation. Default: that of modelrepo.toml.")  # fmt: skip
@connection_options
@json_flag("Print the answer as one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only errors and the answer.")
def infer(
    model: str,
    file: Path | None,
    url: str | None,
    inputs: tuple[str, ...],
    images: tuple[Path, ...],
    texts: tuple[str, ...],
    text_file: Path | None,
    columns: str | None,
    labels: str | None,
    top: int | None,
    output: Path | None,
    version: str,
    repository: Path | None,
    connection: Connection,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a served model, or one of a repository.

    FILE is a test set of any length (.npy, .npz, CSV or Parquet), an image, or a folder of images. It is sent in
    batches. Columns become inputs by name; a single matrix takes the columns that it was fitted on, or all in order.
    A model that prepares its input itself gets pictures and texts as they are. Without any of them, the model's inputs
    and outputs are listed.

    The answer goes to stdout, as a table or truncated arrays; --json and --output give all of it. With --url a
    running server is asked; otherwise one is started on the repository for this call.
    """
    from modelrepo.cli.terminal import infer_had as had
    from modelrepo.cli.terminal import infer_inputs as reading
    from modelrepo.cli.terminal.infer_data import UNKNOWN
    from modelrepo.cli.terminal.infer_run import Question, ask
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.generator.options import config_file
    from modelrepo.generator.progress import Progress

    given = {"FILE": file, "--image": images, "--text": texts, "--text-file": text_file, "--input": inputs}
    _check(given, columns, labels, top, output)
    if connection.certificates() and not url:
        raise OptionError(f"{connection.certificates()[0]} was given without --url", "Name the server with --url")
    progress = Progress(Follower(quiet))
    where = repository or config_file.default_repository()
    with client_errors(), _unserved(where, model, version, url), ExitStack() as stack:
        if file is not None and had.is_image(file):
            images, file = (file,), None
        question = Question(
            model, version, reading.read_inputs(inputs) if inputs else None, file, images,
            had.read_texts(texts, text_file), lambda: reading.preparation(where, model, version),
            labels, tuple(filter(None, (columns or "").split(","))),
            reading.fitted_on(where, model, version) if file else UNKNOWN, top, output, as_json,
        )  # fmt: skip
        at = url or stack.enter_context(_server(where, model, progress))
        client = stack.enter_context(connection.client(at))
        if not any(given.values()):
            click.echo(_listed(client.model(model, version), url, where, as_json))
        else:
            click.echo(ask(client, question, progress, at))


def _listed(model: "Model", url: str | None, repository: Path, as_json: bool) -> str:
    """Return what a model takes and gives, and how to ask it."""
    from modelrepo.cli.terminal import infer_inputs as reading
    from modelrepo.cli.terminal import infer_model as listing

    try:
        images = bool(reading.preparation(repository, model.name, ""))
    except ModelRepoError:
        images = False
    found = listing.examples(model, url, images)
    return listing.model_document(model, found) if as_json else listing.model_text(model, found)


def _check(
    asked: Mapping[str, Any], columns: str | None, labels: str | None, top: int | None, output: Path | None
) -> None:
    """Raise OptionError for options that can't be combined, and for files that are not there."""
    from modelrepo.cli.terminal.infer_files import check_output
    from modelrepo.generator.system.extras import TABLES, require

    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise OptionError(f"{given[0]} and {given[1]} were both given", "Give one of them")
    file = asked["FILE"]
    if output is not None:
        check_output(output)
    alone = next((name for name, value in (("--labels", labels), ("--output", output), ("--top", top)) if value), None)
    if not given and alone:
        raise OptionError(
            f"{alone} was given, but nothing to ask", "Give a test set as FILE, or --input, --image or --text"
        )
    if file is not None and file.suffix == ".parquet":
        require(TABLES)
    if columns and file is None:
        raise OptionError("--columns was given without a table", "Give a CSV or Parquet file")
    absent = next((each for each in (file, *asked["--image"]) if each is not None and not each.exists()), None)
    if absent is not None:
        raise OptionError(f"can't read {absent}: No such file or directory")


@contextmanager
def _unserved(repository: Path, model: str, version: str, url: str | None) -> Iterator[None]:
    """Tell how a version becomes one that is served, if it is in the repository and its configuration leaves it out."""
    from modelrepo.clients.errors import UnknownModel
    from modelrepo.generator.repository.repository import Repository

    try:
        yield
    except UnknownModel as error:
        if url or not version or not (repository / model / version).is_dir():
            raise
        ours = any(record.version == int(version) for record in Repository(repository).manifests(model))
        promote = f"Serve it with `modelrepo promote {model} {version}`, or beside another one: `{version},N`"
        hint = promote if ours else f"Name it in the version_policy of {CONFIG}"
        raise OptionError(
            f"version {version} is in {repository / model}, but its {CONFIG} leaves it out: {error.hint.lower()}", hint
        ) from error


@contextmanager
def _server(repository: Path, model: str, progress: "Progress") -> Iterator[str]:
    """Serve one model, and yield the URL."""
    from modelrepo.server import running_server

    if repository.is_dir() and not (repository / model / CONFIG).is_file():
        names = [folder.name for folder in repository.iterdir() if (folder / CONFIG).is_file()]
        hint = nearest(model, names) if names else "Generate it first, or name another with --repository"
        raise OptionError(f"{repository} has no model {model!r}", hint)
    with running_server(repository, control="explicit", models=(model,), progress=progress) as server:
        for note in server.notes:
            progress.warn(note)
        yield server.grpc_url
