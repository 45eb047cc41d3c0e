"""`modelrepo serve`: a real Triton on a model repository, until Ctrl-C."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from modelrepo.cli.terminal.as_json import json_flag

if TYPE_CHECKING:
    from modelrepo.cli.terminal.report import Follower
    from modelrepo.server import ModelState, Server
    from modelrepo.server.running.following import Event

# Seconds between two looks at the server's log.
LOOK_SECONDS = 0.5
STYLES = {"served": "green", "ready": "green", "gone": "yellow", "refused": "red", "unready": "bold red"}
EXAMPLES = """
\b
Examples:
  modelrepo serve                              everything in ./model_repository, on free ports
  modelrepo serve --http-port 8000 --grpc-port 8001 --metrics-port 8002
  modelrepo serve --model resnet50_onnx        one model of the repository
  modelrepo serve --control poll               and load models that are published later
  modelrepo serve --json | head -1             the addresses, for a program to read

\b
Exit codes:
  0 stopped by Ctrl-C or SIGTERM    6 no such repository, or Triton will refuse a model
  2 usage                           7 Triton can't be fetched or started, or died
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Serve only this model; may be repeated.")
@click.option(
    "--control",
    type=click.Choice(["none", "poll", "explicit"]),
    help="Triton's mode. Default: none; explicit with --model.",
)
@click.option("--poll-seconds", type=click.IntRange(1), default=15, help="Seconds between polls. Default: 15.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=0, help="Default: 0, any free port.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=0, help="Default: 0, any free port.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=0, help="Default: 0, any free port.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "local", "docker"]),
    default="auto",
    help="A server on this machine, NVIDIA's container, or the first that works. Default: auto.",
)
@click.option("--target-release", metavar="YY.MM", help="Release of the container; default: the newest known.")
@click.option("--cpu-overlay", is_flag=True, help="Serve models that ask for a GPU on the CPU; shows the changes.")
@json_flag("Print addresses and models as one line of JSON, then a line for each event.", indent=None)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def serve(
    repository: Path | None,
    models: tuple[str, ...],
    control: Literal["none", "poll", "explicit"] | None,
    runtime: Literal["auto", "local", "docker"],
    target_release: str | None,
    cpu_overlay: bool,
    as_json: bool,
    quiet: bool,
    **ports: int,
) -> None:
    """Run a real Triton on a model repository, on loopback, until Ctrl-C.

    It needs no container and no GPU: ONNX Runtime serves ONNX models on this machine's CPU, with their config.pbtxt as
    it is. The first time, Triton (55 MB) is downloaded into the user's cache. The models are judged first, as
    `modelrepo check` does.
    """
    from modelrepo.cli.terminal import report
    from modelrepo.generator.errors import OptionError
    from modelrepo.generator.options import config_file
    from modelrepo.generator.progress import Progress
    from modelrepo.generator.triton import releases
    from modelrepo.server import running_server
    from modelrepo.server.running.following import Following

    if models and control in ("none", "poll"):
        raise OptionError(f"--model can't be combined with --control {control}", "Leave --control out")
    chosen = control or ("explicit" if models else "none")
    if cpu_overlay and chosen == "poll":
        raise OptionError(
            "--cpu-overlay can't be combined with --control poll", "The overlay is made once, when the server starts"
        )
    follower = report.Follower(quiet)
    with (
        running_server(
            repository or config_file.default_repository(),
            runtime=runtime,
            control=chosen,
            models=models,
            release=releases.release_named(target_release).container if target_release else releases.NEWEST,
            cpu_overlay=cpu_overlay,
            auto_complete=None if chosen == "none" or models else True,
            graceful=True,
            keep_going=chosen != "none" and not models,
            progress=Progress(follower),
            **ports,
        ) as server,
        suppress(KeyboardInterrupt),  # the usual end of a server
    ):
        following = Following(server)
        _print(server, following.states, follower, as_json)
        if not quiet:
            click.echo("Stop it with Ctrl-C.", err=True)
        while not server.ends_within(LOOK_SECONDS):
            for event in following.look():
                _tell(event, follower, as_json)
        raise _died(server)


def _print(server: "Server", states: "tuple[ModelState, ...]", follower: "Follower", as_json: bool) -> None:
    for note in server.notes:
        follower.warned(f"CPU overlay: {note}")
    document = {"http": server.http_url, "grpc": server.grpc_url, "metrics": server.metrics_url}
    from modelrepo.server.running.explained import explained

    if as_json:
        rows = [{"name": row.name, "version": row.version, "state": row.state, "reason": row.reason} for row in states]
        more = {"pid": server.pid, "log": str(server.log), "models": rows, "notes": server.notes}
        click.echo(json.dumps({**document, **more}))
        return
    width = max((len(state.name) for state in states), default=0)
    for state in states:
        why = explained(state.reason, server.repository / state.name)
        row = f"{state.name:{width}}  {state.version or '-':>3}  {state.state or 'not loaded':11}  {why}"
        click.echo(row.rstrip())
    if not states:
        follower.warned("the repository holds no models")
    for name, url in (*document.items(), ("log", server.log)):
        click.echo(f"{name:7}  {url}")


def _tell(event: "Event", follower: "Follower", as_json: bool) -> None:
    """Print what happened: a line with its time on stderr, or an object a line on stdout for a program."""
    now = datetime.now().astimezone()
    if as_json:
        _print_for_program(json.dumps(_document(event, now)))
    elif not follower.quiet:
        from rich.text import Text

        line = Text.assemble((f"{now:%H:%M:%S}  ", "dim"), (event.message, STYLES[event.kind]))
        follower.console.print(line, soft_wrap=True)


def _document(event: "Event", now: datetime) -> dict[str, Any]:
    fields = asdict(event)
    return {"time": now.isoformat(timespec="seconds"), "event": fields.pop("kind"), **fields}


def _print_for_program(line: str) -> None:
    """Print a line on stdout, until nobody reads it: `head -1` takes the addresses and leaves."""
    try:
        click.echo(line)
    except BrokenPipeError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _died(server: "Server") -> Exception:
    """Return the error for a server that ended by itself."""
    from modelrepo.generator.errors import ServerError
    from modelrepo.server.running import handle, log
    from modelrepo.server.running.explained import explained

    said = explained(log.last_words(server.log_text()), server.repository)
    return ServerError(f"Triton {handle.ending(server.wait())}: {said}", f"Its log is {server.log}")
