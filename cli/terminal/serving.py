"""Running a change of what is served, and a removal: planned, asked for, carried out, told."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal import lifecycle as told

if TYPE_CHECKING:
    from modelrepo.generator.repository.lifecycle.removal import Removal
    from modelrepo.generator.repository.lifecycle.serving import Change
    from modelrepo.generator.repository.lifecycle.standing import Standing
    from modelrepo.generator.repository.repository import Repository


def change(name: str, plan: "Callable[[Standing], Change]", root: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Plan a change of what is served, carry it out unless it is a dry run, and print it."""
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.serving import applied, judge
    from modelrepo.generator.repository.lifecycle.standing import opened, standing

    repository = opened(root or config_file.default_repository())
    if not dry_run:
        repository.recover()
    planned = plan(standing(repository, name))
    if dry_run:
        judge(repository, planned)
        status = "planned" if planned.changes else "unchanged"
    else:
        with repository.locked():
            planned = applied(repository, plan(standing(repository, name)))  # another process may have published
        status = "changed" if planned.changes else "unchanged"
    if as_json:
        click.echo(json.dumps({"repository": str(repository.root), **told.change_document(planned, status)}, indent=2))
        return
    click.echo(told.change_text(planned, status))
    _warn(planned.notes)


def remove(
    names: Sequence[str],
    plan: "Callable[[Standing, Repository], Removal]",
    root: Path | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan removals, ask if they are many, carry them out unless it is a dry run, and print them."""
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.removal import carried_out
    from modelrepo.generator.repository.lifecycle.standing import matching, opened, standing

    repository = opened(root or config_file.default_repository())
    if not dry_run:
        repository.recover()
    chosen = matching(repository, names)
    planned = [plan(standing(repository, name), repository) for name in chosen]
    if not dry_run:
        _ask(names, planned, yes=yes)
    documents = []
    for each in planned:
        if dry_run:
            status = "planned"
        else:
            with repository.locked():
                each = plan(standing(repository, each.name), repository)
                carried_out(repository, each)
            status = "removed" if each.versions or each.whole else "unchanged"
        documents.append(told.removal_document(each, status))
        if not as_json:
            click.echo(told.removal_text(each, status))
            _warn(each.notes)
    if as_json:
        click.echo(json.dumps({"repository": str(repository.root), "models": documents}, indent=2))


def _ask(names: Sequence[str], planned: "Sequence[Removal]", *, yes: bool) -> None:
    """Ask before a pattern removes from several models; OptionError if nobody can be asked."""
    import sys

    from modelrepo.generator.errors import OptionError

    going = [each for each in planned if each.versions or each.whole]
    if yes or len(going) < 2 or len(going) <= len(names):
        return
    listed = ", ".join(each.name for each in going)
    if not sys.stdin.isatty():
        raise OptionError(f"{' '.join(names)} stands for {len(going)} models: {listed}", "Add --yes if all are meant")
    click.confirm(f"Remove from {len(going)} models: {listed}?", abort=True, err=True)


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"warning: {note}", err=True)
