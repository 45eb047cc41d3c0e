"""Tables on a terminal, and for a pipe."""

import click
from rich.console import Console, RenderableType

# The width if no terminal says one: wide enough that nothing wraps.
PIPE_WIDTH = 240


def width(console: Console) -> int:
    """Return how wide a table may be."""
    return console.width if console.is_terminal else PIPE_WIDTH


def show(table: RenderableType) -> None:
    """Print a table, as wide as the terminal."""
    console = Console(highlight=False, width=width(Console()))
    with console.capture() as capture:
        console.print(table)
    # Not by rich: if the reader of our output has gone, rich ends with a different exit code.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
