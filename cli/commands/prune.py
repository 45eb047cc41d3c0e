"""`modelrepo prune`: remove versions that are not served."""

import re
from datetime import timedelta
from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import At, server_options

EXAMPLES = """
\b
Examples:
  modelrepo prune resnet50_onnx --keep 3     the three newest, and what is served
  modelrepo prune --older-than 30d           of every model; asked for once
  modelrepo prune 'bert_*' --keep 2 --yes
  modelrepo prune --keep 2 --dry-run

\b
Exit codes:
  0 done, or nothing to do    2 usage    6 no such model, or it can't be known what it serves
  7 the server can't be asked
"""
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _age(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Return a time such as 30d, 12h or 2w."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([mhdw])", value.strip().lower())
    if not match:
        raise click.BadParameter(f"{value!r} is not an age, such as 30d, 12h or 2w", context, parameter)
    return timedelta(**{UNITS[match[2]]: int(match[1])})


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", nargs=-1, metavar="[MODEL|PATTERN]...")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the N newest versions of each model.")
@click.option("--older-than", callback=_age, metavar="AGE", help="Remove what was published before, such as 30d.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@server_options
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and change nothing.")
@click.option("--yes", is_flag=True, help="Don't ask if several models are meant.")
@json_flag("Print the outcome as one JSON object.")
def prune(
    names: tuple[str, ...],
    keep: int | None,
    older_than: timedelta | None,
    repository: Path | None,
    at: At | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove versions that are not served. A served version, the newest one, and what is not ours always stay.

    With --url a version stays too that a running server still has loaded.
    """
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.errors import OptionError
    from modelrepo.generator.repository.lifecycle.removal import pruned

    if keep is None and older_than is None:
        raise OptionError("prune needs --keep or --older-than", "Such as --keep 3, or --older-than 30d")
    serving.remove(
        names or ("*",),
        lambda model, *_: pruned(model, keep=keep, older_than=older_than),
        repository,
        at,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
