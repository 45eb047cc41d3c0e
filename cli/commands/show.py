"""`modelrepo show`: what a published model is, how it was proven, and how to ask it."""

import json
import shlex
from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

EXAMPLES = """
\b
Examples:
  modelrepo show resnet50                    the version that is served
  modelrepo show resnet50 --version 2
  modelrepo show resnet50 --json | jq .verification
  modelrepo show resnet50 --json | jq -r .ask.python

\b
Exit codes:
  0 done    2 usage    6 no such model or version, or a record that can't be read
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model")
@click.option("--version", type=click.IntRange(min=0), help="Default: the newest that is served.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@json_flag("Print everything that is known as one JSON object.")
def show(model: str, version: int | None, repository: Path | None, as_json: bool) -> None:
    """Show what a model is: inputs and outputs, source, proof, versions, files, and how to ask it.

    Of a model that was not made by modelrepo, what its config.pbtxt says is shown, and marked so.
    """
    from modelrepo.cli.terminal import show_model
    from modelrepo.cli.terminal.show_asking import asking
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.shown import shown
    from modelrepo.generator.repository.lifecycle.standing import opened

    found = shown(opened(repository or config_file.default_repository()), model, version)
    ways = asking(found, f" --repository {shlex.quote(str(repository))}" if repository else "")
    if as_json:
        click.echo(json.dumps(show_model.document(found, ways), indent=2))
    else:
        click.echo(show_model.text(found, ways))
