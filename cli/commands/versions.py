"""`modelrepo versions`: the versions of models, which of them are served, and what is known of them."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

EXAMPLES = """
\b
Examples:
  modelrepo versions                         every version of every model of ./model_repository
  modelrepo versions resnet50_onnx --verify  and whether its files are as they were published
  modelrepo versions --rebuild               make records that were lost anew, marked so
  modelrepo versions --json | jq '.versions[] | select(.served)'

\b
Exit codes:
  0 listed    2 usage    6 no such repository or model, or files that are not as they were published
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@click.option("--verify", is_flag=True, help="Read all files, and compare them with their records.")
@click.option("--rebuild", is_flag=True, help="Make records that were lost from what lies in the repository.")
@json_flag("Print the versions as one JSON object.", empty={"versions": []})
def versions(names: tuple[str, ...], repository: Path | None, verify: bool, rebuild: bool, as_json: bool) -> None:
    """List the versions of models: which are served, what they were made from, and how they were proven."""
    from modelrepo.cli.terminal import lifecycle as terminal
    from modelrepo.generator.errors import RepositoryError
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.rebuilt import rebuilt
    from modelrepo.generator.repository.lifecycle.standing import opened, standings

    opened_repository = opened(repository or config_file.default_repository())
    if rebuild:
        for record in rebuilt(opened_repository, names):
            click.echo(f"{record.name}: the record of version {record.version} is rebuilt", err=True)
    found = [row for model in standings(opened_repository, names, verify=verify) for row in terminal.rows(model)]
    if as_json:
        rows = [asdict(row) for row in found]
        click.echo(json.dumps({"repository": str(opened_repository.root), "versions": rows}, indent=2))
    elif found:
        terminal.show_versions(found)
    else:
        click.echo(f"{opened_repository.root} has no models")
    if verify and any(row.intact is False for row in found):
        raise click.exceptions.Exit(RepositoryError.exit_code)
