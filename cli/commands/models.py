"""`modelrepo models`: the models that `generate --model` accepts."""

import json
from typing import TYPE_CHECKING, Any

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.generator.sources import SOURCES

if TYPE_CHECKING:
    from modelrepo.generator.sources.catalogue import Entry

EXAMPLES = """
\b
Examples:
  modelrepo models                           every source, and how many models it lists
  modelrepo models resnet                    names with "resnet" in them, of all sources
  modelrepo models --source timm 'convnext*_in1k'
  modelrepo models --source torchvision --json

\b
Exit codes:
  0 done
  1 unexpected
  2 usage
  3 no model matches, or the packages that list it are not installed
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("pattern", required=False)
@click.option("--source", type=click.Choice(list(SOURCES)), help="List the models of this source only.")
@json_flag("Print the models as one JSON object.")
def models(pattern: str | None, source: str | None, as_json: bool) -> None:
    """List the models that `generate --model` accepts.

    Without a PATTERN or a source, print a table of the sources. A PATTERN is a part of a name, or has the wildcards *,
    ? and []. The packages that have the models list their names, so they must be installed.
    """
    from modelrepo.generator.sources import catalogue
    from modelrepo.generator.system.extras import require

    entries = catalogue.read([source] if source else SOURCES)
    if source and entries[0].missing:
        require(entries[0].extras[0])
    found = {entry.scheme: entry.matching(pattern or "") for entry in entries}
    if pattern and not any(found.values()):
        raise catalogue.unmatched(pattern, entries)
    if as_json:
        listed = bool(pattern or source)
        click.echo(json.dumps({"sources": [_document(each, found[each.scheme], listed) for each in entries]}, indent=2))
    elif pattern or source:
        _print_names(entries, found)
    else:
        _print_sources(entries)


def _document(entry: "Entry", names: tuple[str, ...], listed: bool) -> dict[str, Any]:
    return {
        "scheme": entry.scheme,
        "form": entry.form,
        "summary": entry.summary,
        "extras": [extra.name for extra in entry.extras],
        "missing": list(entry.missing),
        "install": entry.install or None,
        "known": len(entry.names),
        **({"models": list(names)} if listed else {}),
    }


def _print_names(entries: "tuple[Entry, ...]", found: dict[str, tuple[str, ...]]) -> None:
    """Print a reference a line, and on stderr what could not be looked into; a source of files has only a form."""
    for entry in entries:
        for name in found[entry.scheme]:
            click.echo(name)
        if entry.missing:
            click.echo(f"{entry.scheme} is not installed: {entry.install}", err=True)
        elif len(entries) == 1 and not entry.names:
            click.echo(f"{entry.form}: {entry.summary}")


def _print_sources(entries: "tuple[Entry, ...]") -> None:
    from rich.text import Text

    from modelrepo.cli.terminal.tables import columns, show

    table = columns("--model", "what", "models", "to install")
    for entry in entries:
        count = f"{len(entry.names):,}" if entry.names else "-"
        table.add_row(*map(Text, (entry.form, entry.summary, count, entry.install or "-")))  # [ ] is markup otherwise
    show(table)
