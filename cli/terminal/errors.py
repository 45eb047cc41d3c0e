"""How every command ends: one clear line on stderr, and the exit code of the error's class."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from modelrepo.cli.terminal.as_json import Invocation, JsonFlag
from modelrepo.generator.errors import ModelRepoError, OptionError, ServerError
from modelrepo.generator.system.interrupts import INTERRUPTS

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(command: click.Command, name: str) -> int:
    """Run a command with the arguments of this process and return its exit code."""
    for number in INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it on purpose
            signal.signal(number, _interrupt)
    invocation = Invocation(sys.argv[1:])
    try:
        return int(command.main(invocation.arguments, name, standalone_mode=False, obj=invocation) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        return _end(error.format_message(), error.exit_code, invocation.flag_after(error))
    except ModelRepoError as error:
        return _end(str(error), error.exit_code, invocation.flag)
    except SystemExit:  # click's, if the reader of our output has gone
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        return _end("interrupted", INTERRUPTED, invocation.flag)


@contextmanager
def client_errors() -> Iterator[None]:
    """Give the clients' errors the exit codes of this program."""
    from modelrepo.clients.errors import ClientError, DependencyError, InputError, SettingsError

    try:
        yield
    except (InputError, SettingsError, DependencyError) as error:
        raise OptionError(error.message, error.hint) from error
    except ClientError as error:
        raise ServerError(error.message, error.hint) from error


def show_error(message: str) -> None:
    """Print an error as one line on stderr."""
    line = " ".join(message.split())
    click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True)


def _end(message: str, code: int, flag: JsonFlag | None) -> int:
    show_error(message)
    if flag:
        click.echo(flag.error(message, code))
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
