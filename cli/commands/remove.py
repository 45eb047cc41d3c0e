"""`modelrepo remove`: remove models from the repository."""

from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import At, server_options

EXAMPLES = """
\b
Examples:
  modelrepo remove resnet18_onnx             all versions, and their records
  modelrepo remove 'test_*'                  asked for once
  modelrepo remove 'test_*' --dry-run

\b
Exit codes:
  0 done    2 usage    6 no such model, not made by modelrepo, or an ensemble calls it
  7 the server does not unload it, or can't be asked: nothing was removed
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", nargs=-1, required=True, metavar="MODEL|PATTERN...")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@server_options
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and change nothing.")
@click.option("--yes", is_flag=True, help="Don't ask if several models are meant.")
@json_flag("Print the outcome as one JSON object.")
def remove(
    names: tuple[str, ...], repository: Path | None, at: At | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove models with all their versions, records and prepared plans. Copies of edited files stay.

    With an ensemble go the models that were made for its steps, unless another one calls them. With --url a running
    server unloads them first.
    """
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.repository.lifecycle.removal import removed

    serving.remove(names, removed, repository, at, whole=True, dry_run=dry_run, yes=yes, as_json=as_json)
