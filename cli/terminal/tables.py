"""Tables on a terminal, and for a pipe."""

import click
from rich.console import Console, RenderableType

# Where no terminal says how wide it is: wide enough that nothing wraps.
PIPE_WIDTH = 240


def width(console: Console) -> int:
    """Return how wide a table may be."""
    return console.width if console.is_terminal else PIPE_WIDTH


def show(table: RenderableType) -> None:
    """Print a table, as wide as the terminal."""
    console = Console(highlight=False, width=width(Console()))
    with console.capture() as capture:
        console.print(table)
    # Not by rich itself, which answers a reader that has gone with an exit code of its own.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
