"""`modelrepo doctor`: what is installed, what is missing, and how to get it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal.as_json import json_flag

if TYPE_CHECKING:
    from modelrepo.server.doctor.doctor import Check

STYLES = {"ok": "green", "optional": "green", "missing": "yellow", "problem": "red"}
PRINTED = ("name", "status", "found", "disables", "next_step")

EXIT_CODES = """
\b
Exit codes:
  0 everything that `generate` and `serve` need is installed
  7 the local server can't run on this machine
"""


@click.command(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@json_flag("Print the checks as one JSON object.")
def doctor(as_json: bool) -> None:
    """Show what is installed, what each missing piece disables, and how to get it.

    Downloads, starts and changes nothing.
    """
    from modelrepo.cli.terminal.errors import show_error
    from modelrepo.generator.errors import ServerError
    from modelrepo.server.doctor.doctor import judge
    from modelrepo.server.doctor.machine import look

    checks = judge(look())
    print_json(checks) if as_json else print_table(checks)
    stopping = [check for check in checks if check.stops_server]
    if stopping:
        show_error(
            f"the local server can't run here: {'; '.join(f'{check.name}: {check.found}' for check in stopping)}"
        )
        raise click.exceptions.Exit(ServerError.exit_code)


def print_json(checks: "tuple[Check, ...]") -> None:
    """Print the checks as one JSON object."""
    rows = [{key: value for key, value in asdict(check).items() if key in PRINTED} for check in checks]
    click.echo(json.dumps({"checks": rows}, indent=2))


def print_table(checks: "tuple[Check, ...]") -> None:
    """Print a row for each check, and below the table what each piece that is not ok disables, and the next step."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = click.style(f"{check.status:8}", fg=STYLES[check.status])
        click.echo(f"{check.name:{width}}  {status}  {check.found}")
    for check in checks:
        if check.status != "ok":
            click.echo(f"\n{click.style(check.name, bold=True)}\n  disables   {check.disables}")
            click.echo(f"  next step  {check.next_step}")
