"""`modelrepo check`: what Triton would say of a repository, before it is served."""

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from modelrepo.cli.terminal.as_json import json_flag

if TYPE_CHECKING:
    from modelrepo.generator.lint.finding import Finding
    from modelrepo.generator.lint.rule import Rule
    from modelrepo.generator.lint.subject import Host

EXAMPLES = """
\b
Examples:
  modelrepo check                            every model of ./model_repository
  modelrepo check repo/resnet50              one model; or one config.pbtxt
  modelrepo check repo --target-release 25.11,26.09    does it load on both?
  modelrepo check repo --gpus none --cores 8 --memory 16G
  modelrepo check repo --diff                what --fix would change
  modelrepo check --changed repo/net/labels.txt    the model that a file is of
  modelrepo check --explain DIM              the page of a rule

\b
Exit codes:
  0 Triton loads every model    6 it refuses one, or one could not be judged
  2 usage
"""
# Times that --fix reads the files again.
PASSES = 4
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("--target-release", metavar="YY.MM,…", help="Releases of Triton. Default: the newest well known.")
@click.option("--gpus", metavar="N|none", help="The GPUs of the host. Default: not known.")
@click.option("--cores", type=click.IntRange(1), help="The CPU cores of the host. Default: not known.")
@click.option("--memory", metavar="SIZE", help="The memory of the host, such as 16G. Default: not known.")
@click.option(
    "--profile",
    type=click.Choice(["triton", "dynamo", "kserve"]),
    default="triton",
    help="What serves the models. Default: triton.",
)
@click.option("--select", multiple=True, metavar="CODE,…", help="Only these rules; VDIR stands for all VDIR-….")
@click.option("--ignore", multiple=True, metavar="CODE,…", help="Not these rules.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif", "github"]), default="text", help="Default: text."
)
@json_flag("The same as --format json.")
@click.option("--changed", is_flag=True, help="PATHs are changed files: check the models that they belong to.")
@click.option("--fix", is_flag=True, help="Mend what can be mended mechanically, and show what is left.")
@click.option("--diff", is_flag=True, help="Print what --fix would change as a diff, and change nothing.")
@click.option("--notes", is_flag=True, help="Print notes, too, not only their number.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--explain", metavar="CODE,…", help="Print the pages of rules.")
@click.option("--list-rules", is_flag=True, help="Print all rules, or those of --select and --ignore.")
def check(
    paths: tuple[Path, ...],
    target_release: str | None,
    gpus: str | None,
    cores: int | None,
    memory: str | None,
    profile: Literal["triton", "dynamo", "kserve"],
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    form: str,
    as_json: bool,
    changed: bool,
    fix: bool,
    diff: bool,
    notes: bool,
    strict: bool,
    explain: str | None,
    list_rules: bool,
) -> None:
    """Say what Triton would say of repositories, models or files config.pbtxt, where, and what to write instead.

    Nothing is loaded or run. Several repositories are judged as served together. Configurations in MODEL/configs are
    judged, too. A rule's page says who decides it, and how we know.
    """
    from modelrepo.generator.errors import OptionError, RepositoryError
    from modelrepo.generator.lint.check import findings, model_of, opened
    from modelrepo.generator.lint.rules import rules
    from modelrepo.generator.lint.rules.unjudged import stops
    from modelrepo.generator.options import config_file

    if explain is not None:
        _print_pages(_explained(rules(), _codes([explain]) or [explain]))
        return
    chosen = _chosen(rules(), _codes(select), _codes(ignore))
    if list_rules:
        _print_rules(chosen, "json" if as_json else form)
        return
    if fix and diff:
        raise OptionError("--fix can't be combined with --diff", "Leave --fix out to see the changes only")
    hosts = _hosts(target_release, _gpus(gpus), cores, _bytes(memory), profile)
    if changed:
        paths = tuple(dict.fromkeys(model for path in paths if (model := model_of(path))))
    elif not paths:
        paths = (config_file.default_repository(),)
    # What is selected may not have been judged: that is said unless it is ignored itself.
    unasked = {rule.code for rule in rules()} - {rule.code for rule in _chosen(rules(), (), _codes(ignore))}
    for _ in range(PASSES):  # what is mended may show what else can be mended
        repositories = opened(paths)
        found = sorted(findings(repositories, hosts, chosen), key=lambda each: each.problem.place)
        found = [each for each in found if each.code not in unasked]
        if not fix or not _mend(found):
            break
    if diff:
        _print_diff(found)
    else:
        models = sum(len(each.asked or each.models) for each in repositories)
        releases = [host.release.container for host in hosts]
        form = "json" if as_json else form
        if form == "text":
            _print_text(found, releases, models, notes=notes or bool(select))
        else:
            _print(found, form, releases, models, chosen)
    if any(stops(each, strict=strict) for each in found):
        raise click.exceptions.Exit(RepositoryError.exit_code)


def _explained(rules: "Sequence[Rule]", codes: Sequence[str]) -> "list[Rule]":
    """Return the rules of codes; those that begin with a code if it is none."""
    from modelrepo.generator.lint.rules.unjudged import UNJUDGED

    exact = {rule.code: [rule] for rule in (*rules, UNJUDGED)}
    return [rule for code in codes for rule in exact.get(code) or _chosen(rules, [code], ())]


def _print_pages(explained: "Sequence[Rule]") -> None:
    from modelrepo.cli.terminal.rules import wrapped
    from modelrepo.generator.lint.page import page

    click.echo("\n\n".join(wrapped(page(rule)).rstrip("\n") for rule in explained))


def _print_rules(listed: "Sequence[Rule]", form: str) -> None:
    from modelrepo.cli.terminal import rules

    if form == "json":
        click.echo(rules.as_json(listed))
    else:
        for line in rules.table(listed):
            click.echo(line)


def _nearest_code(code: str, known: "Sequence[str]") -> str:
    from modelrepo.generator.errors import nearest

    lower = {each.lower(): each for each in known}
    hint = nearest(code, lower)
    return (
        hint.upper().replace("DID YOU MEAN", "Did you mean").replace(" OR ", " or ")
        if "?" in hint
        else ("See modelrepo check --list-rules")
    )


def _codes(written: Sequence[str]) -> list[str]:
    return [code.strip().upper() for each in written for code in each.split(",") if code.strip()]


def _chosen(rules: "Sequence[Rule]", select: Sequence[str], ignore: Sequence[str]) -> "list[Rule]":
    """Return the rules that codes, or beginnings of codes, select and do not exclude; OptionError for unknown ones."""
    from modelrepo.generator.errors import OptionError

    def named(rule: "Rule", codes: Sequence[str]) -> bool:
        return any(rule.code == code or rule.code.startswith(f"{code.rstrip('-')}-") for code in codes)

    for code in (*select, *ignore):
        if not any(named(rule, [code]) for rule in rules):
            raise OptionError(f"there is no rule {code!r}", _nearest_code(code, [rule.code for rule in rules]))
    return [rule for rule in rules if (not select or named(rule, select)) and not named(rule, ignore)]


def _hosts(
    releases: str | None,
    gpus: int | None,
    cores: int | None,
    memory: int | None,
    profile: Literal["triton", "dynamo", "kserve"],
) -> "list[Host]":
    """Return what may serve the models: a host for each release."""
    from modelrepo.generator.errors import OptionError
    from modelrepo.generator.lint.subject import Host
    from modelrepo.generator.triton.releases import NEWEST, release_named

    names = [NEWEST] if releases is None else [each.strip() for each in releases.split(",") if each.strip()]
    if not names:
        raise OptionError("--target-release names no release", "Write one such as 26.09, or several with commas")
    return [Host(release_named(name), gpus, cores, memory, profile) for name in dict.fromkeys(names)]


def _gpus(written: str | None) -> int | None:
    from modelrepo.generator.errors import OptionError

    if written is None:
        return None
    if written.strip().lower() == "none":
        return 0
    if not (written.isascii() and written.isdigit()) or len(written) > 4:
        raise OptionError(f"--gpus can't be {written!r}", "Write the number of GPUs, or none")
    return int(written)


def _bytes(written: str | None) -> int | None:
    """Return a size such as 16G, 512M or 1.5T in bytes."""
    import re

    from modelrepo.generator.errors import OptionError

    if written is None:
        return None
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", written.strip(), re.IGNORECASE | re.ASCII)
    if not match or not float(match[1]):
        raise OptionError(f"--memory can't be {written!r}", "Write a size such as 16G")
    return int(float(match[1]) * 2 ** UNITS.get(match[2].upper(), 0))


def _mend(found: "list[Finding]") -> bool:
    """Mend findings and say so on stderr; return whether anything has changed."""
    from modelrepo.cli.terminal.findings import one_line
    from modelrepo.generator.errors import RepositoryError
    from modelrepo.generator.lint.fixes import mended

    changed = False
    try:
        for each in mended(found):
            if each.after != each.before:
                each.write()
                changed = True
                for finding in each.findings:
                    click.echo(f"mended {one_line(str(finding.problem.place))}: {finding.code}", err=True)
    except OSError as error:
        raise RepositoryError(f"can't mend {error.filename}: {error.strerror or error}") from error
    return changed


def _print_diff(found: "list[Finding]") -> None:
    from modelrepo.cli.terminal.findings import printable
    from modelrepo.generator.lint.fixes import encoded, mended

    shown = sys.stdout.isatty()
    for each in mended(found):
        click.echo(printable(each.diff()) if shown else encoded(each.diff()), nl=False)


def _print_text(found: "list[Finding]", releases: Sequence[str], models: int, *, notes: bool) -> None:
    """Print findings, and how many there are; notes, which need no change, only if they are wanted."""
    from modelrepo.cli.terminal import findings as text

    shown = [each for each in found if notes or each.severity != "information"]
    lines, width = text.Lines(), text.width_of_terminal()
    for each in shown:
        for line in text.of_text(each, lines, width):
            click.echo(line)
        click.echo()
    click.echo(text.summary(shown, models, releases, hidden=len(found) - len(shown)))


def _print(found: "list[Finding]", form: str, releases: Sequence[str], models: int, chosen: "Sequence[Rule]") -> None:
    from modelrepo.cli.terminal import findings as text
    from modelrepo.cli.terminal import findings_for_programs as programs

    if form == "json":
        click.echo(programs.as_json(found, releases, models))
    elif form == "sarif":
        click.echo(programs.as_sarif(found, chosen, text.Lines(), metadata.version("modelrepo")))
    else:
        for each in found:
            click.echo(programs.as_github(each))
        counted = text.summary(found, models, releases)
        click.echo(counted)
        programs.add_to_job_summary(found, counted)
