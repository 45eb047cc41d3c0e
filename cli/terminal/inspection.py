"""What is known of a model file: as text for a terminal, and as JSON."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from modelrepo.cli.terminal import tables
from modelrepo.cli.terminal.findings import one_line
from modelrepo.generator.errors import OptionError
from modelrepo.generator.inspection import totals
from modelrepo.generator.inspection.inspection import Inspection, Node, Tensor, Weight
from modelrepo.generator.inspection.totals import Total

COLOURS = {"yes": "green", "no": "red", "unknown": "yellow"}
# Rows of a table that is not asked for.
FEW = 10
# The widest column of the nodes that is kept in line.
WIDEST = 48
# Characters of a value of the metadata.
SHOWN = 300


def show(found: Inspection, *, layers: bool, nodes: bool) -> None:
    """Print an inspection; all ``layers`` and all ``nodes`` if they are asked for."""
    _head(found)
    _facts(found)
    _tensors(found)
    _batching(found)
    _operators(found)
    _weights(found, layers)
    _files(found)
    _uses(found)
    if nodes:
        _nodes(found.nodes)


def _head(found: Inspection) -> None:
    valid = click.style("valid", fg="green") if found.valid else click.style("not valid", fg="red", bold=True)
    click.echo(f"{one_line(str(found.path))}: {found.format}, {valid}, {totals.size(found.bytes)}")
    for fault in found.faults:
        _wrapped(click.style("fault: ", fg="red", bold=True), fault)
    for remark in found.remarks:
        _wrapped(click.style("note: ", fg="yellow"), remark)


def _wrapped(start: str, text: str) -> None:
    """Print a sentence, which a terminal wraps itself."""
    click.echo(f"{start}{one_line(text)}")


def _facts(found: Inspection) -> None:
    rows = [(label, _shortened(one_line(value))) for label, value in found.facts]
    _table((), rows)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters)"


def _tensors(found: Inspection) -> None:
    rows = [("input", *_row(tensor), "optional" if tensor.optional else "") for tensor in found.inputs]
    rows += [("output", *_row(tensor), "") for tensor in found.outputs]
    _table(("", "name", "type", "shape", ""), rows)


def _row(tensor: Tensor) -> tuple[str, str, str]:
    return tensor.name, tensor.data_type, totals.shape(tensor.shape)


def _batching(found: Inspection) -> None:
    batching = found.batching
    if batching is not None:
        verdict = click.style(batching.verdict, fg=COLOURS[batching.verdict])
        by = f", by {one_line(batching.by)}" if batching.by else ""
        click.echo(f"\nbatching: {verdict}{by}: {one_line(batching.reason)}")


def _operators(found: Inspection) -> None:
    if found.operators:
        count = sum(found.operators.values())
        click.echo(f"\n{_plural(count, 'node')} of {_plural(len(found.operators), 'operator')}")
        _flowing(f"{one_line(name)} {count:,}" for name, count in found.operators.items())


def _flowing(words: Iterator[str]) -> None:
    """Print words in columns, as many as fit."""
    found = list(words)
    widest = max(map(len, found))
    from rich.console import Console

    console = Console(highlight=False)
    across = max(1, (console.width if console.is_terminal else 80) // (widest + 2))
    down = -(-len(found) // across)
    for number in range(down):
        click.echo("  ".join(each.ljust(widest) for each in found[number::down]).rstrip())


def _weights(found: Inspection, every: bool) -> None:
    if not found.weights:
        return
    parameters = sum(weight.parameters for weight in found.weights)
    size = totals.size(sum(weight.bytes for weight in found.weights))
    click.echo(f"\n{parameters:,} parameters in {_plural(len(found.weights), 'tensor')}, {size}")
    _totals("type", totals.by_type(found.weights))
    layers = totals.by_layer(found.weights)
    shown = layers if every else layers[:FEW]
    _totals("layer", shown)
    _more(len(layers) - len(shown), "--layers prints all")
    _shared(totals.shared(found.weights), every)


def _totals(name: str, rows: Sequence[Total]) -> None:
    written = [(each.name, f"{each.tensors:,}", f"{each.parameters:,}", totals.size(each.bytes)) for each in rows]
    _table((name, "tensors", "parameters", "size"), written, right=(1, 2, 3))


def _shared(weights: Sequence[Weight], every: bool) -> None:
    shown = weights if every else weights[:FEW]
    rows = [(each.name, f"{each.shared_by:,} nodes", totals.size(each.bytes)) for each in shown]
    _table(("shared weights", "used by", "size"), rows, right=(2,))
    _more(len(weights) - len(shown), "--layers prints all")


def _more(count: int, hint: str) -> None:
    if count > 0:
        click.echo(f"… {count:,} more: {hint}")


def _files(found: Inspection) -> None:
    if len(found.files) > 1:
        rows = [(name, totals.size(size)) for name, size in found.files.items()]
        _table(("file", "size"), rows, right=(1,))


def _uses(found: Inspection) -> None:
    table = tables.columns("backend", "releases", "could serve it", "why")
    for use in found.uses:
        verdict = Text(use.verdict, style=COLOURS[use.verdict])
        table.add_row(Text(use.target), Text(totals.releases(use.releases)), verdict, Text(one_line(use.reason)))
    if found.uses:
        click.echo()
        tables.show(table)


def _nodes(nodes: Sequence[Node]) -> None:
    """Print a node a line; rich takes a minute for a table of 20,000 rows."""
    rows = [("node", "name", "gives")]
    rows += [
        (f"{'  ' * node.level}{node.operator}", _name(node), ", ".join(map(totals.shape, node.shapes)))
        for node in nodes
    ]
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(*cells, strict=True)]
    click.echo()
    for row in cells if nodes else ():
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _name(node: Node) -> str:
    return node.name or ", ".join(node.outputs[:1])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table below an empty line; nothing without rows."""
    if not rows:
        return
    table = tables.columns(*headings) if headings else Table(box=None, pad_edge=False, show_header=False)
    for number in right:
        table.columns[number].justify = "right"
    for row in rows:
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    click.echo()
    tables.show(table)


def _one_line(cell: str) -> str:
    indent = len(cell) - len(cell.lstrip(" "))
    return " " * indent + one_line(cell)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def as_json(found: Inspection) -> str:
    """Return an inspection as one JSON object."""
    return json.dumps(document(found), indent=2)


def document(found: Inspection) -> dict[str, Any]:
    """Return an inspection as what JSON holds: its fields, and sums of the weights."""
    weights = found.weights
    return {
        "path": os.fsencode(found.path).decode("utf-8", "replace"),
        "format": found.format,
        "valid": found.valid,
        "bytes": found.bytes,
        "faults": list(found.faults),
        "remarks": list(found.remarks),
        "facts": [{"name": name, "value": value} for name, value in found.facts],
        "inputs": [asdict(tensor) for tensor in found.inputs],
        "outputs": [asdict(tensor) for tensor in found.outputs],
        "batching": asdict(found.batching) if found.batching else None,
        "operators": dict(found.operators),
        "parameters": sum(weight.parameters for weight in weights),
        "weights_by_type": [asdict(total) for total in totals.by_type(weights)],
        "weights_by_layer": [asdict(total) for total in totals.by_layer(weights)],
        "weights": [asdict(weight) for weight in weights],
        "nodes": [asdict(node) for node in found.nodes],
        "files": dict(found.files),
        "uses": [asdict(use) for use in found.uses],
    }


def write_page(found: Inspection, path: Path) -> None:
    """Write the page of an inspection; OptionError if it can't be written."""
    from modelrepo.generator.inspection.page import page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(found), "utf-8", errors="replace")
    except OSError as error:
        raise OptionError(f"can't write {path}: {error.strerror or error}", "Name another file with --html") from error
