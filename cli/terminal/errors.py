"""How every command ends: one clear line on stderr, and the exit code of the error's class."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal.as_json import flag_given
from modelrepo.generator.errors import ModelRepoError, OptionError, ServerError
from modelrepo.generator.system.interrupts import INTERRUPTS, Interrupting

if TYPE_CHECKING:
    from modelrepo.clients.errors import ClientError

USAGE = 2
# A client's hint, in its own terms.
CLIENTS_OWN = "Check the certificates of Tls"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run(command: click.Command, name: str) -> int:
    """Run a command with the arguments of this process and return its exit code."""
    interrupting = Interrupting()
    for number in INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it on purpose
            signal.signal(number, interrupting)
    arguments = sys.argv[1:]

    def end(message: str, code: int) -> int:
        show_end(command, message, code)
        return code

    try:
        return int(command.main(arguments, name, standalone_mode=False, color=_color()) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.NoSuchOption as error:
        return end(f"{error.format_message()}{_with_two_dashes(error, arguments)}", error.exit_code)
    except click.ClickException as error:
        return end(error.format_message(), error.exit_code)
    except ModelRepoError as error:
        return end(str(error), error.exit_code)
    except SystemExit:  # click's, if the reader of our output has gone
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        return end("interrupted", INTERRUPTED)


def _color() -> bool | None:
    """Return False if the user wants no colours (no-color.org); None: a terminal gets them."""
    return False if os.environ.get("NO_COLOR") else None


def _with_two_dashes(error: click.NoSuchOption, arguments: Sequence[str]) -> str:
    """Return the option that was meant by a word behind a single dash, as a sentence; empty if none was."""
    known = {option for parameter in error.ctx.command.params for option in parameter.opts} if error.ctx else set()
    words = [each.partition("=")[0] for each in arguments if each.startswith(error.option_name)]
    meant = next((f"-{word}" for word in words if f"-{word}" in known), "")
    return f" Did you mean {meant}?" if meant else ""


@contextmanager
def client_errors() -> Iterator[None]:
    """Give the clients' errors the exit codes of this program."""
    from modelrepo.clients.errors import ClientError

    try:
        yield
    except ClientError as error:
        raise of_client(error) from error


def of_client(error: "ClientError") -> ModelRepoError:
    """Return a client's error as one of this program, with Triton's reasons explained."""
    from modelrepo.clients.errors import DependencyError, InputError, SettingsError
    from modelrepo.server.running.explained import explained

    if isinstance(error, InputError | SettingsError | DependencyError):
        return OptionError(error.message, error.hint.replace(CLIENTS_OWN, "Check --ca, --cert and --key"))
    sender, refused, words = error.message.rpartition(" refused: ")
    return ServerError(f"{sender}{refused}{explained(words)}", error.hint)


def show_end(command: click.Command, message: str, code: int) -> None:
    """Print the error that ends a command on stderr, and as JSON on stdout if this process was asked for that."""
    show_error(message)
    flag = flag_given(command, sys.argv[1:])
    if flag:
        click.echo(flag.error(message, code))


def show_error(message: str) -> None:
    """Print an error as one line on stderr."""
    line = " ".join(message.split())
    click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True, color=_color())
