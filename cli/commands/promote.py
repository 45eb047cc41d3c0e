"""`modelrepo promote`: serve a version, or several at a time."""

from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import At, server_options

EXAMPLES = """
\b
Examples:
  modelrepo promote resnet50_onnx 4
  modelrepo promote resnet50_onnx 3,4        both stay loaded; clients ask for a version, or get the newest
  modelrepo promote resnet50_onnx 4 --dry-run
  modelrepo promote resnet50_onnx 4 --url grpc://127.0.0.1:8001    a running server follows

\b
Exit codes:
  0 done, or nothing to do    2 usage    6 no such version, or Triton would refuse it
  5 the server answers wrongly    7 it refuses, or can't be asked; after both all is as before
"""


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Return the numbers of versions, such as 3 or 3,4."""
    parts = [each.strip() for each in value.split(",")]
    if not all(each.isascii() and each.isdecimal() and len(each) < 20 for each in parts):
        raise click.BadParameter(f"{value!r} is not a version, such as 3, or several, such as 3,4", context, parameter)
    return tuple(map(int, parts))


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("name", metavar="MODEL")
@click.argument("versions", metavar="N[,M]...", callback=_numbers)
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@server_options
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_flag("Print the outcome as one JSON object.")
def promote(
    name: str, versions: tuple[int, ...], repository: Path | None, at: At | None, dry_run: bool, as_json: bool
) -> None:
    """Serve a version, or several at a time. The configuration is that of the newest of them.

    With --url a running server loads it, and its answers are checked; if they are wrong, all is put back.
    """
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.repository.lifecycle.serving import promoted

    serving.change(name, lambda model, _: promoted(model, versions), repository, at, dry_run=dry_run, as_json=as_json)
