"""`modelrepo diff`: what is different between two versions of a model."""

import json
from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

# As with `diff` and `git diff --exit-code`.
DIFFERENT = 1
EXAMPLES = """
\b
Examples:
  modelrepo diff resnet50                    the served version and the newest
  modelrepo diff resnet50 2                  version 2 and the served one
  modelrepo diff resnet50 2 5
  modelrepo diff resnet50 2 5 --exit-code > /dev/null && echo "they are served alike"
  modelrepo diff resnet50 2 5 --json | jq .answers

\b
Exit codes:
  0 done; with --exit-code: the same    2 usage
  1 with --exit-code: different         6 no such model or version
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model")
@click.argument("a", required=False, type=click.IntRange(min=0))
@click.argument("b", required=False, type=click.IntRange(min=0))
@click.option("--no-answers", is_flag=True, help="Don't run the models.")
@click.option("--exit-code", is_flag=True, help="End with 1 if files or configuration are different.")
@click.option("--repository", type=click.Path(path_type=Path), help="Default: that of modelrepo.toml.")
@json_flag("Print all differences as one JSON object.")
def diff(
    model: str,
    a: int | None,
    b: int | None,
    no_answers: bool,
    exit_code: bool,
    repository: Path | None,
    as_json: bool,
) -> None:
    """Show what is different between the versions A and B of a model.

    That is: configuration (the version policy aside), files, operators, inputs and outputs, weights and how far they
    moved, how they were made and proven, and answers; of an ensemble, the versions of its models. For the answers both
    run in ONNX Runtime on the CPU, on their golden requests, or else on generated inputs. Of models that are not ONNX,
    the files are compared as a whole.

    Without B, A is compared with the served version. Without both, the served version is compared with the newest; or,
    if that is served, the one before with it.
    """
    from modelrepo.cli.terminal import diff_versions
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle import compared
    from modelrepo.generator.repository.lifecycle.standing import opened

    place = opened(repository or config_file.default_repository())
    found = compared.compared(place, model, a, b, ask=not no_answers)
    if as_json:
        click.echo(json.dumps(compared.document(found), indent=2))
    else:
        click.echo(diff_versions.text(found))
    if exit_code and not found.equal:
        raise click.exceptions.Exit(DIFFERENT)
