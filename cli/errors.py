"""How every command ends: one clear line on stderr, and the exit code of its class."""

import signal
import sys
from types import FrameType

import click

from generator.errors import ModelRepoError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(command: click.Command, name: str) -> None:
    """Run a command as a console script and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        tell(error.format_message())
        code = error.exit_code
    except ModelRepoError as error:
        tell(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted; what was not published yet is gone, the repository is as it was")
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing is left to tell it to
        code = INTERRUPTED
    sys.exit(code or 0)


def tell(message: str) -> None:
    """Print an error as one line on stderr."""
    line = " ".join(message.split())
    click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
