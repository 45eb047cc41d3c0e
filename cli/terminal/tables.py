"""Tables on a terminal, and for a pipe."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.table import Table

# The width if no terminal says one: wide enough that nothing wraps.
PIPE_WIDTH = 240


def columns(*headings: str) -> Table:
    """Return an empty table without lines, with bold headings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")  # a long word goes on in the next line; nothing is lost
    return table


def width(console: Console) -> int:
    """Return how wide a table may be."""
    return console.width if console.is_terminal else PIPE_WIDTH


def show(table: RenderableType) -> None:
    """Print a table, as wide as the terminal."""
    console = Console(highlight=False, width=width(Console()))
    with echoed(console):
        console.print(table)


def size(count: int) -> str:
    """Return a number of bytes in words."""
    for unit, large in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= large:
            return f"{count / large:.{1 if count < 100 * large else 0}f} {unit}"
    return f"{count} bytes"


@contextmanager
def echoed(console: Console) -> Iterator[None]:
    """Collect what the block prints on a console, and print it at the end, without spaces at the ends of lines.

    click prints it: if the reader of our output has gone, rich ends with a different exit code.
    """
    with console.capture() as capture:
        yield
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
