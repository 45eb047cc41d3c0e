"""`modelrepo smoke`: ask a running server the golden requests of what was published."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import Connection, connection_options
from modelrepo.cli.terminal.errors import client_errors
from modelrepo.generator.errors import OptionError

if TYPE_CHECKING:
    from modelrepo.generator.progress import Progress
    from modelrepo.server import Server

EXAMPLES = """
\b
Examples:
  modelrepo smoke                                       all published models, in a server for this call
  modelrepo smoke resnet50 --url grpc://triton.example:8001
  modelrepo smoke --url https://models.example:443 --header 'Authorization: Bearer TOKEN'
  modelrepo smoke --url grpcs://10.0.0.7:8001 --ca ca.pem --cert me.pem --key me.key
  modelrepo smoke resnet50 --version 3 --url grpc://127.0.0.1:8001
  modelrepo smoke --url grpc://triton.example:8001 --junit smoke.xml --json

\b
Exit codes:
  0 every model is served as published    5 an answer, a label, the version or the configuration is another
  7 a server or a model is not ready      6 not in the repository, or no golden requests are kept
  2 usage     130 interrupted
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--url", help="grpc://HOST:PORT, grpcs://, http:// or https://. Default: a server for this call.")
@click.option("--version", type=click.IntRange(min=1), help="The version to ask. Default: the server's choice.")
@click.option("--repository", type=click.Path(path_type=Path),
              help="The repository that was published. Default: that of modelrepo.toml.")  # fmt: skip
@connection_options
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write a report for CI, as JUnit's XML.")
@json_flag("Print the result as one JSON object.", empty={"results": []})
@click.option("--quiet", "-q", is_flag=True, help="No progress, only errors and the result.")
def smoke(
    models: tuple[str, ...],
    url: str | None,
    version: int | None,
    repository: Path | None,
    connection: Connection,
    junit: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a running server whether it serves what was published.

    A version keeps a few requests with the answers of its source and their limits. They are sent to any Triton, and for
    each model it is compared: whether it is ready, its version, its configuration, its answers, and the names of its
    classes. No file of the server is read. Without MODEL it is every published model.
    """
    from modelrepo.cli.terminal import smoke_output as output
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.generator.options import config_file
    from modelrepo.generator.progress import Progress
    from modelrepo.generator.repository.lifecycle.smoke import Smoked, published, published_names
    from modelrepo.generator.repository.lifecycle.smoke import smoke as smoked
    from modelrepo.generator.repository.lifecycle.standing import opened

    if version is not None and len(models) != 1:
        raise OptionError("--version was given without the one model that it is of", "Name one MODEL")
    if junit is not None and not junit.absolute().parent.is_dir():
        raise OptionError(f"can't write {junit}: can't find the folder {junit.parent}")
    where = opened(repository or config_file.default_repository())
    names = tuple(dict.fromkeys(models)) or published_names(where)
    if not names:
        raise output.nothing_published(where.root)
    for name in names:
        published(where, name, version)
    progress = Progress(Follower(quiet))
    rows: list[Smoked] = []
    interrupted = False
    with client_errors(), _server(url, where.root, progress) as (at, server):
        try:
            with connection.client(at) as client:
                for name in names:
                    with progress.step("smoke", f"asking {name} at {at}") as step, _loaded(server, name):
                        rows.append(smoked(client, where, name, version))
                        step.outcome = output.told(rows[-1])
        except KeyboardInterrupt:
            interrupted = True
    if junit is not None:
        output.write_junit(junit, rows, at)
    if as_json:
        click.echo(output.as_json(rows, at, where.root))
    else:
        output.show(rows)
    if interrupted:
        raise KeyboardInterrupt
    code = next((row.exit_code for row in rows if row.exit_code), 0)
    if code:
        raise click.exceptions.Exit(code)


@contextmanager
def _server(url: str | None, repository: Path, progress: "Progress") -> "Iterator[tuple[str, Server | None]]":
    """Yield the URL of a server: the user's, or one of our own for the time of the block, which has loaded nothing."""
    if url:
        yield url, None
        return
    from modelrepo.server import running_server

    with running_server(repository, control="explicit", keep_going=True, progress=progress) as server:
        yield server.grpc_url, server


@contextmanager
def _loaded(server: "Server | None", name: str) -> Iterator[None]:
    """Keep a model loaded in our own server, one at a time; one that is refused is a model that is not ready."""
    if server is None:
        yield
        return
    from modelrepo.generator.errors import ServerError

    with suppress(ServerError):
        server.load(name)
    yield
    with suppress(ServerError):
        server.unload(name)
