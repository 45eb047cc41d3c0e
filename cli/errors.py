"""How every command ends: one clear line on stderr, and the exit code of its class."""

import json
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from generator.errors import ModelRepoError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(command: click.Command, name: str) -> int:
    """Run a command with the arguments of this process and return its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    message = ""
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        message, code = error.format_message(), error.exit_code
    except ModelRepoError as error:
        message, code = str(error), error.exit_code
    except (KeyboardInterrupt, click.Abort):
        message, code = "interrupted; what was not published yet is gone, the repository is as it was", INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is left to tell it to, also not when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    if message:
        tell(message)
        if "--json" in sys.argv:
            click.echo(json.dumps({"results": [], "error": {"message": message, "exit_code": code}}, indent=2))
    return int(code or 0)


def leave(code: int) -> NoReturn:
    """End the process at once: taking torch and its garbage apart first would cost another second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def tell(message: str) -> None:
    """Print an error as one line on stderr."""
    line = " ".join(message.split())
    click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
