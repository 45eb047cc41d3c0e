"""`modelrepo infer`: ask a served model, or one of a repository through a server started for this call."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.errors import client_errors
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.repository.layout import CONFIG

if TYPE_CHECKING:
    from modelrepo.generator.progress import Progress

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
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a server for this call.")
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]VALUE",
              help="JSON, @FILE.npy, or @FILE.npz for several inputs at once. Without NAME: by position.")  # fmt: skip
@click.option("--image", type=click.Path(path_type=Path), help="An image, prepared as for the model's weights.")
@click.option("--top", type=click.IntRange(min=1), help=f"The best classes only. Default with --image: {TOP}.")
@click.option("--output-file", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--version", default="", help="The version to ask. Default: the server's choice.")
@click.option("--deadline", type=float, default=60.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--repository", type=click.Path(path_type=Path),
              help="The model's repository, with its image preparation. Default: that of modelrepo.toml.")  # fmt: skip
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send a header, such as a token.")
@json_flag("Print the answer as one JSON object.")
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
    running server is asked; otherwise one is started on the repository for this call.
    """
    from modelrepo.cli.terminal.infer_answers import classes_text, outputs_text, save
    from modelrepo.cli.terminal.infer_inputs import read_headers, read_image, read_inputs
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.clients import connect
    from modelrepo.generator.options import config_file
    from modelrepo.generator.progress import Progress

    _check(model, inputs, image, top, output_file)
    if image is not None and output_file is None:
        top = top or TOP
    progress = Progress(Follower(quiet))
    repository = repository or config_file.default_repository()
    with client_errors(), ExitStack() as stack:
        given = read_inputs(inputs) if image is None else read_image(image, repository, model, version)
        at = url or stack.enter_context(_server(repository, model, progress))
        client = stack.enter_context(connect(at, deadline=deadline, headers=read_headers(headers)))
        with progress.step("infer", f"asking {model} at {at}"):
            if top is not None:
                classes = client.classify(model, given, top, version=version)
            else:
                answer = client.infer(model, given, version=version)
    if top is not None:
        click.echo(classes_text(model, version, classes, as_json))
        return
    if output_file is not None:
        save(output_file, answer)
    click.echo(outputs_text(model, version, answer, as_json))


def _check(model: str, inputs: tuple[str, ...], image: Path | None, top: int | None, output_file: Path | None) -> None:
    """Raise OptionError for options that can't be combined."""
    if output_file is not None and top is not None:
        raise OptionError("--top prints classes, and --output-file takes arrays", "Give one of them")
    if output_file is not None and output_file.suffix != ".npz":
        raise OptionError(f"{output_file} is not a .npz file", "Name one that ends in .npz")
    if image is not None and inputs:
        raise OptionError("--image and --input were both given", "Give one of them")
    if image is None and not inputs:
        raise OptionError(f"there is no input for {model}", "Give its inputs with --input or --image")


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
