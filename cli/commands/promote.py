"""`modelrepo promote`: serve a version, or several at a time."""

from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

EXAMPLES = """
\b
Examples:
  modelrepo promote resnet50_onnx 4
  modelrepo promote resnet50_onnx 3,4        both stay loaded; clients ask for a version, or get the newest
  modelrepo promote resnet50_onnx 4 --dry-run

\b
Exit codes:
  0 done, or nothing to do    2 usage    6 no such version, or Triton would refuse it
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
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_flag("Print the outcome as one JSON object.")
def promote(name: str, versions: tuple[int, ...], repository: Path | None, dry_run: bool, as_json: bool) -> None:
    """Serve a version, or several at a time. The configuration is that of the newest of them."""
    from modelrepo.cli.terminal import serving
    from modelrepo.generator.repository.lifecycle.serving import promoted

    serving.change(name, lambda model: promoted(model, versions), repository, dry_run=dry_run, as_json=as_json)
