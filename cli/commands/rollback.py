"""`modelrepo rollback`: serve an earlier version again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.connection import At, server_options

if TYPE_CHECKING:
    from modelrepo.generator.repository.lifecycle.remote import Health
    from modelrepo.generator.repository.lifecycle.serving import Change
    from modelrepo.generator.repository.lifecycle.standing import Standing

EXAMPLES = """
\b
Examples:
  modelrepo rollback resnet50_onnx           the version before the one that is served
  modelrepo rollback resnet50_onnx --to 3
  modelrepo rollback resnet50_onnx --dry-run
  modelrepo rollback resnet50_onnx --url grpc://127.0.0.1:8001     a running server follows

\b
Exit codes:
  0 done, or nothing to do    2 usage    6 no such version, or Triton would refuse it
  5 the server answers wrongly    7 it refuses, or can't be asked; after both all is as before
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("name", metavar="MODEL")
@click.option("--to", type=click.IntRange(0), metavar="N", help="Default: the version before the one that is served.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@server_options
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_flag("Print the outcome as one JSON object.")
def rollback(name: str, to: int | None, repository: Path | None, at: At | None, dry_run: bool, as_json: bool) -> None:
    """Serve an earlier version again. Its configuration comes with it; newer versions stay in the repository.

    `generate` leaves the choice alone until it publishes something new. `promote` takes it back. With --url a running
    server loads the version, and its answers are checked; if they are wrong, all is put back.
    """
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.repository.lifecycle.serving import rolled_back

    def plan(model: "Standing", health: "Health | None") -> "Change":
        if to is not None or health is None:
            return rolled_back(model, to)
        from modelrepo.generator.repository.lifecycle.remote import unfinished

        return rolled_back(model, unfinished(model, health))

    serving.change(name, plan, repository, at, dry_run=dry_run, as_json=as_json)
