"""`modelrepo inspect`: what a model file is, read and never run."""

from pathlib import Path

import click

from modelrepo.cli.terminal.as_json import json_flag

EXAMPLES = """
\b
Examples:
  modelrepo inspect net.onnx
  modelrepo inspect resnet18                 a model of ./model_repository
  modelrepo inspect repo/resnet18 --version 2
  modelrepo inspect net.onnx --layers --nodes
  modelrepo inspect net.onnx --html net.html
  modelrepo inspect net.onnx --json

\b
Exit codes:
  0 the file is valid        2 usage
  3 there is no such file, or it is of a format that is not read
  6 the file is not valid, or the model has no such version
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model", metavar="FILE|MODEL")
@click.option("--repository", type=click.Path(path_type=Path),
              help="Where MODEL is. Default: that of modelrepo.toml, or ./model_repository.")  # fmt: skip
@click.option("--version", type=click.IntRange(0), help="The version of MODEL. Default: the newest.")
@click.option("--layers", is_flag=True, help="Print every layer, not only the largest.")
@click.option("--nodes", is_flag=True, help="Print the nodes of the graph, with the shapes of their outputs.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE",
              help="Write one page for a browser as well, with the outline of the graph.")  # fmt: skip
@json_flag("Print everything as one JSON object.")
def inspect(
    model: str,
    repository: Path | None,
    version: int | None,
    layers: bool,
    nodes: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say what a model file is: valid or not, what it takes and gives, what is in it, and what could serve it.

    FILE is an ONNX file, a TensorRT plan, TorchScript, a .pt2 file, OpenVINO's IR, a SavedModel or a TensorFlow Lite
    file; its content decides. MODEL is a model of the repository, by its name or its folder. Nothing is loaded or run.
    """
    from modelrepo.cli.terminal import inspection as terminal
    from modelrepo.generator.errors import RepositoryError
    from modelrepo.generator.inspection.inspect import inspect as inspected
    from modelrepo.generator.options import config_file

    found = inspected(model, repository=repository or config_file.default_repository(), version=version)
    if html is not None:
        terminal.write_page(found, html)
    if as_json:
        click.echo(terminal.as_json(found))
    else:
        terminal.show(found, layers=layers, nodes=nodes)
        if html is not None:
            click.echo(f"\npage: {html}")
    if not found.valid:
        raise click.exceptions.Exit(RepositoryError.exit_code)
