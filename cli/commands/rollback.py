"""`modelrepo rollback`: serve an earlier version again."""

from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

EXAMPLES = """
\b
Examples:
  modelrepo rollback resnet50_onnx           the version before the one that is served
  modelrepo rollback resnet50_onnx --to 3
  modelrepo rollback resnet50_onnx --dry-run

\b
Exit codes:
  0 done, or nothing to do    2 usage    6 no such version, or Triton would refuse it
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("name", metavar="MODEL")
@click.option("--to", type=click.IntRange(0), metavar="N", help="Default: the version before the one that is served.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_flag("Print the outcome as one JSON object.")
def rollback(name: str, to: int | None, repository: Path | None, dry_run: bool, as_json: bool) -> None:
    """Serve an earlier version again. Its configuration comes with it; newer versions stay in the repository.

    `generate` leaves the choice alone until it publishes something new. `promote` takes it back.
    """
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.repository.lifecycle.serving import rolled_back

    serving.change(name, lambda model: rolled_back(model, to), repository, dry_run=dry_run, as_json=as_json)
